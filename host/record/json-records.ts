// Records as JSON text, the way the API shows them: a value that is JSON is spliced in as it is, one that is text becomes
// a string, any other {"base64": …}; keys and header values likewise, but never as JSON.
// Runs on: bridge and control, at the edges of the product.

import { isUtf8 } from 'node:buffer'
import { isJsonText } from './json-check.ts'
import {
  decodeHeaders,
  FLAG_KEY,
  FLAG_TOMBSTONE,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_LENGTH,
  RECORD_SEQUENCE,
  RECORD_SOURCE_OFFSET,
  RECORD_TIMESTAMP,
  RECORD_VALUE_BYTES,
  readI64,
  readU64,
} from './record.ts'

const LINE_END = /[\r\n]/
const [LF, CR] = [10, 13]
const encoder = new TextEncoder()

/** A run of whole records with a view and a Buffer on the same memory, made once. */
export class RecordRun {
  readonly bytes: Buffer
  readonly view: DataView

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Where the record after the one at `at` begins. */
  next(at: number): number {
    return at + this.view.getUint32(at + RECORD_LENGTH, true)
  }
}

/** `{partition,offset,timestamp,key,value,headers}`; the offset is a string. */
export function topicRecordJson(run: RecordRun, at: number, partition: number): string {
  const offset = readI64(run.view, at + RECORD_SOURCE_OFFSET)
  return `{"partition":${partition},"offset":"${offset}",${bodyJson(run, at)}}`
}

/** `{sequence,timestamp,key,value,headers}`, on one line. */
export function tappedRecordJson(run: RecordRun, at: number): string {
  return onOneLine(`{"sequence":${readU64(run.view, at + RECORD_SEQUENCE)},${bodyJson(run, at)}}`)
}

/**
 * The answer of reading a topic: `{"records":[…],"next":{"0":"17",…}}`.
 * @param parts what was read of each partition
 * @param next the offset to read on from, by partition
 */
export function recordsJson(
  parts: { partition: number; frames: Uint8Array }[],
  next: Record<string, string | bigint>,
): Uint8Array {
  const records: string[] = []
  for (const { partition, frames } of parts) {
    const run = new RecordRun(frames)
    for (let at = 0; at < frames.length; at = run.next(at)) records.push(topicRecordJson(run, at, partition))
  }
  const nextJson = JSON.stringify(Object.fromEntries(Object.entries(next).map(([p, offset]) => [p, String(offset)])))
  return encoder.encode(`{"records":[${records.join(',')}],"next":${nextJson}}`)
}

/** `valueJson` on one line, as an event of SSE wants it. @returns the same memory where that holds it already */
export function lineBytes(bytes: Uint8Array): Uint8Array {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const isJson = isUtf8(buffer) && isJsonText(buffer, 0, buffer.length)
  if (isJson && !buffer.includes(LF) && !buffer.includes(CR)) return bytes
  return encoder.encode(onOneLine(valueJson(buffer, 0, buffer.length)))
}

/** JSON on one line: a raw line end can only stand between two tokens of a value, where a space may as well. */
export function onOneLine(json: string): string {
  return LINE_END.test(json) ? json.replace(/[\r\n]+/g, ' ') : json
}

/** Bytes as a JSON value: themselves where they are JSON, else a string, else {"base64": …}. */
export function valueJson(bytes: Buffer, from: number, to: number): string {
  const text = textAt(bytes, from, to)
  if (text === undefined) return base64Json(bytes, from, to)
  return isJsonText(bytes, from, to) ? text : JSON.stringify(text)
}

/** Bytes as a string, or {"base64": …} where they are not UTF-8. */
export function textJson(bytes: Buffer, from: number, to: number): string {
  const text = textAt(bytes, from, to)
  return text === undefined ? base64Json(bytes, from, to) : JSON.stringify(text)
}

function bodyJson(run: RecordRun, at: number): string {
  const { bytes, view } = run
  const flags = bytes[at + RECORD_FLAGS]!
  const keyAt = at + RECORD_HEADER_BYTES
  const headersAt = keyAt + view.getUint32(at + RECORD_KEY_BYTES, true)
  const valueAt = headersAt + view.getUint32(at + RECORD_HEADERS_BYTES, true)
  const end = valueAt + view.getUint32(at + RECORD_VALUE_BYTES, true)
  const key = flags & FLAG_KEY ? textJson(bytes, keyAt, headersAt) : 'null'
  const value = flags & FLAG_TOMBSTONE ? 'null' : valueJson(bytes, valueAt, end)
  const headers = valueAt > headersAt ? headersJson(decodeHeaders(bytes.subarray(headersAt, valueAt))) : '{}'
  return `"timestamp":${readI64(view, at + RECORD_TIMESTAMP)},"key":${key},"value":${value},"headers":${headers}`
}

/** An object by name; of a name that comes several times, a list. */
export function headersJson(headers: [string, Uint8Array | null][]): string {
  if (headers.length === 0) return '{}'
  const byName = new Map<string, string[]>()
  for (const [name, value] of headers) {
    const text = value === null ? 'null' : textJson(Buffer.from(value), 0, value.length)
    const before = byName.get(name)
    if (before) before.push(text)
    else byName.set(name, [text])
  }
  const members = [...byName].map(
    ([name, texts]) => `${JSON.stringify(name)}:${texts.length === 1 ? texts[0] : `[${texts.join(',')}]`}`,
  )
  return `{${members.join(',')}}`
}

function base64Json(bytes: Buffer, from: number, to: number): string {
  return `{"base64":"${bytes.toString('base64', from, to)}"}`
}

function textAt(bytes: Buffer, from: number, to: number): string | undefined {
  return isUtf8(bytes.subarray(from, to)) ? bytes.toString('utf8', from, to) : undefined
}
