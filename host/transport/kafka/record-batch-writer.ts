// Builds a record batch straight from a run of our records: one pass, no object per record.
// Runs on: bridge. The scratch memory is the writer's; the batch it answers is the caller's.

import {
  FLAG_KEY,
  FLAG_TOMBSTONE,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_LENGTH,
  RECORD_TIMESTAMP,
  RECORD_VALUE_BYTES,
  readI64,
} from '../../record/record.ts'
import { CODEC_NUMBERS, type CodecName, compress } from './codecs.ts'
import { crc32c } from './crc32c.ts'
import { takeMemory } from './frame-memory.ts'
import {
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_ATTRIBUTES,
  BATCH_BASE_TIMESTAMP,
  BATCH_CRC,
  BATCH_HEAD_BYTES,
  BATCH_LAST_DELTA,
  BATCH_LEADER_EPOCH,
  BATCH_LENGTH,
  BATCH_MAGIC,
  BATCH_MAX_TIMESTAMP,
  BATCH_OFFSET,
  BATCH_PREFIX_BYTES,
  BATCH_PRODUCER_EPOCH,
  BATCH_PRODUCER_ID,
  BATCH_RECORDS,
  BATCH_SEQUENCE,
  MAGIC,
  sizeOfLength,
  sizeOfVarlong,
  writeI64BE,
  writeVarlong,
} from './record-batch.ts'

/** Who writes, as the broker's check for what came twice wants it. */
export interface ProducerStamp {
  id: number
  epoch: number
  /** Of the batch's first record in its partition. */
  sequence: number
  transactional: boolean
}

const NULL_LENGTH = 0xffffffff
const NOBODY: ProducerStamp = { id: -1, epoch: -1, sequence: -1, transactional: false }

export class RecordBatchWriter {
  readonly #codec: CodecName
  #scratch = new Uint8Array(0)
  #view = new DataView(this.#scratch.buffer)
  #at = 0

  constructor(codec: CodecName = 'none') {
    this.#codec = codec
  }

  /**
   * @param frames whole data records in `[from … to)`, at least one; lengths checked
   * @returns a whole batch with offsets from 0
   */
  write(frames: Uint8Array, from: number, to: number, stamp: ProducerStamp = NOBODY): Uint8Array {
    // In Kafka's form a record is never larger than in ours: 48 bytes of header cover the varints.
    const room = BATCH_HEAD_BYTES + (to - from)
    this.#reserve(room + (to - from))
    const scratch = this.#scratch
    // Beside each other in one memory, records move by copyWithin, which makes no view.
    scratch.set(frames.subarray(from, to), room)
    const view = this.#view
    const baseTimestamp = readI64(view, room + RECORD_TIMESTAMP)
    writeI64BE(view, BATCH_BASE_TIMESTAMP, baseTimestamp)
    this.#at = BATCH_HEAD_BYTES
    const records = this.#writeRecords(room, room + (to - from), baseTimestamp)
    writeI64BE(view, BATCH_OFFSET, 0)
    view.setInt32(BATCH_LEADER_EPOCH, -1)
    view.setInt8(BATCH_MAGIC, MAGIC)
    view.setInt16(BATCH_ATTRIBUTES, CODEC_NUMBERS[this.#codec] | (stamp.transactional ? ATTRIBUTE_TRANSACTIONAL : 0))
    view.setInt32(BATCH_LAST_DELTA, records - 1)
    writeI64BE(view, BATCH_PRODUCER_ID, stamp.id)
    view.setInt16(BATCH_PRODUCER_EPOCH, stamp.epoch)
    view.setInt32(BATCH_SEQUENCE, stamp.sequence)
    view.setInt32(BATCH_RECORDS, records)
    return seal(this.#codec === 'none' ? this.#copy() : this.#compressed())
  }

  /** @returns how many // hot */
  #writeRecords(from: number, to: number, baseTimestamp: number): number {
    const bytes = this.#scratch
    const view = this.#view
    let maxTimestamp = baseTimestamp
    let records = 0
    let out = this.#at
    for (let at = from; at < to; at += view.getUint32(at + RECORD_LENGTH, true)) {
      const flags = bytes[at + RECORD_FLAGS]!
      const keyBytes = view.getUint32(at + RECORD_KEY_BYTES, true)
      const headersBytes = view.getUint32(at + RECORD_HEADERS_BYTES, true)
      const valueBytes = view.getUint32(at + RECORD_VALUE_BYTES, true)
      const timestamp = readI64(view, at + RECORD_TIMESTAMP)
      if (timestamp > maxTimestamp) maxTimestamp = timestamp
      const delta = timestamp - baseTimestamp
      const keyAt = at + RECORD_HEADER_BYTES
      const headersAt = keyAt + keyBytes
      const valueAt = headersAt + headersBytes
      const hasKey = (flags & FLAG_KEY) !== 0
      const hasValue = (flags & FLAG_TOMBSTONE) === 0
      const size =
        1 +
        sizeOfVarlong(delta) +
        sizeOfLength(records) +
        (hasKey ? sizeOfLength(keyBytes) + keyBytes : 1) +
        (hasValue ? sizeOfLength(valueBytes) + valueBytes : 1) +
        (headersBytes === 0 ? 1 : this.#sizeOfHeaders(headersAt, valueAt))
      out = writeVarlong(bytes, out, size)
      bytes[out++] = 0
      out = writeVarlong(bytes, out, delta)
      out = writeVarlong(bytes, out, records)
      if (hasKey) {
        out = writeVarlong(bytes, out, keyBytes)
        bytes.copyWithin(out, keyAt, headersAt)
        out += keyBytes
      } else bytes[out++] = 1
      if (hasValue) {
        out = writeVarlong(bytes, out, valueBytes)
        // In our layout headers stand before the value, in Kafka's behind it. The output never reaches its input:
        // it begins a whole run before it and grows no faster.
        bytes.copyWithin(out, valueAt, valueAt + valueBytes)
        out += valueBytes
      } else bytes[out++] = 1
      out = headersBytes === 0 ? writeVarlong(bytes, out, 0) : this.#writeHeaders(out, headersAt, valueAt)
      records++
    }
    this.#at = out
    writeI64BE(view, BATCH_MAX_TIMESTAMP, maxTimestamp)
    return records
  }

  #sizeOfHeaders(from: number, to: number): number {
    const view = this.#view
    let count = 0
    let size = 0
    for (let at = from; at < to; count++) {
      const nameBytes = view.getUint32(at, true)
      at += 4 + nameBytes
      const valueBytes = view.getUint32(at, true)
      size += sizeOfLength(nameBytes) + nameBytes
      size += valueBytes === NULL_LENGTH ? 1 : sizeOfLength(valueBytes) + valueBytes
      at += 4 + (valueBytes === NULL_LENGTH ? 0 : valueBytes)
    }
    return sizeOfLength(count) + size
  }

  #writeHeaders(start: number, from: number, to: number): number {
    const view = this.#view
    const bytes = this.#scratch
    let count = 0
    for (let at = from; at < to; count++) {
      at += 4 + view.getUint32(at, true)
      const valueBytes = view.getUint32(at, true)
      at += 4 + (valueBytes === NULL_LENGTH ? 0 : valueBytes)
    }
    let out = writeVarlong(bytes, start, count)
    for (let at = from; at < to; ) {
      const nameBytes = view.getUint32(at, true)
      at += 4
      out = writeVarlong(bytes, out, nameBytes)
      bytes.copyWithin(out, at, at + nameBytes)
      out += nameBytes
      at += nameBytes
      const valueBytes = view.getUint32(at, true)
      at += 4
      if (valueBytes === NULL_LENGTH) {
        bytes[out++] = 1
        continue
      }
      out = writeVarlong(bytes, out, valueBytes)
      bytes.copyWithin(out, at, at + valueBytes)
      out += valueBytes
      at += valueBytes
    }
    return out
  }

  #copy(): Uint8Array {
    const batch = takeMemory(this.#at)
    batch.set(this.#scratch.subarray(0, this.#at))
    return batch
  }

  #compressed(): Uint8Array {
    const packed = compress(this.#codec, this.#scratch.subarray(BATCH_HEAD_BYTES, this.#at))
    const batch = new Uint8Array(BATCH_HEAD_BYTES + packed.length)
    batch.set(this.#scratch.subarray(0, BATCH_HEAD_BYTES))
    batch.set(packed, BATCH_HEAD_BYTES)
    return batch
  }

  #reserve(bytes: number): void {
    if (this.#scratch.length >= bytes) return
    this.#scratch = new Uint8Array(Math.max(bytes, this.#scratch.length * 2))
    this.#view = new DataView(this.#scratch.buffer)
  }
}

/** Writes length and checksum. */
function seal(batch: Uint8Array): Uint8Array {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength)
  view.setInt32(BATCH_LENGTH, batch.length - BATCH_PREFIX_BYTES)
  view.setUint32(BATCH_CRC, crc32c(batch, BATCH_ATTRIBUTES, batch.length))
  return batch
}
