// Every operator that can be named in a document, in memory: the shipped ones, and what each tenant pushed.
// Runs on: control.

import { compareVersions } from '../../schemas/names.ts'
import type { AdmissionReport } from '../hosts/host-client.ts'

export interface OperatorEntry {
  name: string
  /** x.y.z */
  version: string
  digest: string
  report: AdmissionReport
  origin: 'shipped' | 'pushed'
  /** AssemblyScript, where it was pushed as source. */
  source?: string
  /** ms since 1970 */
  createdAt: number
}

type Names = Map<string, OperatorEntry[]>

export class OperatorRegistry {
  /** Counts the changes. */
  generation = 0
  /** Some that come with the product wait for a first host, which admits them. */
  isIncomplete = false
  readonly #shipped: Names = new Map()
  readonly #pushed = new Map<string, Names>()

  addShipped(entry: OperatorEntry): void {
    insert(this.#shipped, entry)
    this.generation++
  }

  addPushed(tenant: string, entry: OperatorEntry): void {
    let names = this.#pushed.get(tenant)
    if (!names) {
      names = new Map()
      this.#pushed.set(tenant, names)
    }
    insert(names, entry)
    this.generation++
  }

  remove(tenant: string, entry: OperatorEntry): void {
    const names = this.#pushed.get(tenant)
    const rest = names?.get(entry.name)?.filter((e) => e !== entry) ?? []
    if (rest.length) names?.set(entry.name, rest)
    else names?.delete(entry.name)
    this.generation++
  }

  /** Versions that the tenant pushed. */
  count(tenant: string): number {
    let count = 0
    for (const versions of this.#pushed.get(tenant)?.values() ?? []) count += versions.length
    return count
  }

  /** What the tenant pushed. */
  pushed(tenant: string): OperatorEntry[] {
    return [...(this.#pushed.get(tenant)?.values() ?? [])].flat()
  }

  isShipped(name: string): boolean {
    return this.#shipped.has(name)
  }

  /** All versions of a name, newest first; empty where there is none. */
  versions(tenant: string, name: string): readonly OperatorEntry[] {
    return this.#shipped.get(name) ?? this.#pushed.get(tenant)?.get(name) ?? []
  }

  get(tenant: string, name: string, version: string): OperatorEntry | undefined {
    return this.versions(tenant, name).find((entry) => entry.version === version)
  }

  /** Names that the tenant can use, in order. */
  names(tenant: string): string[] {
    return [...this.#shipped.keys(), ...(this.#pushed.get(tenant)?.keys() ?? [])].sort()
  }
}

function insert(names: Names, entry: OperatorEntry): void {
  const others = names.get(entry.name) ?? []
  const versions = [...others.filter((e) => e.version !== entry.version), entry]
  names.set(
    entry.name,
    versions.sort((a, b) => compareVersions(b.version, a.version)),
  )
}
