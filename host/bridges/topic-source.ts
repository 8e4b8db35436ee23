// The source `topic`: every partition of a topic, read ahead by one piece each and told of new records, never polled.
// Runs on: bridge. The frames are ours; partition is stamped into them here. A chunk's memory is used again at the next `pull`.

import { SpqrError } from '../../schemas/errors.ts'
import { ownerOfTopic, topicName } from '../../schemas/names.ts'
import { parseStart, TOPIC_START_WORDS } from '../../schemas/start.ts'
import { RECORD_LENGTH, RECORD_SOURCE, RecordBuffer } from '../record/record.ts'
import type { PartitionOffsets, ReadResult } from '../transport/transport.ts'
import { Backoff } from './backoff.ts'
import { type BridgeContext, type Chunk, ENDED, type Source, type SourceType, WAIT } from './bridge.ts'
import { bridgeTopic, existingTopic } from './bridge-topic.ts'

const READ_BYTES = 512 << 10
/** Where a piece is as large as this, more will follow: the next ones are put into memory that is used again. */
const LARGE_BYTES = 64 << 10

export interface TopicSourceOptions {
  /** Full name on the transport. */
  topic: string
  /** How people call it. */
  name: string
  /** `committed | earliest | latest | offset:N | time:ISO`, where neither a position nor `startFrom` says. */
  from: string
  /** Whose committed offsets `committed` means. */
  group: string
  /** A pipeline's own: it may not exist before its first write, and reads as empty then. */
  own: boolean
  /** Nobody can have written to it yet: there is nothing to ask for before the first write. */
  isNew?: boolean
}

interface Position {
  /** Full name: offsets of another topic mean nothing here. */
  topic: string
  /** Next offset by partition, as decimal text. */
  offsets: Record<string, string>
}

interface Lane {
  partition: number
  /** The next offset to be read ahead. */
  next: bigint
  /** The next offset to be handed out. */
  taken: bigint
  /** Where a drain ends. */
  until: bigint | undefined
  ahead: ReadResult | undefined
  /** Where what is ahead, or being read, is put. */
  memory: RecordBuffer | undefined
  isLarge: boolean
  reading: boolean
  /** Something came while it was being read. */
  again: boolean
  backoff: Backoff
  timer: NodeJS.Timeout | undefined
}

/** The group under whose name a pipeline's offsets in a topic are published. */
export function groupOf(tenant: string, pipeline: string, group: unknown): string {
  return topicName(tenant, typeof group === 'string' ? group : pipeline)
}

export class TopicSource implements Source {
  readonly isReread = true
  readonly #context: BridgeContext
  readonly #options: TopicSourceOptions
  #lanes: Lane[] = []
  #turn = 0
  /** Of the chunk that was handed out last. */
  #handedOut: RecordBuffer | undefined
  /** Memory that is free. */
  readonly #spare: RecordBuffer[] = []
  #offsets: Record<string, string> = {}
  #unwatch: (() => void) | undefined
  #stopped = false

  constructor(options: TopicSourceOptions, context: BridgeContext) {
    this.#options = options
    this.#context = context
  }

  async open(position: unknown): Promise<void> {
    const { topic, name, own, isNew = false } = this.#options
    const starts = isNew ? [0n] : await this.#startsOf(position, own, name)
    this.#lanes = starts.map(laneAt)
    starts.forEach((next, partition) => {
      this.#offsets[partition] = String(next)
    })
    // Watched before it is read: what comes between the two is seen.
    this.#unwatch = this.#context.transport.watch(topic, (partition) => {
      const lane = this.#lanes[partition]
      if (lane) this.#read(lane)
    })
    if (!isNew) for (const lane of this.#lanes) this.#read(lane)
  }

  begins(): unknown {
    const position: Position = { topic: this.#options.topic, offsets: this.#offsets }
    return position
  }

  pull(): Chunk | typeof WAIT | typeof ENDED {
    // Who pulls has copied the chunk before.
    if (this.#handedOut) this.#spare.push(this.#handedOut)
    this.#handedOut = undefined
    const count = this.#lanes.length
    for (let i = 0; i < count; i++) {
      const lane = this.#lanes[(this.#turn + i) % count]!
      const { ahead } = lane
      if (!ahead) continue
      this.#turn = (this.#turn + i + 1) % count
      lane.ahead = undefined
      this.#handedOut = lane.memory
      lane.memory = undefined
      this.#offsets = { ...this.#offsets, [lane.partition]: String(ahead.next) }
      lane.taken = ahead.next
      if (ahead.next < ahead.latest || lane.again) this.#read(lane)
      // A chunk stands at the start of its memory.
      const frames = ahead.frames.byteOffset === 0 ? ahead.frames : ahead.frames.slice()
      stampPartition(frames, lane.partition)
      const position: Position = { topic: this.#options.topic, offsets: this.#offsets }
      return { bytes: frames, from: 0, to: frames.length, records: ahead.records, position }
    }
    return this.#isDrained() ? ENDED : WAIT
  }

  stop(): Promise<void> {
    this.#stopped = true
    this.#unwatch?.()
    for (const lane of this.#lanes) clearTimeout(lane.timer)
    return Promise.resolve()
  }

  /** Ends, by `pull`, once everything that is in the topic now was handed out. */
  protected async drainAll(): Promise<void> {
    const { topic, own } = this.#options
    const exists = !own || (await this.#context.transport.topic(topic)) !== undefined
    const offsets = exists ? await this.#context.transport.offsets(topic) : []
    for (const lane of this.#lanes)
      lane.until = offsets.find((o) => o.partition === lane.partition)?.latest ?? lane.taken
    this.#context.ready()
  }

  #isDrained(): boolean {
    return this.#lanes.length > 0 && this.#lanes.every((lane) => lane.until !== undefined && lane.taken >= lane.until)
  }

  async #startsOf(position: unknown, own: boolean, name: string): Promise<bigint[]> {
    const { topic } = this.#options
    const info = own ? await this.#context.transport.topic(topic) : await existingTopic(this.#context, name, topic)
    const before = position as Position | undefined
    const offsets = before?.topic === topic ? before.offsets : undefined
    return this.#starts(info?.partitions ?? 1, offsets, info !== undefined)
  }

  async #starts(partitions: number, position: Record<string, string> | undefined, exists: boolean): Promise<bigint[]> {
    const { transport, startFrom } = this.#context
    const { topic, group } = this.#options
    const all = Array.from({ length: partitions }, (_, p) => p)
    if (!exists) return all.map((p) => BigInt(position?.[p] ?? 0))
    const committed = position === undefined ? await transport.groupOffsets(group, topic) : new Map<number, bigint>()
    const offsets = await transport.offsets(topic)
    const from = startFrom === undefined || startFrom === 'checkpoint' ? this.#options.from : startFrom
    const start = parseStart(from, TOPIC_START_WORDS)
    if (position === undefined && !start) throw wrongFrom(`"${from}" is no place to start from`)
    if (start?.at === 'offset' && offsets.every((o) => start.offset > o.latest)) {
      const ends = offsets.map((o) => o.latest).join(', ')
      throw wrongFrom(`offset ${start.offset} is past the end of the topic, which is ${ends}`)
    }
    return Promise.all(
      all.map(async (partition) => {
        const known = position?.[partition] ?? committed.get(partition)
        const bounds = offsets.find((o) => o.partition === partition)
        if (position?.[partition] !== undefined) return this.#kept(partition, BigInt(position[partition]), bounds)
        if (start?.at === 'offset') return bounds && start.offset > bounds.latest ? bounds.latest : start.offset
        if (start?.at === 'time')
          return transport.offsetOf(topic, partition, { at: 'time', timestampMs: start.timestampMs })
        if (start?.at === 'word' && start.word === 'latest') return bounds?.latest ?? 0n
        if (start?.at === 'word' && start.word === 'committed' && known !== undefined) return BigInt(known)
        return bounds?.earliest ?? 0n
      }),
    )
  }

  /** Where a checkpoint says; told where the topic no longer has it. */
  #kept(partition: number, offset: bigint, bounds: PartitionOffsets | undefined): bigint {
    if (!bounds || offset >= bounds.earliest) return offset
    const { name } = this.#options
    const gone = bounds.earliest - offset
    this.#context.log(
      'warn',
      `${gone} records of topic "${name}", partition ${partition}, are gone before they were read: from offset ${offset} to ${bounds.earliest}`,
    )
    return bounds.earliest
  }

  /** Reads a piece ahead, unless one is there or under way. */
  #read(lane: Lane): void {
    lane.again = lane.reading || lane.ahead !== undefined
    if (lane.again || this.#stopped) return
    lane.reading = true
    clearTimeout(lane.timer)
    if (lane.isLarge) lane.memory ??= this.#spare.pop() ?? new RecordBuffer(0)
    else {
      lane.memory = undefined
      this.#spare.pop()
    }
    this.#context.transport.read(this.#options.topic, lane.partition, lane.next, READ_BYTES, lane.memory).then(
      (result) => this.#readDone(lane, result),
      (error: unknown) => this.#readFailed(lane, SpqrError.from(error)),
    )
  }

  #readDone(lane: Lane, result: ReadResult): void {
    lane.reading = false
    if (this.#stopped) return
    lane.backoff.reset()
    lane.isLarge = result.frames.length >= LARGE_BYTES
    const moved = result.next > lane.next
    lane.next = result.next
    if (result.records > 0) {
      lane.ahead = result
      this.#context.ready()
      return
    }
    // Offsets without a record: taken, so that a drain ends and a checkpoint does not read them again.
    lane.taken = result.next
    this.#offsets = { ...this.#offsets, [lane.partition]: String(result.next) }
    if (lane.until !== undefined) this.#context.ready()
    if (lane.again || (moved && result.next < result.latest)) this.#read(lane)
  }

  #readFailed(lane: Lane, error: SpqrError): void {
    lane.reading = false
    if (this.#stopped) return
    if (error.code === 'NOT_FOUND' && this.#options.own) {
      // Not written yet, or removed with its pipeline: it is empty, and `watch` will say when it is not.
      if (lane.again) this.#read(lane)
      return
    }
    if (!error.retriable) {
      this.#context.fail(error)
      return
    }
    this.#context.report(error)
    lane.timer = setTimeout(() => this.#read(lane), lane.backoff.next())
  }
}

function laneAt(next: bigint, partition: number): Lane {
  return {
    partition,
    next,
    taken: next,
    until: undefined,
    ahead: undefined,
    memory: undefined,
    isLarge: false,
    reading: false,
    again: false,
    backoff: new Backoff(),
    timer: undefined,
  }
}

// hot
function stampPartition(frames: Uint8Array, partition: number): void {
  if (partition === 0) return
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  for (let at = 0; at < frames.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
    view.setUint32(at + RECORD_SOURCE, partition, true)
  }
}

function wrongFrom(message: string): SpqrError {
  return new SpqrError('INVALID_DOCUMENT', `Cannot start: ${message}.`, { issues: [{ pointer: '/from', message }] })
}

export const topicSource: SourceType = {
  create(settings, context) {
    const { topic, from = 'committed', group } = settings as { topic: string; from?: string; group?: string }
    const fullName = bridgeTopic(context, topic)
    const own = ownerOfTopic(topic) !== undefined
    return new TopicSource(
      { topic: fullName, name: topic, from, group: groupOf(context.tenant, context.pipeline, group), own },
      context,
    )
  },
}
