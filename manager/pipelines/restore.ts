// After a start of the manager: everything that was wanted runs again. One that cannot start says why and stops no other.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { finishRemoval, start } from './life-cycle.ts'
import { type PipelineContext, rowOf } from './pipeline-context.ts'
import { keyOf, type PipelineEntry } from './pipeline-index.ts'

/** Pipelines that are started at once. */
const AT_ONCE = 16
const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 5000

export class Restore {
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
      if (entry.wanted === 'stopped') continue
      if (entry.wanted !== 'deleting') entry.busy = 'starting'
      this.#waiting.add(entry)
    }
  }

  /** How many still have to start. */
  get remaining(): number {
    return this.#waiting.size
  }

  /** Resolves when each was tried once; one whose host or transport is away is tried again later. */
  async run(): Promise<void> {
    const queue = [...this.#waiting]
    const worker = async (): Promise<void> => {
      for (let entry = queue.shift(); entry && !this.#stopped; entry = queue.shift())
        await this.#restore(entry, RETRY_MS_MIN)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) clearTimeout(timer)
  }

  async #restore(entry: PipelineEntry, retryMs: number): Promise<void> {
    try {
      await this.#context.serial.run(keyOf(entry.tenant, entry.id), () => this.#attempt(entry))
      this.#waiting.delete(entry)
    } catch (thrown) {
      const error = SpqrError.from(thrown)
      entry.failure = error
      this.#onFailure(entry, error)
      if (error.retriable) this.#retry(entry, retryMs)
      else this.#waiting.delete(entry)
    } finally {
      entry.busy = undefined
    }
  }

  async #attempt(entry: PipelineEntry): Promise<void> {
    const { tenant, id } = entry
    // Somebody may have started, stopped or removed it meanwhile.
    if (this.#stopped || entry.placed || entry.wanted === 'stopped' || this.#context.index.get(tenant, id) !== entry)
      return
    const host = this.#context.hosts.of(tenant, id)
    if (entry.wanted === 'deleting') await finishRemoval(this.#context, host, entry, false)
    else await start(host, entry, rowOf(this.#context, tenant, id))
  }

  #retry(entry: PipelineEntry, retryMs: number): void {
    if (this.#stopped) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void this.#restore(entry, Math.min(retryMs * 2, RETRY_MS_MAX))
    }, retryMs)
    this.#timers.add(timer)
  }
}
