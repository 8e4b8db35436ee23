// The audit log: every change, with who, what, when and from where. Where tokens are asked for an entry is durable before the
// change is answered; else (one person on this machine) entries are written together, soon.
// Runs on: control.

import type { AuditItem } from '../../schemas/api-answers.ts'
import type { AuditEntry, AuditTable } from '../store/audit-table.ts'

export const AUDIT_DAYS = 365
export const AUDIT_ROWS_PER_TENANT = 10_000

const DAY_MS = 86_400_000
const SOON_MS = 100
const WAITING_MAX = 1000
/** Entries between two looks at the bounds. */
const TRIM_EVERY = 500

export class Audit {
  readonly #table: AuditTable
  readonly #atOnce: boolean
  #waiting: AuditEntry[] = []
  #timer: NodeJS.Timeout | undefined
  #sinceTrim = TRIM_EVERY
  #stopped = false

  constructor(table: AuditTable, atOnce: boolean) {
    this.#table = table
    this.#atOnce = atOnce
  }

  add(entry: AuditEntry): void {
    // A request that outlives the server's grace finds the store closed.
    if (this.#stopped) return
    this.#waiting.push(entry)
    if (this.#atOnce || this.#waiting.length >= WAITING_MAX) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), SOON_MS).unref()
  }

  /** Newest first. @param tenant absent: of all */
  list(tenant: string | undefined, limit: number, before?: number): AuditItem[] {
    this.#flush()
    return this.#table.list({ tenant, limit, before })
  }

  /** Writes what waits. */
  stop(): void {
    this.#flush()
    this.#stopped = true
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const entries = this.#waiting
    if (entries.length === 0) return
    this.#waiting = []
    this.#table.add(entries, this.#atOnce)
    this.#sinceTrim += entries.length
    if (this.#sinceTrim < TRIM_EVERY) return
    this.#sinceTrim = 0
    this.#table.trim(Date.now() - AUDIT_DAYS * DAY_MS, AUDIT_ROWS_PER_TENANT)
  }
}
