// Messages between a relay thread and the tenant's process, beside records. To the process they are V8's serialisation: it
// trusts its host. Back they are JSON, with bytes behind it, see check-message.ts.

import { deserialize, serialize } from 'node:v8'
import type { ToCompute, TraceInfo } from '../compute/messages.ts'
import type { FromProcess } from './check-message.ts'
import { MalformedFrame, padded } from './frames.ts'

/** A module as it was admitted: the process compiles it for itself. */
export interface ModuleBytes {
  type: 'module-bytes'
  digest: string
  bytes: Uint8Array
  globals: string[]
  memoryBytesMax: number
  depthLimit: number
  trace: TraceInfo
}

/** What the control thread says to a relay thread. */
export type ToRelay = ToCompute | ModuleBytes

/** What passes on to the process: all but what names memory of the host. */
export type ToProcess = Exclude<ToRelay, { type: 'bridge' | 'slab' | 'module' | 'release' | 'stop' }>

export function encodeToProcess(message: ToProcess): Uint8Array {
  return serialize(message)
}

/** The process's own parse of what its host says. */
export function decodeToProcess(bytes: Uint8Array): ToProcess {
  return deserialize(bytes) as ToProcess
}

/** u32 bytes of the JSON, the JSON padded to a multiple of 8 with these 4, the attachment. */
export function encodeFromProcess(message: FromProcess, attachment?: Uint8Array): Uint8Array {
  const json = Buffer.from(JSON.stringify(message))
  const at = padded(4 + json.length)
  const bytes = new Uint8Array(at + (attachment?.length ?? 0))
  new DataView(bytes.buffer).setUint32(0, json.length, true)
  bytes.set(json, 4)
  if (attachment) bytes.set(attachment, at)
  return bytes
}

/** Puts the parts of a message together. */
export class MessageParts {
  private readonly parts: Uint8Array[] = []
  private bytes = 0

  /** @param bytesMax of the whole @returns the message at its last part @throws MalformedFrame: too long */
  take(bytes: Uint8Array, from: number, to: number, last: boolean, bytesMax: number): Uint8Array | undefined {
    this.bytes += to - from
    // An empty part would cost memory for nothing.
    if (this.bytes > bytesMax || (to === from && !last)) throw new MalformedFrame(`a message of ${this.bytes} bytes`)
    this.parts.push(bytes.slice(from, to))
    if (!last) return undefined
    const whole = this.parts.length === 1 ? this.parts[0]! : Buffer.concat(this.parts)
    this.parts.length = 0
    this.bytes = 0
    return whole
  }
}
