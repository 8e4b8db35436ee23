// One input edge: where it reads, and which ports it takes.
// Runs on: compute.

import { KIND_DATA, RECORD_KIND, RECORD_PORT } from '../record/record.ts'
import type { Cursor, Output } from './output.ts'

export class Input implements Cursor {
  readonly from: string
  position = 0
  output: Output
  ended = false
  portsLow: number
  portsHigh: number
  /** Takes every record: no need to look at ports. */
  all: boolean

  constructor(from: string, output: Output, portsLow: number, portsHigh: number, all: boolean) {
    this.from = from
    this.output = output
    this.portsLow = portsLow
    this.portsHigh = portsHigh
    this.all = all
  }

  /** Its output has ended; who comes later is told by that. */
  end(): void {
    this.ended = true
    this.output.ended = true
  }

  takes(port: number): boolean {
    return this.all || ((port < 32 ? this.portsLow >>> port : this.portsHigh >>> (port - 32)) & 1) === 1
  }

  /** Copies the records of our ports, one behind the other. // hot */
  gather(bytes: Uint8Array, words: Int32Array, from: number, to: number, target: Uint8Array, targetAt: number): void {
    let runFrom = -1
    let at = from
    for (; at < to; at += words[at >> 2]!) {
      if (this.takes(bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8))) {
        if (runFrom < 0) runFrom = at
      } else if (runFrom >= 0) {
        target.set(bytes.subarray(runFrom, at), targetAt)
        targetAt += at - runFrom
        runFrom = -1
      }
    }
    if (runFrom >= 0) target.set(bytes.subarray(runFrom, at), targetAt)
  }

  /** Bytes of the output up to the end of our n-th record. */
  spanOf(bytes: Uint8Array, words: Int32Array, from: number, to: number, records: number): number {
    let at = from
    let left = records
    while (at < to && left > 0 && bytes[at + RECORD_KIND] === KIND_DATA) {
      if (this.takes(bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8))) left--
      at += words[at >> 2]!
    }
    return at - from
  }
}

/**
 * Measures the leading data records of a run that one call may take: at least one record, at most these bytes and records. // hot
 *
 * @param taken receives `bytes` and `records` that are for the input, and `span`: the bytes of the run they stand in
 */
export function takeInput(
  bytes: Uint8Array,
  words: Int32Array,
  from: number,
  to: number,
  input: Input,
  bytesMax: number,
  recordsMax: number,
  taken: { bytes: number; span: number; records: number },
): void {
  let at = from
  let count = 0
  let sum = 0
  while (at < to && count < recordsMax && bytes[at + RECORD_KIND] === KIND_DATA) {
    const length = words[at >> 2]!
    if (input.all || input.takes(bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8))) {
      if (sum + length > bytesMax && count > 0) break
      sum += length
      count++
    }
    at += length
  }
  taken.bytes = sum
  taken.records = count
  taken.span = at - from
}
