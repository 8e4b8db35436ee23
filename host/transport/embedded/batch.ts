// A batch: a row of the log, cut from runs of checked records and compressed.
// Runs on: log thread.

import { crc32 } from 'node:zlib'
import {
  RECORD_LENGTH,
  RECORD_PORT,
  RECORD_SEQUENCE,
  RECORD_SOURCE,
  RECORD_SOURCE_OFFSET,
  RECORD_TIMESTAMP,
  readI64,
} from '../../record/record.ts'
import { type Packed, pack } from '../pack.ts'

/** Rows have about this many uncompressed bytes at most, unless one record alone is larger. */
export const ROW_BYTES_MAX = 1 << 20

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

function concat(parts: Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
