// What a tenant's process may say: nothing is believed that was not checked. The process may be in the hands of its tenant.
// Runs on: relay thread.

import * as v from 'valibot'
import { RECORD_FAULTS, STATUS_OF } from '../../schemas/errors.ts'
import { MalformedFrame, padded } from './frames.ts'

const id = v.pipe(v.string(), v.maxLength(128))
const text = v.pipe(v.string(), v.maxLength(64 << 10))
const number = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const codes = [...(Object.keys(STATUS_OF) as (keyof typeof STATUS_OF)[]), ...RECORD_FAULTS] as const

const error = v.strictObject({
  code: v.picklist(codes),
  message: text,
  issues: v.optional(v.pipe(v.array(v.strictObject({ pointer: text, message: text })), v.maxLength(100))),
  retriable: v.optional(v.boolean()),
  stack: v.optional(text),
})

const change = v.strictObject({ component: id, sequence: number, stateReset: v.boolean() })
const edge = v.strictObject({ from: id, to: id, depth: number, capacity: number, dropped: number })

const fromProcess = v.variant('type', [
  v.strictObject({
    type: v.literal('done'),
    request: number,
    changes: v.optional(v.pipe(v.array(change), v.maxLength(10_000))),
    edges: v.optional(v.pipe(v.array(edge), v.maxLength(100_000))),
  }),
  v.strictObject({ type: v.literal('refused'), request: number, error }),
  v.strictObject({ type: v.literal('failed'), pipeline: number, component: id, error }),
  v.strictObject({
    type: v.literal('event'),
    pipeline: number,
    component: id,
    kind: v.picklist(['log', 'fault']),
    level: v.picklist([0, 1, 2, 3]),
    text,
  }),
  v.strictObject({ type: v.literal('tapped'), tap: number, skipped: number }),
  v.strictObject({
    type: v.literal('image'),
    pipeline: number,
    epoch: number,
    image: v.strictObject({
      component: id,
      digest: id,
      globals: v.record(v.pipe(v.string(), v.maxLength(1000)), v.union([v.number(), text])),
      sequence: number,
      sinceFlush: number,
      ended: v.boolean(),
      split: v.optional(v.strictObject({ by: text, instances: number })),
    }),
  }),
  v.strictObject({ type: v.literal('sunk'), pipeline: number, component: id, epoch: number, end: v.boolean() }),
  v.strictObject({ type: v.literal('dirty'), pipeline: number }),
])

/** A message of the process. `tapped` comes with frames, `image` with the memory: `attachment`. */
export type FromProcess = v.InferOutput<typeof fromProcess>

const JSON_BYTES_MAX = 4 << 20

const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * @param bytes a buffer of its own; the attachment is a copy at the start of another
 * @throws MalformedFrame
 */
export function decodeFromProcess(bytes: Uint8Array): { message: FromProcess; attachment: Uint8Array<ArrayBuffer> } {
  if (bytes.length < 4) throw new MalformedFrame('a message without a length')
  const jsonBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
  const at = padded(4 + jsonBytes)
  if (jsonBytes > JSON_BYTES_MAX || at > padded(bytes.length)) throw new MalformedFrame(`JSON of ${jsonBytes} bytes`)
  let json: unknown
  try {
    json = JSON.parse(decoder.decode(bytes.subarray(4, 4 + jsonBytes)))
  } catch {
    throw new MalformedFrame('a message that is no JSON')
  }
  const parsed = v.safeParse(fromProcess, json)
  if (!parsed.success) throw new MalformedFrame(`a message that is none: ${parsed.issues[0].message}`)
  return { message: parsed.output, attachment: bytes.slice(at) }
}
