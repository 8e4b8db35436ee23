// The identity of an idempotent producer: what came twice is written once. One for all partitions of a thread, until one of
// them needs another.
// Runs on: bridge.

import type { Cluster } from './cluster.ts'
import type { Stamp, WriterIdentity } from './partition-writer.ts'
import { initProducerIdRequest } from './transaction-requests.ts'

/** Shared: the identity with which every partition begins. */
export class IdempotentProducer {
  readonly #cluster: Cluster
  #first: Promise<Stamp> | undefined

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** For the writer of one partition. A sticky failure there (a second failover) gives it an identity of its own. */
  identity(): WriterIdentity {
    let own: Promise<Stamp> | undefined
    let isShared = true
    return {
      transactionalId: null,
      ready: () => {
        if (own) return own
        const wanted = isShared ? this.#shared() : this.#init()
        own = wanted
        wanted.catch(() => {
          own = undefined
        })
        return wanted
      },
      lost: () => {
        own = undefined
        isShared = false
      },
      // By its sequence what comes again is known.
      unanswered: () => {},
    }
  }

  #shared(): Promise<Stamp> {
    if (!this.#first) {
      this.#first = this.#init()
      this.#first.catch(() => {
        this.#first = undefined
      })
    }
    return this.#first
  }

  async #init(): Promise<Stamp> {
    const identity = await this.#cluster.sendToAny(initProducerIdRequest(null, 0))
    return { ...identity, sequences: new Map() }
  }
}
