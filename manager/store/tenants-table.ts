// Tenants in control.db, and what they used of the compiler.
// Runs on: control.

import type Database from 'libsql'
import type { Grants, Quotas } from '../../schemas/tenant.ts'

export interface TenantRow {
  id: string
  state: 'present' | 'removing'
  quotas: Quotas
  /** Absent: the hosts alone decide. */
  permissions?: Grants
  /** Day (UTC, 2026-01-31) that `compileMs` belongs to. */
  compileDay: string
  compileMs: number
  /** ms since 1970 */
  createdAt: number
}

type Stored = Omit<TenantRow, 'quotas' | 'permissions'> & { quotas: string; permissions: string | null }

export class TenantsTable {
  readonly #put: Database.Statement
  readonly #all: Database.Statement
  readonly #delete: Database.Statement
  readonly #inTransaction: (work: () => void) => void
  readonly #deleteTokens: Database.Statement
  readonly #deleteSecrets: Database.Statement

  constructor(db: Database.Database) {
    this.#put = db.prepare(
      `INSERT INTO tenants (id, state, quotas, permissions, compile_day, compile_ms, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET state = excluded.state, quotas = excluded.quotas, permissions = excluded.permissions,
         compile_day = excluded.compile_day, compile_ms = excluded.compile_ms`,
    )
    this.#all = db.prepare(
      `SELECT id, state, quotas, permissions, compile_day AS compileDay, compile_ms AS compileMs, created_at AS createdAt
       FROM tenants ORDER BY id`,
    )
    this.#delete = db.prepare('DELETE FROM tenants WHERE id = ?')
    this.#deleteTokens = db.prepare('DELETE FROM tokens WHERE tenant = ?')
    this.#deleteSecrets = db.prepare('DELETE FROM secrets WHERE tenant = ?')
    this.#inTransaction = db.transaction((work: () => void) => work())
  }

  put({ id, state, quotas, permissions, compileDay, compileMs, createdAt }: TenantRow): void {
    const grants = permissions === undefined ? null : JSON.stringify(permissions)
    this.#put.run([id, state, JSON.stringify(quotas), grants, compileDay, compileMs, createdAt])
  }

  all(): TenantRow[] {
    return (this.#all.all() as Stored[]).map(({ quotas, permissions, ...row }) => ({
      ...row,
      quotas: JSON.parse(quotas) as Quotas,
      ...(permissions === null ? {} : { permissions: JSON.parse(permissions) as Grants }),
    }))
  }

  /** Forgets the tenant with its tokens and secrets, at once. */
  delete(id: string): void {
    this.#inTransaction(() => {
      this.#deleteTokens.run([id])
      this.#deleteSecrets.run([id])
      this.#delete.run([id])
    })
  }
}
