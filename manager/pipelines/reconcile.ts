// Compares what shall run on a host with what does, and makes good the difference: after a start of the manager or of a host,
// and whenever a call got no answer. What fits already is not touched. One that cannot start says why and stops no other.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { type HostClient, type HostPipeline, pipelinePath } from '../hosts/host-client.ts'
import { finishRemoval, start } from './life-cycle.ts'
import { type PipelineContext, rowOf } from './pipeline-context.ts'
import { keyOf, type PipelineEntry } from './pipeline-index.ts'

/** Pipelines that are started at once. */
const AT_ONCE = 16
const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 5000
const LIVE = ['running', 'starting', 'draining', 'paused']

export class Reconcile {
  readonly #context: PipelineContext
  readonly #onFailure: (entry: PipelineEntry, error: SpqrError) => void
  readonly #waiting = new Set<PipelineEntry>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #stopped = false

  /** @param onFailure is told of each pipeline that could not be started */
  constructor(context: PipelineContext, onFailure: (entry: PipelineEntry, error: SpqrError) => void) {
    this.#context = context
    this.#onFailure = onFailure
    for (const summary of context.store.pipelines.all()) {
      const entry: PipelineEntry = { ...summary, placed: false }
      context.index.set(entry)
      this.#await(entry)
    }
  }

  /** How many still have to start. */
  get remaining(): number {
    return this.#waiting.size
  }

  /**
   * Resolves when each pipeline of the host was tried once; one whose transport is away is tried again later.
   * @throws SpqrError TRANSPORT_UNAVAILABLE where the host gave no answer
   */
  async run(host: HostClient): Promise<void> {
    const { index, hosts } = this.#context
    const { items } = await host.json<{ items: HostPipeline[] }>('GET', '/pipelines')
    const there = new Map(items.map((item) => [keyOf(item.tenant, item.id), item]))
    const work: (() => Promise<void>)[] = []
    for (const entry of index.all()) {
      const { tenant, id } = entry
      const place = hosts.placeOf(tenant, id)
      if (place === undefined) hosts.place(tenant, id, host)
      else if (place !== host.id) continue
      const item = there.get(keyOf(tenant, id))
      if (item && fits(entry, item)) this.#isThere(entry)
      else if (item || entry.wanted !== 'stopped') work.push(() => this.#makeGood(host, entry, RETRY_MS_MIN))
    }
    for (const item of items) {
      if (!this.#isOf(host, item)) work.push(() => this.#release(host, item))
    }
    const worker = async (): Promise<void> => {
      for (let next = work.shift(); next && !this.#stopped; next = work.shift()) await next()
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    if (host.isInDoubt || host.isAway) throw host.awayError()
  }

  /** The host is away: what it ran has to run again. */
  lost(host: HostClient): void {
    for (const entry of this.#context.index.all()) {
      if (this.#context.hosts.placeOf(entry.tenant, entry.id) === host.id) this.#await(entry)
    }
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) clearTimeout(timer)
  }

  #await(entry: PipelineEntry): void {
    if (entry.wanted === 'stopped') return
    if (entry.wanted !== 'deleting' && !entry.placed) entry.busy = 'starting'
    this.#waiting.add(entry)
  }

  #isThere(entry: PipelineEntry): void {
    entry.placed = true
    entry.failure = undefined
    entry.busy = undefined
    this.#waiting.delete(entry)
  }

  #isOf(host: HostClient, { tenant, id }: HostPipeline): boolean {
    const { index, hosts } = this.#context
    return index.get(tenant, id) !== undefined && hosts.placeOf(tenant, id) === host.id
  }

  /** What nobody wants here. Its checkpoints stay: its place may be elsewhere, and control.db may be an older copy. */
  async #release(host: HostClient, item: HostPipeline): Promise<void> {
    const { tenant, id } = item
    await this.#context.serial.run(keyOf(tenant, id), async () => {
      if (!this.#isOf(host, item)) await host.json('POST', `${pipelinePath(tenant, id)}/release`)
    })
  }

  async #makeGood(host: HostClient, entry: PipelineEntry, retryMs: number): Promise<void> {
    const { tenant, id } = entry
    try {
      await this.#context.serial.run(keyOf(tenant, id), () => this.#attempt(host, entry))
      this.#waiting.delete(entry)
    } catch (thrown) {
      const error = SpqrError.from(thrown)
      // Its host will be compared with again when it answers.
      if (host.isAway || host.isInDoubt) return
      entry.failure = error
      this.#onFailure(entry, error)
      if (error.retriable) this.#retry(host, entry, retryMs)
      else this.#waiting.delete(entry)
    } finally {
      entry.busy = undefined
    }
  }

  async #attempt(host: HostClient, entry: PipelineEntry): Promise<void> {
    const { tenant, id } = entry
    const { index, hosts } = this.#context
    // Somebody may have removed or moved it meanwhile.
    if (this.#stopped || index.get(tenant, id) !== entry || hosts.placeOf(tenant, id) !== host.id) return
    if (entry.wanted === 'deleting') return finishRemoval(this.#context, host, entry, false)
    const item = await statusOf(host, entry)
    if (item && fits(entry, item)) {
      entry.placed = true
      entry.failure = undefined
      return
    }
    if (entry.wanted === 'stopped') {
      if (item) await host.json('POST', `${pipelinePath(tenant, id)}/stop`)
      return
    }
    // One that is there as it shall be but for its revision, a pause or a stop goes on from where it is.
    if (!item || item.revision !== entry.revision) await this.#start(host, entry)
    if (!item || item.state === 'completed' || item.state === 'failed') return
    const isPaused = entry.wanted === 'paused'
    if (!isPaused && (item.state === 'paused' || item.state === 'stopped')) {
      await host.json('POST', `${pipelinePath(tenant, id)}/resume`)
    } else if (isPaused && item.state === 'running') {
      await host.json('POST', `${pipelinePath(tenant, id)}/pause`)
    }
    entry.placed = true
    entry.failure = undefined
  }

  /** A change that was under way when the manager ended was not answered: it holds where the host takes it. */
  async #start(host: HostClient, entry: PipelineEntry): Promise<void> {
    const { pipelines } = this.#context.store
    const { before, ...row } = rowOf(this.#context, entry.tenant, entry.id)
    try {
      await start(host, entry, row)
      if (before) pipelines.settle(row.tenant, row.id)
    } catch (thrown) {
      if (!before || SpqrError.from(thrown).retriable) throw thrown
      const kept = { ...row, ...before }
      pipelines.put(kept)
      const { revision, modules, changedAt } = before
      Object.assign(entry, { revision, modules, changedAt })
      await start(host, entry, kept)
    }
  }

  #retry(host: HostClient, entry: PipelineEntry, retryMs: number): void {
    if (this.#stopped) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void this.#makeGood(host, entry, Math.min(retryMs * 2, RETRY_MS_MAX))
    }, retryMs)
    this.#timers.add(timer)
  }
}

/** Whether a host does with it what shall be done. */
function fits({ wanted, revision }: PipelineEntry, item: HostPipeline): boolean {
  if (wanted === 'deleting') return false
  if (wanted === 'stopped') return !LIVE.includes(item.state)
  if (item.revision !== revision) return false
  if (item.state === 'completed' || item.state === 'failed') return true
  return wanted === 'paused' ? item.state === 'paused' : LIVE.includes(item.state) && item.state !== 'paused'
}

async function statusOf(host: HostClient, { tenant, id }: PipelineEntry): Promise<HostPipeline | undefined> {
  try {
    return await host.json<HostPipeline>('GET', pipelinePath(tenant, id))
  } catch (error) {
    if (error instanceof SpqrError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}
