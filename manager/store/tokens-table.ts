// Tokens in control.db: their hashes, never themselves.
// Runs on: control.

import type Database from 'libsql'
import type { Scope } from '../../schemas/api.ts'

export interface TokenRow {
  id: string
  tenant: string
  /** SHA-256 of the whole token. */
  hash: Uint8Array
  scopes: Scope[]
  /** ms since 1970 */
  createdAt: number
  /** ms since 1970; absent: it does not end by itself. */
  expiresAt?: number
}

type Stored = Omit<TokenRow, 'hash' | 'scopes' | 'expiresAt'> & {
  hash: ArrayBuffer | Uint8Array
  scopes: string
  expiresAt: number | null
}

export class TokensTable {
  readonly #put: Database.Statement
  readonly #all: Database.Statement
  readonly #delete: Database.Statement

  constructor(db: Database.Database) {
    this.#put = db.prepare(
      'INSERT INTO tokens (id, tenant, hash, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#all = db.prepare(
      'SELECT id, tenant, hash, scopes, created_at AS createdAt, expires_at AS expiresAt FROM tokens ORDER BY created_at, id',
    )
    this.#delete = db.prepare('DELETE FROM tokens WHERE id = ?')
  }

  put({ id, tenant, hash, scopes, createdAt, expiresAt }: TokenRow): void {
    this.#put.run([id, tenant, Buffer.from(hash), JSON.stringify(scopes), createdAt, expiresAt ?? null])
  }

  /** Every token, oldest first. */
  all(): TokenRow[] {
    return (this.#all.all() as Stored[]).map(({ hash, scopes, expiresAt, ...row }) => ({
      ...row,
      hash: new Uint8Array(hash),
      scopes: JSON.parse(scopes) as Scope[],
      ...(expiresAt === null ? {} : { expiresAt }),
    }))
  }

  delete(id: string): void {
    this.#delete.run([id])
  }
}
