// One operator of a running pipeline: reads batches from its inputs, calls its instance with them, flushes, passes barriers
// and the end on.
// Runs on: compute. An instance whose stage is not empty neither runs nor takes a barrier.

import { CHANGE_RESET, KIND_BARRIER, KIND_DATA, KIND_END } from '../record/record.ts'
import { ImageMemory } from '../ring/image-memory.ts'
import { clockUs, type Run } from '../ring/ring.ts'
import { CallOutcome } from './call-outcome.ts'
import { BYTES_IN, type Counters, ERRORS, MEMORY_BYTES, RECORDS_IN } from './counters.ts'
import type { Fault } from './fault.ts'
import { FaultShare } from './fault-share.ts'
import { FlushSchedule } from './flush-schedule.ts'
import type { LoadedModule } from './guest.ts'
import { type Input, takeInput } from './input.ts'
import { Inputs, NOTHING } from './inputs.ts'
import { Instance, type InstanceState } from './instance.ts'
import { BATCH_BYTES, isSliced, limitsOf, SLICE_FUEL, SLICE_OUTPUT_BYTES, slicesOf } from './limits.ts'
import { LongCalls } from './long-calls.ts'
import type { Image, OperatorSpec } from './messages.ts'
import type { Stage } from './output.ts'
import { Salvage } from './salvage.ts'
import type { Timer, Timers } from './timers.ts'
import type { TrialCall, Verdict } from './trial.ts'

/** An instance that was not called since its start rests after so long, ms. */
const REST_NEW_MS = 500
/** One that was rests after as long without a call, at most twice as long. */
const REST_USED_MS = 30_000
/** The third fault in a row of a flush fails the pipeline. */
const FLUSH_FAULTS_MAX = 3

/** What a node needs of its pipeline. */
export interface NodeOwner {
  readonly paused: boolean
  /** Dead letters wait that nobody took yet: no record is looked at that may become another. */
  readonly lettersFull: boolean
  readonly timers: Timers
  /** The node has something to do that no record announces. */
  wake(): void
  /** There is a thread for calls that do not end within a slice; else they have their whole budget here. */
  readonly hasTrials: boolean
  /** Has the call made elsewhere; `judged` is told what came of it. @returns its number */
  startTrial(node: OperatorNode, call: Omit<TrialCall, 'tenant' | 'pipeline'>): number
  cancelTrial(trial: number): void
  barrierPassed(node: OperatorNode, epoch: number, image: Image | null): void
  deadLetter(node: OperatorNode, fault: Fault, input: Uint8Array, at: number): void
  failed(node: OperatorNode, fault: Fault): void
  fault(node: OperatorNode, fault: Fault): void
  logged(node: OperatorNode, level: number, text: string): void
}

const run: Run = { from: 0, to: 0 }
const taken = { bytes: 0, span: 0, records: 0 }
const textEncoder = new TextEncoder()

export class OperatorNode {
  readonly component: string
  spec: OperatorSpec
  readonly loaded: LoadedModule
  readonly stage: Stage
  readonly inputs: Inputs
  readonly counters: Counters
  readonly instance: Instance
  /** All inputs have ended, and it has flushed. */
  ended = false
  /** It is given its settings elsewhere: until they hold, or are refused, it does nothing. */
  private held = false
  /** Of its state at barriers. */
  private readonly copies = new ImageMemory()
  private readonly owner: NodeOwner
  private readonly outcome: CallOutcome
  private readonly schedule: FlushSchedule
  private readonly longCalls: LongCalls
  private readonly salvage: Salvage
  private flushFaults = 0
  /** Less than usual where the guest has no room for more. */
  private batchBytesMax = BATCH_BYTES
  /** Less than that while batches do not end within a slice. */
  private batchBytes = BATCH_BYTES
  /** Its inputs have ended, it flushes for the last time: the epoch of the end, else -1. */
  private endEpoch = -1
  private restTimer: Timer | null = null

  /**
   * @param replaced the node whose place it takes: it goes on at the same records, with a state of its own
   * @param faults of all instances of its component, where that is split
   */
  constructor(
    spec: OperatorSpec,
    loaded: LoadedModule,
    counters: Counters,
    owner: NodeOwner,
    replaced?: OperatorNode,
    faults = new FaultShare(),
  ) {
    replaced?.recall()
    this.component = spec.component
    this.spec = spec
    this.loaded = loaded
    this.counters = counters
    this.owner = owner
    const limits = limitsOf(spec)
    const outputBytesMax = owner.hasTrials && isSliced(limits) ? SLICE_OUTPUT_BYTES : Number.POSITIVE_INFINITY
    this.outcome = new CallOutcome(this, owner, faults, outputBytesMax, replaced?.outcome)
    this.longCalls = new LongCalls(this, owner, this.outcome, limits)
    this.salvage = new Salvage(this, this.outcome, this.longCalls, replaced?.salvage)
    this.schedule = new FlushSchedule(spec.emitWhen, owner)
    this.stage = this.outcome.emission.stage
    this.inputs = replaced?.inputs ?? new Inputs()
    this.ended = replaced?.ended ?? false
    this.endEpoch = replaced?.endEpoch ?? -1
    this.schedule.due = this.endEpoch >= 0
    this.instance = new Instance(loaded, owner.hasTrials ? slicesOf(limits) : limits, this.outcome)
  }

  /** Number of the last record that left. */
  get sequence(): number {
    return this.outcome.emission.sequence
  }

  /**
   * Starts the instance, from an image where there is one.
   * @param fuelMax less than its whole budget where what is longer is started elsewhere
   * @param started where that has led to
   * @returns whether its settings reset its state; null: refused, `instance.fault` says why
   */
  start(image: Image | undefined, fuelMax: number, started?: Verdict): boolean | null {
    const instance = this.instance
    if (!started && !instance.start(fuelMax)) return null
    if (image) {
      if (!started) instance.restore(image.memory, image.globals)
      this.outcome.emission.sequence = image.sequence
      this.schedule.records = image.sinceFlush
      this.ended = image.ended
    }
    const fuelLeft = Math.max(0, fuelMax - instance.fuelUsed)
    const change = started ? this.adopt(started) : instance.configure(textEncoder.encode(this.spec.settings), fuelLeft)
    if (change < 0) return null
    this.counters.values[MEMORY_BYTES] = instance.memoryBytes
    if (image && !this.ended) this.schedule.arm()
    this.restLater(REST_NEW_MS)
    return change === CHANGE_RESET
  }

  /**
   * New settings, from the next record on.
   * @param fuelMax less than its whole budget where what is longer is made elsewhere
   * @param given where that has led to
   * @returns whether they reset the state; null: refused, `instance.fault` says why
   */
  configure(spec: OperatorSpec, fuelMax: number, given?: Verdict): boolean | null {
    this.recall()
    const change = given ? this.adopt(given) : this.instance.configure(textEncoder.encode(spec.settings), fuelMax)
    if (change < 0) return null
    return change === CHANGE_RESET
  }

  /** Does nothing from now on, for its settings are given elsewhere. @returns its state, to go on from there */
  hold(): InstanceState {
    this.recall()
    const state = this.instance.lend()
    if (state === null) throw new RangeError(this.instance.fault!.message)
    this.held = true
    return state
  }

  /** Goes on, with the state that it has. */
  letGo(): void {
    this.held = false
  }

  /** Goes on from where its settings led elsewhere. @returns what the guest said to them */
  private adopt({ state, change, fuelUsed, busyMs, logs, logsDropped }: Verdict): number {
    const { instance } = this
    instance.adopt(state!)
    instance.fuelUsed += fuelUsed
    instance.busyMs += busyMs
    this.outcome.tell(logs, logsDropped)
    return change
  }

  /** Says which ports have a consumer. */
  connect(portsLow: number, portsHigh: number): void {
    this.outcome.emission.connect(portsLow, portsHigh)
    this.longCalls.connect(portsLow, portsHigh)
    this.instance.connect(portsLow, portsHigh)
  }

  /** The change holds: it goes by this `emitWhen`, `onError` and `limits.outputBytesPerRecord` from now on. */
  accept(spec: OperatorSpec): void {
    this.spec = spec
    if (this.schedule.change(spec.emitWhen) && !this.ended) this.schedule.arm()
  }

  stop(): void {
    this.recall()
    this.schedule.disarm()
    if (this.restTimer) this.owner.timers.cancel(this.restTimer)
    this.restTimer = null
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  step(): boolean {
    if (!this.stage.empty || this.ended || this.held) return false
    if (this.longCalls.pending !== null || this.owner.lettersFull) return false
    if (this.salvage.parts.length > 0) {
      this.salvage.next()
      return true
    }
    if (this.schedule.takeDue()) {
      this.flush()
      return true
    }
    const { inputs } = this
    const kind = inputs.next(run)
    if (kind === NOTHING) return false
    if (kind === KIND_DATA) this.takeBatch(inputs.current)
    else if (kind === KIND_BARRIER) this.passBarrier(inputs.epoch)
    else this.end(inputs.epoch)
    return true
  }

  /** It had ended at the checkpoint it was restored from: what reads it now is told again. */
  endAgain(): void {
    for (const input of this.inputs.list) input.ended = true
    this.stage.publishControl(KIND_END, 0)
  }

  /** @param copies for one that is stored and then released */
  image(copies?: ImageMemory): Image {
    const { memory, globals } = this.instance.image(copies)
    return {
      component: this.component,
      digest: this.spec.digest,
      memory,
      globals,
      sequence: this.sequence,
      sinceFlush: this.schedule.records,
      ended: this.ended,
    }
  }

  /** A call needs the instance, which rested. */
  woke(): void {
    this.restLater(REST_USED_MS)
  }

  /** @param passed of them were processed well */
  afterRecords(records: number, passed: number): void {
    this.outcome.passed(passed)
    this.schedule.passed(records, this.instance.wantsFlush)
  }

  /** What was made elsewhere has not been: it is begun again. */
  recall(): void {
    const call = this.longCalls.recall()
    if (call?.part) this.salvage.parts.push(call.part)
    else if (call) this.schedule.due = true
  }

  /** What came of the call that was made elsewhere. @throws where the state that it led to is none */
  judged(verdict: Verdict): void {
    const { outcome } = this
    const { part, fault } = this.longCalls.judged(verdict)
    if (fault) {
      outcome.discard()
      outcome.account()
      if (part) {
        outcome.poison(fault, part.input, part.from)
        this.afterRecords(0, 0)
      } else this.flushFaulted(fault)
    } else if (part) {
      const { rejected } = verdict
      if (rejected !== null)
        outcome.poison({ code: 'INVALID_RECORD', message: rejected, stack: '' }, part.input, part.from)
      outcome.finish(clockUs(), 0, 0)
      this.afterRecords(0, rejected !== null ? 0 : 1)
    } else this.flushed()
  }

  private takeBatch(input: Input): void {
    const isLong = this.longCalls.isRecordLong
    const recordsMax = isLong ? 1 : this.schedule.recordsLeft
    const since = input.output.since()
    const { bytes, words } = input.output
    takeInput(bytes, words, run.from, run.to, input, this.batchBytes, recordsMax, taken)
    if (taken.bytes === 0) {
      // Nothing in this run is for our ports.
      input.output.advance(input, taken.span)
      return
    }
    if (isLong) {
      this.takeLong(input, bytes, words)
      return
    }
    this.outcome.begin()
    let at = this.instance.inputFor(taken.bytes)
    if (at < 0 && this.instance.fault!.code === 'FUEL_EXHAUSTED') {
      // To make regions takes it longer than a slice.
      takeInput(bytes, words, run.from, run.to, input, 1, 1, taken)
      this.takeLong(input, bytes, words)
      return
    }
    if (at < 0 && taken.records > 1) {
      // A guest with little memory gets its records one by one.
      this.batchBytes = this.batchBytesMax = 1
      takeInput(bytes, words, run.from, run.to, input, this.batchBytes, recordsMax, taken)
      at = this.instance.inputFor(taken.bytes)
    }
    if (at < 0) {
      this.noRoom(input, bytes)
      return
    }
    if (taken.bytes === taken.span) this.instance.bytes.set(bytes.subarray(run.from, run.from + taken.span), at)
    else input.gather(bytes, words, run.from, run.from + taken.span, this.instance.bytes, at)
    const values = this.counters.values
    this.instance.wantsFlush = false
    // A record that comes alone has the budget of a record, not that of a slice.
    this.instance.alone = taken.records === 1
    const fuelBefore = this.instance.fuelUsed
    const consumed = this.instance.process(taken.bytes)
    this.copies.prepare(this.instance.memoryBytes)
    this.instance.alone = false
    if (consumed < 0) {
      if (this.instance.fault!.code === 'FUEL_EXHAUSTED') this.batchBytes = Math.max(1, taken.bytes >> 1)
      values[RECORDS_IN]! += taken.records
      values[BYTES_IN]! += taken.bytes
      this.schedule.records += taken.records
      this.salvage.begin(taken.bytes)
      input.output.advance(input, taken.span)
      this.outcome.account()
      return
    }
    if (this.batchBytes < this.batchBytesMax && this.instance.fuelUsed - fuelBefore < SLICE_FUEL / 4) {
      this.batchBytes = Math.min(this.batchBytesMax, this.batchBytes * 2)
    }
    let records = taken.records
    let span = taken.span
    if (consumed < taken.bytes) {
      // The guest stopped early (a flush, or its slice): only what it consumed is taken.
      records = this.instance.recordsIn(consumed)
      span = input.spanOf(bytes, words, run.from, run.to, records)
    }
    values[RECORDS_IN]! += records
    values[BYTES_IN]! += consumed
    const rejected = this.outcome.finish(since, records, consumed)
    input.output.advance(input, span)
    this.afterRecords(records, records - rejected)
  }

  /** A record that is not begun here: it waits as what is left of a batch does. */
  private takeLong(input: Input, bytes: Uint8Array, words: Int32Array): void {
    const record = new Uint8Array(taken.bytes)
    input.gather(bytes, words, run.from, run.from + taken.span, record, 0)
    this.counters.values[RECORDS_IN]! += 1
    this.counters.values[BYTES_IN]! += taken.bytes
    this.schedule.records += 1
    this.salvage.add(record)
    input.output.advance(input, taken.span)
    this.salvage.next()
  }

  /** A record that the guest has no room for. */
  private noRoom(input: Input, bytes: Uint8Array): void {
    const fault = this.instance.fault!
    takeInput(bytes, input.output.words, run.from, run.to, input, 1, 1, taken)
    this.outcome.poison(fault, bytes, run.from + taken.span - taken.bytes)
    this.counters.values[RECORDS_IN]! += 1
    input.output.advance(input, taken.span)
  }

  // Flush, barriers, ends

  private flush(): void {
    const { instance } = this
    this.schedule.records = 0
    if (this.longCalls.isFlushLong && this.longCalls.start(null)) return
    this.outcome.begin()
    if (instance.flush() >= 0) {
      this.flushed()
      return
    }
    const fault = instance.fault!
    this.outcome.discard()
    instance.undo()
    if (fault.code === 'FUEL_EXHAUSTED' && this.longCalls.start(null)) instance.fuelUsed -= instance.limits.fuelPerFlush
    else this.flushFaulted(fault)
  }

  private flushed(): void {
    this.flushFaults = 0
    this.outcome.finish(clockUs(), 0, 0)
    this.afterFlush()
  }

  private flushFaulted(fault: Fault): void {
    this.counters.values[ERRORS]! += 1
    this.flushFaults++
    if (this.flushFaults >= FLUSH_FAULTS_MAX) this.owner.failed(this, fault)
    else this.owner.fault(this, fault)
    this.afterFlush()
  }

  private afterFlush(): void {
    if (this.endEpoch >= 0) this.ends()
    // A timed one goes on while it has something to say.
    else if (!this.stage.empty) this.schedule.arm()
  }

  private passBarrier(epoch: number): void {
    this.owner.barrierPassed(this, epoch, this.image(this.copies))
    this.stage.publishControl(KIND_BARRIER, epoch)
  }

  private end(epoch: number): void {
    this.schedule.disarm()
    this.endEpoch = epoch
    this.flush()
  }

  /** It has flushed for the last time. */
  private ends(): void {
    const epoch = this.endEpoch
    this.endEpoch = -1
    this.ended = true
    this.owner.barrierPassed(this, epoch, this.image())
    this.stage.publishControl(KIND_END, epoch)
  }

  /** Lets the instance rest if it is not called for so long; else looks again. */
  private restLater(afterMs: number): void {
    if (this.restTimer !== null) return
    const { calledMs } = this.instance
    this.restTimer = this.owner.timers.add(performance.now() + afterMs, () => {
      this.restTimer = null
      if (this.instance.calledMs === calledMs) this.instance.rest()
      else this.restLater(REST_USED_MS)
    })
  }
}
