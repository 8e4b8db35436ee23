// The rows of all partitions: appended in a commit, read from any offset.
// Runs on: log thread.

import { crc32 } from 'node:zlib'
import { SpqrError } from '../../../schemas/errors.ts'
import {
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
  RECORD_TIMESTAMP,
  readI64,
  readU64,
  writeU64,
} from '../../record/record.ts'
import { unpack } from '../pack.ts'
import { type Row, RowBuilder, viewOf } from './batch.ts'
import { isSmall, type Partition } from './catalog.ts'
import { blob, type Database, type Statement } from './database.ts'
import type { ReadAnswer } from './messages.ts'
import type { RowCache } from './row-cache.ts'
import type { WriteTransaction } from './write-transaction.ts'

const READ_BYTES_MAX = 64 << 20
/** Rows looked up at once: first a few, as rows are mostly large, then many, as these were small. */
const ROWS_FIRST = 3
const ROWS_PER_QUERY = 64
/** The data of rows up to this size come with the look-up. */
const INLINE_BYTES = 4096

/** A row without its data. */
export interface RowPlace {
  id: number
  base: number
  next: number
  records: number
  bytes: number
  max_timestamp: number
  appended_at: number
}

interface RowData {
  codec: number
  crc: number
  data: Uint8Array | ArrayBuffer | null
}

/** A part of a row that a read answers with. */
interface Slice {
  frames: Uint8Array
  from: number
  to: number
  base: number
}

/** A row's content: its own, or that of a staged row in the database. */
export type RowSource = { row: Row } | { stagedId: number; row: Omit<Row, 'data'> }

export class BatchStore {
  readonly #cache: RowCache
  readonly #insert: Statement
  readonly #insertStaged: Statement
  readonly #from: Statement
  readonly #fromTime: Statement
  readonly #data: Statement

  /** Partitions that took records, in the order of commits, until they are announced. */
  readonly appended = new Set<Partition>()

  constructor(db: Database, cache: RowCache) {
    this.#cache = cache
    const columns = 'partition, base, next, records, bytes, max_timestamp, appended_at, codec, crc, data'
    this.#insert = db.prepare(`insert into batch(${columns}) values(?,?,?,?,?,?,?,?,?,?)`)
    this.#insertStaged = db.prepare(
      `insert into batch(${columns}) select ?,?,?,?,?,?,?,?,?,data from staged where id = ?`,
    )
    const place = 'id, base, next, records, bytes, max_timestamp, appended_at'
    this.#from = db.prepare(
      `select ${place}, codec, crc, case when bytes <= ${INLINE_BYTES} then data end as data
      from batch where partition = ?1 and base >= coalesce(
        (select base from batch where partition = ?1 and base <= ?2 order by base desc limit 1), ?2)
      order by base limit ?3`,
    )
    this.#fromTime = db.prepare(
      `select ${place} from batch where partition = ? and max_timestamp >= ? order by base limit 1`,
    )
    this.#data = db.prepare('select codec, crc, data from batch where id = ?')
  }

  /** A gatherer of the appends of one commit; its rows are written just before it. */
  appender(tx: WriteTransaction): Appender {
    const appender = new Appender(this, tx)
    tx.beforeCommit(() => appender.finish())
    return appender
  }

  /** Writes a row at `base` of a partition. The caller has moved the partition's `latest`. */
  insert(tx: WriteTransaction, partition: Partition, base: number, source: RowSource, appendedAt: number): void {
    const row = source.row
    const next = base + row.records
    const id = this.insertAt(partition, base, next, source, appendedAt)
    tx.onCommit(() => {
      partition.bytes += row.bytes
      partition.bytesDirty += row.bytes
      partition.oldestAt = Math.min(partition.oldestAt, appendedAt)
      if (isSmall(partition.topic, row.bytes)) partition.smallRows++
      this.appended.add(partition)
      if (row.frames) this.#cache.set(id, row.frames)
    })
  }

  /** Writes a row that covers [base … next). @returns its id */
  insertAt(partition: Partition, base: number, next: number, source: RowSource, appendedAt: number): number {
    const row = source.row
    const { records, bytes, maxTimestamp, codec, crc } = row
    const place = [partition.id, base, next, records, bytes, maxTimestamp, appendedAt, codec, crc]
    const result =
      'stagedId' in source
        ? this.#insertStaged.run(...place, source.stagedId)
        : this.#insert.run(...place, source.row.data)
    return Number(result.lastInsertRowid)
  }

  /** @throws SpqrError INVALID_STATE: offset out of range, or the row at `offset` is damaged */
  read(partition: Partition, wanted: number, bytesMax: number): ReadAnswer {
    const latest = partition.latest
    const offset = this.#within(partition, wanted)
    if (offset === latest) return { frames: new Uint8Array(0), records: 0, next: latest, latest }
    const limit = Math.min(Math.max(bytesMax, 1), READ_BYTES_MAX)
    const slices: Slice[] = []
    let total = 0
    let at = offset
    let full = false
    for (let rowsMax = ROWS_FIRST; !full && at < latest; rowsMax = ROWS_PER_QUERY) {
      const rows = this.#from.all(partition.id, at, rowsMax) as (RowPlace & RowData)[]
      for (const row of rows) {
        if (row.next <= at) continue
        const frames = this.#unpacked(row, row)
        if (!frames && slices.length > 0) return answer(slices, total, at, latest)
        if (!frames) throw damaged(partition, row)
        const slice = cut(frames, row.base, at, limit - total, slices.length === 0)
        total += slice.to - slice.from
        if (slice.to > slice.from) slices.push(slice)
        full = slice.to < slice.frames.length
        at = full ? slice.base + relativeAt(slice.frames, slice.to) : row.next
        if (full || total >= limit) break
      }
      if (total >= limit) break
      // Nothing after it: what is missing up to the end was compacted away.
      if (!full && rows.length < rowsMax) at = latest
    }
    return answer(slices, total, at, latest)
  }

  /** The offset of the first record with this timestamp or a later one; the latest, if there is none. */
  offsetAt(partition: Partition, timestampMs: number): number {
    const row = this.#fromTime.get(partition.id, timestampMs) as RowPlace | undefined
    if (!row) return partition.latest
    const frames = this.frames(partition, row)
    const view = viewOf(frames)
    for (let at = 0; at < frames.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
      if (readI64(view, at + RECORD_TIMESTAMP) >= timestampMs)
        return row.base + readU64(view, at + RECORD_SOURCE_OFFSET)
    }
    return row.next
  }

  /** Where reading from this offset begins. @throws SpqrError INVALID_STATE */
  offsetFrom(partition: Partition, offset: bigint): number {
    return this.#within(partition, offset)
  }

  /** The uncompressed records of a row; not to be changed. @throws SpqrError INVALID_STATE where it is damaged */
  frames(partition: Partition, place: RowPlace): Uint8Array {
    const frames = this.#unpacked(place)
    if (!frames) throw damaged(partition, place)
    return frames
  }

  /** @returns undefined where the row is damaged */
  #unpacked(place: RowPlace, loaded?: RowData): Uint8Array | undefined {
    const cached = this.#cache.get(place.id)
    if (cached) return cached
    const stored = loaded?.data ? loaded : (this.#data.get(place.id) as RowData)
    const data = blob(stored.data!)
    if (crc32(data) !== stored.crc) return undefined
    const frames = unpack(stored.codec, data)
    if (frames.length !== place.bytes) return undefined
    this.#cache.set(place.id, frames)
    return frames
  }

  forget(id: number): void {
    this.#cache.delete(id)
  }

  /** @param offset whoever asks may name any of 64 bits, and is told the same */
  #within(partition: Partition, offset: number | bigint): number {
    const { earliest, latest } = partition
    if (offset >= 0 && offset <= latest) return Math.max(Number(offset), earliest)
    const { name } = partition.topic.info
    const text = `Cannot read topic "${name}", partition ${partition.number}, at offset ${offset}: it has ${earliest} to ${latest}.`
    throw new SpqrError('INVALID_STATE', text, { extra: { earliest: String(earliest), latest: String(latest) } })
  }
}

/** Gathers the appends of one commit, so that small ones of one partition share a row. */
export class Appender {
  readonly #store: BatchStore
  readonly #tx: WriteTransaction
  readonly #open = new Map<Partition, { base: number; builder: RowBuilder }>()

  constructor(store: BatchStore, tx: WriteTransaction) {
    this.#store = store
    this.#tx = tx
  }

  /** @param frames ours from now on. @returns the offset of the first record */
  append(partition: Partition, frames: Uint8Array, records: number): number {
    const base = partition.latest
    if (records === 0) return base
    let open = this.#open.get(partition)
    if (!open) {
      open = { base, builder: new RowBuilder(partition.topic.rowBytesMax, true) }
      this.#open.set(partition, open)
    }
    open.builder.add(frames, records)
    this.#advance(partition, records)
    return base
  }

  /** Adds rows that were made before; they come after everything appended so far. */
  addRows(partition: Partition, sources: RowSource[]): void {
    this.#close(partition)
    const now = Date.now()
    for (const source of sources) {
      const base = partition.latest
      this.#advance(partition, source.row.records)
      this.#store.insert(this.#tx, partition, base, source, now)
    }
  }

  /** Nothing of a topic that is gone is written. */
  forget(partitions: Partition[]): void {
    for (const partition of partitions) this.#open.delete(partition)
  }

  finish(): void {
    for (const partition of [...this.#open.keys()]) this.#close(partition)
  }

  #advance(partition: Partition, records: number): void {
    const before = partition.latest
    partition.latest += records
    this.#tx.onRollback(() => {
      partition.latest = before
    })
  }

  #close(partition: Partition): void {
    const open = this.#open.get(partition)
    if (!open) return
    this.#open.delete(partition)
    open.builder.seal()
    const now = Date.now()
    let base = open.base
    for (const row of open.builder.rows) {
      this.#store.insert(this.#tx, partition, base, { row }, now)
      base += row.records
    }
  }
}

function damaged(partition: Partition, place: RowPlace): SpqrError {
  const { name } = partition.topic.info
  const text = `Cannot read topic "${name}", partition ${partition.number}: the records from offset ${place.base} to ${place.next - 1} are damaged; read on from ${place.next}.`
  return new SpqrError('INVALID_STATE', text, { extra: { next: String(place.next) } })
}

/** The part of a row from `offset` on that has room; with `first` at least one record. */
function cut(frames: Uint8Array, base: number, offset: number, room: number, first: boolean): Slice {
  const from = offset > base ? find(frames, offset - base) : 0
  let to = frames.length
  if (to - from > room) {
    const view = viewOf(frames)
    to = from
    for (;;) {
      const after = to + view.getUint32(to + RECORD_LENGTH, true)
      if (after - from > room && !(first && to === from)) break
      to = after
      if (to === frames.length) break
    }
  }
  return { frames, from, to, base }
}

function answer(slices: Slice[], total: number, next: number, latest: number): ReadAnswer {
  const { frames, records } = join(slices, total)
  return { frames, records, next, latest }
}

function relativeAt(frames: Uint8Array, at: number): number {
  return readU64(viewOf(frames), at + RECORD_SOURCE_OFFSET)
}

/** Byte position of the first record at or after an offset relative to the row. // hot */
function find(frames: Uint8Array, relative: number): number {
  const view = viewOf(frames)
  let at = 0
  while (at < frames.length && readU64(view, at + RECORD_SOURCE_OFFSET) < relative) {
    at += view.getUint32(at + RECORD_LENGTH, true)
  }
  return at
}

/** Copies the slices into memory of the reader's own and makes their offsets absolute. // hot */
function join(slices: Slice[], total: number): { frames: Uint8Array; records: number } {
  const out = new Uint8Array(total)
  const view = new DataView(out.buffer)
  let at = 0
  let records = 0
  for (let i = 0; i < slices.length; i++) {
    const { frames, from, to, base } = slices[i]!
    out.set(from === 0 && to === frames.length ? frames : frames.subarray(from, to), at)
    const end = at + to - from
    while (at < end) {
      writeU64(view, at + RECORD_SOURCE_OFFSET, base + readU64(view, at + RECORD_SOURCE_OFFSET))
      at += view.getUint32(at + RECORD_LENGTH, true)
      records++
    }
  }
  return { frames: out, records }
}
