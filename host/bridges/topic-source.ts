// The source `topic`: every partition of a topic. How far it has come is published under the name of its group, for people and
// tools; one whose settings name a group shares the partitions with the others in it (`group-source.ts`).
// Runs on: bridge.

import { ownerOfTopic, topicName } from '../../schemas/names.ts'
import { parseStart, TOPIC_START_WORDS } from '../../schemas/start.ts'
import { type BridgeContext, type Chunk, ENDED, type Source, type SourceType, WAIT } from './bridge.ts'
import { bridgeTopic, existingTopic } from './bridge-topic.ts'
import { GroupSource } from './group-source.ts'
import { TopicReader } from './topic-reader.ts'
import {
  beginningOf,
  offsetsIn,
  startIn,
  stillThere,
  type TopicPosition,
  type TopicSourceOptions,
} from './topic-start.ts'

/** The group under whose name a pipeline's offsets in a topic are published. */
export function groupOf(tenant: string, pipeline: string, group: unknown): string {
  return topicName(tenant, typeof group === 'string' ? group : pipeline)
}

export class TopicSource implements Source {
  readonly isReread = true
  readonly #context: BridgeContext
  readonly #options: TopicSourceOptions
  #reader: TopicReader | undefined

  constructor(options: TopicSourceOptions, context: BridgeContext) {
    this.#options = options
    this.#context = context
  }

  async open(position: unknown): Promise<void> {
    const { topic, own, isNew = false } = this.#options
    const starts = isNew ? [0n] : await this.#startsOf(position)
    this.#reader = new TopicReader(this.#context, topic, own, new Map(starts.map((next, p) => [p, next])), isNew)
  }

  begins(): unknown {
    return this.#position
  }

  pull(): Chunk | typeof WAIT | typeof ENDED {
    const run = this.#reader?.take()
    if (!run) return this.#reader?.isDrained ? ENDED : WAIT
    return { bytes: run.frames, from: 0, to: run.frames.length, records: run.records, position: this.#position }
  }

  stop(): Promise<void> {
    this.#reader?.stop()
    return Promise.resolve()
  }

  /** Ends, by `pull`, once everything that is in the topic now was handed out. */
  protected async drainAll(): Promise<void> {
    await this.#reader?.drain()
  }

  get #position(): TopicPosition {
    return { topic: this.#options.topic, offsets: this.#reader?.offsets ?? {} }
  }

  async #startsOf(position: unknown): Promise<bigint[]> {
    const { topic, name, own } = this.#options
    const info = own ? await this.#context.transport.topic(topic) : await existingTopic(this.#context, name, topic)
    return this.#starts(info?.partitions ?? 1, offsetsIn(position, topic), info !== undefined)
  }

  async #starts(partitions: number, position: Record<string, string> | undefined, exists: boolean): Promise<bigint[]> {
    const context = this.#context
    const { transport, startFrom } = context
    const { topic, group, name } = this.#options
    const all = Array.from({ length: partitions }, (_, p) => p)
    if (!exists) return all.map((p) => BigInt(position?.[p] ?? 0))
    const committed = position === undefined ? await transport.groupOffsets(group, topic) : new Map<number, bigint>()
    const offsets = await transport.offsets(topic)
    const from = startFrom === undefined || startFrom === 'checkpoint' ? this.#options.from : startFrom
    // Where a position says where it is, a place that is none is not looked at.
    const start = position !== undefined && !parseStart(from, TOPIC_START_WORDS) ? undefined : startIn(from, offsets)
    const isCommitted = start?.at === 'word' && start.word === 'committed'
    return Promise.all(
      all.map((partition) => {
        const bounds = offsets.find((o) => o.partition === partition)
        const kept = position?.[partition]
        if (kept !== undefined) return stillThere(context, name, partition, BigInt(kept), bounds)
        const known = isCommitted ? committed.get(partition) : undefined
        return known ?? beginningOf(context, topic, partition, start, bounds)
      }),
    )
  }
}

export const topicSource: SourceType = {
  create(settings, context) {
    const { topic, from = 'committed', group } = settings as { topic: string; from?: string; group?: string }
    const own = ownerOfTopic(topic) !== undefined
    const options = {
      topic: bridgeTopic(context, topic),
      name: topic,
      from,
      group: groupOf(context.tenant, context.pipeline, group),
      own,
    }
    return group === undefined ? new TopicSource(options, context) : new GroupSource(options, context)
  },
}
