// The tenants of a host: their number, bounds, grants and secrets, and the clock that gives them what their rates are worth.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT } from '../../schemas/names.ts'
import type { TenantSpec } from '../../schemas/tenant.ts'
import { makeQuotaCells, QuotaCells, TENANTS_MAX } from './quota-cells.ts'

const GIVE_MS = 10

export interface Tenant {
  /** Its number in the quota cells. */
  index: number
  spec: TenantSpec
}

export class Tenants {
  readonly memory = makeQuotaCells()
  private readonly cells = new QuotaCells(this.memory)
  private readonly tenants = new Map<string, Tenant>()
  private readonly numbers: number[] = []
  private timer: NodeJS.Timeout | undefined
  private lastGift = performance.now()

  constructor() {
    this.put({ id: DEFAULT_TENANT, quotas: {}, secrets: {} })
  }

  /** A tenant that nobody told of has no bounds of its own: the manager decides whom it lets in. */
  get(id: string): Tenant {
    return this.tenants.get(id) ?? this.put({ id, quotas: {}, secrets: {} })
  }

  /** Whether a manager told of a tenant of this id, `default` aside. */
  has(id: string): boolean {
    return id !== DEFAULT_TENANT && this.tenants.has(id)
  }

  all(): Iterable<Tenant> {
    return this.tenants.values()
  }

  setFull({ index }: Tenant, full: boolean): void {
    this.cells.setFull(index, full)
  }

  put(spec: TenantSpec): Tenant {
    const present = this.tenants.get(spec.id)
    const index = present?.index ?? this.numbers.pop() ?? this.tenants.size
    if (index >= TENANTS_MAX) throw new SpqrError('QUOTA_EXCEEDED', `This host has no more than ${TENANTS_MAX} tenants`)
    const tenant = present ?? { index, spec }
    tenant.spec = spec
    this.tenants.set(spec.id, tenant)
    this.cells.free(index)
    if (isBounded(spec)) this.cells.give(index, spec.quotas, 0)
    this.runClock()
    return tenant
  }

  delete(id: string): void {
    const tenant = this.tenants.get(id)
    if (!tenant || id === DEFAULT_TENANT) return
    this.tenants.delete(id)
    this.cells.setFull(tenant.index, false)
    this.numbers.push(tenant.index)
    this.runClock()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** The clock runs only while some tenant has a rate. */
  private runClock(): void {
    const needed = [...this.tenants.values()].some((tenant) => isBounded(tenant.spec))
    if (!needed) {
      clearInterval(this.timer)
      this.timer = undefined
    } else if (!this.timer) {
      this.lastGift = performance.now()
      this.timer = setInterval(() => this.give(), GIVE_MS).unref()
    }
  }

  private give(): void {
    const now = performance.now()
    for (const { index, spec } of this.tenants.values()) {
      if (isBounded(spec)) this.cells.give(index, spec.quotas, now - this.lastGift)
    }
    this.lastGift = now
  }
}

function isBounded({ quotas }: TenantSpec): boolean {
  const { fuelPerSecond, recordsPerSecond, bytesPerSecond } = quotas
  return fuelPerSecond !== undefined || recordsPerSecond !== undefined || bytesPerSecond !== undefined
}
