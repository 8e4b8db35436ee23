// The hosts that the manager knows, and which pipeline has its place where. A place is chosen once, where the fewest are, and
// stays: a host that is away keeps its pipelines, which wait for it. `spqr dev` hands its own host over and has no others.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { type Fetch, HostClient, type ModuleReader, type PutPlan } from './host-client.ts'

export interface HostSpec {
  id: string
  /** Base URL; only a name where `fetch` is in memory. */
  url: string
  fetch: Fetch
  /** Where it is in this process: takes plans without a request. */
  put?: PutPlan
}

/** Where places are remembered. */
export interface Places {
  all(): { tenant: string; id: string; host: string }[]
  place(placement: { tenant: string; id: string; host: string }): void
  forget(tenant: string, id: string): void
}

/** One host that is always there needs none. */
const NO_PLACES: Places = { all: () => [], place: () => undefined, forget: () => undefined }

const keyOf = (tenant: string, id: string): string => `${tenant}/${id}`

export class Hosts {
  readonly #hosts = new Map<string, HostClient>()
  readonly #modules: ModuleReader
  readonly #places: Places
  /** Host by pipeline. */
  readonly #placed = new Map<string, string>()
  /** Pipelines by host. */
  readonly #counts = new Map<string, number>()

  constructor(specs: readonly HostSpec[], modules: ModuleReader, places = NO_PLACES) {
    this.#modules = modules
    this.#places = places
    for (const spec of specs) this.add(spec)
    for (const { tenant, id, host } of places.all()) this.#set(keyOf(tenant, id), host)
  }

  /** A host that registered; it takes the place of the one of that id before. */
  add({ id, url, fetch, put }: HostSpec): HostClient {
    const host = new HostClient(id, url, fetch, this.#modules, put)
    this.#hosts.set(id, host)
    return host
  }

  /** Nothing has its place there any more. */
  remove(id: string): void {
    this.#hosts.delete(id)
  }

  /** Those that are present. */
  all(): HostClient[] {
    return this.known().filter((host) => !host.isAway)
  }

  /** Those that are away too, by id. */
  known(): HostClient[] {
    return [...this.#hosts.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  get(id: string): HostClient | undefined {
    return this.#hosts.get(id)
  }

  /** Pipelines that have their place there. */
  count(id: string): number {
    return this.#counts.get(id) ?? 0
  }

  /** The id of its host; undefined: it has no place yet. */
  placeOf(tenant: string, id: string): string | undefined {
    return this.#placed.get(keyOf(tenant, id))
  }

  /**
   * The host of a pipeline; one without a place is given one.
   * @throws SpqrError TRANSPORT_UNAVAILABLE where there is none, or its own was not heard since this manager started
   */
  of(tenant: string, id: string): HostClient {
    const placed = this.#placed.get(keyOf(tenant, id))
    if (placed === undefined) return this.place(tenant, id, this.#emptiest())
    const host = this.#hosts.get(placed)
    if (host) return host
    throw new SpqrError(
      'TRANSPORT_UNAVAILABLE',
      `The pipeline "${id}" has its place on the host "${placed}", which is not there: start it again.`,
      { retriable: true },
    )
  }

  /** Gives a pipeline its place. */
  place(tenant: string, id: string, host: HostClient): HostClient {
    const key = keyOf(tenant, id)
    if (this.#placed.get(key) !== host.id) {
      this.#places.place({ tenant, id, host: host.id })
      this.#unset(key)
      this.#set(key, host.id)
    }
    return host
  }

  /** The pipeline is gone. */
  forget(tenant: string, id: string): void {
    if (this.#unset(keyOf(tenant, id))) this.#places.forget(tenant, id)
  }

  /** Any host that answers for the transport: topics are the same from each. */
  any(): HostClient {
    for (const host of this.#hosts.values()) if (!host.isAway) return host
    const [away] = this.#hosts.values()
    if (away) throw away.awayError()
    throw new SpqrError('TRANSPORT_UNAVAILABLE', 'No host is registered: start one with spqr host --manager URL.', {
      retriable: true,
    })
  }

  #emptiest(): HostClient {
    const [first = this.any(), ...others] = this.all()
    return others.reduce((best, host) => (this.count(host.id) < this.count(best.id) ? host : best), first)
  }

  #set(key: string, host: string): void {
    this.#placed.set(key, host)
    this.#counts.set(host, this.count(host) + 1)
  }

  #unset(key: string): boolean {
    const host = this.#placed.get(key)
    if (host === undefined) return false
    this.#placed.delete(key)
    this.#counts.set(host, this.count(host) - 1)
    return true
  }
}
