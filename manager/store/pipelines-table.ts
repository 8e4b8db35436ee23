// Pipelines in control.db: one row each, written as a whole.
// Runs on: control.

import type Database from 'libsql'
import { unhurried } from './unhurried.ts'

/** What shall be; `deleting` until the host has removed everything, so that a crash in between is finished later. */
export type Wanted = 'running' | 'paused' | 'stopped' | 'deleting'

/** A module that the present revision or an earlier one uses; `until` is the last revision that did, absent: the present. */
export interface ModuleUse {
  name: string
  version: string
  digest: string
  until?: number
}

/** One revision of a pipeline. */
export interface Revision {
  revision: number
  document: string
  plan: string
  modules: ModuleUse[]
  changedAt: number
}

export interface PipelineRow {
  tenant: string
  id: string
  revision: number
  wanted: Wanted
  /** JSON, as it was given. */
  document: string
  /** JSON of the Plan of this revision. */
  plan: string
  modules: ModuleUse[]
  /** Offset of the first dead letter that no replay has taken. */
  replayedTo: string
  /** ms since 1970 */
  createdAt: number
  changedAt: number
  /** What held before, while a host is being asked for this revision; absent: this one holds. */
  before?: Revision
}

/** Without document and plan. */
export type PipelineSummary = Omit<PipelineRow, 'document' | 'plan' | 'before'>

/** As it is kept. */
type Stored = Omit<PipelineRow, 'modules' | 'before'> & { modules: string; before: string | null }

const SUMMARY =
  'tenant, id, revision, wanted, modules, replayed_to AS replayedTo, created_at AS createdAt, changed_at AS changedAt'

/** What a host has taken is written so soon, together. */
const SETTLE_MS = 100

export class PipelinesTable {
  readonly #put: Database.Statement
  readonly #change: Database.Statement
  readonly #changeFor: Database.Statement
  readonly #goBack: Database.Statement
  readonly #get: Database.Statement
  readonly #all: Database.Statement
  readonly #wanted: Database.Statement
  readonly #replayed: Database.Statement
  readonly #delete: Database.Statement
  readonly #settle: Database.Statement
  readonly #inTransaction: (work: () => void) => void
  readonly #db: Database.Database
  /** Rows whose revision holds, and which still have the one before. */
  readonly #settled = new Map<string, { tenant: string; id: string }>()
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(db: Database.Database) {
    this.#db = db
    this.#put = db.prepare(
      `INSERT INTO pipelines
         (tenant, id, revision, wanted, document, plan, modules, replayed_to, created_at, changed_at, before)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET revision = excluded.revision, wanted = excluded.wanted, document = excluded.document,
         plan = excluded.plan, modules = excluded.modules, changed_at = excluded.changed_at, before = excluded.before`,
    )
    const present = `json_object('revision', revision, 'document', document, 'plan', plan, 'modules', json(modules), 'changedAt', changed_at)`
    const change = (before: string): Database.Statement =>
      db.prepare(
        `UPDATE pipelines SET before = ${before}, revision = ?, document = ?, plan = ?, modules = ?, changed_at = ?
         WHERE tenant = ? AND id = ?`,
      )
    this.#change = change('NULL')
    this.#changeFor = change(present)
    this.#goBack = db.prepare(
      `UPDATE pipelines SET revision = before ->> 'revision', document = before ->> 'document', plan = before ->> 'plan',
         modules = before -> 'modules', changed_at = before ->> 'changedAt', before = NULL
       WHERE tenant = ? AND id = ? AND before IS NOT NULL`,
    )
    this.#settle = db.prepare('UPDATE pipelines SET before = NULL WHERE tenant = ? AND id = ?')
    this.#get = db.prepare(`SELECT ${SUMMARY}, document, plan, before FROM pipelines WHERE tenant = ? AND id = ?`)
    this.#all = db.prepare(`SELECT ${SUMMARY} FROM pipelines ORDER BY tenant, id`)
    this.#wanted = db.prepare('UPDATE pipelines SET wanted = ?, changed_at = ? WHERE tenant = ? AND id = ?')
    this.#replayed = db.prepare('UPDATE pipelines SET replayed_to = ? WHERE tenant = ? AND id = ?')
    this.#delete = db.prepare('DELETE FROM pipelines WHERE tenant = ? AND id = ?')
    this.#inTransaction = db.transaction((work: () => void) => work())
  }

  put(row: PipelineRow): void {
    const { tenant, id, revision, wanted, document, plan, modules, replayedTo, createdAt, changedAt, before } = row
    this.#put.run([
      tenant,
      id,
      revision,
      wanted,
      document,
      plan,
      JSON.stringify(modules),
      replayedTo,
      createdAt,
      changedAt,
      before ? JSON.stringify(before) : null,
    ])
    this.#settled.delete(`${tenant}/${id}`)
  }

  /**
   * Puts another revision in the place of the present one.
   * @param isAsked a host is being asked for it: the present one is kept beside it until `settle` or `goBack`
   */
  change(tenant: string, id: string, next: Revision, isAsked: boolean): void {
    const { revision, document, plan, modules, changedAt } = next
    const statement = isAsked ? this.#changeFor : this.#change
    statement.run([revision, document, plan, JSON.stringify(modules), changedAt, tenant, id])
    this.#settled.delete(`${tenant}/${id}`)
  }

  /** The host has refused the revision: the one before holds. */
  goBack(tenant: string, id: string): void {
    this.#goBack.run([tenant, id])
  }

  get(tenant: string, id: string): PipelineRow | undefined {
    const found = this.#get.get([tenant, id]) as Stored | undefined
    if (!found) return undefined
    const { modules, before, ...row } = found
    const read: PipelineRow = { ...row, modules: JSON.parse(modules) as ModuleUse[] }
    if (before !== null && !this.#settled.has(`${tenant}/${id}`)) read.before = JSON.parse(before) as Revision
    return read
  }

  /**
   * The host has taken the revision: nothing is gone back to. In the file a little later, out of the way of the answer; who
   * finds it unsettled after a crash asks the host for the same revision again.
   */
  settle(tenant: string, id: string): void {
    this.#settled.set(`${tenant}/${id}`, { tenant, id })
    if (!this.#stopped) this.#timer ??= setTimeout(() => this.#writeSettled(), SETTLE_MS).unref()
  }

  /** Writes what waits. */
  stop(): void {
    this.#stopped = true
    this.#writeSettled()
  }

  #writeSettled(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#settled.size === 0) return
    const write = (): void => {
      for (const { tenant, id } of this.#settled.values()) this.#settle.run([tenant, id])
    }
    try {
      unhurried(this.#db, () => this.#inTransaction(write))
      this.#settled.clear()
    } catch {
      // The disk is full, say. It is known here that they hold, and the file is told with what is settled next.
    }
  }

  /** Every pipeline of every tenant, by tenant and id. */
  all(): PipelineSummary[] {
    const rows = this.#all.all() as (Omit<PipelineSummary, 'modules'> & { modules: string })[]
    return rows.map((row) => ({ ...row, modules: JSON.parse(row.modules) as ModuleUse[] }))
  }

  setWanted(tenant: string, id: string, wanted: Wanted): void {
    this.#wanted.run([wanted, Date.now(), tenant, id])
  }

  setReplayedTo(tenant: string, id: string, offset: string): void {
    this.#replayed.run([offset, tenant, id])
  }

  delete(tenant: string, id: string): void {
    this.#delete.run([tenant, id])
    this.#settled.delete(`${tenant}/${id}`)
  }
}
