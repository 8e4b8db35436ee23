// Reads partitions of a topic, one piece ahead of each, told of new records and never polling.
// Runs on: bridge. The frames are ours; the partition is stamped into them here. A run's memory is used again at the next `take`.

import { SpqrError } from '../../schemas/errors.ts'
import { RECORD_LENGTH, RECORD_SOURCE, RecordBuffer } from '../record/record.ts'
import type { ReadResult } from '../transport/transport.ts'
import { Backoff } from './backoff.ts'
import type { BridgeContext } from './bridge.ts'

const READ_BYTES = 512 << 10
/** Where a piece is as large as this, more will follow: the next ones are put into memory that is used again. */
const LARGE_BYTES = 64 << 10

/** A run of whole records of one partition, at the start of its memory; valid until the next `take`. */
export interface TopicRun {
  frames: Uint8Array
  records: number
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

export class TopicReader {
  /** Behind what was handed out: next offset by partition, as decimal text. Another object after each change. */
  offsets: Record<string, string> = {}
  readonly #context: BridgeContext
  readonly #topic: string
  readonly #isOwn: boolean
  readonly #lanes: Lane[]
  readonly #unwatch: () => void
  #turn = 0
  /** Of the run that was taken last. */
  #handedOut: RecordBuffer | undefined
  /** Memory that is free. */
  readonly #spare: RecordBuffer[] = []
  #stopped = false

  /**
   * Begins to read; says `ready` of the context when there is something.
   * @param topic full name on the transport
   * @param isOwn a pipeline's own: it may not exist before its first write, and reads as empty then
   * @param starts where each partition begins
   * @param isNew there is nothing to read before the first write
   */
  constructor(
    context: BridgeContext,
    topic: string,
    isOwn: boolean,
    starts: ReadonlyMap<number, bigint>,
    isNew = false,
  ) {
    this.#context = context
    this.#topic = topic
    this.#isOwn = isOwn
    this.#lanes = [...starts].map(([partition, next]) => ({
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
    }))
    for (const [partition, next] of starts) this.offsets[partition] = String(next)
    // Watched before it is read: what comes between the two is seen.
    this.#unwatch = context.transport.watch(topic, (partition) => {
      const lane = this.#lanes.find((one) => one.partition === partition)
      if (lane) this.#read(lane)
    })
    if (!isNew) for (const lane of this.#lanes) this.#read(lane)
  }

  /** The next run there is, of the partitions in turn. */
  take(): TopicRun | undefined {
    // Who takes has copied the run before.
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
      this.offsets = { ...this.offsets, [lane.partition]: String(ahead.next) }
      lane.taken = ahead.next
      if (ahead.next < ahead.latest || lane.again) this.#read(lane)
      // A chunk stands at the start of its memory.
      const frames = ahead.frames.byteOffset === 0 ? ahead.frames : ahead.frames.slice()
      stampPartition(frames, lane.partition)
      return { frames, records: ahead.records }
    }
    return undefined
  }

  /** `isDrained` once everything that is in the topic now was taken. */
  async drain(): Promise<void> {
    const exists = !this.#isOwn || (await this.#context.transport.topic(this.#topic)) !== undefined
    const offsets = exists ? await this.#context.transport.offsets(this.#topic) : []
    for (const lane of this.#lanes)
      lane.until = offsets.find((o) => o.partition === lane.partition)?.latest ?? lane.taken
    this.#context.ready()
  }

  get isDrained(): boolean {
    return this.#lanes.length > 0 && this.#lanes.every((lane) => lane.until !== undefined && lane.taken >= lane.until)
  }

  stop(): void {
    this.#stopped = true
    this.#unwatch()
    for (const lane of this.#lanes) clearTimeout(lane.timer)
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
    this.#context.transport.read(this.#topic, lane.partition, lane.next, READ_BYTES, lane.memory).then(
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
    this.offsets = { ...this.offsets, [lane.partition]: String(result.next) }
    if (lane.until !== undefined) this.#context.ready()
    if (lane.again || (moved && result.next < result.latest)) this.#read(lane)
  }

  #readFailed(lane: Lane, error: SpqrError): void {
    lane.reading = false
    if (this.#stopped) return
    if (error.code === 'NOT_FOUND' && this.#isOwn) {
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

// hot
function stampPartition(frames: Uint8Array, partition: number): void {
  if (partition === 0) return
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  for (let at = 0; at < frames.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
    view.setUint32(at + RECORD_SOURCE, partition, true)
  }
}
