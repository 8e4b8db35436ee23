// A batch: a row of the log. Checked and cut from runs of records, compressed, and read back.
// Runs on: log thread; `checkFrames` on the thread that appends.

import { crc32 } from 'node:zlib'
import { compressSync, uncompressSync } from 'lz4-napi'
import { SpqrError } from '../../../schemas/errors.ts'
import {
  KIND_DATA,
  RECORD_ALIGNMENT,
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
  readI64,
} from '../../record/record.ts'

/** Rows have about this many uncompressed bytes at most, unless one record alone is larger. */
export const ROW_BYTES_MAX = 1 << 20
/** The largest record that the log takes, header included. */
export const LOG_RECORD_BYTES_MAX = 17 << 20
/** Below this compression saves nothing that counts. */
const COMPRESS_FROM_BYTES = 1024

export const CODEC_NONE = 0
export const CODEC_LZ4 = 1

/** Bytes as they are stored. */
export interface Packed {
  codec: number
  data: Uint8Array
}

/** A row that has no place yet: offsets in its records count from 0. */
export interface Row extends Packed {
  /** Uncompressed bytes. */
  bytes: number
  records: number
  maxTimestamp: number
  crc: number
  /** The uncompressed records, while they are worth keeping. */
  frames?: Uint8Array
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Checks that `frames` are exactly `records` whole data records. // hot
 * @throws SpqrError RECORD_TOO_LARGE; RangeError where they are no records
 */
export function checkFrames(topic: string, frames: Uint8Array, records: number): void {
  const view = viewOf(frames)
  const total = frames.length
  let at = 0
  let seen = 0
  while (at < total) {
    if (total - at < RECORD_HEADER_BYTES) break
    const bytes = view.getUint32(at + RECORD_LENGTH, true)
    const parts =
      RECORD_HEADER_BYTES +
      view.getUint32(at + RECORD_KEY_BYTES, true) +
      view.getUint32(at + RECORD_HEADERS_BYTES, true) +
      view.getUint32(at + RECORD_VALUE_BYTES, true)
    if (bytes % RECORD_ALIGNMENT !== 0 || parts > bytes || bytes > total - at) break
    if (frames[at + RECORD_KIND] !== KIND_DATA) break
    if (bytes > LOG_RECORD_BYTES_MAX) throw tooLarge(topic, bytes)
    at += bytes
    seen++
  }
  if (at === total && seen === records) return
  throw new RangeError(
    at === total
      ? `Cannot append to "${topic}": ${records} records were announced, ${seen} came`
      : `Cannot append to "${topic}": no data record at byte ${at} of ${total}`,
  )
}

function tooLarge(topic: string, bytes: number): SpqrError {
  const text = `Cannot append to "${topic}": a record has ${bytes} bytes, at most ${LOG_RECORD_BYTES_MAX} are taken.`
  return new SpqrError('RECORD_TOO_LARGE', text)
}

/** Gathers records for one partition and cuts them into rows. Takes the buffers it is given; they are changed. */
export class RowBuilder {
  /** Finished rows, oldest first. */
  readonly rows: Row[] = []
  records = 0
  readonly #rowBytesMax: number
  readonly #keepFrames: boolean
  #parts: Uint8Array[] = []
  #bytes = 0
  #rowRecords = 0
  #maxTimestamp = 0

  /** @param keepFrames rows keep their uncompressed bytes too, for the cache */
  constructor(rowBytesMax: number, keepFrames: boolean) {
    this.#rowBytesMax = rowBytesMax
    this.#keepFrames = keepFrames
  }

  /** Uncompressed bytes that are in no row yet. */
  get openBytes(): number {
    return this.#bytes
  }

  /** Adds records, numbering them from the beginning of their row. @param frames checked; ours from now on // hot */
  add(frames: Uint8Array, records: number): void {
    const view = viewOf(frames)
    const total = frames.length
    this.records += records
    let from = 0
    let at = 0
    while (at < total) {
      const bytes = view.getUint32(at + RECORD_LENGTH, true)
      if (this.#rowRecords > 0 && this.#bytes + (at - from) + bytes > this.#rowBytesMax) {
        this.#take(frames, from, at)
        this.seal()
        from = at
      }
      const timestamp = readI64(view, at + RECORD_TIMESTAMP)
      if (this.#rowRecords === 0 || timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
      view.setUint16(at + RECORD_PORT, 0, true)
      view.setUint32(at + RECORD_SEQUENCE, 0, true)
      view.setUint32(at + RECORD_SEQUENCE + 4, 0, true)
      view.setUint32(at + RECORD_SOURCE_OFFSET, this.#rowRecords, true)
      view.setUint32(at + RECORD_SOURCE_OFFSET + 4, 0, true)
      view.setUint32(at + RECORD_SOURCE, 0, true)
      this.#rowRecords++
      at += bytes
    }
    this.#take(frames, from, total)
    if (this.#bytes >= this.#rowBytesMax) this.seal()
  }

  /** Makes a row of what is open. */
  seal(): void {
    if (this.#rowRecords === 0) return
    const frames = this.#parts.length === 1 ? this.#parts[0]! : concat(this.#parts, this.#bytes)
    this.rows.push(makeRow(frames, this.#rowRecords, this.#maxTimestamp, this.#keepFrames))
    this.#parts = []
    this.#bytes = 0
    this.#rowRecords = 0
  }

  #take(frames: Uint8Array, from: number, to: number): void {
    if (to === from) return
    this.#parts.push(from === 0 && to === frames.length ? frames : frames.subarray(from, to))
    this.#bytes += to - from
  }
}

export function makeRow(frames: Uint8Array, records: number, maxTimestamp: number, keepFrames: boolean): Row {
  const packed = pack(frames)
  const row: Row = {
    codec: packed.codec,
    data: packed.data,
    bytes: frames.length,
    records,
    maxTimestamp,
    crc: crc32(packed.data),
  }
  if (keepFrames) row.frames = frames
  return row
}

/** Compresses where that saves something. The answer may be `bytes` itself. */
export function pack(bytes: Uint8Array): Packed {
  if (bytes.length >= COMPRESS_FROM_BYTES) {
    const data = compressSync(asBuffer(bytes))
    if (data.length < bytes.length * 0.9) return { codec: CODEC_LZ4, data }
  }
  return { codec: CODEC_NONE, data: bytes }
}

/** @throws Error where the bytes were not made by `pack` */
export function unpack(codec: number, data: Uint8Array): Uint8Array {
  if (codec === CODEC_NONE) return data
  if (codec === CODEC_LZ4) return uncompressSync(data)
  throw new Error(`unknown codec ${codec}`)
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function concat(parts: Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
