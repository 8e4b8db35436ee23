// Which topics there are and where their partitions end: kept in memory, written through to log.db.
// Runs on: log thread.

import { SpqrError } from '../../../schemas/errors.ts'
import type { TopicInfo, TopicSpec } from '../transport.ts'
import { ROW_BYTES_MAX } from './batch.ts'
import type { Database, Statement } from './database.ts'
import type { WriteTransaction } from './write-transaction.ts'

const ROW_BYTES_MIN = 16 << 10
/** Retention by bytes removes whole rows: they are made so small that it is exact to an eighth. */
const ROWS_PER_RETENTION = 8

/** A row below this share of a full one is small. */
const SMALL_SHARE = 4

export function isSmall(topic: Topic, rowBytes: number): boolean {
  return rowBytes * SMALL_SHARE < topic.rowBytesMax
}

export interface Topic {
  id: number
  info: TopicInfo
  partitions: Partition[]
  rowBytesMax: number
}

export interface Partition {
  id: number
  topic: Topic
  number: number
  /** First offset that is kept. */
  earliest: number
  /** The offset that the next record gets. */
  latest: number
  /** When the oldest row was appended, ms since 1970; 0: to be looked up; Infinity: there is none. */
  oldestAt: number
  /** Uncompressed bytes of its rows; right only where retention or compaction need it, or `isCounted`. */
  bytes: number
  isCounted: boolean
  /** Of these, added since the last compaction. */
  bytesDirty: number
  /** Small rows added since such were last put together. */
  smallRows: number
  /** Rows before this offset are not worth putting together. */
  mergedTo: number
}

interface TopicRow {
  id: number
  name: string
  partitions: number
  retention_ms: number | null
  retention_bytes: number | null
  compact: number
  created_at: number
}

interface PartitionRow {
  id: number
  topic: number
  number: number
  latest: number
  first: number | null
  last: number | null
}

export class Catalog {
  readonly #topics = new Map<string, Topic>()
  readonly #insertTopic: Statement
  readonly #insertPartition: Statement
  readonly #deleteTopic: Statement
  readonly #deletePartitions: Statement
  readonly #trash: Statement
  readonly #deleteOffsets: Statement
  readonly #setLatest: Statement
  readonly #sum: Statement

  constructor(db: Database) {
    this.#insertTopic = db.prepare(
      'insert into topic(name, partitions, retention_ms, retention_bytes, compact, created_at) values(?,?,?,?,?,?)',
    )
    this.#insertPartition = db.prepare('insert into partition(topic, number, latest) values(?,?,0)')
    this.#deleteTopic = db.prepare('delete from topic where id = ?')
    this.#trash = db.prepare('insert into trash select id from partition where topic = ?')
    this.#deletePartitions = db.prepare('delete from partition where topic = ?')
    this.#deleteOffsets = db.prepare('delete from group_offset where topic = ?')
    this.#setLatest = db.prepare('update partition set latest = ? where id = ?')
    this.#sum = db.prepare('select coalesce(sum(bytes), 0) as bytes from batch where partition = ?')
    this.#load(db)
  }

  #load(db: Database): void {
    const byId = new Map<number, Topic>()
    for (const row of db.prepare('select * from topic').all() as TopicRow[]) {
      const topic = makeTopic(row)
      byId.set(topic.id, topic)
      this.#topics.set(topic.info.name, topic)
    }
    const partitions = db
      .prepare(
        `select id, topic, number, latest,
          (select base from batch where partition = partition.id order by base limit 1) as first,
          (select next from batch where partition = partition.id order by base desc limit 1) as last
        from partition order by topic, number`,
      )
      .all() as PartitionRow[]
    for (const row of partitions) {
      const topic = byId.get(row.topic)!
      const latest = Math.max(row.latest, row.last ?? 0)
      const partition = makePartition(row.id, topic, row.number)
      partition.latest = latest
      partition.earliest = row.first ?? latest
      partition.mergedTo = latest
      partition.isCounted = row.first === null
      if (row.first !== null) partition.oldestAt = 0
      if (topic.info.retentionBytes !== undefined || topic.info.compact) {
        this.#count(partition)
        partition.bytesDirty = partition.bytes
      }
      topic.partitions.push(partition)
    }
  }

  all(): Iterable<Topic> {
    return this.#topics.values()
  }

  find(name: string): Topic | undefined {
    return this.#topics.get(name)
  }

  /** @throws SpqrError NOT_FOUND */
  topic(name: string): Topic {
    const topic = this.#topics.get(name)
    if (!topic) throw new SpqrError('NOT_FOUND', `Cannot find topic "${name}": there is none of this name.`)
    return topic
  }

  /** @throws SpqrError NOT_FOUND */
  partition(name: string, number: number): Partition {
    const topic = this.topic(name)
    const partition = topic.partitions[number]
    if (partition) return partition
    const text = `Cannot find partition ${number} of topic "${name}": it has 0 to ${topic.partitions.length - 1}.`
    throw new SpqrError('NOT_FOUND', text)
  }

  /**
   * The partition that takes an append.
   * @param create makes the topic, of one partition, if there is none
   * @returns undefined: it is to be made. @throws SpqrError NOT_FOUND
   */
  target(name: string, number: number, create: boolean): Partition | undefined {
    if (create && number === 0 && !this.#topics.has(name)) return undefined
    return this.partition(name, number)
  }

  list(prefix: string): TopicInfo[] {
    const infos: TopicInfo[] = []
    for (const topic of this.#topics.values()) if (topic.info.name.startsWith(prefix)) infos.push(topic.info)
    return infos.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Uncompressed bytes by topic. What stood in the file at start is summed when it is first asked for. */
  bytes(prefix: string): [topic: string, bytes: number][] {
    const all: [string, number][] = []
    for (const { info, partitions } of this.#topics.values()) {
      if (!info.name.startsWith(prefix)) continue
      let sum = 0
      for (const partition of partitions) {
        if (!partition.isCounted) this.#count(partition)
        sum += partition.bytes
      }
      all.push([info.name, sum])
    }
    return all
  }

  #count(partition: Partition): void {
    partition.bytes = (this.#sum.get(partition.id) as { bytes: number }).bytes
    partition.isCounted = true
  }

  /** @param spec checked. @throws SpqrError ALREADY_EXISTS */
  create(tx: WriteTransaction, spec: TopicSpec): Topic {
    const name = spec.name
    if (this.#topics.has(name)) {
      throw new SpqrError('ALREADY_EXISTS', `Cannot create topic "${name}": there is one of this name already.`)
    }
    const row: TopicRow = {
      id: 0,
      name,
      partitions: spec.partitions ?? 1,
      retention_ms: spec.retentionMs ?? null,
      retention_bytes: spec.retentionBytes ?? null,
      compact: spec.compact ? 1 : 0,
      created_at: Date.now(),
    }
    const { lastInsertRowid } = this.#insertTopic.run(
      row.name,
      row.partitions,
      row.retention_ms,
      row.retention_bytes,
      row.compact,
      row.created_at,
    )
    row.id = Number(lastInsertRowid)
    const topic = makeTopic(row)
    for (let number = 0; number < row.partitions; number++) {
      const id = Number(this.#insertPartition.run(row.id, number).lastInsertRowid)
      topic.partitions.push(makePartition(id, topic, number))
    }
    this.#topics.set(name, topic)
    tx.onRollback(() => this.#topics.delete(name))
    return topic
  }

  /** Forgets the topic; its rows are removed later, step by step. @throws SpqrError NOT_FOUND */
  delete(tx: WriteTransaction, name: string): Topic {
    const topic = this.topic(name)
    this.#trash.run(topic.id)
    this.#deletePartitions.run(topic.id)
    this.#deleteTopic.run(topic.id)
    this.#deleteOffsets.run(name)
    this.#topics.delete(name)
    tx.onRollback(() => this.#topics.set(name, topic))
    return topic
  }

  /** Before the last row of a partition may go: its offsets are never given again. */
  keepLatest(partition: Partition): void {
    this.#setLatest.run(partition.latest, partition.id)
  }
}

function makeTopic(row: TopicRow): Topic {
  const info: TopicInfo = {
    name: row.name,
    partitions: row.partitions,
    compact: row.compact === 1,
    createdAt: row.created_at,
  }
  let rowBytesMax = ROW_BYTES_MAX
  if (row.retention_ms !== null) info.retentionMs = row.retention_ms
  if (row.retention_bytes !== null) {
    info.retentionBytes = row.retention_bytes
    const wanted = Math.floor(row.retention_bytes / ROWS_PER_RETENTION)
    rowBytesMax = Math.min(ROW_BYTES_MAX, Math.max(ROW_BYTES_MIN, wanted))
  }
  return { id: row.id, info, partitions: [], rowBytesMax }
}

function makePartition(id: number, topic: Topic, number: number): Partition {
  return {
    id,
    topic,
    number,
    earliest: 0,
    latest: 0,
    oldestAt: Number.POSITIVE_INFINITY,
    bytes: 0,
    isCounted: true,
    bytesDirty: 0,
    smallRows: 0,
    mergedTo: 0,
  }
}
