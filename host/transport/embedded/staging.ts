// Appends of transactions that are not committed: packed rows in memory, above a bound in a table that is emptied at the
// next start. Nobody reads them; `commit` gives them offsets.
// Runs on: log thread.

import { SpqrError } from '../../../schemas/errors.ts'
import { type Row, RowBuilder } from './batch.ts'
import type { Appender, RowSource } from './batch-store.ts'
import type { Catalog, Partition } from './catalog.ts'
import type { Database, Statement } from './database.ts'
import type { WriteTransaction } from './write-transaction.ts'

/** One transaction may hold this much, in memory and table. */
const TRANSACTION_BYTES_MAX = 4 * 2 ** 30

/** What a transaction has for one partition, in order. */
interface Part {
  topic: string
  number: number
  create: boolean
  builder: RowBuilder
  spilled: RowSource[]
}

interface Staged {
  /** Who staged it: dropped when that one is gone. */
  owner: object
  parts: Map<string, Part>
  /** Bytes in memory. */
  bytes: number
  /** Bytes in all. */
  totalBytes: number
}

export class Staging {
  readonly #transactions = new Map<string, Staged>()
  readonly #bytesMax: number
  readonly #insert: Statement
  readonly #delete: Statement
  /** Rows of aborted transactions, deleted in the next commit. */
  #orphans: number[] = []
  #bytes = 0

  constructor(db: Database, bytesMax: number) {
    this.#bytesMax = bytesMax
    this.#insert = db.prepare('insert into staged(data) values(?)')
    this.#delete = db.prepare('delete from staged where id = ?')
  }

  /** Whether so much is in memory that the next `append` should be followed by `spill`. */
  get full(): boolean {
    return this.#bytes > this.#bytesMax
  }

  get hasOrphans(): boolean {
    return this.#orphans.length > 0
  }

  /** Takes records; touches memory only. @param rowBytesMax of the topic. @throws SpqrError TOO_LARGE */
  append(
    transaction: string,
    owner: object,
    place: { topic: string; number: number; create: boolean; rowBytesMax: number },
    frames: Uint8Array,
    records: number,
  ): void {
    let staged = this.#transactions.get(transaction)
    if (!staged) {
      staged = { owner, parts: new Map(), bytes: 0, totalBytes: 0 }
      this.#transactions.set(transaction, staged)
    }
    if (staged.totalBytes + frames.length > TRANSACTION_BYTES_MAX) {
      const text = `Cannot append to "${place.topic}": transaction "${transaction}" would hold more than ${TRANSACTION_BYTES_MAX} bytes; take checkpoints more often.`
      throw new SpqrError('TOO_LARGE', text)
    }
    const key = `${place.number} ${place.topic}`
    let part = staged.parts.get(key)
    if (!part) {
      const builder = new RowBuilder(place.rowBytesMax, false)
      part = { topic: place.topic, number: place.number, create: place.create, builder, spilled: [] }
      staged.parts.set(key, part)
    }
    const before = memoryBytes(part.builder)
    part.builder.add(frames, records)
    const added = memoryBytes(part.builder) - before
    staged.bytes += added
    staged.totalBytes += frames.length
    this.#bytes += added
  }

  /** Moves what is in memory of the largest transaction to the table. */
  spill(tx: WriteTransaction): void {
    let largest: Staged | undefined
    for (const staged of this.#transactions.values()) if (!largest || staged.bytes > largest.bytes) largest = staged
    if (!largest) return
    for (const part of largest.parts.values()) {
      part.builder.seal()
      const rows = part.builder.rows.splice(0)
      const spilledBefore = part.spilled.length
      for (const row of rows) {
        // In a list: a lone object would be taken for named parameters.
        const stagedId = Number(this.#insert.run([row.data]).lastInsertRowid)
        const { data: _, ...rest } = row
        part.spilled.push({ stagedId, row: rest })
      }
      tx.onRollback(() => {
        part.spilled.length = spilledBefore
        part.builder.rows.unshift(...rows)
      })
    }
    const spilled = largest
    const bytes = largest.bytes
    tx.onCommit(() => {
      spilled.bytes -= bytes
      this.#bytes -= bytes
    })
  }

  /**
   * Gives the records of a transaction their place in their topics.
   * @throws SpqrError NOT_FOUND, before anything was changed
   */
  publish(tx: WriteTransaction, transaction: string, catalog: Catalog, appender: Appender): void {
    const staged = this.#transactions.get(transaction)
    if (!staged) return
    const parts = [...staged.parts.values()]
    for (const part of parts) catalog.target(part.topic, part.number, part.create)
    for (const part of parts) {
      const partition: Partition =
        catalog.target(part.topic, part.number, part.create) ?? catalog.create(tx, { name: part.topic }).partitions[0]!
      part.builder.seal()
      const rows: RowSource[] = part.builder.rows.map((row: Row) => ({ row }))
      appender.addRows(partition, [...part.spilled, ...rows])
      for (const source of part.spilled) if ('stagedId' in source) this.#delete.run(source.stagedId)
    }
    this.#transactions.delete(transaction)
    tx.onCommit(() => {
      this.#bytes -= staged.bytes
    })
    tx.onRollback(() => this.#transactions.set(transaction, staged))
  }

  /** Forgets a transaction; one that is not known is forgotten already. */
  drop(transaction: string): void {
    const staged = this.#transactions.get(transaction)
    if (!staged) return
    this.#transactions.delete(transaction)
    this.#bytes -= staged.bytes
    for (const part of staged.parts.values()) {
      for (const source of part.spilled) if ('stagedId' in source) this.#orphans.push(source.stagedId)
    }
  }

  /** Forgets the transactions of one that is gone. */
  dropOwner(owner: object): void {
    for (const [transaction, staged] of this.#transactions) if (staged.owner === owner) this.drop(transaction)
  }

  /** Removes rows of aborted transactions from the table. */
  sweep(tx: WriteTransaction, rowsMax: number): void {
    const ids = this.#orphans.splice(0, rowsMax)
    for (const id of ids) this.#delete.run(id)
    tx.onRollback(() => {
      this.#orphans = [...ids, ...this.#orphans]
    })
  }
}

function memoryBytes(builder: RowBuilder): number {
  let bytes = builder.openBytes
  for (const row of builder.rows) bytes += row.data.length
  return bytes
}
