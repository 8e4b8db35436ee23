// Steps over a run of records and says where the parts of each are, without an object per record.
// Runs on: bridge.

import {
  FLAG_KEY,
  FLAG_TOMBSTONE,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
  RECORD_VALUE_BYTES,
  readI64,
} from '../record/record.ts'

const NO_BYTES = new Uint8Array(0)
const NO_VIEW = new DataView(NO_BYTES.buffer)

/** A run is set once, then `next()` moves from record to record. The bytes are the caller's. */
export class RecordReader {
  bytes: Uint8Array = NO_BYTES
  #view: DataView = NO_VIEW
  #to = 0
  #next = 0
  /** Where the present record begins. */
  at = 0
  keyAt = 0
  valueAt = 0
  /** Where the value ends. */
  end = 0
  isTombstone = false

  set(bytes: Uint8Array, from: number, to: number): void {
    if (bytes !== this.bytes) {
      this.bytes = bytes
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    this.#next = from
    this.#to = to
  }

  /** Goes to the next record. @returns false: there is none // hot */
  next(): boolean {
    const at = this.#next
    if (at >= this.#to) return false
    const view = this.#view
    this.at = at
    this.#next = at + view.getUint32(at + RECORD_LENGTH, true)
    this.keyAt = at + RECORD_HEADER_BYTES
    this.valueAt =
      this.keyAt + view.getUint32(at + RECORD_KEY_BYTES, true) + view.getUint32(at + RECORD_HEADERS_BYTES, true)
    this.end = this.valueAt + view.getUint32(at + RECORD_VALUE_BYTES, true)
    this.isTombstone = (this.bytes[at + RECORD_FLAGS]! & FLAG_TOMBSTONE) !== 0
    return true
  }

  /** Where the record after the present one begins. */
  get nextAt(): number {
    return this.#next
  }

  get sourceOffset(): number {
    return readI64(this.#view, this.at + RECORD_SOURCE_OFFSET)
  }

  /** A copy of the key; undefined: there is none. */
  key(): Uint8Array | undefined {
    if ((this.bytes[this.at + RECORD_FLAGS]! & FLAG_KEY) === 0) return undefined
    return this.bytes.slice(this.keyAt, this.keyAt + this.#view.getUint32(this.at + RECORD_KEY_BYTES, true))
  }

  /** A copy of the value; empty for a tombstone. */
  value(): Uint8Array {
    return this.bytes.slice(this.valueAt, this.end)
  }
}
