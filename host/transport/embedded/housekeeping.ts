// What the log does when nobody asks: retention by time and bytes, compaction, putting small rows together, removing
// deleted topics, giving room back. In small steps, each a commit of its own, so that appends hardly wait.
// Runs on: log thread.

import { hash } from 'node:crypto'
import {
  FLAG_KEY,
  FLAG_TOMBSTONE,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_KEY_BYTES,
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
  readU64,
  writeU64,
} from '../../record/record.ts'
import { makeRow, viewOf } from './batch.ts'
import type { BatchStore, RowPlace } from './batch-store.ts'
import { type Catalog, isSmall, type Partition } from './catalog.ts'
import type { Database, Statement } from './database.ts'
import { WriteTransaction } from './write-transaction.ts'

const ROWS_PER_QUERY = 128
/** What one step of removing a deleted topic removes: rows, and uncompressed bytes beyond one row. */
const TRASH_ROWS_PER_STEP = 512
const TRASH_BYTES_PER_STEP = 16 << 20
/** Small rows added before they are put together. */
const SMALL_ROWS_BEFORE_MERGE = 128
/** Keys that one compaction holds in memory; with more, it cleans up to where they lie and goes on from there later. */
const KEYS_MAX = 262_144
const TOMBSTONES_STAY_MS = 86_400_000
const FREE_PAGES_PER_STEP = 256
const FREE_PAGES_MIN = 2048

/** What a reader no longer needs. */
export interface TrimBound {
  before: number
  /** ms since 1970 */
  appendedBefore: number
}

/** A walk over a partition that rewrites its rows as fewer. */
interface Rewrite {
  partition: Partition
  /** Next row to look at. */
  at: number
  end: number
  /** Last offset of each key below `end`; undefined: nothing is dropped. */
  last?: Map<string, number>
}

export class Housekeeping {
  readonly #db: Database
  readonly #catalog: Catalog
  readonly #batches: BatchStore
  readonly #oldest: Statement
  readonly #rowsFrom: Statement
  readonly #deleteRow: Statement
  readonly #trash: Statement
  readonly #trashRows: Statement
  readonly #trashDone: Statement
  readonly #freePages: Statement
  /** Partitions to look at for bytes, small rows, compaction. */
  readonly #noted = new Set<Partition>()
  readonly #trims = new Map<Partition, TrimBound>()
  #mapping?: Rewrite & { last: Map<string, number> }
  #rewrite?: Rewrite
  #hasTrash = true
  #hasFree = false

  constructor(db: Database, catalog: Catalog, batches: BatchStore) {
    this.#db = db
    this.#catalog = catalog
    this.#batches = batches
    const place = 'id, base, next, records, bytes, max_timestamp, appended_at'
    this.#oldest = db.prepare(`select ${place} from batch where partition = ? order by base limit ${ROWS_PER_QUERY}`)
    this.#rowsFrom = db.prepare(
      `select ${place} from batch where partition = ? and base >= ? and base < ? order by base limit ${ROWS_PER_QUERY}`,
    )
    this.#deleteRow = db.prepare('delete from batch where id = ?')
    this.#trash = db.prepare('select partition from trash limit 1')
    this.#trashRows = db.prepare(`select id, bytes from batch where partition = ? limit ${TRASH_ROWS_PER_STEP}`)
    this.#trashDone = db.prepare('delete from trash where partition = ?')
    this.#freePages = db.prepare('pragma freelist_count')
    // What was left from before the last stop.
    for (const topic of catalog.all()) {
      if (topic.info.retentionBytes !== undefined || topic.info.compact)
        for (const p of topic.partitions) this.#noted.add(p)
    }
  }

  /** These took records. */
  note(partitions: Partition[]): void {
    for (const partition of partitions) {
      const limit = partition.topic.info.retentionBytes
      if ((limit !== undefined && partition.bytes > limit) || partition.smallRows >= SMALL_ROWS_BEFORE_MERGE) {
        this.#noted.add(partition)
      }
    }
  }

  /** Rows that end before this offset, and are as old as that, may go. */
  noteTrim(partition: Partition, bound: TrimBound): void {
    this.#trims.set(partition, bound)
    this.#noted.add(partition)
  }

  /** A topic was deleted. */
  noteTrash(): void {
    this.#hasTrash = true
  }

  /** Whether `step` has something to do. */
  get pending(): boolean {
    const walking = this.#mapping !== undefined || this.#rewrite !== undefined
    return walking || this.#hasTrash || this.#hasFree || this.#noted.size > 0
  }

  /** After a failed step: what was begun is left as it is. */
  giveUp(): void {
    this.#mapping = undefined
    this.#rewrite = undefined
    this.#noted.clear()
    this.#trims.clear()
    this.#hasFree = false
  }

  /** Looks for rows that are past their time, and for compacted partitions with something new. */
  tick(now: number): void {
    for (const topic of this.#catalog.all()) {
      const { retentionMs, compact } = topic.info
      for (const partition of topic.partitions) {
        if (retentionMs !== undefined && partition.oldestAt < now - retentionMs) this.#noted.add(partition)
        if (compact && isDirty(partition)) this.#noted.add(partition)
      }
    }
  }

  /** Does one small piece of work. */
  step(): void {
    if (this.#hasTrash) this.#stepTrash()
    else if (this.#mapping) this.#stepMapping(this.#mapping)
    else if (this.#rewrite) this.#stepRewrite(this.#rewrite)
    else if (this.#noted.size > 0) this.#stepNoted()
    else this.#stepFree()
  }

  #stepTrash(): void {
    WriteTransaction.run(this.#db, () => {
      const found = this.#trash.get() as { partition: number } | undefined
      if (!found) {
        this.#hasTrash = false
        this.#hasFree = true
        return
      }
      const rows = this.#trashRows.all(found.partition) as { id: number; bytes: number }[]
      let count = 0
      let bytes = 0
      while (count < rows.length && bytes < TRASH_BYTES_PER_STEP) {
        bytes += rows[count]!.bytes
        this.#removeRow(rows[count++]!.id)
      }
      if (count === rows.length && count < TRASH_ROWS_PER_STEP) this.#trashDone.run(found.partition)
    })
  }

  /** The file gets smaller when much of it is free. */
  #stepFree(): void {
    const { freelist_count: free } = this.#freePages.get() as { freelist_count: number }
    if (free > FREE_PAGES_MIN) this.#db.exec(`pragma incremental_vacuum(${FREE_PAGES_PER_STEP})`)
    else this.#hasFree = false
  }

  #stepNoted(): void {
    const partition = this.#noted.values().next().value
    if (!partition) return
    if (!this.#isGone(partition) && (this.#expire(partition) || this.#trim(partition) || this.#trimTo(partition)))
      return
    this.#noted.delete(partition)
    this.#trims.delete(partition)
    if (this.#isGone(partition)) return
    if (partition.topic.info.compact) {
      if (!isDirty(partition)) return
      partition.bytesDirty = 0
      this.#mapping = { partition, at: partition.earliest, end: partition.latest, last: new Map() }
    } else if (partition.smallRows >= SMALL_ROWS_BEFORE_MERGE) {
      this.#rewrite = { partition, at: partition.mergedTo, end: partition.latest }
      partition.mergedTo = partition.latest
    }
    partition.smallRows = 0
  }

  /** Retention by bytes; the last row stays. @returns whether there may be more to do */
  #trim(partition: Partition): boolean {
    const limit = partition.topic.info.retentionBytes
    if (limit === undefined || partition.bytes <= limit) return false
    const rows = this.#oldest.all(partition.id) as RowPlace[]
    let bytes = partition.bytes
    let count = 0
    while (count < rows.length - 1 && bytes > limit) bytes -= rows[count++]!.bytes
    if (count === 0) return false
    this.#removeOldest(partition, rows, count)
    return count === rows.length - 1
  }

  /** What somebody asked for. @returns whether there may be more to do */
  #trimTo(partition: Partition): boolean {
    const bound = this.#trims.get(partition)
    if (!bound) return false
    const rows = this.#oldest.all(partition.id) as RowPlace[]
    let count = 0
    while (count < rows.length && rows[count]!.next <= bound.before && rows[count]!.appended_at < bound.appendedBefore)
      count++
    if (count < rows.length || count === 0) this.#trims.delete(partition)
    if (count === 0) return false
    this.#removeOldest(partition, rows, count)
    return true
  }

  /** Retention by time. @returns whether there may be more to do */
  #expire(partition: Partition): boolean {
    const { retentionMs } = partition.topic.info
    if (retentionMs === undefined) return false
    const before = Date.now() - retentionMs
    if (partition.oldestAt >= before) return false
    const rows = this.#oldest.all(partition.id) as RowPlace[]
    partition.oldestAt = rows[0]?.appended_at ?? Number.POSITIVE_INFINITY
    let count = 0
    while (count < rows.length && rows[count]!.appended_at < before) count++
    if (count === 0) return false
    this.#removeOldest(partition, rows, count)
    return true
  }

  #removeOldest(partition: Partition, rows: RowPlace[], count: number): void {
    const gone = rows.slice(0, count)
    const after =
      rows[count] ?? (this.#rowsFrom.get(partition.id, gone.at(-1)!.next, partition.latest) as RowPlace | undefined)
    WriteTransaction.run(this.#db, (tx) => {
      for (const row of gone) this.#removeRow(row.id)
      if (!after) this.#catalog.keepLatest(partition)
      tx.onCommit(() => {
        partition.earliest = after?.base ?? partition.latest
        partition.oldestAt = after?.appended_at ?? Number.POSITIVE_INFINITY
        for (const row of gone) partition.bytes -= row.bytes
      })
    })
  }

  #removeRow(id: number): void {
    this.#deleteRow.run(id)
    this.#batches.forget(id)
  }

  /** First half of a compaction: the last offset of every key. */
  #stepMapping(mapping: Rewrite & { last: Map<string, number> }): void {
    const { partition, last } = mapping
    const rows = this.#isGone(partition) ? [] : this.#take(mapping)
    if (rows.length === 0 || last.size >= KEYS_MAX) {
      this.#mapping = undefined
      this.#rewrite = { partition, at: partition.earliest, end: rows.length === 0 ? mapping.end : mapping.at, last }
      // The keys beyond wait for the next round.
      if (rows.length > 0) partition.bytesDirty = partition.bytes
      return
    }
    for (const row of rows) {
      const frames = this.#batches.frames(partition, row)
      const view = viewOf(frames)
      for (let at = 0; at < frames.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
        if (!(frames[at + RECORD_FLAGS]! & FLAG_KEY)) continue
        last.set(keyDigest(frames, view, at), row.base + readU64(view, at + RECORD_SOURCE_OFFSET))
      }
    }
    mapping.at = rows.at(-1)!.next
  }

  /** Rewrites some adjacent rows as fewer, without what a later record replaces. */
  #stepRewrite(rewrite: Rewrite): void {
    const { partition } = rewrite
    const rows = this.#isGone(partition) ? [] : this.#take(rewrite)
    if (rows.length === 0) {
      this.#rewrite = undefined
      return
    }
    rewrite.at = rows.at(-1)!.next
    if (rows.length === 1 && !rewrite.last) return
    const tombstonesBefore = Date.now() - TOMBSTONES_STAY_MS
    const base = rows[0]!.base
    const next = rows.at(-1)!.next
    const total = rows.reduce((sum, row) => sum + row.bytes, 0)
    const records = rows.reduce((sum, row) => sum + row.records, 0)
    const out = new Uint8Array(total)
    const outView = viewOf(out)
    let length = 0
    let kept = 0
    for (const row of rows) {
      const frames = this.#batches.frames(partition, row)
      const view = viewOf(frames)
      const shift = row.base - base
      let bytes = 0
      for (let at = 0; at < frames.length; at += bytes) {
        bytes = view.getUint32(at + RECORD_LENGTH, true)
        const relative = readU64(view, at + RECORD_SOURCE_OFFSET)
        if (rewrite.last && this.#replaced(rewrite.last, frames, view, at, row.base + relative)) continue
        if (rewrite.last && isOldTombstone(frames, at, row, tombstonesBefore)) continue
        out.set(frames.subarray(at, at + bytes), length)
        writeU64(outView, length + RECORD_SOURCE_OFFSET, relative + shift)
        length += bytes
        kept++
      }
    }
    // One row that keeps everything stays as it is.
    if (kept === records && rows.length === 1) return
    const maxTimestamp = Math.max(...rows.map((row) => row.max_timestamp))
    const appendedAt = Math.max(...rows.map((row) => row.appended_at))
    WriteTransaction.run(this.#db, (tx) => {
      for (const row of rows) this.#removeRow(row.id)
      if (kept > 0) {
        const row = makeRow(out.slice(0, length), kept, maxTimestamp, false)
        this.#batches.insertAt(partition, base, next, { row }, appendedAt)
      } else {
        this.#catalog.keepLatest(partition)
      }
      tx.onCommit(() => {
        partition.bytes += length - total
      })
    })
  }

  #replaced(last: Map<string, number>, frames: Uint8Array, view: DataView, at: number, offset: number): boolean {
    if (!(frames[at + RECORD_FLAGS]! & FLAG_KEY)) return false
    const newest = last.get(keyDigest(frames, view, at))
    return newest !== undefined && newest > offset
  }

  #isGone(partition: Partition): boolean {
    return this.#catalog.find(partition.topic.info.name) !== partition.topic
  }

  /** The next rows that one step can take: adjacent, of which more than one only as long as they make one full row. */
  #take(rewrite: Rewrite): RowPlace[] {
    const rows = this.#rowsFrom.all(rewrite.partition.id, rewrite.at, rewrite.end) as RowPlace[]
    const { topic } = rewrite.partition
    const full = topic.rowBytesMax
    const taken: RowPlace[] = []
    let bytes = 0
    for (const row of rows) {
      if (taken.length > 0 && (bytes + row.bytes > full || !isSmall(topic, row.bytes))) break
      taken.push(row)
      bytes += row.bytes
    }
    return taken
  }
}

/** At least half of it came since the last compaction. */
function isDirty(partition: Partition): boolean {
  return partition.bytesDirty > 0 && partition.bytesDirty * 2 >= partition.bytes
}

function keyDigest(frames: Uint8Array, view: DataView, at: number): string {
  const keyAt = at + RECORD_HEADER_BYTES
  const key = frames.subarray(keyAt, keyAt + view.getUint32(at + RECORD_KEY_BYTES, true))
  return hash('sha256', key, 'base64')
}

function isOldTombstone(frames: Uint8Array, at: number, row: RowPlace, before: number): boolean {
  return (frames[at + RECORD_FLAGS]! & FLAG_TOMBSTONE) !== 0 && row.appended_at < before
}
