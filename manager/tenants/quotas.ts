// What a tenant may have at most, where it is counted: pipelines, instances, memory, operators, bytes in topics, compiler time.
// Rates are the hosts'. A quota is asked before anything is made, and what is being made counts already, so that requests at
// the same time cannot pass it together.
// Runs on: control. Where a tenant has no quota this costs a look into a map.

import { SpqrError } from '../../schemas/errors.ts'
import { tenantTopic, topicPrefix } from '../../schemas/names.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { Quotas } from '../../schemas/tenant.ts'
import type { Hosts } from '../hosts/hosts.ts'
import type { OperatorRegistry } from '../operators/registry.ts'
import { keyOf, type PipelineEntry, type PipelineIndex } from '../pipelines/pipeline-index.ts'
import type { PipelinesTable } from '../store/pipelines-table.ts'
import type { Tenants } from './tenants.ts'

export interface Use {
  instances: number
  memoryMiB: number
}

/** Gives back what was reserved; for a change: what was before holds again. */
export type Release = () => void

/** Of a module whose report does not say. */
const MODULE_MEMORY_MIB = 64
const PAGES_PER_MIB = 16
const TOPIC_BYTES_STALE_MS = 1000
/** Sources of one tenant that wait for the compiler or are in it. */
const COMPILES_AT_ONCE = 4

export class QuotaKeeper {
  readonly #tenants: Tenants
  readonly #hosts: Hosts
  readonly #index: PipelineIndex
  readonly #registry: OperatorRegistry
  readonly #pipelines: PipelinesTable
  readonly #uses = new Map<string, Use>()
  readonly #resuming = new Set<string>()
  readonly #operatorsComing = new Map<string, number>()
  readonly #compiling = new Map<string, number>()
  readonly #topicBytes = new Map<string, { bytes: number; at: number }>()

  constructor(
    tenants: Tenants,
    hosts: Hosts,
    index: PipelineIndex,
    registry: OperatorRegistry,
    pipelines: PipelinesTable,
  ) {
    this.#tenants = tenants
    this.#hosts = hosts
    this.#index = index
    this.#registry = registry
    this.#pipelines = pipelines
  }

  /**
   * Takes what a pipeline needs out of its tenant's quotas. Call it in the turn in which the pipeline becomes visible in the
   * index, or changes.
   * @returns undoes it, where the pipeline is not made or not changed
   * @throws SpqrError QUOTA_EXCEEDED
   */
  reserve(plan: Plan): Release {
    const { tenant, id } = plan
    const quotas = this.#tenants.quotas(tenant)
    const key = keyOf(tenant, id)
    const before = this.#uses.get(key)
    const present = this.#index.get(tenant, id)
    if (!present && quotas.pipelines !== undefined) {
      const { length } = this.#index.list(tenant)
      check(tenant, 'pipelines', length, 1, quotas.pipelines, 'remove one')
    }
    const use = this.#useOf(plan)
    if (quotas.instances !== undefined || quotas.memoryMiB !== undefined) {
      const others = this.#sum(tenant, present)
      check(tenant, 'instances', others.instances, use.instances, quotas.instances, 'stop or remove a pipeline')
      const remedy = 'stop or remove a pipeline, or set limits.memoryMiB of its operators'
      check(tenant, 'memoryMiB', others.memoryMiB, use.memoryMiB, quotas.memoryMiB, remedy)
    }
    this.#uses.set(key, use)
    return () => {
      if (before) this.#uses.set(key, before)
      else this.#uses.delete(key)
    }
  }

  /** Runs what starts a stopped pipeline. @throws SpqrError QUOTA_EXCEEDED */
  async resume<T>(plan: Plan, work: () => Promise<T>): Promise<T> {
    const key = keyOf(plan.tenant, plan.id)
    this.reserve(plan)
    this.#resuming.add(key)
    try {
      return await work()
    } finally {
      this.#resuming.delete(key)
    }
  }

  forget(tenant: string, id: string): void {
    this.#uses.delete(keyOf(tenant, id))
  }

  /** Runs what adds an operator. @throws SpqrError QUOTA_EXCEEDED */
  async addOperator<T>(tenant: string, work: () => Promise<T>): Promise<T> {
    const coming = this.#operatorsComing.get(tenant) ?? 0
    const limit = this.#tenants.quotas(tenant).operators
    check(tenant, 'operators', this.#registry.count(tenant) + coming, 1, limit, 'remove a version')
    this.#operatorsComing.set(tenant, coming + 1)
    try {
      return await work()
    } finally {
      lower(this.#operatorsComing, tenant)
    }
  }

  /**
   * Runs a compile on the tenant's time.
   * @param work is given what to call with the ms that the compiler took
   * @throws SpqrError QUOTA_EXCEEDED (time of the day), BACK_PRESSURE (too many at once)
   */
  async compile<T>(tenant: string, work: (took: (ms: number) => void) => Promise<T>): Promise<T> {
    const limit = this.#tenants.quotas(tenant).compileSeconds
    const used = this.#tenants.compileMs(tenant) / 1000
    if (limit !== undefined && used >= limit) {
      throw exceeded(
        tenant,
        'compileSeconds',
        `used ${used.toFixed(1)} of ${limit} seconds of this day`,
        'wait until 00:00 UTC',
      )
    }
    const running = this.#compiling.get(tenant) ?? 0
    if (this.#tenants.enforced && running >= COMPILES_AT_ONCE) {
      throw new SpqrError(
        'BACK_PRESSURE',
        `"${tenant}" compiles ${running} sources already; try again when one is done.`,
        {
          retriable: true,
          extra: { retryAfterSeconds: 2 },
        },
      )
    }
    this.#compiling.set(tenant, running + 1)
    try {
      return await work((ms) => this.#tenants.compiled(tenant, ms))
    } finally {
      lower(this.#compiling, tenant)
    }
  }

  /** Asks before `bytes` go into topics of the tenant. @throws SpqrError QUOTA_EXCEEDED */
  async addTopicBytes(tenant: string, bytes: number): Promise<void> {
    const limit = this.#tenants.quotas(tenant).topicBytes
    if (limit === undefined) return
    const known = await this.#topicBytesOf(tenant)
    const remedy = 'remove a topic or set its retentionBytes'
    check(tenant, 'topicBytes', known.bytes, bytes, limit, remedy)
    known.bytes += bytes
  }

  /** What it uses now. `topicBytes` is left out where the transport does not say. */
  async used(
    tenant: string,
  ): Promise<Required<Pick<Quotas, 'pipelines' | 'operators' | 'compileSeconds'>> & Use & { topicBytes?: number }> {
    // Kafka may not tell everybody.
    const bytes = await this.#readTopicBytes(tenant).catch(() => undefined)
    return {
      pipelines: this.#index.list(tenant).length,
      ...this.#sum(tenant, undefined),
      operators: this.#registry.count(tenant),
      ...(bytes === undefined ? {} : { topicBytes: bytes }),
      compileSeconds: this.#tenants.compileMs(tenant) / 1000,
    }
  }

  /** Of all pipelines but one; what is stopped uses nothing. */
  #sum(tenant: string, but: PipelineEntry | undefined): Use {
    const sum: Use = { instances: 0, memoryMiB: 0 }
    for (const entry of this.#index.list(tenant)) {
      if (entry === but) continue
      if (entry.wanted === 'stopped' && !this.#resuming.has(keyOf(tenant, entry.id))) continue
      const { instances, memoryMiB } = this.#usedBy(entry)
      sum.instances += instances
      sum.memoryMiB += memoryMiB
    }
    return sum
  }

  #usedBy({ tenant, id }: PipelineEntry): Use {
    const key = keyOf(tenant, id)
    const known = this.#uses.get(key)
    if (known) return known
    const row = this.#pipelines.get(tenant, id)
    const use = row ? this.#useOf(JSON.parse(row.plan) as Plan) : { instances: 0, memoryMiB: 0 }
    this.#uses.set(key, use)
    return use
  }

  #useOf({ tenant, components }: Plan): Use {
    const use: Use = { instances: 0, memoryMiB: 0 }
    for (const component of components) {
      if (component.kind !== 'operator') continue
      const { name, version, limits, parallelism = 1 } = component
      const report = this.#registry.get(tenant, name, version)?.report
      const pages = (report?.memory as { maximumPages?: number } | undefined)?.maximumPages
      const most = pages === undefined ? MODULE_MEMORY_MIB : Math.ceil(pages / PAGES_PER_MIB)
      use.instances += parallelism
      use.memoryMiB += parallelism * Math.min(limits.memoryMiB ?? most, most)
    }
    return use
  }

  async #topicBytesOf(tenant: string): Promise<{ bytes: number; at: number }> {
    const known = this.#topicBytes.get(tenant)
    if (known && Date.now() - known.at < TOPIC_BYTES_STALE_MS) return known
    const fresh = { bytes: (await this.#readTopicBytes(tenant)) ?? 0, at: Date.now() }
    this.#topicBytes.set(tenant, fresh)
    return fresh
  }

  async #readTopicBytes(tenant: string): Promise<number | undefined> {
    const path = `/topics?bytes=true&prefix=${encodeURIComponent(topicPrefix(tenant))}`
    const { items } = await this.#hosts.any().json<{ items: { name: string; bytes?: number }[] }>('GET', path)
    let sum: number | undefined = items.length === 0 ? 0 : undefined
    for (const { name, bytes } of items) {
      if (bytes === undefined || tenantTopic(tenant, name, this.#tenants.ids()) === undefined) continue
      sum = (sum ?? 0) + bytes
    }
    return sum
  }
}

function check(
  tenant: string,
  quota: keyof Quotas,
  used: number,
  more: number,
  limit: number | undefined,
  remedy: string,
): void {
  if (limit === undefined || used + more <= limit) return
  const wanted = more === 1 ? '' : ` and ${more} more are asked for`
  throw exceeded(tenant, quota, `${used} of ${limit} are used${wanted}`, remedy)
}

function exceeded(tenant: string, quota: keyof Quotas, why: string, remedy: string): SpqrError {
  return new SpqrError(
    'QUOTA_EXCEEDED',
    `The tenant "${tenant}" has no more ${quota}: ${why}; ${remedy}, or have the quota raised.`,
    { extra: { quota } },
  )
}

function lower(counts: Map<string, number>, tenant: string): void {
  const left = (counts.get(tenant) ?? 1) - 1
  if (left > 0) counts.set(tenant, left)
  else counts.delete(tenant)
}
