// The embedded log without its thread: what each operation does to log.db and to what is kept in memory.
// Runs on: log thread. Every method is synchronous; a group of writes is one commit.

import { SpqrError } from '../../../schemas/errors.ts'
import { putOut } from '../transport.ts'
import { ROW_BYTES_MAX } from './batch.ts'
import { type Appender, BatchStore } from './batch-store.ts'
import { Catalog, type Partition } from './catalog.ts'
import { CheckpointStore } from './checkpoint-store.ts'
import { type Database, openDatabase, type Statement } from './database.ts'
import { Groups, type GroupsOwner } from './groups.ts'
import { Housekeeping } from './housekeeping.ts'
import type { CommitBody, LogOptions, OffsetBody, ReadBody, Results, WriteBody } from './messages.ts'
import { RowCache } from './row-cache.ts'
import { Staging } from './staging.ts'
import { WriteTransaction } from './write-transaction.ts'

const STAGED_BYTES_MAX = 64 << 20
const CACHE_BYTES = 64 << 20
const ORPHANS_PER_COMMIT = 256

/** A write and who asked for it. */
export interface Write {
  body: WriteBody
  /** Whose staged records go when it goes. */
  owner: object
}

export type Outcome = { value: unknown } | { thrown: unknown }

export class Log {
  readonly housekeeping: Housekeeping
  readonly groups: Groups
  readonly #db: Database
  readonly #catalog: Catalog
  readonly #batches: BatchStore
  readonly #staging: Staging
  readonly #checkpoints: CheckpointStore
  readonly #setOffset: Statement
  readonly #offsets: Statement

  /**
   * @param tell tells members of groups
   * @throws SpqrError as `openDatabase` does
   */
  constructor(options: LogOptions, tell: GroupsOwner['tell']) {
    this.#db = openDatabase(options.dataDir)
    const cache = new RowCache(options.cacheBytes ?? CACHE_BYTES)
    this.#catalog = new Catalog(this.#db)
    this.#batches = new BatchStore(this.#db, cache)
    this.#staging = new Staging(this.#db, options.stagedBytesMax ?? STAGED_BYTES_MAX)
    this.#checkpoints = new CheckpointStore(this.#db)
    this.#setOffset = this.#db.prepare(
      'insert or replace into group_offset(name, topic, partition, position) values(?,?,?,?)',
    )
    this.#offsets = this.#db.prepare('select partition, position from group_offset where name = ? and topic = ?')
    this.housekeeping = new Housekeeping(this.#db, this.#catalog, this.#batches)
    // What is not there yet is made with one partition.
    const partitions = (topic: string): number => this.#catalog.find(topic)?.partitions.length ?? 1
    this.groups = new Groups({ partitions, tell })
  }

  /**
   * Does the writes in their order in one commit. What is refused for its own sake leaves the others as they are.
   * @throws what the database threw: then nothing of it was done
   */
  writeAll(writes: Write[]): Outcome[] {
    return WriteTransaction.run(this.#db, (tx) => {
      const appender = this.#batches.appender(tx)
      if (this.#staging.hasOrphans) this.#staging.sweep(tx, ORPHANS_PER_COMMIT)
      return writes.map((write): Outcome => {
        try {
          return { value: this.#write(tx, appender, write) }
        } catch (thrown) {
          // A refusal comes before anything was changed; everything else undoes the whole commit.
          if (thrown instanceof SpqrError) return { thrown }
          throw thrown
        }
      })
    })
  }

  /** A staged append that fits into memory needs no commit. @returns undefined: it is for `writeAll` */
  stage(write: Write): Outcome | undefined {
    const { body, owner } = write
    if (body.op !== 'append' || body.transaction === undefined || this.#staging.full) return undefined
    try {
      this.#stage(body, body.transaction, owner)
      return { value: 0 }
    } catch (thrown) {
      return { thrown }
    }
  }

  #write(tx: WriteTransaction, appender: Appender, { body, owner }: Write): Results[WriteBody['op']] {
    switch (body.op) {
      case 'createTopic':
        return this.#catalog.create(tx, body.spec).info
      case 'deleteTopic':
        appender.forget(this.#catalog.delete(tx, body.name).partitions)
        tx.onCommit(() => this.housekeeping.noteTrash())
        return undefined
      case 'append': {
        if (body.transaction !== undefined) {
          this.#stage(body, body.transaction, owner)
          if (this.#staging.full) this.#staging.spill(tx)
          return 0
        }
        const target =
          this.#catalog.target(body.topic, body.partition, body.create) ??
          this.#catalog.create(tx, { name: body.topic }).partitions[0]!
        return appender.append(target, body.frames, body.records)
      }
      case 'commit':
        return this.#commit(tx, appender, body.commit)
      case 'publish':
        this.#mayPublish(body.offsets)
        this.#setOffsets(body.offsets)
        return undefined
      case 'abort':
        this.#staging.drop(body.transaction)
        return undefined
      case 'copyCheckpoint':
        return this.#checkpoints.copy(tx, body.from, body.to, body.savepoint, body.as)
      case 'deleteCheckpoints':
        this.#checkpoints.delete(tx, body.tenant, body.pipeline, body.savepoint)
        return undefined
    }
  }

  #stage(body: WriteBody & { op: 'append' }, transaction: string, owner: object): void {
    const { topic, partition, create, frames, records } = body
    const target = this.#catalog.target(topic, partition, create)
    const place = { topic, number: partition, create, rowBytesMax: target?.topic.rowBytesMax ?? ROW_BYTES_MAX }
    this.#staging.append(transaction, owner, place, frames, records)
  }

  #commit(tx: WriteTransaction, appender: Appender, commit: CommitBody): Results['commit'] {
    this.#mayPublish(commit.offsets)
    if (commit.transaction !== undefined) this.#staging.publish(tx, commit.transaction, this.#catalog, appender)
    this.#setOffsets(commit.offsets)
    return this.#checkpoints.store(tx, { ...commit, createdAt: Date.now() })
  }

  /** @throws SpqrError INVALID_STATE where a group has gone on without who publishes */
  #mayPublish(offsets: OffsetBody[]): void {
    for (const { group, membership } of offsets) {
      if (membership && !this.groups.isCurrent(membership)) throw putOut(group, 'its partitions are others’ now')
    }
  }

  #setOffsets(offsets: OffsetBody[]): void {
    for (const { group, topic, partition, offset } of offsets) this.#setOffset.run(group, topic, partition, offset)
  }

  /** @throws SpqrError; what the database throws */
  answer(body: ReadBody): unknown {
    switch (body.op) {
      case 'listTopics':
        return this.#catalog.list(body.prefix)
      case 'topic':
        return this.#catalog.find(body.name)?.info
      case 'topicBytes':
        return this.#catalog.bytes(body.prefix)
      case 'read':
        return this.#batches.read(this.#catalog.partition(body.topic, body.partition), body.offset, body.bytesMax)
      case 'offsetOf':
        return this.#offsetOf(this.#catalog.partition(body.topic, body.partition), body.from)
      case 'offsets':
        return this.#catalog.topic(body.topic).partitions.map(({ number, earliest, latest }) => {
          return { partition: number, earliest, latest }
        })
      case 'groupOffsets': {
        const rows = this.#offsets.all(body.group, body.topic) as { partition: number; position: number }[]
        return rows.map(({ partition, position }) => [partition, position])
      }
      case 'trim':
        this.housekeeping.noteTrim(this.#catalog.partition(body.topic, body.partition), {
          before: body.before,
          appendedBefore: Date.now() - body.notYoungerThanMs,
        })
        return undefined
      case 'checkpoint':
        return this.#checkpoints.load(body.slot, body.which)
      case 'checkpoints':
        return this.#checkpoints.list(body.slot)
    }
  }

  #offsetOf(partition: Partition, from: (ReadBody & { op: 'offsetOf' })['from']): number {
    switch (from.at) {
      case 'earliest':
        return partition.earliest
      case 'latest':
        return partition.latest
      case 'offset':
        return this.#batches.offsetFrom(partition, from.offset)
      case 'time':
        return this.#batches.offsetAt(partition, from.timestampMs)
    }
  }

  /** Partitions that took records since the last call. */
  takeAppended(): Partition[] {
    const appended = [...this.#batches.appended]
    this.#batches.appended.clear()
    this.housekeeping.note(appended)
    return appended
  }

  /** Its staged records are gone with it. */
  dropOwner(owner: object): void {
    this.#staging.dropOwner(owner)
    this.groups.dropOwner(owner)
  }

  close(): void {
    this.groups.stop()
    this.#db.close()
  }
}
