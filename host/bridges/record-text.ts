// Values of records as lines of text: what `http` posts and `file` writes.
// Runs on: bridge.

import { RecordReader } from './record-reader.ts'

const LF = 10
const CR = 13
const SPACE = 32
const NULL = Buffer.from('null')

/** Copies a value so that it stands on one line: in JSON a line end can only stand where a space may. @returns where it ends // hot */
export function copyLine(records: RecordReader, target: Uint8Array, at: number): number {
  const { bytes, valueAt, end } = records
  if (records.isTombstone) {
    target.set(NULL, at)
    return at + NULL.length
  }
  target.set(bytes.subarray(valueAt, end), at)
  const until = at + end - valueAt
  for (let i = at; i < until; i++) if (target[i] === LF || target[i] === CR) target[i] = SPACE
  return until
}

/** Room that the line of the present record takes at most, line end included. */
export function lineBytes(records: RecordReader): number {
  return Math.max(NULL.length, records.end - records.valueAt) + 1
}

/** A run of records as NDJSON; a tombstone is `null`. */
export function ndjsonBytes(frames: Uint8Array): Buffer {
  const records = new RecordReader()
  // A frame has more bytes of header than a line has of its own.
  const out = Buffer.allocUnsafe(frames.length)
  let at = 0
  records.set(frames, 0, frames.length)
  while (records.next()) {
    at = copyLine(records, out, at)
    out[at++] = LF
  }
  return out.subarray(0, at)
}
