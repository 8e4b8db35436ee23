// Drives one source: pulls chunks while there is room, stamps them, puts them into the ring, and puts barriers between them.
// Runs on: bridge.

import { BYTES_IN, BYTES_OUT, type Counters, RECORDS_IN, RECORDS_OUT } from '../../compute/counters.ts'
import type { QuotaCells } from '../../quota/quota-cells.ts'
import { KIND_BARRIER, KIND_END, RECORD_SEQUENCE, RECORD_SOURCE } from '../../record/record.ts'
import { ChannelWriter } from '../../ring/channel.ts'
import { type Chunk, ENDED, type Source, WAIT } from '../bridge.ts'
import { HeldChunks } from './held-chunks.ts'
import type { BridgeSourceSpec } from './messages.ts'

/** A ring is asked for room of this size, so that one signal is worth a batch. */
const ROOM_BYTES = 64 << 10
const RING_BYTES = 1 << 20
const NO_WORDS = new Int32Array(0)

/** What the tenant's sources may hand over. */
export interface Rate {
  cells: QuotaCells
  tenant: number
}

export interface PumpOwner {
  /** A ring was made; the compute worker is to know before records come. */
  announceRing(channel: number, memory: SharedArrayBuffer): void
  /** Records were published. */
  signal(channel: number): void
  /** The tenant's rate is used up; schedule it again soon. */
  throttled(pump: SourcePump): void
  /** Something entered: the pipeline has a checkpoint to make. */
  dirty(): void
  sourceEnded(pump: SourcePump): void
  crashed(pump: SourcePump, thrown: unknown): void
  barrierSent(pump: SourcePump, epoch: number): void
  /** At most once: resolves when a checkpoint says that everything up to the pump's `counted` is done. */
  count(): Promise<void>
  /** The pump can go on. */
  ready(pump: SourcePump): void
}

export class SourcePump {
  spec: BridgeSourceSpec
  source: Source
  readonly counters: Counters
  /** Position after the last record that is in the ring. */
  position: unknown
  sequence = 0
  ended = false
  paused = true
  private readonly owner: PumpOwner
  private readonly rate: Rate
  private writer: ChannelWriter
  private chunk: Chunk | null = null
  private chunkAt = 0
  private words: Int32Array = NO_WORDS
  private wordsOf: ArrayBufferLike | null = null
  private readonly held: HeldChunks | null
  private notedTo: unknown
  private barrier = 0
  private blocked = false
  private endMark = false

  /** @param isOnce what can be read again flows only once it counts as done: at most once */
  constructor(
    spec: BridgeSourceSpec,
    source: Source,
    counters: Counters,
    rate: Rate,
    isOnce: boolean,
    owner: PumpOwner,
  ) {
    this.held = isOnce && source.isReread ? new HeldChunks() : null
    this.rate = rate
    this.spec = spec
    this.source = source
    this.counters = counters
    this.owner = owner
    this.writer = this.newWriter()
  }

  /** Another worker reads from now on, out of a ring of its own; nothing is left in the one before. */
  relocate(): void {
    this.writer = this.newWriter()
    this.blocked = false
    if (!this.ended) return
    // Whoever reads now has not seen the end.
    this.ended = false
    this.endMark = true
  }

  private newWriter(): ChannelWriter {
    return new ChannelWriter(RING_BYTES, (memory) => this.owner.announceRing(this.spec.channel, memory))
  }

  /** Where another source would go on: behind what was pulled, be it in the ring yet or not. */
  get nextPosition(): unknown {
    if (this.held !== null && !this.held.isEmpty) return this.held.end
    return this.chunk === null ? this.position : this.chunk.position
  }

  /** The number that the next record has that the source gives. */
  get nextSequence(): number {
    return this.sequence + (this.held?.records ?? 0) + 1
  }

  /** The source threw where it may not. */
  crashed(thrown: unknown): void {
    this.owner.crashed(this, thrown)
  }

  /** The compute worker made room. */
  unblock(): void {
    this.blocked = false
  }

  /** Puts a barrier behind what was pulled; `barrierSent` follows. */
  requestBarrier(epoch: number): void {
    this.barrier = epoch
  }

  /** The source ended before the checkpoint that is gone on from: its end flows again. */
  resumeEnded(): void {
    this.endMark = true
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  turn(): boolean {
    if (this.blocked || this.ended) return false
    if (this.chunk !== null && !this.putChunk()) return false
    if (this.held !== null && this.putHeld(this.held)) return true
    // Refused and yet not blocked: room was made between the two looks, which nobody announces. At once again.
    if (this.barrier !== 0 && !this.putBarrier()) return !this.blocked
    if (this.endMark) return this.end()
    if (this.paused || this.held?.isFull) return false
    const chunk = this.source.pull()
    if (chunk === WAIT) return false
    if (chunk === ENDED) {
      this.endMark = true
      return this.end()
    }
    if (chunk.to === chunk.from) {
      if (this.held === null || this.held.isEmpty) this.position = chunk.position
    } else if (this.held !== null) this.hold(this.held, chunk)
    else this.stamp(chunk)
    return true
  }

  /** Where a checkpoint without barriers says that it stands. */
  get counted(): unknown {
    return this.notedTo ?? this.position
  }

  private hold(held: HeldChunks, chunk: Chunk): void {
    held.add(chunk)
    this.settle(held)
  }

  private settle(held: HeldChunks): void {
    held.settle(
      (position) => {
        this.notedTo = position
        return this.owner.count()
      },
      () => {
        this.settle(held)
        this.owner.ready(this)
      },
    )
  }

  /** Lets the next chunk flow that counts as done; a barrier comes behind all of these. */
  private putHeld(held: HeldChunks): boolean {
    const chunk = held.take()
    if (chunk === undefined) return false
    this.stamp(chunk)
    return true
  }

  private putChunk(): boolean {
    const chunk = this.chunk!
    const end = this.affordable(chunk)
    if (end === this.chunkAt) {
      this.owner.throttled(this)
      return false
    }
    const taken = this.writer.push(chunk.bytes, this.words, this.chunkAt, end)
    this.rate.cells.tookRecords(this.rate.tenant, this.recordsBetween(this.chunkAt, this.chunkAt + taken), taken)
    this.chunkAt += taken
    if (taken > 0) this.owner.signal(this.spec.channel)
    if (this.chunkAt < end) {
      this.blocked = this.writer.wantRoom(ROOM_BYTES)
      return this.blocked ? false : this.putChunk()
    }
    if (end < chunk.to) {
      this.owner.throttled(this)
      return false
    }
    this.chunk = null
    this.position = chunk.position
    const values = this.counters.values
    values[RECORDS_OUT]! += chunk.records
    values[BYTES_OUT]! += chunk.to - chunk.from
    return true
  }

  /** Where the part of the chunk ends that the tenant's rate allows now. */
  private affordable(chunk: Chunk): number {
    const left = this.rate.cells.recordsLeft(this.rate.tenant)
    if (left >= chunk.records) return chunk.to
    let end = this.chunkAt
    for (let n = 0; n < left && end < chunk.to; n++) end += this.words[end >> 2]!
    return end
  }

  private recordsBetween(from: number, to: number): number {
    const chunk = this.chunk!
    if (from === chunk.from && to === chunk.to) return chunk.records
    let records = 0
    for (let at = from; at < to; at += this.words[at >> 2]!) records++
    return records
  }

  /** Gives the chunk's records their sequence and source, then puts them into the ring. */
  private stamp(chunk: Chunk): void {
    const buffer = chunk.bytes.buffer
    if (chunk.bytes.byteOffset !== 0) throw new RangeError('a chunk stands at the start of its buffer')
    if (this.wordsOf !== buffer) {
      this.wordsOf = buffer
      this.words = new Int32Array(buffer, 0, buffer.byteLength >> 2)
    }
    const words = this.words
    const source = this.spec.index << 16
    let sequence = this.sequence
    for (let at = chunk.from; at < chunk.to; at += words[at >> 2]!) {
      sequence++
      words[(at + RECORD_SEQUENCE) >> 2] = sequence | 0
      words[(at + RECORD_SEQUENCE + 4) >> 2] = (sequence / 4294967296) | 0
      words[(at + RECORD_SOURCE) >> 2] = source | (words[(at + RECORD_SOURCE) >> 2]! & 0xffff)
    }
    this.sequence = sequence
    const values = this.counters.values
    values[RECORDS_IN]! += chunk.records
    values[BYTES_IN]! += chunk.to - chunk.from
    this.chunk = chunk
    this.chunkAt = chunk.from
    this.owner.dirty()
    this.putChunk()
  }

  private putBarrier(): boolean {
    if (!this.writer.pushControl(KIND_BARRIER, this.barrier)) {
      this.blocked = this.writer.wantRoom(ROOM_BYTES)
      return false
    }
    const epoch = this.barrier
    this.barrier = 0
    this.owner.signal(this.spec.channel)
    this.owner.barrierSent(this, epoch)
    return true
  }

  private end(): boolean {
    // What is held comes before; `ready` follows.
    if (this.held !== null && !this.held.isEmpty) return false
    return this.putEnd() || !this.blocked
  }

  private putEnd(): boolean {
    if (!this.writer.pushControl(KIND_END, 0)) {
      this.blocked = this.writer.wantRoom(ROOM_BYTES)
      return false
    }
    this.ended = true
    this.owner.signal(this.spec.channel)
    this.owner.sourceEnded(this)
    return true
  }
}
