// The tenants: who there is, what each may touch and use, its secrets. Every host is told before it is kept here, so what was
// answered holds; a host that refuses (a grant that is none) refuses the whole.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT } from '../../schemas/names.ts'
import type { Grants, Quotas, TenantSpec } from '../../schemas/tenant.ts'
import type { HostClient } from '../hosts/host-client.ts'
import type { Hosts } from '../hosts/hosts.ts'
import { Serial } from '../serial.ts'
import type { ControlStore } from '../store/control-store.ts'
import type { TenantRow } from '../store/tenants-table.ts'
import type { SecretBox } from './secret-box.ts'

/** A host's quota cells bound them. */
export const TENANTS_MAX = 4000
export const SECRETS_PER_TENANT_MAX = 1000

export class Tenants {
  /** Tokens are asked for, and quotas hold. */
  readonly enforced: boolean
  readonly #store: ControlStore
  readonly #hosts: Hosts
  readonly #box: SecretBox
  readonly #rows = new Map<string, TenantRow>()
  /** tenant → name → when it was changed */
  readonly #secrets = new Map<string, Map<string, number>>()
  readonly #serial = new Serial()

  constructor(store: ControlStore, hosts: Hosts, box: SecretBox, enforced: boolean) {
    this.#store = store
    this.#hosts = hosts
    this.#box = box
    this.enforced = enforced
    for (const row of store.tenants.all()) this.#rows.set(row.id, row)
    if (!this.#rows.has(DEFAULT_TENANT)) this.#rows.set(DEFAULT_TENANT, newRow(DEFAULT_TENANT))
    for (const { tenant, name, changedAt } of store.secrets.all()) this.#namesOf(tenant).set(name, changedAt)
  }

  /** Tells a host of every tenant. @throws SpqrError INVALID_STATE where a secret cannot be read */
  async sendAll(host: HostClient): Promise<void> {
    for (const row of this.#rows.values()) await this.#send(host, this.#specOf(row))
  }

  /** Every tenant, by id; also one that is being removed. */
  all(): TenantRow[] {
    return [...this.#rows.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** Whether there is a tenant of this id besides `default`. */
  readonly isTenant = (id: string): boolean => id !== DEFAULT_TENANT && this.#rows.has(id)

  /** Ids of all tenants. */
  ids(): Iterable<string> {
    return this.#rows.keys()
  }

  /** @throws SpqrError NOT_FOUND */
  get(id: string): TenantRow {
    const row = this.#rows.get(id)
    if (!row || row.state === 'removing') throw missing(id)
    return row
  }

  /** What holds for it now: nothing where no tokens are asked for. */
  quotas(id: string): Quotas {
    return this.enforced ? (this.#rows.get(id)?.quotas ?? {}) : {}
  }

  /** No longer to be acted for. */
  isGone(id: string): boolean {
    return this.#rows.get(id)?.state !== 'present'
  }

  /** Ids whose removal a crash ended. */
  halfRemoved(): string[] {
    return [...this.#rows.values()].filter(({ state }) => state === 'removing').map(({ id }) => id)
  }

  /**
   * @param requireFree says why the id cannot be one
   * @throws SpqrError ALREADY_EXISTS, QUOTA_EXCEEDED, what `requireFree` does
   */
  create(id: string, requireFree: () => Promise<void>): Promise<TenantRow> {
    return this.#serial.run(id, async () => {
      if (this.#rows.has(id)) throw new SpqrError('ALREADY_EXISTS', `The tenant "${id}" exists.`)
      if (this.#rows.size >= TENANTS_MAX) {
        throw new SpqrError('QUOTA_EXCEEDED', `There are ${TENANTS_MAX} tenants, which is the limit; remove one first.`)
      }
      await requireFree()
      const row: TenantRow = { ...newRow(id), permissions: {} }
      await this.#keep(row)
      return row
    })
  }

  setQuotas(id: string, quotas: Quotas): Promise<void> {
    return this.#change(id, (row) => ({ ...row, quotas }))
  }

  setPermissions(id: string, permissions: Grants): Promise<void> {
    return this.#change(id, (row) => ({ ...row, permissions }))
  }

  /** Pipelines that use it get it at their next start or change. @throws SpqrError NOT_FOUND, QUOTA_EXCEEDED */
  putSecret(id: string, name: string, value: string): Promise<void> {
    return this.#serial.run(id, async () => {
      const row = this.get(id)
      const names = this.#namesOf(id)
      if (!names.has(name) && names.size >= SECRETS_PER_TENANT_MAX) {
        throw new SpqrError(
          'QUOTA_EXCEEDED',
          `"${id}" has ${names.size} secrets, which is the limit; remove one first.`,
        )
      }
      const changedAt = Date.now()
      this.#store.secrets.put({ tenant: id, name, sealed: this.#box.seal(id, name, value), changedAt })
      names.set(name, changedAt)
      await this.#tell(row)
    })
  }

  /** @throws SpqrError NOT_FOUND */
  deleteSecret(id: string, name: string): Promise<void> {
    return this.#serial.run(id, async () => {
      const row = this.get(id)
      const names = this.#namesOf(id)
      if (!names.has(name)) {
        throw new SpqrError('NOT_FOUND', `The tenant "${id}" has no secret "${name.slice(0, 80)}".`)
      }
      this.#store.secrets.delete(id, name)
      names.delete(name)
      await this.#tell(row)
    })
  }

  /** Names by when they were changed, in order of the names. */
  secrets(id: string): { name: string; changedAt: number }[] {
    return [...this.#namesOf(id)]
      .map(([name, changedAt]) => ({ name, changedAt }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  hasSecret(id: string, name: string): boolean {
    return this.#secrets.get(id)?.has(name) ?? false
  }

  /** Adds what was used of the compiler today. */
  compiled(id: string, ms: number): void {
    const row = this.#rows.get(id)
    if (!row) return
    const day = today()
    row.compileMs = Math.round((row.compileDay === day ? row.compileMs : 0) + ms)
    row.compileDay = day
    if (this.enforced) this.#store.tenants.put(row)
  }

  /** Compiler time of this day (UTC), in ms. */
  compileMs(id: string): number {
    const row = this.#rows.get(id)
    return row && row.compileDay === today() ? row.compileMs : 0
  }

  /** From here on nobody acts for it, and its name is still taken. */
  beginRemoval(id: string): void {
    const row = { ...this.get(id), state: 'removing' as const }
    this.#store.tenants.put(row)
    this.#rows.set(id, row)
  }

  /** Forgets it everywhere, when all that ran or was kept for it is gone. */
  async finishRemoval(id: string): Promise<void> {
    for (const host of this.#hosts.all()) await host.json('DELETE', `/tenants/${id}`)
    this.#store.tenants.delete(id)
    this.#secrets.delete(id)
    this.#rows.delete(id)
  }

  #change(id: string, change: (row: TenantRow) => TenantRow): Promise<void> {
    return this.#serial.run(id, () => this.#keep(change(this.get(id))))
  }

  async #keep(row: TenantRow): Promise<void> {
    const before = this.#rows.get(row.id)
    try {
      await this.#tell(row)
    } catch (error) {
      // Hosts that took it go back to what is kept.
      if (before) await this.#tell(before).catch(() => undefined)
      throw error
    }
    const { compileDay, compileMs } = this.#rows.get(row.id) ?? row
    const kept = { ...row, compileDay, compileMs }
    this.#store.tenants.put(kept)
    this.#rows.set(row.id, kept)
  }

  async #tell(row: TenantRow): Promise<void> {
    const spec = this.#specOf(row)
    for (const host of this.#hosts.all()) await this.#send(host, spec)
  }

  async #send(host: HostClient, spec: TenantSpec): Promise<void> {
    await host.json('PUT', `/tenants/${spec.id}`, JSON.stringify(spec))
  }

  #specOf({ id, permissions, quotas }: TenantRow): TenantSpec {
    const secrets: Record<string, string> = {}
    for (const row of this.#store.secrets.of(id)) secrets[row.name] = this.#box.open(id, row.name, row.sealed)
    const spec: TenantSpec = { id, quotas: this.enforced ? quotas : {}, secrets }
    if (permissions) spec.grants = permissions
    return spec
  }

  #namesOf(tenant: string): Map<string, number> {
    let names = this.#secrets.get(tenant)
    if (!names) {
      names = new Map()
      this.#secrets.set(tenant, names)
    }
    return names
  }
}

export const missing = (id: string): SpqrError => new SpqrError('NOT_FOUND', `There is no tenant "${id.slice(0, 80)}".`)

function newRow(id: string): TenantRow {
  return { id, state: 'present', quotas: {}, compileDay: '', compileMs: 0, createdAt: Date.now() }
}

const today = (): string => new Date().toISOString().slice(0, 10)
