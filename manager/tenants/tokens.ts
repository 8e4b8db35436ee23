// Tokens: `spqr_<id>_<secret>`. The id finds the row, the SHA-256 of the whole is compared in constant time. A token holds 256
// random bits, so a slow hash would only slow the manager (docs/decisions/9-tokens-are-hashed-once.md).
// Runs on: control.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Scope } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import type { TokenRow, TokensTable } from '../store/tokens-table.ts'

export const TOKENS_PER_TENANT_MAX = 1000

const ID_BYTES = 8
const SECRET_BYTES = 32
const FORM = /^spqr_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/
const SWEEP_MS = 10_000
/** Compared where there is no such token, so that the answer takes as long. */
const NOBODY = Buffer.alloc(32)

export class Tokens {
  readonly #table: TokensTable
  readonly #tokens = new Map<string, TokenRow>()
  /** Streams that a token opened end with it. */
  readonly #ends = new Map<string, AbortController>()
  readonly #timer: NodeJS.Timeout

  constructor(table: TokensTable) {
    this.#table = table
    for (const row of table.all()) this.#tokens.set(row.id, row)
    this.#timer = setInterval(() => this.#sweep(), SWEEP_MS).unref()
  }

  /**
   * @param expiresAt ms since 1970
   * @returns the token itself, which is known to nobody else and kept nowhere
   * @throws SpqrError QUOTA_EXCEEDED
   */
  create(tenant: string, scopes: readonly Scope[], expiresAt?: number): { id: string; token: string } {
    const mine = this.list(tenant).length
    if (mine >= TOKENS_PER_TENANT_MAX) {
      throw new SpqrError('QUOTA_EXCEEDED', `"${tenant}" has ${mine} tokens, which is the limit; revoke one first.`)
    }
    const id = randomBytes(ID_BYTES).toString('hex')
    const token = `spqr_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`
    const row: TokenRow = { id, tenant, hash: hashOf(token), scopes: [...new Set(scopes)], createdAt: Date.now() }
    if (expiresAt !== undefined) row.expiresAt = expiresAt
    this.#table.put(row)
    this.#tokens.set(id, row)
    return { id, token }
  }

  /** Whose it is; undefined where it is none, or no longer. */
  find(token: string): TokenRow | undefined {
    const id = FORM.exec(token)?.[1]
    const row = id === undefined ? undefined : this.#tokens.get(id)
    const isIt = timingSafeEqual(hashOf(token), row?.hash ?? NOBODY)
    return isIt && row && !isOver(row) ? row : undefined
  }

  /** Of a tenant, oldest first. */
  list(tenant: string): TokenRow[] {
    return [...this.#tokens.values()].filter((row) => row.tenant === tenant && !isOver(row))
  }

  /** @throws SpqrError NOT_FOUND */
  revoke(tenant: string, id: string): void {
    if (this.#tokens.get(id)?.tenant !== tenant) {
      throw new SpqrError('NOT_FOUND', `The tenant "${tenant}" has no token "${id.slice(0, 80)}".`)
    }
    this.#forget(id)
  }

  revokeAll(tenant: string): void {
    for (const { id } of this.list(tenant)) this.#forget(id)
  }

  /** Aborted when the token is revoked or over. */
  endOf(id: string): AbortSignal {
    let end = this.#ends.get(id)
    if (!end) {
      end = new AbortController()
      this.#ends.set(id, end)
    }
    return end.signal
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #sweep(): void {
    for (const row of this.#tokens.values()) if (isOver(row)) this.#forget(row.id)
  }

  #forget(id: string): void {
    this.#table.delete(id)
    this.#tokens.delete(id)
    this.#ends.get(id)?.abort()
    this.#ends.delete(id)
  }
}

export const hashOf = (token: string): Buffer => createHash('sha256').update(token).digest()

/** Whether both are the same token, in the same time whatever differs. */
export const isToken = (given: string, hash: Uint8Array): boolean => timingSafeEqual(hashOf(given), hash)

const isOver = ({ expiresAt }: TokenRow): boolean => expiresAt !== undefined && expiresAt <= Date.now()
