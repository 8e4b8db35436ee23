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

export class PipelinesTable {
  readonly #put: Database.Statement
  readonly #get: Database.Statement
  readonly #all: Database.Statement
  readonly #wanted: Database.Statement
  readonly #replayed: Database.Statement
  readonly #delete: Database.Statement
  readonly #settle: Database.Statement
  readonly #db: Database.Database

  constructor(db: Database.Database) {
    this.#db = db
    this.#put = db.prepare(
      `INSERT INTO pipelines
         (tenant, id, revision, wanted, document, plan, modules, replayed_to, created_at, changed_at, before)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET revision = excluded.revision, wanted = excluded.wanted, document = excluded.document,
         plan = excluded.plan, modules = excluded.modules, changed_at = excluded.changed_at, before = excluded.before`,
    )
    this.#settle = db.prepare('UPDATE pipelines SET before = NULL WHERE tenant = ? AND id = ?')
    this.#get = db.prepare(`SELECT ${SUMMARY}, document, plan, before FROM pipelines WHERE tenant = ? AND id = ?`)
    this.#all = db.prepare(`SELECT ${SUMMARY} FROM pipelines ORDER BY tenant, id`)
    this.#wanted = db.prepare('UPDATE pipelines SET wanted = ?, changed_at = ? WHERE tenant = ? AND id = ?')
    this.#replayed = db.prepare('UPDATE pipelines SET replayed_to = ? WHERE tenant = ? AND id = ?')
    this.#delete = db.prepare('DELETE FROM pipelines WHERE tenant = ? AND id = ?')
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
  }

  get(tenant: string, id: string): PipelineRow | undefined {
    const found = this.#get.get([tenant, id]) as Stored | undefined
    if (!found) return undefined
    const { modules, before, ...row } = found
    const read: PipelineRow = { ...row, modules: JSON.parse(modules) as ModuleUse[] }
    if (before !== null) read.before = JSON.parse(before) as Revision
    return read
  }

  /** The host has taken the revision: nothing is gone back to. Whoever finds it unsettled asks the host again. */
  settle(tenant: string, id: string): void {
    unhurried(this.#db, () => this.#settle.run([tenant, id]))
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
  }
}
