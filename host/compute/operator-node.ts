// One operator of a running pipeline: reads batches from its inputs, calls its instance, stages what it emits.
// Runs on: compute. An instance whose stage is not empty neither runs nor takes a barrier.

import type { OnError } from '../../schemas/document.ts'
import { CHANGE_RESET, KIND_BARRIER, KIND_DATA, KIND_END, RECORD_HEADER_BYTES } from '../record/record.ts'
import { ImageMemory } from '../ring/image-memory.ts'
import { clockUs, type Run } from '../ring/ring.ts'
import {
  BUSY_MS,
  BYTES_IN,
  BYTES_OUT,
  type Counters,
  DEAD_LETTERS,
  ERRORS,
  FUEL_USED,
  MEMORY_BYTES,
  RECORDS_IN,
  RECORDS_OUT,
} from './counters.ts'
import { Emission } from './emission.ts'
import { type Fault, GuestAbort } from './fault.ts'
import { FaultShare } from './fault-share.ts'
import { type Input, takeInput } from './input.ts'
import { Inputs, NOTHING } from './inputs.ts'
import { Instance, type InstanceLimits, type InstanceOwner, type LoadedModule } from './instance.ts'
import { LogLines } from './log-lines.ts'
import type { Image, OperatorSpec } from './messages.ts'
import type { Stage } from './output.ts'
import type { Timer, Timers } from './timers.ts'
import type { Started, TrialCall, Verdict } from './trial.ts'

/**
 * One slice, half a millisecond of optimised guest code, of what was never run before 2 to 5: longer no call holds up the other
 * pipelines of the worker. One that does not come back within it is undone, and made elsewhere with its whole budget.
 */
const SLICE_FUEL = 8_000_000
/** Within a slice it may grow by so much: memory that grew is made, zeroed and given back page by page, which no fuel counts. */
const SLICE_GROWTH_PAGES = 32
/** And hand over so much. */
const SLICE_OUTPUT_BYTES = 2 << 20
/** Of a flush, which goes over the whole state: sending that elsewhere and back is not done for less. */
const FLUSH_SLICE_FUEL = 20_000_000
/** The counter of fuel has 32 bits. */
const FUEL_MAX = 0x7fffffff
/** What goes over the whole state may take longer, by this factor. */
const FLUSH_FACTOR = 10
/** Bytes of one batch; a record may be larger. */
const BATCH_BYTES = 64 << 10
/** No batch has more records. */
const REJECTIONS_MAX = BATCH_BYTES / RECORD_HEADER_BYTES
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

/** A part of a batch that faulted and is run again in smaller pieces. */
interface Salvage {
  input: Uint8Array
  words: Int32Array
  from: number
  to: number
}

const run: Run = { from: 0, to: 0 }

export class OperatorNode implements InstanceOwner {
  readonly component: string
  spec: OperatorSpec
  readonly loaded: LoadedModule
  readonly stage: Stage
  readonly inputs: Inputs
  readonly counters: Counters
  readonly instance: Instance
  /** Of its state at barriers. */
  private readonly copies = new ImageMemory()
  /** Whole budgets; the instance has a slice of them where there are trials. */
  private readonly limits: InstanceLimits
  /** Of a call that is made here. */
  private readonly outputBytesMax: number = Number.POSITIVE_INFINITY
  /** All inputs have ended, and it has flushed. */
  ended = false
  private readonly owner: NodeOwner
  private readonly emission: Emission
  private readonly log = new LogLines((level, text) => this.owner.logged(this, level, text))
  private sinceFlush = 0
  /** Records asked for a flush: it comes before the next one, and before a barrier. */
  private flushDue = false
  /** The time did: that waits while the pipeline is paused. */
  private timeIsUp = false
  private flushFaults = 0
  /** Less than usual where the guest has no room for more. */
  private batchBytesMax = BATCH_BYTES
  /** Less than that while batches do not end within a slice. */
  private batchBytes = BATCH_BYTES
  /** What is made elsewhere, a flush where there is no part: until it is judged the node does nothing. */
  private trial: { number: number; part: Salvage | null } | null = null
  /** The last record needed more than a slice: the next one is not even begun here. */
  private heavy = false
  /** So did the last flush. */
  private heavyFlush = false
  /** Its inputs have ended, it flushes for the last time: the epoch of the end, else -1. */
  private endEpoch = -1
  private fuelTold = 0
  private busyTold = 0
  private timer: Timer | null = null
  private restTimer: Timer | null = null
  private ports = { portsLow: 0, portsHigh: 0 }
  private readonly salvage: Salvage[]
  private readonly rejections: { offset: number; message: string }[] = []
  private readonly faults: FaultShare

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
    this.emission = new Emission(replaced?.emission)
    this.stage = this.emission.stage
    this.inputs = replaced?.inputs ?? new Inputs()
    this.salvage = replaced?.salvage ?? []
    this.ended = replaced?.ended ?? false
    this.endEpoch = replaced?.endEpoch ?? -1
    this.flushDue = this.endEpoch >= 0
    this.component = spec.component
    this.spec = spec
    this.loaded = loaded
    this.counters = counters
    this.owner = owner
    this.faults = faults
    this.limits = limitsOf(spec)
    const { fuelPerRecord, fuelPerFlush } = this.limits
    const slices: InstanceLimits = {
      ...this.limits,
      fuelPerRecord: Math.min(SLICE_FUEL, fuelPerRecord),
      fuelPerFlush: Math.min(FLUSH_SLICE_FUEL, fuelPerFlush),
    }
    // Who has no more than a slice anyway has all of it here.
    if (fuelPerRecord > SLICE_FUEL) {
      slices.growthPages = SLICE_GROWTH_PAGES
      if (owner.hasTrials) this.outputBytesMax = SLICE_OUTPUT_BYTES
    }
    this.instance = new Instance(loaded, owner.hasTrials ? slices : this.limits, this)
  }

  /** Number of the last record that left. */
  get sequence(): number {
    return this.emission.sequence
  }

  /**
   * Starts the instance, from an image where there is one.
   * @param setupFuel less than its whole budget where what is longer is started elsewhere
   * @param started where that has led to
   * @returns the fault that refuses it
   */
  start(image: Image | undefined, setupFuel?: number, started?: Started): { fault: Fault | null; stateReset: boolean } {
    const instance = this.instance
    if (started) instance.adopt(started.state)
    else if (!instance.start(setupFuel)) return { fault: instance.fault, stateReset: false }
    if (image) {
      if (!started) instance.restore(image.memory, image.globals)
      this.emission.sequence = image.sequence
      this.sinceFlush = image.sinceFlush
      this.ended = image.ended
    }
    const change = started?.change ?? instance.configure(textEncoder.encode(this.spec.settings), setupFuel)
    if (change < 0) return { fault: instance.fault, stateReset: false }
    this.counters.values[MEMORY_BYTES] = instance.memoryBytes
    if (image && !this.ended) this.armTimer()
    this.restLater(REST_NEW_MS)
    return { fault: null, stateReset: change === CHANGE_RESET }
  }

  /** New settings, from the next record on. @returns whether they reset the state; null: refused, `instance.fault` says why */
  configure(spec: OperatorSpec): boolean | null {
    this.recall()
    const change = this.instance.configure(textEncoder.encode(spec.settings))
    if (change < 0) return null
    return change === CHANGE_RESET
  }

  /** Says which ports have a consumer. */
  connect(portsLow: number, portsHigh: number): void {
    this.emission.connect(portsLow, portsHigh)
    this.ports = { portsLow, portsHigh }
    this.instance.connect(portsLow, portsHigh)
  }

  /** Goes by another emitWhen from now on. */
  retimeIfChanged(spec: OperatorSpec): void {
    const same = JSON.stringify(spec.emitWhen) === JSON.stringify(this.spec.emitWhen)
    this.spec = spec
    if (same) return
    this.cancelTimer()
    this.armTimer()
  }

  stop(): void {
    this.recall()
    this.cancelTimer()
    if (this.restTimer) this.owner.timers.cancel(this.restTimer)
    this.restTimer = null
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  step(): boolean {
    if (!this.stage.empty || this.ended || this.trial !== null || this.owner.lettersFull) return false
    if (this.salvage.length > 0) {
      this.salvageNext()
      return true
    }
    if (this.flushDue || (this.timeIsUp && !this.owner.paused)) {
      this.flushDue = this.timeIsUp = false
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
      sinceFlush: this.sinceFlush,
      ended: this.ended,
    }
  }

  // InstanceOwner

  emitted(bytes: Uint8Array, from: number, to: number): void {
    const { outputBytesPerRecord } = this.spec.limits
    const { outputBytesMax } = this
    if (outputBytesMax < outputBytesPerRecord && this.emission.handedBytes + (to - from) > outputBytesMax) {
      throw new GuestAbort('FUEL_EXHAUSTED', `the operator emitted more than ${outputBytesMax} bytes within a slice`)
    }
    this.emission.take(bytes, from, to, outputBytesPerRecord, this.spec.ports)
  }

  rejected(offset: number, message: () => string): void {
    // Where the first one ends the pipeline, what comes behind it in the batch may not have been.
    if (this.spec.onError.do === 'stop') throw new GuestAbort('INVALID_RECORD', message())
    if (this.rejections.length < REJECTIONS_MAX) this.rejections.push({ offset, message: message() })
  }

  logged(level: number, text: () => string): void {
    this.log.add(level, text)
  }

  woke(): void {
    this.restLater(REST_USED_MS)
  }

  private takeBatch(input: Input): void {
    const emitWhen = this.spec.emitWhen
    const untilFlush = emitWhen && 'records' in emitWhen ? Math.max(1, emitWhen.records - this.sinceFlush) : 1 << 30
    const recordsMax = this.heavy ? 1 : untilFlush
    const since = input.output.since()
    const { bytes, words } = input.output
    takeInput(bytes, words, run.from, run.to, input, this.batchBytes, recordsMax, taken)
    if (taken.bytes === 0) {
      // Nothing in this run is for our ports.
      input.output.advance(input, taken.span)
      return
    }
    if (this.heavy) {
      this.takeHeavy(input, bytes, words)
      return
    }
    this.begin()
    let at = this.instance.inputFor(taken.bytes)
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
      this.sinceFlush += taken.records
      this.beginSalvage(taken.bytes)
      input.output.advance(input, taken.span)
      this.account()
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
    const rejected = this.finish(since, records, consumed)
    input.output.advance(input, span)
    this.afterRecords(records, records - rejected)
  }

  /** A record that is not begun here: it waits as what is left of a batch does. */
  private takeHeavy(input: Input, bytes: Uint8Array, words: Int32Array): void {
    const record = new Uint8Array(taken.bytes)
    input.gather(bytes, words, run.from, run.from + taken.span, record, 0)
    this.counters.values[RECORDS_IN]! += 1
    this.counters.values[BYTES_IN]! += taken.bytes
    this.sinceFlush += 1
    this.salvage.push({ input: record, words: new Int32Array(record.buffer), from: 0, to: record.length })
    input.output.advance(input, taken.span)
    this.salvageNext()
  }

  /** A record that the guest has no room for. */
  private noRoom(input: Input, bytes: Uint8Array): void {
    const fault = this.instance.fault!
    takeInput(bytes, input.output.words, run.from, run.to, input, 1, 1, taken)
    this.poison(fault, bytes, run.from + taken.span - taken.bytes)
    this.counters.values[RECORDS_IN]! += 1
    input.output.advance(input, taken.span)
  }

  private begin(): void {
    this.emission.begin()
    this.rejections.length = 0
  }

  /** The call returned well: what it staged is open, what it rejected is a dead letter. @returns how many it rejected */
  private finish(since: number, records: number, consumed: number): number {
    const rejected = this.rejections.length > 0 ? this.reject(consumed) : 0
    const values = this.counters.values
    values[RECORDS_OUT]! += this.emission.records
    values[BYTES_OUT]! += this.stage.stagedBytes
    this.emission.publish(since)
    this.counters.took((clockUs() - since) & 0x7fffffff, records)
    this.account()
    return rejected
  }

  private account(): void {
    const values = this.counters.values
    // Added to what an instance before this one, here or on another worker, has used.
    values[FUEL_USED]! += this.instance.fuelUsed - this.fuelTold
    values[BUSY_MS]! += this.instance.busyMs - this.busyTold
    this.fuelTold = this.instance.fuelUsed
    this.busyTold = this.instance.busyMs
    values[MEMORY_BYTES] = this.instance.memoryBytes
  }

  /** @param passed of them were processed well */
  private afterRecords(records: number, passed: number): void {
    this.sinceFlush += records
    this.faults.passed(passed)
    const emitWhen = this.spec.emitWhen
    if (this.instance.wantsFlush && emitWhen && 'operator' in emitWhen) this.flushDue = true
    else if (emitWhen && 'records' in emitWhen && this.sinceFlush >= emitWhen.records) this.flushDue = true
    else this.armTimer()
  }

  // Faults

  /** Each record at most once, in their order, and only what was consumed: what else a guest names is no record. */
  private reject(consumed: number): number {
    const input = this.instance.lastInput()
    const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
    const { rejections } = this
    let rejected = 0
    for (let at = 0, next = 0; at < consumed && next < rejections.length; at += view.getUint32(at, true)) {
      while (next < rejections.length && rejections[next]!.offset < at) next++
      const rejection = rejections[next]
      if (rejection?.offset !== at) continue
      this.poison({ code: 'INVALID_RECORD', message: rejection.message, stack: '' }, input, at)
      rejected++
      next++
    }
    rejections.length = 0
    return rejected
  }

  /** The batch faulted: undone, and to be run again in pieces until the guilty records stand alone. */
  private beginSalvage(bytes: number): void {
    const instance = this.instance
    const input = instance.lastInput().slice(0, bytes)
    this.rejections.length = 0
    const progress = instance.progress
    const fault = instance.fault!
    this.stage.discard()
    instance.undo()
    const part: Salvage = { input, words: new Int32Array(input.buffer), from: 0, to: bytes }
    this.split(part, fault, progress)
  }

  /** Cuts a part that faulted: at the guest's hint, else in halves; after FUEL_EXHAUSTED into single records. */
  private split(part: Salvage, fault: Fault, hint: number): void {
    const { words, from, to } = part
    const first = words[from >> 2]!
    if (from + first >= to) {
      if (fault.code === 'FUEL_EXHAUSTED' && this.tryElsewhere(part)) {
        // Nor is the slice billed: what a record costs does not depend on where it was begun.
        this.instance.fuelUsed -= this.instance.limits.fuelPerRecord
        return
      }
      this.poison(fault, part.input, from)
      // It counts for `emitWhen: {records}` all the same.
      this.afterRecords(0, 0)
      return
    }
    const borders: number[] = []
    for (let at = from; at < to; at += words[at >> 2]!) borders.push(at)
    const cuts: number[] =
      fault.code === 'FUEL_EXHAUSTED'
        ? borders
        : borders.includes(hint + from)
          ? [from, hint + from, hint + from + words[(hint + from) >> 2]!]
          : [from, borders[borders.length >> 1]!]
    // Taken from the end of the list: the first part comes last.
    for (let i = cuts.length - 1; i >= 0; i--) {
      const begin = cuts[i]!
      const end = i + 1 < cuts.length ? cuts[i + 1]! : to
      if (begin < end) this.salvage.push({ ...part, from: begin, to: end })
    }
  }

  /** Runs the next part of a batch that faulted. */
  private salvageNext(): void {
    const part = this.salvage.pop()!
    const bytes = part.to - part.from
    const instance = this.instance
    const isAlone = part.from + part.words[part.from >> 2]! >= part.to
    if (this.heavy && isAlone && this.tryElsewhere(part)) return
    const at = instance.inputFor(bytes)
    if (at < 0) {
      this.poison(instance.fault!, part.input, part.from)
      const next = part.from + part.words[part.from >> 2]!
      if (next < part.to) this.salvage.push({ ...part, from: next })
      return
    }
    this.begin()
    instance.wantsFlush = false
    instance.bytes.set(part.input.subarray(part.from, part.to), at)
    instance.alone = isAlone
    const consumed = instance.process(bytes)
    instance.alone = false
    if (consumed < 0) {
      const fault = instance.fault!
      const progress = instance.progress
      this.rejections.length = 0
      this.stage.discard()
      instance.undo()
      this.split(part, fault, progress)
      return
    }
    if (consumed < bytes) this.salvage.push({ ...part, from: part.from + consumed })
    const records = instance.recordsIn(consumed)
    const rejected = this.finish(clockUs(), 0, consumed)
    this.afterRecords(0, records - rejected)
  }

  /** One record is the culprit. */
  private poison(fault: Fault, input: Uint8Array, at: number): void {
    const values = this.counters.values
    const onError: OnError = this.spec.onError
    values[ERRORS]! += 1
    if (onError.do === 'dead-letter') {
      values[DEAD_LETTERS]! += 1
      this.owner.deadLetter(this, fault, input, at)
    }
    if (onError.do === 'stop' || this.faults.failed(onError.stopAbove)) this.owner.failed(this, fault)
  }

  // Trials

  /** Has a record, or without one a flush, made elsewhere. @returns false: its whole budget was no more than a slice */
  private tryElsewhere(part: Salvage | null): boolean {
    const { instance, limits, owner } = this
    const { limits: slices } = instance
    const isWhole = part ? limits.fuelPerRecord <= slices.fuelPerRecord : limits.fuelPerFlush <= slices.fuelPerFlush
    if (!owner.hasTrials || isWhole) return false
    const state = instance.lend()
    if (state === null) return false
    const number = owner.startTrial(this, {
      loaded: this.loaded,
      limits,
      ...this.ports,
      from: state,
      input: part ? part.input.slice(part.from, part.to) : NO_INPUT,
    })
    this.trial = { number, part }
    return true
  }

  /** What was made elsewhere has not been: it is begun again. */
  recall(): void {
    if (this.trial === null) return
    const { number, part } = this.trial
    this.trial = null
    this.owner.cancelTrial(number)
    if (part) this.salvage.push(part)
    else this.flushDue = true
  }

  /** What came of the call that was made elsewhere. @throws where the state that it led to is none */
  judged(verdict: Verdict): void {
    const { part } = this.trial!
    this.trial = null
    this.instance.fuelUsed += verdict.fuelUsed
    this.instance.busyMs += verdict.busyMs
    for (const { level, text } of verdict.logs) this.logged(level, () => text)
    this.log.drop(verdict.logsDropped)
    const { fault } = verdict
    // Nor is the next one begun here after one that faulted.
    const isHeavy =
      fault !== null ||
      verdict.fuelUsed > (part ? SLICE_FUEL : FLUSH_SLICE_FUEL) ||
      verdict.output.length > SLICE_OUTPUT_BYTES
    if (part) this.heavy = isHeavy
    else this.heavyFlush = isHeavy
    this.begin()
    const faultHere = fault ?? this.take(verdict)
    if (faultHere) {
      this.stage.discard()
      this.account()
      if (part) {
        this.poison(faultHere, part.input, part.from)
        this.afterRecords(0, 0)
      } else this.flushFaulted(faultHere)
    } else if (part) {
      const rejected = verdict.rejected !== null
      if (rejected)
        this.poison({ code: 'INVALID_RECORD', message: verdict.rejected!, stack: '' }, part.input, part.from)
      this.finish(clockUs(), 0, 0)
      this.afterRecords(0, rejected ? 0 : 1)
    } else this.flushed()
  }

  /** Stages what the call emitted, and goes on from where it led to. @returns why it emitted nothing that can be passed on */
  private take({ state, output, wantsFlush }: Verdict): Fault | null {
    try {
      const { outputBytesPerRecord } = this.spec.limits
      if (output.length > 0) this.emission.take(output, 0, output.length, outputBytesPerRecord, this.spec.ports)
    } catch (thrown) {
      if (!(thrown instanceof GuestAbort)) throw thrown
      return { code: thrown.code, message: thrown.message, stack: '' }
    }
    this.instance.adopt(state!)
    this.instance.wantsFlush = wantsFlush
    return null
  }

  // Flush, barriers, ends

  private flush(): void {
    const { instance } = this
    this.sinceFlush = 0
    if (this.heavyFlush && this.tryElsewhere(null)) return
    this.begin()
    if (instance.flush() >= 0) {
      this.flushed()
      return
    }
    const fault = instance.fault!
    this.stage.discard()
    instance.undo()
    if (fault.code === 'FUEL_EXHAUSTED' && this.tryElsewhere(null)) instance.fuelUsed -= instance.limits.fuelPerFlush
    else this.flushFaulted(fault)
  }

  private flushed(): void {
    this.flushFaults = 0
    this.finish(clockUs(), 0, 0)
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
    else if (this.spec.emitWhen && 'everyMs' in this.spec.emitWhen) this.rearm()
  }

  private passBarrier(epoch: number): void {
    this.owner.barrierPassed(this, epoch, this.image(this.copies))
    this.stage.publishControl(KIND_BARRIER, epoch)
  }

  private end(epoch: number): void {
    this.cancelTimer()
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

  // Timers

  private armTimer(): void {
    const emitWhen = this.spec.emitWhen
    if (this.timer !== null || !emitWhen || !('everyMs' in emitWhen) || this.ended) return
    this.timer = this.owner.timers.add(performance.now() + emitWhen.everyMs, () => {
      this.timer = null
      this.timeIsUp = true
      this.owner.wake()
    })
  }

  /** After a timed flush: goes on while it has something to say. */
  private rearm(): void {
    if (!this.stage.empty) this.armTimer()
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

  private cancelTimer(): void {
    if (this.timer) this.owner.timers.cancel(this.timer)
    this.timer = null
  }
}

const NO_INPUT = new Uint8Array(0)

/** Whole budgets. */
export function limitsOf({ limits }: OperatorSpec): InstanceLimits {
  const fuelPerFlush = Math.min(FUEL_MAX, limits.fuelPerRecord * FLUSH_FACTOR)
  return {
    fuelPerCall: SLICE_FUEL,
    fuelPerRecord: Math.min(FUEL_MAX, limits.fuelPerRecord),
    fuelPerFlush,
    fuelPerSetup: fuelPerFlush,
    outputBytesPerRecord: limits.outputBytesPerRecord,
    memoryBytes: limits.memoryBytes,
  }
}

const textEncoder = new TextEncoder()
const taken = { bytes: 0, span: 0, records: 0 }
