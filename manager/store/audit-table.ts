// Who changed what, in control.db; bounded by age and, per tenant, by number, so that nobody can push out what others did.
// Runs on: control.

import type Database from 'libsql'
import type { AuditItem } from '../../schemas/api-answers.ts'
import { unhurried } from './unhurried.ts'

export type AuditEntry = Omit<AuditItem, 'number'>

export interface AuditQuery {
  /** Absent: of all tenants. */
  tenant?: string
  /** Entries older than the one of this number. */
  before?: number
  limit: number
}

const COLUMNS = 'number, at, tenant, by, address AS "from", what, made, status'

export class AuditTable {
  readonly #add: Database.Statement
  readonly #ofAll: Database.Statement
  readonly #ofTenant: Database.Statement
  readonly #trimAge: Database.Statement
  readonly #trimRows: Database.Statement
  readonly #tenants: Database.Statement
  readonly #inTransaction: (work: () => void) => void
  readonly #db: Database.Database

  constructor(db: Database.Database) {
    this.#db = db
    this.#add = db.prepare(
      'INSERT INTO audit (at, tenant, by, address, what, made, status) VALUES (?, ?, ?, ?, ?, ?, ?)',
    )
    this.#ofAll = db.prepare(`SELECT ${COLUMNS} FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?`)
    this.#ofTenant = db.prepare(
      `SELECT ${COLUMNS} FROM audit WHERE tenant = ? AND number < ? ORDER BY number DESC LIMIT ?`,
    )
    this.#trimAge = db.prepare('DELETE FROM audit WHERE at < ?')
    this.#trimRows = db.prepare(
      'DELETE FROM audit WHERE tenant = ? AND number <= (SELECT number FROM audit WHERE tenant = ? ORDER BY number DESC LIMIT 1 OFFSET ?)',
    )
    this.#tenants = db.prepare('SELECT DISTINCT tenant FROM audit')
    this.#inTransaction = db.transaction((work: () => void) => work())
  }

  /**
   * Adds entries in one commit.
   * @param durable they are on the disk when it returns; else with the next commit that is
   */
  add(entries: readonly AuditEntry[], durable = true): void {
    const write = (): void =>
      this.#inTransaction(() => {
        for (const { at, tenant, by, from, what, made, status } of entries)
          this.#add.run([at, tenant, by, from, what, made ?? null, status])
      })
    if (durable) write()
    else unhurried(this.#db, write)
  }

  /** Newest first. */
  list({ tenant, before = Number.MAX_SAFE_INTEGER, limit }: AuditQuery): AuditItem[] {
    const rows = (
      tenant === undefined ? this.#ofAll.all([before, limit]) : this.#ofTenant.all([tenant, before, limit])
    ) as (Omit<AuditItem, 'made'> & { made: string | null })[]
    return rows.map(({ number, at, tenant, by, from, what, made, status }) => ({
      number,
      at,
      tenant,
      by,
      from,
      what,
      ...(made === null ? {} : { made }),
      status,
    }))
  }

  /** Removes what is older than `since` (ms since 1970), and of each tenant what is above `rowsMax`. */
  trim(since: number, rowsMax: number): void {
    this.#inTransaction(() => {
      this.#trimAge.run([since])
      for (const { tenant } of this.#tenants.all() as { tenant: string }[])
        this.#trimRows.run([tenant, tenant, rowsMax])
    })
  }
}
