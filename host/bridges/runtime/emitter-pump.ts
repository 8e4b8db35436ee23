// Drives one emitter: takes runs of records out of its ring, and flushes it at each barrier.
// Runs on: bridge.

import { BYTES_IN, BYTES_OUT, type Counters, RECORDS_IN, RECORDS_OUT } from '../../compute/counters.ts'
import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  KIND_MOVED,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_SOURCE_OFFSET,
} from '../../record/record.ts'
import { ChannelReader } from '../../ring/channel.ts'
import { clockUs, dataRun, type Run } from '../../ring/ring.ts'
import type { Emitter } from '../bridge.ts'
import { type BridgeEmitterSpec, LETTERS } from './messages.ts'

const BATCH_BYTES = 128 << 10

export interface EmitterOwner {
  /** The ring's producer waits for room. */
  signal(channel: number): void
  /** The emitter has delivered everything before the mark; `position` belongs into the checkpoint. */
  flushed(pump: EmitterPump, epoch: number, end: boolean, position: unknown): void
  emitterFailed(pump: EmitterPump, thrown: unknown): void
  /** False: nothing may be written now; the owner schedules the pump again. // hot, once per batch */
  mayWrite(pump: EmitterPump): boolean
  /** True: it stays where the barrier is until the owner says `pass`. */
  holdsAt(pump: EmitterPump, epoch: number): boolean
}

/** Of those that have had no record yet. */
const NO_BYTES = new Uint8Array(0)
const NO_WORDS = new Int32Array(0)
const run: Run = { from: 0, to: 0 }

export class EmitterPump {
  spec: BridgeEmitterSpec
  emitter: Emitter
  readonly counters: Counters
  /** Taken out of the pipeline: it closes when it has delivered what is in its ring. */
  leaving = false
  ended = false
  /** The emitter is in the epoch after this one. */
  epochPassed: number
  private readonly owner: EmitterOwner
  /** Stays at a barrier. */
  private isHeld = false
  private channel = new ChannelReader()
  private position = 0
  private scratch: Uint8Array = NO_BYTES
  private scratchWords: Int32Array = NO_WORDS

  constructor(spec: BridgeEmitterSpec, emitter: Emitter, counters: Counters, epochPassed: number, owner: EmitterOwner) {
    this.spec = spec
    this.emitter = emitter
    this.counters = counters
    this.epochPassed = epochPassed
    this.owner = owner
  }

  /** Another worker writes from now on, into a ring of its own; the one before was read to its end. */
  relocate(): void {
    this.channel = new ChannelReader()
    this.position = 0
  }

  announced(memory: SharedArrayBuffer): void {
    this.channel.announced(memory)
  }

  /** The emitter threw where it may not. */
  crashed(thrown: unknown): void {
    this.owner.emitterFailed(this, thrown)
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  turn(): boolean {
    const ring = this.channel.ring
    if (ring === null || this.ended || this.isHeld) return false
    this.position = ring.peek(this.position, run)
    if (run.from >= run.to) return false
    const kind = ring.bytes[run.from + RECORD_KIND]!
    if (kind === KIND_DATA) return this.owner.mayWrite(this) && this.write()
    const epoch = ring.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]! >>> 0
    if (kind === KIND_MOVED) {
      if (!this.channel.moveOn()) return false
      this.position = this.channel.ring!.released
      return true
    }
    this.release(RECORD_HEADER_BYTES)
    if (kind === KIND_BARRIER) {
      // Before the owner hears of it, who may say `pass` at once: everybody else may be there already.
      this.isHeld = true
      if (!this.owner.holdsAt(this, epoch)) this.flush(epoch, false)
    } else if (kind === KIND_END) this.flush(epoch, true)
    return true
  }

  /** Flushes; what is written from now on belongs to the next epoch. @returns the emitter's position */
  pass(epoch: number): Promise<unknown> {
    this.isHeld = false
    const flushed = this.emitter.flush()
    this.epochPassed = Math.max(this.epochPassed, epoch)
    return flushed
  }

  /** Does not stay at a barrier any longer. */
  goOn(): void {
    this.isHeld = false
  }

  /** Flushes as `pass` does, and tells the owner. */
  flush(epoch: number, end: boolean): void {
    // Dead letters may come again: of an operator that is added when all others have ended.
    if (end && this.spec.component !== LETTERS) this.ended = true
    this.pass(epoch).then(
      (position) => this.owner.flushed(this, epoch, end, position),
      (thrown) => this.owner.emitterFailed(this, thrown),
    )
  }

  private write(): boolean {
    const ring = this.channel.ring!
    const since = ring.since()
    const bytes = dataRun(ring.bytes, ring.words, run.from, run.to, BATCH_BYTES)
    if (this.scratch.length < bytes) {
      this.scratch = new Uint8Array(Math.max(bytes, BATCH_BYTES >> 3) * 2)
      this.scratchWords = new Int32Array(this.scratch.buffer)
    }
    this.scratch.set(ring.bytes.subarray(run.from, run.from + bytes))
    const taken = this.emitter.write(this.scratch, 0, bytes)
    if (taken === 0) return false
    let records = 0
    for (let at = 0; at < taken; at += this.scratchWords[at >> 2]!) records++
    const values = this.counters.values
    values[RECORDS_IN]! += records
    values[BYTES_IN]! += taken
    values[RECORDS_OUT]! += records
    values[BYTES_OUT]! += taken
    this.counters.took((clockUs() - since) & 0x7fffffff, records)
    this.release(taken)
    return true
  }

  private release(bytes: number): void {
    this.position = (this.position + bytes) | 0
    if (this.channel.ring!.release(this.position)) this.owner.signal(this.spec.channel)
  }
}
