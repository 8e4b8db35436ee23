// Reads the record batches of one partition, as a fetch response holds them, into records of our layout: one pass, no
// object per record. Control batches and records of aborted transactions are left out.
// Runs on: bridge. The scratch memory is shared by all readers of the thread; what `read` answers is new memory, or the caller's.

import {
  FLAG_KEY,
  FLAG_TOMBSTONE,
  KIND_DATA,
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
  type RecordBuffer,
  recordBytes,
  writeI64,
} from '../../record/record.ts'
import { decompress } from './codecs.ts'
import { crc32c } from './crc32c.ts'
import {
  ATTRIBUTE_CODEC,
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_LOG_APPEND_TIME,
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_ATTRIBUTES,
  BATCH_BASE_TIMESTAMP,
  BATCH_CRC,
  BATCH_HEAD_BYTES,
  BATCH_LAST_DELTA,
  BATCH_LENGTH,
  BATCH_MAGIC,
  BATCH_MAX_TIMESTAMP,
  BATCH_OFFSET,
  BATCH_PREFIX_BYTES,
  BATCH_PRODUCER_ID,
  MAGIC,
  readI64BE,
} from './record-batch.ts'
import { VarintCursor } from './varint-cursor.ts'

/** An entry of the fetch response: what this producer wrote from this offset on, up to its next marker, never was. */
export interface AbortedTransaction {
  producerId: number
  firstOffset: number
}

/** A batch that is not what a batch must be: its bytes were damaged, or nobody here knows how to read it. */
export class DamagedBatch extends Error {
  override readonly name = 'DamagedBatch'
  readonly offset: number
  constructor(offset: number, problem: string, cause?: unknown) {
    super(problem, { cause })
    this.offset = offset
  }
}

/** What a control batch says, or who wrote a data batch: for those who follow transactions themselves. */
export interface BatchInfo {
  baseOffset: number
  producerId: number
  isTransactional: boolean
  /** Of a control batch: the transaction was committed, or aborted. */
  marker: 'commit' | 'abort' | undefined
}

const NULL_LENGTH = 0xffffffff
/** Read from the records of a batch before it is known where the first one ends. */
const ONE_RECORD_BYTES = 64 << 10
const MARKER_COMMIT = 1

/** A number that the end of the window cuts is read on past it. */
const SLACK_BYTES = 16

const cursor = new VarintCursor()
let scratch = new Uint8Array(1 << 20)
let scratchView = new DataView(scratch.buffer)

function reserveScratch(bytes: number, keep: number): void {
  if (scratch.length >= bytes) return
  const larger = new Uint8Array(Math.max(bytes, scratch.length * 2))
  larger.set(scratch.subarray(0, keep))
  scratch = larger
  scratchView = new DataView(scratch.buffer)
}

export class RecordSetReader {
  /** The offset to go on from. */
  nextOffset: number
  /** Where the next batch begins in the bytes. */
  at = 0
  readonly #bytes: Uint8Array
  readonly #view: DataView
  /** Not yet begun, by first offset; undefined: nothing is left out but control batches. */
  readonly #aborted: AbortedTransaction[] | undefined
  readonly #abortedProducers = new Set<number>()
  readonly #onBatch: ((info: BatchInfo) => void) | undefined
  /** The batch in work: its records, uncompressed, and where in them it goes on. */
  #records: Uint8Array | undefined
  #recordAt = 0
  #baseOffset = 0
  #baseTimestamp = 0
  #appendTime = 0
  /** Every record of the batch has `#appendTime`, the broker's clock. */
  #hasAppendTime = false
  #afterBatch = 0
  /** What `#decode` did: where its output ends, and how many records it took. */
  #out = 0
  #taken = 0

  /**
   * @param bytes as fetched; the last batch may be cut short. Not changed, and kept until the reader is let go
   * @param from records before this offset are left out
   * @param aborted of the fetch response; undefined: read uncommitted
   * @param onBatch called for each batch before its records are read, for control batches too
   */
  constructor(
    bytes: Uint8Array,
    from: number,
    aborted?: readonly AbortedTransaction[],
    onBatch?: (info: BatchInfo) => void,
  ) {
    this.#bytes = plain(bytes)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.nextOffset = from
    this.#aborted = aborted && [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
    this.#onBatch = onBatch
  }

  /** Nothing more is in the bytes. */
  get isAtEnd(): boolean {
    return this.#records === undefined && !this.#hasWholeBatch()
  }

  /**
   * The next records, up to `bytesMax` in our layout, or one that is larger. None: all was read, or left out.
   * @param batchesMax stops after so many batches, one that was begun before counted
   * @param into where they are put; absent: into new memory
   * @throws DamagedBatch
   */
  read(
    bytesMax: number,
    batchesMax = Number.POSITIVE_INFINITY,
    into?: RecordBuffer,
  ): { frames: Uint8Array; records: number } {
    let length = 0
    let records = 0
    for (let batches = this.#records === undefined ? 0 : 1; ; ) {
      if (this.#records === undefined) {
        if (batches === batchesMax || !this.#hasWholeBatch()) break
        batches++
        if (!this.#open()) continue
      }
      const room = records === 0 ? Math.max(bytesMax, 0) : bytesMax - length
      this.#take(length, room, records === 0)
      length = this.#out
      records += this.#taken
      if (this.#recordAt < this.#records!.length) {
        // Only records before the wanted offset so far, or one that wants more room: once more, from there.
        if (records === 0) continue
        break
      }
      this.#records = undefined
      this.nextOffset = Math.max(this.nextOffset, this.#afterBatch)
    }
    if (!into) return { frames: scratch.slice(0, length), records }
    into.clear()
    into.append(scratch, 0, length, records)
    return { frames: into.bytes.subarray(0, length), records }
  }

  #hasWholeBatch(): boolean {
    const left = this.#bytes.length - this.at
    return left >= BATCH_PREFIX_BYTES && left >= BATCH_PREFIX_BYTES + this.#view.getInt32(this.at + BATCH_LENGTH)
  }

  /** Begins the batch at `at`. @returns false: nothing of it is to be read */
  #open(): boolean {
    const view = this.#view
    const at = this.at
    const baseOffset = readI64BE(view, at + BATCH_OFFSET)
    const end = at + BATCH_PREFIX_BYTES + view.getInt32(at + BATCH_LENGTH)
    const magic = end - at > BATCH_MAGIC ? view.getInt8(at + BATCH_MAGIC) : -1
    if (magic !== MAGIC || end - at < BATCH_HEAD_BYTES) {
      throw new DamagedBatch(baseOffset, `it has format ${magic}, only ${MAGIC} (Kafka 0.11 and later) is read`)
    }
    const afterBatch = baseOffset + view.getInt32(at + BATCH_LAST_DELTA) + 1
    const attributes = view.getInt16(at + BATCH_ATTRIBUTES)
    const producerId = readI64BE(view, at + BATCH_PRODUCER_ID)
    const isTransactional = (attributes & ATTRIBUTE_TRANSACTIONAL) !== 0
    const isControl = (attributes & ATTRIBUTE_CONTROL) !== 0
    this.#followAborted(afterBatch)
    const leftOut = isControl || (isTransactional && this.#abortedProducers.has(producerId))
    if ((leftOut && !isControl) || afterBatch <= this.nextOffset) {
      if (isControl) this.#abortedProducers.delete(producerId)
      this.at = end
      this.nextOffset = Math.max(this.nextOffset, afterBatch)
      return false
    }
    const stored = view.getUint32(at + BATCH_CRC)
    const computed = crc32c(this.#bytes, at + BATCH_ATTRIBUTES, end)
    if (stored !== computed) {
      const hex = (crc: number): string => crc.toString(16).padStart(8, '0')
      throw new DamagedBatch(baseOffset, `its CRC-32C is ${hex(computed)}, but ${hex(stored)} was written with it`)
    }
    if (this.#onBatch) {
      const marker = isControl ? this.#marker(at, baseOffset) : undefined
      this.#onBatch({ baseOffset, producerId, isTransactional, marker })
    }
    this.at = end
    if (isControl) {
      this.#abortedProducers.delete(producerId)
      this.nextOffset = Math.max(this.nextOffset, afterBatch)
      return false
    }
    const packed = this.#bytes.subarray(at + BATCH_HEAD_BYTES, end)
    const codec = attributes & ATTRIBUTE_CODEC
    try {
      this.#records = codec === 0 ? packed : plain(decompress(codec, packed))
    } catch (thrown) {
      throw new DamagedBatch(baseOffset, thrown instanceof Error ? thrown.message : String(thrown), thrown)
    }
    this.#recordAt = 0
    this.#baseOffset = baseOffset
    this.#baseTimestamp = readI64BE(view, at + BATCH_BASE_TIMESTAMP)
    this.#hasAppendTime = (attributes & ATTRIBUTE_LOG_APPEND_TIME) !== 0
    this.#appendTime = readI64BE(view, at + BATCH_MAX_TIMESTAMP)
    this.#afterBatch = afterBatch
    if (this.#records.length > 0) return true
    // Compaction may leave a batch without a record.
    this.#records = undefined
    this.nextOffset = Math.max(this.nextOffset, afterBatch)
    return false
  }

  #followAborted(afterBatch: number): void {
    while (this.#aborted?.length && this.#aborted[0]!.firstOffset < afterBatch) {
      this.#abortedProducers.add(this.#aborted.shift()!.producerId)
    }
  }

  /** The record of a control batch: its key is {i16 version, i16 type}. */
  #marker(at: number, baseOffset: number): 'commit' | 'abort' {
    cursor.begin(this.#bytes, at + BATCH_HEAD_BYTES)
    cursor.varint()
    cursor.at++
    cursor.varlong()
    cursor.varint()
    if (cursor.varint() < 4) throw new DamagedBatch(baseOffset, 'its control record has no type')
    return this.#view.getInt16(cursor.at + 2) === MARKER_COMMIT ? 'commit' : 'abort'
  }

  /**
   * Writes records of the batch in work to the scratch from `start` on.
   * @param first one record is taken even where it is larger than `room`
   */
  #take(start: number, room: number, first: boolean): void {
    const from = this.#recordAt
    const all = this.#records!
    const oneBytes = this.#sizeOfRecord(from)
    // Records are smaller in Kafka's form: more input than `room` is not needed, unless one alone is larger.
    const window = Math.max(room, ONE_RECORD_BYTES, first ? oneBytes : 0)
    const input = Math.min(all.length - from, window)
    // A header may take eight bytes where Kafka takes two: one record at most four times its size, and our header.
    const inputAt = start + Math.max(room, first ? oneBytes * 4 + RECORD_HEADER_BYTES * 2 : 0)
    reserveScratch(inputAt + input + SLACK_BYTES, start)
    // Beside each other in one memory, records move by copyWithin, which makes no view.
    scratch.set(all.subarray(from, from + input), inputAt)
    const problem = this.#decode(inputAt, inputAt + input, start, start + room, first)
    if (problem) throw new DamagedBatch(this.#baseOffset, problem)
  }

  /** Bytes of the record at `at` in Kafka's form, its own length included. */
  #sizeOfRecord(at: number): number {
    cursor.begin(this.#records!, at)
    const length = cursor.varint()
    const size = cursor.at - at + length
    if (length < 6 || at + size > this.#records!.length) {
      throw new DamagedBatch(this.#baseOffset, `a record of it says to have ${length} bytes`)
    }
    return size
  }

  /**
   * @param from the input in the scratch, up to `to`, which may cut the last record
   * @param start where the output begins; it ends at `limit`, unless `first` and the first record of the input is larger
   * @returns what is wrong with the batch // hot
   */
  #decode(from: number, to: number, start: number, limit: number, first: boolean): string | undefined {
    const bytes = scratch
    const view = scratchView
    const wanted = this.nextOffset
    const shift = from - this.#recordAt
    let out = start
    let taken = 0
    let at = from
    let next = wanted
    cursor.begin(bytes, at)
    while (at < to) {
      cursor.at = at
      const length = cursor.varint()
      const bodyAt = cursor.at
      const end = bodyAt + length
      if (bodyAt > to) break
      if (length < 6) return `a record of it says to have ${length} bytes`
      // Cut off by the window, not by the batch: the next call begins with it.
      if (end > to) break
      cursor.at = bodyAt + 1
      const timestampDelta = cursor.varlong()
      const offset = this.#baseOffset + cursor.varint()
      if (offset < wanted) {
        at = end
        continue
      }
      const keyLength = cursor.varint()
      const keyAt = cursor.at
      const keyBytes = keyLength < 0 ? 0 : keyLength
      cursor.at = keyAt + keyBytes
      if (cursor.at >= end) return `the key of the record at offset ${offset} is longer than the record`
      const valueLength = cursor.varint()
      const valueAt = cursor.at
      const valueBytes = valueLength < 0 ? 0 : valueLength
      cursor.at = valueAt + valueBytes
      if (cursor.at >= end) return `the value of the record at offset ${offset} is longer than the record`
      const headers = cursor.varint()
      const headersAt = cursor.at
      const headersBytes = headers === 0 ? 0 : this.#sizeOfHeaders(headers, end)
      if (headersBytes < 0) return `the headers of the record at offset ${offset} are longer than the record`
      const size = recordBytes(keyBytes, headersBytes, valueBytes)
      if (out + size > limit && !(first && at === from)) break
      view.setUint32(out + RECORD_LENGTH, size, true)
      bytes[out + RECORD_KIND] = KIND_DATA
      bytes[out + RECORD_FLAGS] = (keyLength < 0 ? 0 : FLAG_KEY) | (valueLength < 0 ? FLAG_TOMBSTONE : 0)
      view.setUint16(out + RECORD_PORT, 0, true)
      const timestamp = this.#hasAppendTime ? this.#appendTime : this.#baseTimestamp + timestampDelta
      writeI64(view, out + RECORD_TIMESTAMP, timestamp)
      view.setUint32(out + RECORD_SEQUENCE, 0, true)
      view.setUint32(out + RECORD_SEQUENCE + 4, 0, true)
      writeI64(view, out + RECORD_SOURCE_OFFSET, offset)
      view.setUint32(out + RECORD_SOURCE, 0, true)
      view.setUint32(out + RECORD_KEY_BYTES, keyBytes, true)
      view.setUint32(out + RECORD_HEADERS_BYTES, headersBytes, true)
      view.setUint32(out + RECORD_VALUE_BYTES, valueBytes, true)
      let part = out + RECORD_HEADER_BYTES
      if (keyBytes > 0) bytes.copyWithin(part, keyAt, keyAt + keyBytes)
      part += keyBytes
      if (headersBytes > 0) this.#writeHeaders(headers, headersAt, part)
      part += headersBytes
      bytes.copyWithin(part, valueAt, valueAt + valueBytes)
      part += valueBytes
      out += size
      while (part < out) bytes[part++] = 0
      taken++
      next = offset + 1
      at = end
    }
    this.#recordAt = at - shift
    this.nextOffset = next
    this.#out = out
    this.#taken = taken
    return undefined
  }

  /** @returns bytes in our layout, of the headers from `cursor.at`; -1: they are longer than the record */
  #sizeOfHeaders(headers: number, end: number): number {
    let size = 0
    if (headers < 0) return -1
    for (let i = 0; i < headers; i++) {
      const nameBytes = cursor.varint()
      if (nameBytes < 0 || cursor.at + nameBytes >= end) return -1
      cursor.at += nameBytes
      const valueBytes = cursor.varint()
      if (valueBytes > 0) cursor.at += valueBytes
      if (cursor.at > end) return -1
      size += 8 + nameBytes + (valueBytes < 0 ? 0 : valueBytes)
    }
    return size
  }

  #writeHeaders(headers: number, from: number, start: number): void {
    let out = start
    cursor.at = from
    for (let i = 0; i < headers; i++) {
      const nameBytes = cursor.varint()
      scratchView.setUint32(out, nameBytes, true)
      scratch.copyWithin(out + 4, cursor.at, cursor.at + nameBytes)
      cursor.at += nameBytes
      out += 4 + nameBytes
      const valueBytes = cursor.varint()
      scratchView.setUint32(out, valueBytes < 0 ? NULL_LENGTH : valueBytes, true)
      out += 4
      if (valueBytes <= 0) continue
      scratch.copyWithin(out, cursor.at, cursor.at + valueBytes)
      cursor.at += valueBytes
      out += valueBytes
    }
  }
}

/** The same memory as a plain Uint8Array: a Buffer among them would make every reader see two kinds. */
function plain(bytes: Uint8Array): Uint8Array {
  return Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes
}
