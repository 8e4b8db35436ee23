// Checks a run of records that a tenant's process sent, before any of it enters a ring of the host: whoever reads a ring
// trusts its frames.
// Runs on: relay thread. The bytes are the host's own copy: the other process cannot change them any more.

import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  RECORD_ALIGNMENT,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_KIND,
  RECORD_PORT,
  RECORD_SOURCE_OFFSET,
  RECORD_VALUE_BYTES,
} from '../record/record.ts'
import { MalformedFrame } from './frames.ts'

const NULL_LENGTH = 0xffffffff
const FLAGS_MAX = 3

/** What is known of the channel that the records came by; `epoch` and `ended` are written. */
export interface RecordBounds {
  /** Ports below this number. */
  readonly ports: number
  /** The last barrier that has come. */
  epoch: number
  /** The end has come. */
  ended: boolean
}

/**
 * @param epochMax the last barrier that was sent to the process: another cannot come back
 * @throws MalformedFrame // hot
 */
export function checkRecords(
  bytes: Uint8Array,
  words: Int32Array,
  from: number,
  to: number,
  bounds: RecordBounds,
  epochMax: number,
): void {
  let at = from
  while (at < to) {
    const word = at >> 2
    if (to - at < RECORD_HEADER_BYTES) throw new MalformedFrame('a run that ends within a header')
    // An emitter that is taken out after its end gets a second one.
    if (bounds.ended && bytes[at + RECORD_KIND] !== KIND_END) throw new MalformedFrame('a record after the end')
    const length = words[word]!
    const key = words[word + (RECORD_KEY_BYTES >> 2)]!
    const headers = words[word + (RECORD_HEADERS_BYTES >> 2)]!
    const value = words[word + (RECORD_VALUE_BYTES >> 2)]!
    // Each is below 2^31 where none is negative: the sum is exact in a double.
    const needed = RECORD_HEADER_BYTES + key + headers + value
    if (
      (key | headers | value) < 0 ||
      length < needed ||
      length - needed >= RECORD_ALIGNMENT ||
      (length & (RECORD_ALIGNMENT - 1)) !== 0 ||
      at + length > to
    ) {
      throw new MalformedFrame(`no whole record at byte ${at - from} of a run`)
    }
    if (bytes[at + RECORD_KIND] === KIND_DATA) {
      const port = bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8)
      if (port >= bounds.ports) throw new MalformedFrame(`a record for port ${port} of ${bounds.ports}`)
      if (bytes[at + RECORD_FLAGS]! > FLAGS_MAX) throw new MalformedFrame(`the flags ${bytes[at + RECORD_FLAGS]}`)
      if (headers > 0) checkHeaders(bytes, at + RECORD_HEADER_BYTES + key, headers)
    } else {
      checkMark(bytes[at + RECORD_KIND]!, words, word, length, bounds, epochMax)
    }
    at += length
  }
}

function checkMark(
  kind: number,
  words: Int32Array,
  word: number,
  length: number,
  bounds: RecordBounds,
  epochMax: number,
): void {
  if (length !== RECORD_HEADER_BYTES) throw new MalformedFrame(`a mark of ${length} bytes`)
  if (kind === KIND_END) {
    bounds.ended = true
    return
  }
  if (kind !== KIND_BARRIER) throw new MalformedFrame(`a record of kind ${kind}`)
  const at = word + (RECORD_SOURCE_OFFSET >> 2)
  const epoch = words[at + 1]! * 4294967296 + (words[at]! >>> 0)
  if (epoch <= bounds.epoch || epoch > epochMax) {
    throw new MalformedFrame(`barrier ${epoch}, between ${bounds.epoch} and ${epochMax}`)
  }
  bounds.epoch = epoch
}

/** A run of {u32 nameBytes, name, u32 valueBytes, value} that fills its bytes. */
function checkHeaders(bytes: Uint8Array, from: number, length: number): void {
  const end = from + length
  let at = from
  while (at < end) {
    if (end - at < 4) break
    at += 4 + readU32(bytes, at)
    if (end - at < 4) break
    const value = readU32(bytes, at)
    at += 4 + (value === NULL_LENGTH ? 0 : value)
  }
  if (at !== end) throw new MalformedFrame('headers that do not fill their place')
}

function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}
