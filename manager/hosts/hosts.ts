// The hosts that the manager knows, and where a pipeline goes. One host today: `spqr dev` hands its own over.
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

export class Hosts {
  readonly #hosts = new Map<string, HostClient>()

  constructor(specs: readonly HostSpec[], modules: ModuleReader) {
    for (const { id, url, fetch, put } of specs) this.#hosts.set(id, new HostClient(id, url, fetch, modules, put))
  }

  all(): HostClient[] {
    return [...this.#hosts.values()]
  }

  /** The host of a pipeline. @throws SpqrError TRANSPORT_UNAVAILABLE where there is none */
  of(_tenant: string, _id: string): HostClient {
    return this.any()
  }

  /** Any host that answers for the transport: topics are the same from each. */
  any(): HostClient {
    for (const host of this.#hosts.values()) return host
    throw new SpqrError('TRANSPORT_UNAVAILABLE', 'No host is registered: start one with spqr host --manager URL.', {
      retriable: true,
    })
  }
}
