// Checkpoints and savepoints of slots: the last few of each, sharing the pieces of memory that did not change.
// Runs on: log thread.

import { hash } from 'node:crypto'
import { SpqrError } from '../../../schemas/errors.ts'
import { chunkIds, decodeState, encodeState, type KeptState } from '../checkpoint-state.ts'
import { type ChunkRef, hashPages, loadPages, type PageTable, PIECE_BYTES, storePages } from '../memory-pages.ts'
import { asBuffer, pack, packMemory, unpack } from '../pack.ts'
import type { CheckpointSummary, SlotId, Snapshot } from '../transport.ts'
import { blob, type Database, type Statement } from './database.ts'
import type { CommitBody, Results, WhichCheckpoint } from './messages.ts'
import type { WriteTransaction } from './write-transaction.ts'

interface CheckpointRow {
  id: number
  epoch: number
  created_at: number
  revision: number
  bytes: number
  savepoint: string | null
  codec: number
  digest: ArrayBuffer
  state: ArrayBuffer
}

/** A stored checkpoint, as far as it takes to know when its chunks may go. */
interface Kept {
  id: number
  savepoint?: string
  chunks: number[]
}

interface Slot {
  id: number
  /** Oldest first. */
  kept: Kept[]
  /** Tables of the newest, by component and instance. */
  tables: Map<string, PageTable>
}

export type NewCheckpoint = Pick<
  CommitBody,
  'slot' | 'epoch' | 'revision' | 'meta' | 'snapshots' | 'savepoint' | 'keep'
> & {
  createdAt: number
}

export class CheckpointStore {
  readonly #slots = new Map<string, Slot>()
  readonly #findSlot: Statement
  readonly #insertSlot: Statement
  readonly #slotsOf: Statement
  readonly #rows: Statement
  readonly #insert: Statement
  readonly #delete: Statement
  readonly #unname: Statement
  readonly #insertChunk: Statement
  readonly #readChunk: Statement
  readonly #deleteChunk: Statement
  readonly #deleteSlot: Statement[]

  constructor(db: Database) {
    this.#findSlot = db.prepare('select id from slot where tenant = ? and pipeline = ? and number = ?')
    this.#insertSlot = db.prepare('insert into slot(tenant, pipeline, number) values(?,?,?)')
    this.#slotsOf = db.prepare('select number from slot where tenant = ? and pipeline = ?')
    this.#rows = db.prepare('select * from checkpoint where slot = ? order by id')
    this.#insert = db.prepare(
      'insert into checkpoint(slot, epoch, created_at, revision, bytes, savepoint, codec, digest, state) values(?,?,?,?,?,?,?,?,?)',
    )
    this.#delete = db.prepare('delete from checkpoint where id = ?')
    this.#unname = db.prepare('update checkpoint set savepoint = null where id = ?')
    this.#insertChunk = db.prepare('insert into chunk(slot, codec, data) values(?,?,?)')
    this.#readChunk = db.prepare('select codec, data from chunk where id = ?')
    this.#deleteChunk = db.prepare('delete from chunk where id = ?')
    this.#deleteSlot = [
      db.prepare('delete from chunk where slot = ?'),
      db.prepare('delete from checkpoint where slot = ?'),
      db.prepare('delete from slot where id = ?'),
    ]
  }

  /** Stores a checkpoint and lets go what `keep` no longer covers. A savepoint of the same name loses it to this one. */
  store(tx: WriteTransaction, checkpoint: NewCheckpoint): CheckpointSummary {
    const { epoch, revision, meta, savepoint, createdAt } = checkpoint
    const slot = this.#slot(checkpoint.slot) ?? this.#makeSlot(checkpoint.slot)
    // Read from the file again when needed: simpler than taking back each change.
    tx.onRollback(() => this.#slots.delete(keyOf(checkpoint.slot)))
    let bytes = 0
    const writeChunk = (pieces: Buffer, count: number): ChunkRef => {
      const { codec, data } = packMemory(pieces)
      bytes += data.length
      const id = Number(this.#insertChunk.run(slot.id, codec, data).lastInsertRowid)
      return { id, pieces: count, digest: hash('sha256', data) }
    }
    const tables = new Map<string, PageTable>()
    const state: KeptState = { meta, snapshots: [] }
    for (const snapshot of checkpoint.snapshots) {
      const { component, instance, digest, globals, memory } = snapshot
      const name = tableName(snapshot)
      const table = storePages(memory, slot.tables.get(name), 0, writeChunk)
      tables.set(name, table)
      state.snapshots.push({ component, instance, digest, globals, table })
    }
    const packed = pack(encodeState(state))
    bytes += packed.data.length
    if (savepoint !== undefined) this.#release(slot, savepoint)
    const digest = digestOf(epoch, createdAt, revision, packed.data)
    const row = [slot.id, epoch, createdAt, revision, bytes, savepoint ?? null, packed.codec, digest, packed.data]
    const id = Number(this.#insert.run(...row).lastInsertRowid)
    slot.kept.push({ id, savepoint, chunks: chunkIds(state) })
    slot.tables = tables
    this.#prune(slot, checkpoint.keep)
    return { epoch, createdAt, revision, bytes, ...(savepoint === undefined ? {} : { savepoint }) }
  }

  /** @throws SpqrError NOT_FOUND (nothing of this name), INVALID_STATE (damaged; `extra.wholeEpoch` is one that is not) */
  load(slotId: SlotId, which?: WhichCheckpoint): Results['checkpoint'] {
    const slot = this.#slot(slotId)
    const rows = slot ? (this.#rows.all(slot.id) as CheckpointRow[]).reverse() : []
    const index = which ? rows.findIndex((row) => matches(row, which)) : 0
    const row = rows[index]
    if (!row && !which) return undefined
    if (!slot || !row) throw new SpqrError('NOT_FOUND', `The pipeline "${slotId.pipeline}" has no ${nameOf(which!)}.`)
    const loaded = this.#open(row)
    if (!loaded) throw this.#damaged(slotId, row, rows.slice(index + 1))
    if (index === 0) {
      // Whoever restores the newest will go on from it: the next checkpoint stores the difference only.
      loaded.state.snapshots.forEach((kept, i) => {
        const hashes = hashPages(loaded.snapshots[i]!.memory)
        slot.tables.set(tableName(kept), { ...kept.table, hashes })
      })
    }
    const { epoch, created_at: createdAt, revision, bytes } = row
    return { epoch, createdAt, revision, bytes, meta: loaded.state.meta, snapshots: loaded.snapshots }
  }

  /** Newest first. */
  list(slotId: SlotId): CheckpointSummary[] {
    const slot = this.#slot(slotId)
    if (!slot) return []
    const rows = (this.#rows.all(slot.id) as CheckpointRow[]).reverse()
    return rows.map(({ epoch, created_at: createdAt, revision, bytes, savepoint }) => {
      return { epoch, createdAt, revision, bytes, ...(savepoint === null ? {} : { savepoint }) }
    })
  }

  /** @throws SpqrError NOT_FOUND, INVALID_STATE */
  copy(tx: WriteTransaction, from: SlotId, to: SlotId, savepoint?: string, as = savepoint): CheckpointSummary {
    const loaded = this.load(from, savepoint === undefined ? undefined : { savepoint })
    if (!loaded) throw new SpqrError('NOT_FOUND', `Cannot copy a checkpoint of ${textOf(from)}: there is none yet.`)
    const { epoch, createdAt, revision, meta, snapshots } = loaded
    return this.store(tx, { slot: to, epoch, createdAt, revision, meta, snapshots, savepoint: as, keep: 3 })
  }

  /** Removes everything of a pipeline, or one savepoint. */
  delete(tx: WriteTransaction, tenant: string, pipeline: string, savepoint?: string): void {
    for (const { number } of this.#slotsOf.all(tenant, pipeline) as { number: number }[]) {
      const slotId = { tenant, pipeline, slot: number }
      const slot = this.#slot(slotId)
      if (!slot) continue
      if (savepoint === undefined) {
        for (const statement of this.#deleteSlot) statement.run(slot.id)
        this.#slots.delete(keyOf(slotId))
        continue
      }
      tx.onRollback(() => this.#slots.delete(keyOf(slotId)))
      const at = slot.kept.findIndex((kept) => kept.savepoint === savepoint)
      if (at < 0) continue
      // The newest is where the pipeline goes on: it only loses its name.
      if (at === slot.kept.length - 1) this.#release(slot, savepoint)
      else this.#remove(slot, slot.kept.splice(at, 1))
    }
  }

  #slot(slotId: SlotId): Slot | undefined {
    const key = keyOf(slotId)
    const known = this.#slots.get(key)
    if (known) return known
    const found = this.#findSlot.get(slotId.tenant, slotId.pipeline, slotId.slot) as { id: number } | undefined
    if (!found) return undefined
    const rows = this.#rows.all(found.id) as CheckpointRow[]
    const kept = rows.map((row): Kept => {
      const state = this.#state(row)
      return { id: row.id, savepoint: row.savepoint ?? undefined, chunks: state ? chunkIds(state) : [] }
    })
    const slot: Slot = { id: found.id, kept, tables: new Map() }
    this.#slots.set(key, slot)
    return slot
  }

  #makeSlot(slotId: SlotId): Slot {
    const id = Number(this.#insertSlot.run(slotId.tenant, slotId.pipeline, slotId.slot).lastInsertRowid)
    const slot: Slot = { id, kept: [], tables: new Map() }
    this.#slots.set(keyOf(slotId), slot)
    return slot
  }

  #release(slot: Slot, savepoint: string): void {
    const kept = slot.kept.find((one) => one.savepoint === savepoint)
    if (!kept) return
    this.#unname.run(kept.id)
    kept.savepoint = undefined
  }

  #prune(slot: Slot, keep: number): void {
    const plain = slot.kept.filter((kept) => kept.savepoint === undefined)
    const victims = new Set(plain.slice(0, Math.max(0, plain.length - keep)))
    if (victims.size === 0) return
    slot.kept = slot.kept.filter((kept) => !victims.has(kept))
    this.#remove(slot, [...victims])
  }

  /** Deletes checkpoints that are no longer in `slot.kept`, and the chunks that only they named. */
  #remove(slot: Slot, victims: Kept[]): void {
    const named = new Set(slot.kept.flatMap((kept) => kept.chunks))
    const gone = new Set(victims.flatMap((victim) => victim.chunks).filter((id) => !named.has(id)))
    for (const victim of victims) this.#delete.run(victim.id)
    for (const id of gone) this.#deleteChunk.run(id)
  }

  /** @returns undefined where the row is damaged */
  #state(row: CheckpointRow): KeptState | undefined {
    const stored = blob(row.state)
    const digest = digestOf(row.epoch, row.created_at, row.revision, stored)
    return digest.equals(blob(row.digest)) ? decodeState(asBuffer(unpack(row.codec, stored))) : undefined
  }

  /** @returns undefined where anything of it is damaged */
  #open(row: CheckpointRow): { state: KeptState; snapshots: Snapshot[] } | undefined {
    const state = this.#state(row)
    if (!state) return undefined
    try {
      const snapshots = state.snapshots.map(({ table, component, instance, digest, globals }): Snapshot => {
        const memory = loadPages(table, (chunk) => this.#chunk(chunk))
        return { component, instance, digest, globals, memory }
      })
      return { state, snapshots }
    } catch (thrown) {
      if (thrown instanceof DamagedChunk) return undefined
      throw thrown
    }
  }

  #chunk(ref: ChunkRef): Uint8Array {
    const row = this.#readChunk.get(ref.id) as { codec: number; data: Buffer } | undefined
    if (!row || hash('sha256', row.data) !== ref.digest) throw new DamagedChunk()
    const data = unpack(row.codec, row.data)
    if (data.length !== ref.pieces * PIECE_BYTES) throw new DamagedChunk()
    return data
  }

  #damaged(slotId: SlotId, row: CheckpointRow, older: CheckpointRow[]): SpqrError {
    const whole = older.find((one) => this.#open(one) !== undefined)
    const offer = whole
      ? `the one before, of epoch ${whole.epoch}, is whole: restart from "checkpoint:${whole.epoch}"`
      : 'none before it is whole'
    const text = `Cannot load the checkpoint of epoch ${row.epoch} of ${textOf(slotId)}: it is damaged; ${offer}.`
    const extra = { epoch: row.epoch, ...(whole ? { wholeEpoch: whole.epoch } : {}) }
    return new SpqrError('INVALID_STATE', text, { extra })
  }
}

class DamagedChunk extends Error {}

function keyOf(slot: SlotId): string {
  return JSON.stringify([slot.tenant, slot.pipeline, slot.slot])
}

function tableName(snapshot: { component: string; instance: number }): string {
  return `${snapshot.instance} ${snapshot.component}`
}

function textOf(slot: SlotId): string {
  return `the pipeline "${slot.pipeline}"`
}

function nameOf(which: WhichCheckpoint): string {
  return 'savepoint' in which ? `savepoint "${which.savepoint}"` : `checkpoint of epoch ${which.epoch}`
}

function matches(row: CheckpointRow, which: WhichCheckpoint): boolean {
  return 'savepoint' in which ? row.savepoint === which.savepoint : row.epoch === which.epoch
}

function digestOf(epoch: number, createdAt: number, revision: number, state: Uint8Array): Buffer {
  const head = Buffer.from(`${epoch} ${createdAt} ${revision} `)
  return hash('sha256', Buffer.concat([head, state]), 'buffer')
}
