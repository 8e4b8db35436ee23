// One operator of a running pipeline: reads batches from its inputs, calls its instance, stages what it emits.
// Runs on: compute. An instance whose stage is not empty neither runs nor takes a barrier.

import type { OnError } from '../../schemas/document.ts'
import {
  CHANGE_RESET,
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_KIND,
  RECORD_PORT,
  RECORD_SEQUENCE,
  RECORD_SOURCE_OFFSET,
  RECORD_VALUE_BYTES,
} from '../record/record.ts'
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
import { type Fault, GuestAbort } from './fault.ts'
import { FaultShare } from './fault-share.ts'
import { type Input, takeInput } from './input.ts'
import { Instance, type InstanceLimits, type InstanceOwner, type LoadedModule } from './instance.ts'
import type { Image, OperatorSpec } from './messages.ts'
import { Stage } from './output.ts'
import type { Timer, Timers } from './timers.ts'

/** About 5 ms of guest code. */
const FUEL_PER_CALL = 100_000_000
/** What goes over the whole state may take longer, by this factor. */
const FLUSH_FACTOR = 10
/** Bytes of one batch; a record may be larger. */
const BATCH_BYTES = 64 << 10
/** The third fault in a row of a flush fails the pipeline. */
const FLUSH_FAULTS_MAX = 3

/** What a node needs of its pipeline. */
export interface NodeOwner {
  readonly paused: boolean
  readonly timers: Timers
  /** The node has something to do that no record announces. */
  wake(): void
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
  readonly inputs: Input[]
  readonly counters: Counters
  readonly instance: Instance
  /** Number of the last record that left. */
  sequence = 0
  /** All inputs have ended, and it has flushed. */
  ended = false
  private readonly owner: NodeOwner
  private nextInput = 0
  private stagedSequence = 0
  private stagedRecords = 0
  private sinceFlush = 0
  private flushDue = false
  private flushFaults = 0
  private timer: Timer | null = null
  private portsLow = 0
  private portsHigh = 0
  private readonly salvage: Salvage[]
  private readonly rejections: { offset: number; message: string }[] = []
  private readonly faults: FaultShare

  /**
   * @param replaced the node whose place it takes: it goes on at the same records, with a state of its own
   */
  constructor(spec: OperatorSpec, loaded: LoadedModule, counters: Counters, owner: NodeOwner, replaced?: OperatorNode) {
    this.stage = replaced?.stage ?? new Stage()
    this.inputs = replaced?.inputs ?? []
    this.salvage = replaced?.salvage ?? []
    this.sequence = replaced?.sequence ?? 0
    this.ended = replaced?.ended ?? false
    this.component = spec.component
    this.spec = spec
    this.loaded = loaded
    this.counters = counters
    this.owner = owner
    this.faults = new FaultShare()
    const limits: InstanceLimits = {
      fuelPerCall: FUEL_PER_CALL,
      fuelPerRecord: spec.limits.fuelPerRecord,
      fuelPerFlush: spec.limits.fuelPerRecord * FLUSH_FACTOR,
      outputBytesPerRecord: spec.limits.outputBytesPerRecord,
      memoryBytes: spec.limits.memoryBytes,
    }
    this.instance = new Instance(loaded, limits, this)
  }

  /** Starts the instance, from an image where there is one. @returns the fault that refuses it */
  start(image: Image | undefined): { fault: Fault | null; stateReset: boolean } {
    const instance = this.instance
    if (!instance.start()) return { fault: instance.fault, stateReset: false }
    if (image) {
      instance.restore(image.memory, image.globals)
      this.sequence = image.sequence
      this.sinceFlush = image.sinceFlush
      this.ended = image.ended
    }
    const change = instance.configure(textEncoder.encode(this.spec.settings))
    if (change < 0) return { fault: instance.fault, stateReset: false }
    this.counters.values[MEMORY_BYTES] = instance.memoryBytes
    if (image && !this.ended) this.armTimer()
    return { fault: null, stateReset: change === CHANGE_RESET }
  }

  /** New settings, from the next record on. @returns whether they reset the state; null: refused, `instance.fault` says why */
  configure(spec: OperatorSpec): boolean | null {
    const change = this.instance.configure(textEncoder.encode(spec.settings))
    if (change < 0) return null
    return change === CHANGE_RESET
  }

  /** Says which ports have a consumer. */
  connect(portsLow: number, portsHigh: number): void {
    this.portsLow = portsLow
    this.portsHigh = portsHigh
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
    this.cancelTimer()
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  step(): boolean {
    if (!this.stage.empty || this.ended) return false
    if (this.salvage.length > 0) {
      this.salvageNext()
      return true
    }
    if (this.flushDue && !this.owner.paused) {
      this.flushDue = false
      this.flush()
      if (this.spec.emitWhen && 'everyMs' in this.spec.emitWhen) this.rearm()
      return true
    }
    const inputs = this.inputs
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[(this.nextInput + i) % inputs.length]!
      if (input.aligned || input.ended) continue
      input.output.peek(input, run)
      if (run.from >= run.to) continue
      this.nextInput = (this.nextInput + i + 1) % inputs.length
      const kind = input.output.bytes[run.from + RECORD_KIND]!
      if (kind === KIND_DATA) this.takeBatch(input)
      else this.takeControl(input, kind)
      return true
    }
    return false
  }

  image(): Image {
    const { memory, globals } = this.instance.image()
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
    const stage = this.stage
    if (stage.stagedBytes + (to - from) > this.spec.limits.outputBytesPerRecord) {
      const limit = this.spec.limits.outputBytesPerRecord
      throw new GuestAbort('OUTPUT_EXCEEDED', `the operator emitted more than ${limit} bytes in one call`)
    }
    const start = stage.reserve(to - from)
    stage.bytes.set(bytes.subarray(from, to), start)
    stage.grow(this.checkFrames(start, start + (to - from)) - start)
  }

  rejected(offset: number, message: string): void {
    if (this.rejections.length < 1 << 16) this.rejections.push({ offset, message })
  }

  logged(level: number, text: string): void {
    this.owner.logged(this, level, text)
  }

  /** Checks what the guest wrote, stamps sequences, leaves out what no port listens to. @returns the new end // hot */
  private checkFrames(from: number, to: number): number {
    const { bytes, words } = this.stage
    let kept = from
    for (let at = from; at < to; ) {
      const word = at >> 2
      const length = words[word]!
      const key = words[word + (RECORD_KEY_BYTES >> 2)]!
      const headers = words[word + (RECORD_HEADERS_BYTES >> 2)]!
      const value = words[word + (RECORD_VALUE_BYTES >> 2)]!
      // As unsigned numbers none may be negative; each is below 2^31, so the sum below is exact in a double.
      const needed = RECORD_HEADER_BYTES + key + headers + value
      const whole = length >= needed && length - needed < 8 && (length & 7) === 0 && at + length <= to
      const port = bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8)
      if (
        (key | headers | value) < 0 ||
        !whole ||
        bytes[at + RECORD_KIND] !== KIND_DATA ||
        bytes[at + RECORD_FLAGS]! > 3
      ) {
        throw new GuestAbort('OPERATOR_TRAP', `the operator wrote no whole record at byte ${at - from} of its output`)
      }
      if (port >= this.spec.ports) {
        throw new GuestAbort('OPERATOR_TRAP', `the operator emitted to port ${port}, it has ${this.spec.ports}`)
      }
      if (((port < 32 ? this.portsLow >>> port : this.portsHigh >>> (port - 32)) & 1) === 1) {
        const sequence = ++this.stagedSequence
        if (kept !== at) bytes.copyWithin(kept, at, at + length)
        const kw = (kept + RECORD_SEQUENCE) >> 2
        words[kw] = sequence | 0
        words[kw + 1] = (sequence / 4294967296) | 0
        kept += length
        this.stagedRecords++
      }
      at += length
    }
    return kept
  }

  private takeBatch(input: Input): void {
    const emitWhen = this.spec.emitWhen
    const recordsMax = emitWhen && 'records' in emitWhen ? Math.max(1, emitWhen.records - this.sinceFlush) : 1 << 30
    const bytesMax = BATCH_BYTES
    const since = input.output.since()
    const { bytes, words } = input.output
    takeInput(bytes, words, run.from, run.to, input, bytesMax, recordsMax, taken)
    if (taken.bytes === 0) {
      // Nothing in this run is for our ports.
      input.output.advance(input, taken.span)
      return
    }
    this.begin()
    const at = this.instance.inputFor(taken.bytes)
    if (at < 0) {
      this.noRoom(input, bytes)
      return
    }
    if (taken.bytes === taken.span) this.instance.bytes.set(bytes.subarray(run.from, run.from + taken.span), at)
    else input.gather(bytes, words, run.from, run.from + taken.span, this.instance.bytes, at)
    const values = this.counters.values
    this.instance.wantsFlush = false
    const consumed = this.instance.process(taken.bytes)
    if (consumed < 0) {
      values[RECORDS_IN]! += taken.records
      values[BYTES_IN]! += taken.bytes
      this.sinceFlush += taken.records
      this.beginSalvage(taken.bytes)
      input.output.advance(input, taken.span)
      this.account()
      return
    }
    let records = taken.records
    let span = taken.span
    if (consumed < taken.bytes) {
      // The guest stopped early (a flush, or its slice): only what it consumed is taken.
      records = this.countInput(consumed)
      span = input.spanOf(bytes, words, run.from, run.to, records)
    }
    values[RECORDS_IN]! += records
    values[BYTES_IN]! += consumed
    this.finish(since, records)
    input.output.advance(input, span)
    this.afterRecords(records)
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
    this.stagedSequence = this.sequence
    this.stagedRecords = 0
    this.rejections.length = 0
  }

  /** The call returned well: what it staged is open, what it rejected is a dead letter. */
  private finish(since: number, records: number): void {
    if (this.rejections.length > 0) this.reject()
    const values = this.counters.values
    values[RECORDS_OUT]! += this.stagedRecords
    values[BYTES_OUT]! += this.stage.stagedBytes
    this.sequence = this.stagedSequence
    this.stage.publish(since)
    this.counters.took((clockUs() - since) & 0x7fffffff, records)
    this.account()
  }

  private account(): void {
    const values = this.counters.values
    values[FUEL_USED] = this.instance.fuelUsed
    values[BUSY_MS] = this.instance.busyMs
    values[MEMORY_BYTES] = this.instance.memoryBytes
  }

  private afterRecords(records: number): void {
    this.sinceFlush += records
    this.faults.passed(records)
    const emitWhen = this.spec.emitWhen
    if (this.instance.wantsFlush && emitWhen && 'operator' in emitWhen) this.flushDue = true
    else if (emitWhen && 'records' in emitWhen && this.sinceFlush >= emitWhen.records) this.flushDue = true
    else this.armTimer()
  }

  /** Records in the first `bytes` of the input region. */
  private countInput(bytes: number): number {
    const words = this.instance.words
    const start = this.instance.inputFor(0)
    let records = 0
    for (let at = start; at < start + bytes; at += words[at >> 2]!) records++
    return records
  }

  // Faults

  private reject(): void {
    const input = this.instance.lastInput()
    for (const { offset, message } of this.rejections) {
      if ((offset & 7) !== 0 || offset + RECORD_HEADER_BYTES > input.length) continue
      this.poison({ code: 'INVALID_RECORD', message, stack: '' }, input, offset)
    }
    this.rejections.length = 0
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
      this.poison(fault, part.input, from)
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
    const at = instance.inputFor(bytes)
    if (at < 0) {
      this.poison(instance.fault!, part.input, part.from)
      return
    }
    this.begin()
    instance.bytes.set(part.input.subarray(part.from, part.to), at)
    instance.alone = part.from + part.words[part.from >> 2]! >= part.to
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
    this.finish(clockUs(), 0)
    this.afterRecords(0)
    this.faults.passed(1)
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

  // Flush, barriers, ends

  private flush(): void {
    this.sinceFlush = 0
    this.begin()
    const status = this.instance.flush()
    if (status < 0) {
      const fault = this.instance.fault!
      this.stage.discard()
      this.instance.undo()
      this.counters.values[ERRORS]! += 1
      this.flushFaults++
      if (this.flushFaults >= FLUSH_FAULTS_MAX) this.owner.failed(this, fault)
      else this.owner.fault(this, fault)
    } else {
      this.flushFaults = 0
      this.finish(clockUs(), 0)
    }
  }

  private takeControl(input: Input, kind: number): void {
    const epoch = input.output.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]! >>> 0
    input.output.advance(input, RECORD_HEADER_BYTES)
    if (kind === KIND_BARRIER) {
      input.aligned = true
      this.barrierIfAligned(epoch)
    } else if (kind === KIND_END) {
      input.ended = true
      if (this.inputs.every((i) => i.ended)) this.end(epoch)
      else if (this.inputs.some((i) => i.aligned)) this.barrierIfAligned(epoch)
    }
  }

  private barrierIfAligned(epoch: number): void {
    for (const input of this.inputs) if (!input.aligned && !input.ended) return
    for (const input of this.inputs) input.aligned = false
    this.owner.barrierPassed(this, epoch, this.image())
    this.stage.publishControl(KIND_BARRIER, epoch)
  }

  private end(epoch: number): void {
    this.cancelTimer()
    this.flush()
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
      this.flushDue = true
      this.owner.wake()
    })
  }

  /** After a timed flush: goes on while it has something to say. */
  private rearm(): void {
    if (!this.stage.empty) this.armTimer()
  }

  private cancelTimer(): void {
    if (this.timer) this.timer.cancelled = true
    this.timer = null
  }
}

const textEncoder = new TextEncoder()
const taken = { bytes: 0, span: 0, records: 0 }
