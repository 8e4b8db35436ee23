// Every pipeline of every tenant in memory, without its document: what exists, at which revision, what it shall be.
// Runs on: control. The store holds the same, durably.

import type { SpqrError } from '../../schemas/errors.ts'
import type { PipelineSummary } from '../store/pipelines-table.ts'

export interface PipelineEntry extends PipelineSummary {
  /** It is being made or ended just now. */
  busy?: 'starting' | 'draining'
  /** Why no host could start it. */
  failure?: SpqrError
  /** The host has it since this process began. */
  placed: boolean
}

export const keyOf = (tenant: string, id: string): string => `${tenant}/${id}`

export class PipelineIndex {
  readonly #tenants = new Map<string, Map<string, PipelineEntry>>()

  get(tenant: string, id: string): PipelineEntry | undefined {
    return this.#tenants.get(tenant)?.get(id)
  }

  set(entry: PipelineEntry): void {
    let entries = this.#tenants.get(entry.tenant)
    if (!entries) {
      entries = new Map()
      this.#tenants.set(entry.tenant, entries)
    }
    entries.set(entry.id, entry)
  }

  delete(tenant: string, id: string): void {
    this.#tenants.get(tenant)?.delete(id)
  }

  /** The tenant's pipelines, by id. */
  list(tenant: string): PipelineEntry[] {
    return [...(this.#tenants.get(tenant)?.values() ?? [])].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  *all(): Generator<PipelineEntry> {
    for (const entries of this.#tenants.values()) yield* entries.values()
  }
}
