// A source that reads a topic as one of a consumer group: the partitions that it is given, from the offsets that the group has.
// Before it lets them go, a checkpoint covers all that it has handed out, so that state, output and offsets agree.
// Runs on: bridge.

import { SpqrError } from '../../schemas/errors.ts'
import { parseStart, TOPIC_START_WORDS } from '../../schemas/start.ts'
import {
  type GroupListener,
  type GroupMember,
  type Membership,
  type PublishedOffset,
  REBALANCE_MS,
} from '../transport/transport.ts'
import { Backoff } from './backoff.ts'
import { type BridgeContext, type Chunk, ENDED, type Source, WAIT } from './bridge.ts'
import { existingTopic } from './bridge-topic.ts'
import { TopicReader } from './topic-reader.ts'
import {
  beginningOf,
  offsetsIn,
  startIn,
  stillThere,
  type TopicPosition,
  type TopicSourceOptions,
} from './topic-start.ts'

const AGAIN_MS = 100
const NOTHING = new Uint8Array(0)

interface GroupPosition extends TopicPosition {
  /** As which member it was read. */
  membership?: Membership
  /** Where a restart is to begin, until it has been given its first partitions. */
  startFrom?: string
}

export interface GroupSourceOptions extends TopicSourceOptions {
  /** The group is another cluster's: its offsets are no part of our commits, and published behind them. */
  isForeign?: boolean
}

export class GroupSource implements Source, GroupListener {
  readonly isReread = true
  readonly #context: BridgeContext
  readonly #options: GroupSourceOptions
  #member: GroupMember | undefined
  #membership: Membership | undefined
  #reader: TopicReader | undefined
  /** Of the checkpoint that was gone on from. */
  #kept: GroupPosition | undefined
  /** Somebody asked to begin there: it counts for the first partitions only. */
  #startFrom: string | undefined
  /** The last position that was handed out, and the last that is stored. */
  #handed: GroupPosition
  #stored: GroupPosition
  /** What is on its way to a group of another cluster. */
  #afar: Promise<unknown> = Promise.resolve()
  /** The runtime has not been told where the new partitions begin. */
  #isNew = false
  #state: 'reading' | 'draining' | 'lost' | 'stopped' = 'reading'

  constructor(options: GroupSourceOptions, context: BridgeContext) {
    this.#options = options
    this.#context = context
    this.#handed = this.#stored = { topic: options.topic, offsets: {} }
  }

  /** Checks what can be checked; it joins with the first `pull`, for one that is only tried out shall disturb nobody. */
  async open(position: unknown): Promise<void> {
    const { topic, name, own, from } = this.#options
    const { transport, startFrom } = this.#context
    const info = own ? await transport.topic(topic) : await existingTopic(this.#context, name, topic)
    const kept = offsetsIn(position, topic) === undefined ? undefined : (position as GroupPosition)
    this.#kept = kept
    this.#startFrom = kept?.startFrom ?? (startFrom === 'checkpoint' ? undefined : startFrom)
    const isPlace = this.#startFrom !== undefined && parseStart(this.#startFrom, TOPIC_START_WORDS) !== undefined
    if (info) startIn(isPlace ? this.#startFrom! : from, await transport.offsets(topic))
  }

  begins(): unknown {
    return { ...this.#handed, startFrom: this.#startFrom }
  }

  pull(): Chunk | typeof WAIT | typeof ENDED {
    if (this.#state === 'draining') return ENDED
    if (this.#state !== 'reading') return WAIT
    this.#member ??= this.#context.transport.joinGroup(this.#options.group, this.#options.topic, this)
    if (this.#isNew) {
      this.#isNew = false
      return { bytes: NOTHING, from: 0, to: 0, records: 0, position: this.#handed }
    }
    const run = this.#reader?.take()
    if (!run) return WAIT
    this.#handed = this.#position(this.#reader!.offsets)
    return { bytes: run.frames, from: 0, to: run.frames.length, records: run.records, position: this.#handed }
  }

  /** Its place is the group's: only where it would begin without one can change, which says nothing to one that runs. */
  configure(): boolean {
    return true
  }

  committed(position: unknown): void {
    const stored = position as GroupPosition
    const { membership, offsets } = stored
    // One that was under way when the partitions were let go says nothing of those that it has now.
    if (!membership || !isSame(membership, this.#membership)) return
    this.#stored = stored
    if (!this.#options.isForeign) return
    const all = new Map(Object.entries(offsets).map(([partition, offset]) => [Number(partition), BigInt(offset)]))
    const publish = (): Promise<void> => this.#member!.publish(membership, all)
    this.#afar = this.#afar.then(publish).catch((thrown) => this.trouble(SpqrError.from(thrown)))
  }

  /**
   * What a position says to the group. Of an earlier membership nothing: its last offsets were published when it was let go. Of
   * one that was lost all, so that the commit is refused.
   */
  published(position: unknown): PublishedOffset[] {
    const { membership, offsets } = (position ?? {}) as Partial<GroupPosition>
    if (!membership || !offsets || this.#options.isForeign) return []
    if (this.#state !== 'lost' && !isSame(membership, this.#membership)) return []
    const { group, topic } = this.#options
    return Object.entries(offsets).map(([partition, offset]) => {
      return { group, topic, partition: Number(partition), offset: BigInt(offset), membership }
    })
  }

  /** It stays a member until `stop`, for its last offsets are still to be published. */
  drain(): Promise<void> {
    this.#state = 'draining'
    this.#reader?.stop()
    this.#context.ready()
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    this.#reader?.stop()
    await this.#member?.leave()
  }

  // What the group says

  assigned(membership: Membership, partitions: number[]): void {
    if (this.#state !== 'reading') return
    this.#membership = membership
    void this.#begin(membership, partitions)
  }

  async revoked(): Promise<void> {
    this.#reader?.stop()
    this.#reader = undefined
    this.#isNew = false
    for (const until = Date.now() + REBALANCE_MS; this.#stored !== this.#handed; ) {
      if (this.#state === 'stopped') return
      await this.#context.checkpoint().catch(async (thrown) => {
        if (Date.now() > until) throw thrown
        await new Promise((again) => setTimeout(again, AGAIN_MS))
      })
    }
    await this.#afar
    this.#membership = undefined
  }

  lost(error: SpqrError): void {
    if (this.#state === 'stopped') return
    this.#state = 'lost'
    this.#reader?.stop()
    this.#context.fail(error)
  }

  trouble(error: SpqrError): void {
    if (this.#state === 'stopped') return
    if (error.retriable) this.#context.report(error)
    else this.#context.fail(error)
  }

  /** Reads what it was given, once it is known from where; tried until it is, or others get it. */
  async #begin(membership: Membership, partitions: number[]): Promise<void> {
    const backoff = new Backoff()
    while (this.#isMember(membership)) {
      try {
        const starts = await this.#starts(membership, partitions)
        if (!this.#isMember(membership)) return
        this.#startFrom = undefined
        this.#reader = new TopicReader(this.#context, this.#options.topic, this.#options.own, starts)
        this.#handed = this.#stored = this.#position(this.#reader.offsets)
        this.#isNew = true
        this.#tell(partitions)
        this.#context.ready()
        return
      } catch (thrown) {
        const error = SpqrError.from(thrown)
        // Others came or went meanwhile: the group says what follows.
        if (!this.#isMember(membership) || error.extra?.fenced === true) return
        if (!error.retriable) return this.#context.fail(error)
        this.#context.report(error)
        await new Promise((again) => setTimeout(again, backoff.next()))
      }
    }
  }

  /** The group's offsets. Where it has none, or somebody asked for another place, the beginning is published before it is read. */
  async #starts(membership: Membership, partitions: number[]): Promise<Map<number, bigint>> {
    const { transport } = this.#context
    const { topic, name } = this.#options
    if (partitions.length === 0) return new Map()
    const info = await transport.topic(topic)
    if (!info) return new Map(partitions.map((partition) => [partition, 0n]))
    const member = this.#member!
    const committed = await member.committed(partitions)
    const bounds = await transport.offsets(topic)
    const place = this.#startFrom === undefined ? undefined : parseStart(this.#startFrom, TOPIC_START_WORDS)
    const isGoneBack = this.#startFrom !== undefined && !place
    const start = place ?? parseStart(this.#options.from, TOPIC_START_WORDS)
    const starts = new Map<number, bigint>()
    const beginnings = new Map<number, bigint>()
    for (const partition of partitions) {
      const bound = bounds.find((one) => one.partition === partition)
      const text = this.#kept?.offsets[partition]
      const kept = text === undefined ? undefined : BigInt(text)
      const known = isGoneBack
        ? (kept ?? committed.get(partition))
        : place
          ? undefined
          : (committed.get(partition) ?? kept)
      const begin =
        known === undefined
          ? await beginningOf(this.#context, topic, partition, start, bound)
          : stillThere(this.#context, name, partition, known, bound)
      starts.set(partition, begin)
      if (begin !== committed.get(partition)) beginnings.set(partition, begin)
    }
    if (beginnings.size > 0) await member.publish(membership, beginnings)
    return starts
  }

  #isMember(membership: Membership): boolean {
    return this.#state === 'reading' && this.#membership === membership
  }

  #position(offsets: Record<string, string>): GroupPosition {
    return { topic: this.#options.topic, offsets, membership: this.#membership }
  }

  #tell(partitions: number[]): void {
    const { name, group } = this.#options
    const which = partitions.length === 0 ? 'nothing, for others have all' : `partitions ${partitions.join(', ')}`
    this.#context.log('info', `In the group "${group}" it reads of topic "${name}" ${which}`)
  }
}

function isSame(a: Membership, b: Membership | undefined): boolean {
  return a.id === b?.id && a.generation === b.generation
}
