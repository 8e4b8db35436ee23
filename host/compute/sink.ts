// The compute side of an emitter: moves records from the outputs it reads into its ring, or, for `discard`, counts them.
// Runs on: compute.

import { KIND_DATA, KIND_END, RECORD_HEADER_BYTES } from '../record/record.ts'
import { ChannelWriter } from '../ring/channel.ts'
import { clockUs, type Run } from '../ring/ring.ts'
import { BYTES_IN, type Counters, RECORDS_IN } from './counters.ts'
import { type Input, takeInput } from './input.ts'
import { Inputs, NOTHING } from './inputs.ts'
import type { EmitterSpec } from './messages.ts'

const RECORDS_MAX = 1 << 30
const BATCH_BYTES = 256 << 10

export interface SinkOwner {
  /** Records or a mark were put into the emitter's ring. */
  signal(channel: number): void
  announceRing(channel: number, memory: SharedArrayBuffer): void
  /** A sink that was taken out has put its end into its ring. */
  left(sink: Sink): void
  /** A sink without a ring has seen the barrier, or the end, on all its inputs. */
  sunk(component: string, epoch: number, end: boolean): void
}

/** Of those that have had no record yet. */
const NO_BYTES = new Uint8Array(0)
const NO_WORDS = new Int32Array(0)
const run: Run = { from: 0, to: 0 }
const taken = { bytes: 0, span: 0, records: 0 }

export class Sink {
  readonly component: string
  spec: EmitterSpec
  readonly inputs = new Inputs()
  readonly counters: Counters
  readonly writer: ChannelWriter | null
  private readonly owner: SinkOwner
  /** A mark that found no room yet. */
  private pendingKind = 0
  private pendingEpoch = 0
  private leaving = false
  /** The ring is full and will signal. */
  private blocked = false
  private scratch: Uint8Array = NO_BYTES
  private scratchWords: Int32Array = NO_WORDS

  constructor(spec: EmitterSpec, counters: Counters, owner: SinkOwner) {
    this.component = spec.component
    this.spec = spec
    this.counters = counters
    this.owner = owner
    this.writer =
      spec.channel < 0
        ? null
        : new ChannelWriter(spec.capacityBytes, (memory) => owner.announceRing(spec.channel, memory))
  }

  /** The bridge made room. */
  unblock(): void {
    this.blocked = false
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  step(): boolean {
    if (this.blocked) return false
    if (this.pendingKind !== 0) return this.putMark()
    const kind = this.inputs.next(run)
    if (kind === NOTHING) return false
    if (kind === KIND_DATA) return this.take(this.inputs.current)
    this.mark(kind, this.inputs.epoch)
    return true
  }

  private take(input: Input): boolean {
    const { bytes, words } = input.output
    const since = input.output.since()
    takeInput(bytes, words, run.from, run.to, input, BATCH_BYTES, RECORDS_MAX, taken)
    let moved = taken.bytes
    let span = taken.span
    let records = taken.records
    if (this.writer !== null && taken.bytes > 0) {
      moved = this.put(input, taken.bytes === taken.span)
      if (moved < taken.bytes) {
        this.blocked = this.writer.wantRoom(BATCH_BYTES)
        records = 0
        for (let at = 0; at < moved; at += this.scratchLength(input, at)) records++
        span = input.spanOf(bytes, words, run.from, run.to, records)
      }
      if (moved > 0) this.owner.signal(this.spec.channel)
    }
    if (this.writer === null) {
      const values = this.counters.values
      values[RECORDS_IN]! += records
      values[BYTES_IN]! += moved
      if (records > 0) this.counters.took((clockUs() - since) & 0x7fffffff, records)
    }
    if (span > 0) input.output.advance(input, span)
    // Room that was made between the two looks is announced by nobody: it is tried again at once.
    return moved > 0 || !this.blocked
  }

  /** Copies the measured records into the ring. @returns bytes taken */
  private put(input: Input, contiguous: boolean): number {
    const { bytes, words } = input.output
    if (contiguous) return this.writer!.push(bytes, words, run.from, run.from + taken.bytes)
    if (this.scratch.length < taken.bytes) {
      this.scratch = new Uint8Array(Math.max(taken.bytes, BATCH_BYTES))
      this.scratchWords = new Int32Array(this.scratch.buffer)
    }
    input.gather(bytes, words, run.from, run.from + taken.span, this.scratch, 0)
    return this.writer!.push(this.scratch, this.scratchWords, 0, taken.bytes)
  }

  /** Length of the record at `at` of what `put` offered. */
  private scratchLength(input: Input, at: number): number {
    if (taken.bytes === taken.span) return input.output.words[(run.from + at) >> 2]!
    return this.scratchWords[at >> 2]!
  }

  /** It is taken out of the pipeline: what is in its ring is followed by the end, as soon as there is room. */
  leave(): void {
    this.leaving = true
    this.mark(KIND_END, 0)
  }

  /** Passes a barrier or the end on. */
  private mark(kind: number, epoch: number): void {
    if (this.writer === null) {
      this.owner.sunk(this.component, epoch, kind === KIND_END)
      return
    }
    this.pendingKind = kind
    this.pendingEpoch = epoch
    this.putMark()
  }

  private putMark(): boolean {
    if (!this.writer!.pushControl(this.pendingKind, this.pendingEpoch)) {
      this.blocked = this.writer!.wantRoom(RECORD_HEADER_BYTES)
      return !this.blocked
    }
    this.pendingKind = 0
    this.owner.signal(this.spec.channel)
    if (this.leaving) this.owner.left(this)
    return true
  }
}
