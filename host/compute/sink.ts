// The compute side of an emitter: moves records from the outputs it reads into its ring, or, for `discard`, counts them.
// Runs on: compute.

import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_SOURCE_OFFSET,
} from '../record/record.ts'
import { ChannelWriter } from '../ring/channel.ts'
import { clockUs, type Run } from '../ring/ring.ts'
import { BYTES_IN, type Counters, RECORDS_IN } from './counters.ts'
import { type Input, takeInput } from './input.ts'
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
  readonly inputs: Input[] = []
  readonly counters: Counters
  readonly writer: ChannelWriter | null
  private readonly owner: SinkOwner
  private nextInput = 0
  /** A mark that found no room yet. */
  private pendingKind = 0
  private pendingEpoch = 0
  /** Of the barrier that some inputs have seen. */
  private barrierEpoch = 0
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
    const inputs = this.inputs
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[(this.nextInput + i) % inputs.length]!
      if (input.aligned || input.ended) continue
      input.output.peek(input, run)
      if (run.from >= run.to) continue
      this.nextInput = (this.nextInput + i + 1) % inputs.length
      const kind = input.output.bytes[run.from + RECORD_KIND]!
      if (kind === KIND_DATA) return this.take(input)
      this.takeControl(input, kind)
      return true
    }
    return false
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

  private takeControl(input: Input, kind: number): void {
    const epoch = input.output.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]! >>> 0
    input.output.advance(input, RECORD_HEADER_BYTES)
    if (kind === KIND_BARRIER) {
      input.aligned = true
      this.barrierEpoch = epoch
    } else if (kind === KIND_END) input.end()
    else return
    for (const i of this.inputs) if (!i.aligned && !i.ended) return
    // An end that completes the alignment carries no epoch of its own: the barrier's counts.
    if (this.inputs.some((i) => i.aligned)) {
      for (const i of this.inputs) i.aligned = false
      this.mark(KIND_BARRIER, this.barrierEpoch)
    } else {
      this.mark(KIND_END, epoch)
    }
  }

  /** It is taken out of the pipeline: what is in its ring is followed by the end, as soon as there is room. */
  leave(): void {
    this.leaving = true
    this.mark(KIND_END, 0)
  }

  /** Passes a barrier or the end on. */
  mark(kind: number, epoch: number): void {
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
