// Reads and writes records in the one layout of wasm-operators/abi.ts, without an object per record.
// Runs on: every thread. Memory belongs to the caller.

import {
  FLAG_KEY,
  FLAG_TOMBSTONE,
  KIND_DATA,
  RECORD_ALIGNMENT,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_PORT,
  RECORD_SEQUENCE,
  RECORD_SOURCE,
  RECORD_SOURCE_OFFSET,
  RECORD_TIMESTAMP,
  RECORD_VALUE_BYTES,
} from '../../wasm-operators/abi.ts'

export * from '../../wasm-operators/abi.ts'

/** A record may have this many bytes, header included, unless its source says otherwise: 1 MiB of its own. */
export const RECORD_BYTES_MAX = (1 << 20) + RECORD_HEADER_BYTES

const TWO_32 = 4294967296

/** Bytes that a record with these parts takes, padding included. */
export function recordBytes(keyBytes: number, headersBytes: number, valueBytes: number): number {
  return (RECORD_HEADER_BYTES + keyBytes + headersBytes + valueBytes + (RECORD_ALIGNMENT - 1)) & ~(RECORD_ALIGNMENT - 1)
}

/** A non-negative 64-bit number below 2^53 at `at`; exact, and no BigInt is made. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * TWO_32
}

export function writeU64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32)
  view.setUint32(at, value - high * TWO_32, true)
  view.setUint32(at + 4, high, true)
}

/** A signed 64-bit number within ±2^53 at `at`. */
export function readI64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getInt32(at + 4, true) * TWO_32
}

export function writeI64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32)
  view.setUint32(at, value - high * TWO_32, true)
  view.setInt32(at + 4, high, true)
}

/** One record as an object: for the edges of the product (API, tap, tests), never for the hot path. */
export interface PlainRecord {
  key?: Uint8Array
  /** Absent: a tombstone. */
  value?: Uint8Array
  headers?: [name: string, value: Uint8Array | null][]
  /** ms since 1970 */
  timestamp: number
  sequence?: number
  sourceOffset?: number
  source?: number
  port?: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const NULL_LENGTH = 0xffffffff

export function encodeHeaders(headers: [string, Uint8Array | null][]): Uint8Array {
  const names = headers.map(([name]) => encoder.encode(name))
  let bytes = 0
  headers.forEach(([, value], i) => {
    bytes += 8 + names[i]!.length + (value?.length ?? 0)
  })
  const out = new Uint8Array(bytes)
  const view = new DataView(out.buffer)
  let at = 0
  headers.forEach(([, value], i) => {
    const name = names[i]!
    view.setUint32(at, name.length, true)
    out.set(name, at + 4)
    at += 4 + name.length
    view.setUint32(at, value ? value.length : NULL_LENGTH, true)
    if (value) out.set(value, at + 4)
    at += 4 + (value?.length ?? 0)
  })
  return out
}

/** @throws RangeError where the bytes are no headers. */
export function decodeHeaders(bytes: Uint8Array): [string, Uint8Array | null][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const headers: [string, Uint8Array | null][] = []
  for (let at = 0; at < bytes.length; ) {
    const nameBytes = view.getUint32(at, true)
    const name = decoder.decode(bytes.slice(at + 4, at + 4 + nameBytes))
    at += 4 + nameBytes
    const valueBytes = view.getUint32(at, true)
    if (valueBytes === NULL_LENGTH) headers.push([name, null])
    else headers.push([name, bytes.slice(at + 4, at + 4 + valueBytes)])
    at += 4 + (valueBytes === NULL_LENGTH ? 0 : valueBytes)
  }
  return headers
}

/** Reads the record at `at` into an object with copies of its bytes. */
export function decodeRecord(bytes: Uint8Array, at: number): PlainRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flags = bytes[at + RECORD_FLAGS]!
  const keyBytes = view.getUint32(at + RECORD_KEY_BYTES, true)
  const headersBytes = view.getUint32(at + RECORD_HEADERS_BYTES, true)
  const valueBytes = view.getUint32(at + RECORD_VALUE_BYTES, true)
  const keyAt = at + RECORD_HEADER_BYTES
  const headersAt = keyAt + keyBytes
  const valueAt = headersAt + headersBytes
  const record: PlainRecord = {
    timestamp: readI64(view, at + RECORD_TIMESTAMP),
    sequence: readU64(view, at + RECORD_SEQUENCE),
    sourceOffset: readI64(view, at + RECORD_SOURCE_OFFSET),
    source: view.getUint32(at + RECORD_SOURCE, true),
    port: view.getUint16(at + RECORD_PORT, true),
  }
  if (flags & FLAG_KEY) record.key = bytes.slice(keyAt, headersAt)
  if (headersBytes > 0) record.headers = decodeHeaders(bytes.slice(headersAt, valueAt))
  if (!(flags & FLAG_TOMBSTONE)) record.value = bytes.slice(valueAt, valueAt + valueBytes)
  return record
}

/** Number of records in a run of whole records. */
export function countRecords(bytes: Uint8Array, from: number, to: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let records = 0
  for (let at = from; at < to; at += view.getUint32(at + RECORD_LENGTH, true)) records++
  return records
}

const CAPACITY_BYTES_MIN = 1 << 10
/** Of buffers that hold nothing yet: thousands of pipelines rest. */
const NO_BYTES = new Uint8Array(0)
const NO_VIEW = new DataView(NO_BYTES.buffer)

/**
 * A growing run of records, reused after `clear()`. The one way by which host code makes records.
 * `bytes[0 … length)` are whole records; the view is valid until the next call that adds.
 */
export class RecordBuffer {
  bytes: Uint8Array
  view: DataView
  /** Bytes in use. */
  length = 0
  /** Records in use. */
  records = 0

  constructor(capacityBytes = 64 << 10) {
    this.bytes = capacityBytes === 0 ? NO_BYTES : new Uint8Array(capacityBytes)
    this.view = capacityBytes === 0 ? NO_VIEW : new DataView(this.bytes.buffer)
  }

  clear(): void {
    this.length = 0
    this.records = 0
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    const needed = this.length + bytes
    if (needed <= this.bytes.length) return
    let capacity = Math.max(this.bytes.length * 2, CAPACITY_BYTES_MIN)
    while (capacity < needed) capacity *= 2
    const larger = new Uint8Array(capacity)
    larger.set(this.bytes)
    this.bytes = larger
    this.view = new DataView(larger.buffer)
  }

  /**
   * Adds a data record whose key, headers and value the caller then writes at the returned position, in this order.
   * Port, sequence and source are 0 until set. // hot
   *
   * @param keyBytes -1: no key
   * @param valueBytes -1: a tombstone
   * @returns where the key's bytes begin in `bytes`; the record itself begins RECORD_HEADER_BYTES before
   */
  begin(keyBytes: number, headersBytes: number, valueBytes: number, timestamp: number): number {
    const keyed = Math.max(keyBytes, 0)
    const valued = Math.max(valueBytes, 0)
    const bytes = recordBytes(keyed, headersBytes, valued)
    this.reserve(bytes)
    const at = this.length
    const view = this.view
    view.setUint32(at + RECORD_LENGTH, bytes, true)
    this.bytes[at + RECORD_KIND] = KIND_DATA
    this.bytes[at + RECORD_FLAGS] = (keyBytes < 0 ? 0 : FLAG_KEY) | (valueBytes < 0 ? FLAG_TOMBSTONE : 0)
    view.setUint16(at + RECORD_PORT, 0, true)
    writeI64(view, at + RECORD_TIMESTAMP, timestamp)
    writeU64(view, at + RECORD_SEQUENCE, 0)
    writeI64(view, at + RECORD_SOURCE_OFFSET, 0)
    view.setUint32(at + RECORD_SOURCE, 0, true)
    view.setUint32(at + RECORD_KEY_BYTES, keyed, true)
    view.setUint32(at + RECORD_HEADERS_BYTES, headersBytes, true)
    view.setUint32(at + RECORD_VALUE_BYTES, valued, true)
    // The tail is padding, at most seven bytes, in the last eight of the record.
    const end = at + RECORD_HEADER_BYTES + keyed + headersBytes + valued
    for (let i = end; i < at + bytes; i++) this.bytes[i] = 0
    this.length = at + bytes
    this.records++
    return at + RECORD_HEADER_BYTES
  }

  /** Adds a record given as an object. */
  add(record: PlainRecord): void {
    const headers = record.headers?.length ? encodeHeaders(record.headers) : undefined
    const start = this.length
    let at = this.begin(record.key?.length ?? -1, headers?.length ?? 0, record.value?.length ?? -1, record.timestamp)
    if (record.key) this.bytes.set(record.key, at)
    at += record.key?.length ?? 0
    if (headers) this.bytes.set(headers, at)
    at += headers?.length ?? 0
    if (record.value) this.bytes.set(record.value, at)
    if (record.sequence !== undefined) writeU64(this.view, start + RECORD_SEQUENCE, record.sequence)
    if (record.sourceOffset !== undefined) writeI64(this.view, start + RECORD_SOURCE_OFFSET, record.sourceOffset)
    if (record.source !== undefined) this.view.setUint32(start + RECORD_SOURCE, record.source, true)
    if (record.port !== undefined) this.view.setUint16(start + RECORD_PORT, record.port, true)
  }

  /** Adds a run of whole records as they are. */
  append(bytes: Uint8Array, from: number, to: number, records: number): void {
    this.reserve(to - from)
    this.bytes.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to), this.length)
    this.length += to - from
    this.records += records
  }
}
