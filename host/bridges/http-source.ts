// The source `http`: what was posted to …/ingest/{source}. It reads the pipeline's own ingest topic, where a record is
// durable before it is answered; under at-most-once it is handed the records directly.
// Runs on: bridge.

import { SpqrError } from '../../schemas/errors.ts'
import { ingestTopic, topicName } from '../../schemas/names.ts'
import { type BridgeContext, type Chunk, ENDED, type Source, type SourceType, WAIT } from './bridge.ts'
import { groupOf, TopicSource } from './topic-source.ts'
import type { TopicSourceOptions } from './topic-start.ts'

/** What waits to be taken may have so many bytes; above, ingest answers BACK_PRESSURE. */
const WAITING_BYTES_MAX = 8 << 20

interface Run {
  frames: Uint8Array
  records: number
}

/** Holds what was ingested in memory until it is pulled: lost with the process, as at-most-once permits. */
export class DirectHttpSource implements Source {
  readonly #context: BridgeContext
  readonly #waiting: Run[] = []
  #waitingBytes = 0
  #handed = 0
  #draining = false

  constructor(context: BridgeContext) {
    this.#context = context
  }

  open(): Promise<void> {
    return Promise.resolve()
  }

  pull(): Chunk | typeof WAIT | typeof ENDED {
    const run = this.#waiting.shift()
    if (!run) return this.#draining ? ENDED : WAIT
    this.#waitingBytes -= run.frames.length
    this.#handed += run.records
    return {
      bytes: run.frames,
      from: 0,
      to: run.frames.length,
      records: run.records,
      position: { handed: this.#handed },
    }
  }

  /**
   * Takes a run of whole records, all or none.
   * @param frames at the start of their memory, the source's own from here on
   * @returns false: too much waits already (BACK_PRESSURE)
   */
  ingest(frames: Uint8Array, records: number): boolean {
    if (this.#draining) return false
    // A body may be larger than what may wait; it is taken when nothing waits.
    if (this.#waitingBytes > 0 && this.#waitingBytes + frames.length > WAITING_BYTES_MAX) return false
    this.#waiting.push({ frames, records })
    this.#waitingBytes += frames.length
    this.#context.ready()
    return true
  }

  configure(): boolean {
    return true
  }

  drain(): Promise<void> {
    this.#draining = true
    this.#context.ready()
    return Promise.resolve()
  }

  stop(): Promise<void> {
    this.#waiting.length = 0
    this.#waitingBytes = 0
    return Promise.resolve()
  }
}

/** How long a record stays at least, whether a checkpoint covers it or not. */
const KEPT_MS = 3_600_000
const TRIM_EVERY_MS = 60_000

/** By ingest topic: how far each pipeline that reads it here, the original and its forks, has come for good. */
const covered = new Map<string, Map<HttpSource, bigint>>()

/** Reads what was ingested out of the pipeline's own topic, and has it trimmed. */
export class HttpSource extends TopicSource {
  readonly #context: BridgeContext
  readonly #topic: string
  #trimmedAt = 0

  constructor(options: TopicSourceOptions, context: BridgeContext) {
    super(options, context)
    this.#context = context
    this.#topic = options.topic
  }

  override async open(position: unknown): Promise<void> {
    await super.open(position)
    const readers = covered.get(this.#topic) ?? new Map<HttpSource, bigint>()
    covered.set(this.#topic, readers.set(this, offsetOf(position)))
  }

  committed(position: unknown): void {
    const readers = covered.get(this.#topic)
    readers?.set(this, offsetOf(position))
    if (!readers || Date.now() - this.#trimmedAt < TRIM_EVERY_MS) return
    this.#trimmedAt = Date.now()
    const before = [...readers.values()].reduce((a, b) => (a < b ? a : b))
    if (before === 0n) return
    this.#context.transport.trim(this.#topic, 0, before, KEPT_MS).catch((thrown) => {
      // Not written yet, or away: it is said again.
      const error = SpqrError.from(thrown)
      if (error.code !== 'NOT_FOUND') this.#context.report(error)
    })
  }

  override stop(): Promise<void> {
    const readers = covered.get(this.#topic)
    readers?.delete(this)
    if (readers?.size === 0) covered.delete(this.#topic)
    return super.stop()
  }

  /** Its settings bound what is ingested, not what is read. */
  configure(): boolean {
    return true
  }

  /** Answers ENDED once what was accepted so far is pulled. */
  drain(): Promise<void> {
    return this.drainAll()
  }
}

/** The next offset, of the one partition that an ingest topic has. */
function offsetOf(position: unknown): bigint {
  return BigInt((position as { offsets: Record<string, string> } | undefined)?.offsets['0'] ?? 0)
}

export const httpSource: SourceType = {
  create(_settings, context) {
    if (context.delivery === 'at-most-once') return new DirectHttpSource(context)
    const { tenant, pipeline, component, forkOf } = context as BridgeContext & { forkOf?: string }
    // A fork follows what the original is sent.
    const name = ingestTopic(forkOf ?? pipeline, component)
    const group = groupOf(tenant, pipeline, undefined)
    const topic = topicName(tenant, name)
    return new HttpSource({ topic, name, from: 'committed', group, own: true, isNew: context.isNew }, context)
  },
}
