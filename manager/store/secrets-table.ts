// Secrets in control.db, sealed.
// Runs on: control.

import type Database from 'libsql'

export interface SecretRow {
  tenant: string
  name: string
  sealed: Uint8Array
  /** ms since 1970 */
  changedAt: number
}

export class SecretsTable {
  readonly #put: Database.Statement
  readonly #all: Database.Statement
  readonly #of: Database.Statement
  readonly #delete: Database.Statement

  constructor(db: Database.Database) {
    this.#put = db.prepare(
      `INSERT INTO secrets (tenant, name, sealed, changed_at) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at`,
    )
    this.#all = db.prepare('SELECT tenant, name, changed_at AS changedAt FROM secrets ORDER BY tenant, name')
    this.#of = db.prepare('SELECT name, sealed FROM secrets WHERE tenant = ? ORDER BY name')
    this.#delete = db.prepare('DELETE FROM secrets WHERE tenant = ? AND name = ?')
  }

  put({ tenant, name, sealed, changedAt }: SecretRow): void {
    this.#put.run([tenant, name, Buffer.from(sealed), changedAt])
  }

  /** Every secret, without its value. */
  all(): Omit<SecretRow, 'sealed'>[] {
    return this.#all.all() as Omit<SecretRow, 'sealed'>[]
  }

  /** Of one tenant. */
  of(tenant: string): Pick<SecretRow, 'name' | 'sealed'>[] {
    const rows = this.#of.all([tenant]) as { name: string; sealed: ArrayBuffer | Uint8Array }[]
    return rows.map(({ name, sealed }) => ({ name, sealed: new Uint8Array(sealed) }))
  }

  delete(tenant: string, name: string): void {
    this.#delete.run([tenant, name])
  }
}
