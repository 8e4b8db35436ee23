// What comes of the calls of one operator: what it emits is staged, and open to its readers once the call has returned well;
// what it rejects, or faults at, becomes a dead letter; what it logs is told; what it used is counted.
// Runs on: compute.

import type { OnError } from '../../schemas/document.ts'
import { RECORD_HEADER_BYTES } from '../record/record.ts'
import { clockUs } from '../ring/ring.ts'
import { BUSY_MS, BYTES_OUT, DEAD_LETTERS, ERRORS, FUEL_USED, MEMORY_BYTES, RECORDS_OUT } from './counters.ts'
import { Emission } from './emission.ts'
import { type Fault, GuestAbort } from './fault.ts'
import type { FaultShare } from './fault-share.ts'
import type { InstanceOwner } from './instance.ts'
import { BATCH_BYTES } from './limits.ts'
import { LogLines } from './log-lines.ts'
import type { NodeOwner, OperatorNode } from './operator-node.ts'

/** No batch has more records. */
const REJECTIONS_MAX = BATCH_BYTES / RECORD_HEADER_BYTES

export class CallOutcome implements InstanceOwner {
  readonly emission: Emission
  private readonly node: OperatorNode
  private readonly owner: NodeOwner
  private readonly faults: FaultShare
  /** Of a call that is made here. */
  private readonly outputBytesMax: number
  private readonly log = new LogLines((level, text) => this.owner.logged(this.node, level, text))
  private readonly rejections: { offset: number; message: string }[] = []
  private fuelTold = 0
  private busyTold = 0

  /**
   * @param faults of all instances of its component
   * @param outputBytesMax a call that hands over more has used up its slice
   * @param replaced of the node whose place it takes: it goes on at the same stage
   */
  constructor(
    node: OperatorNode,
    owner: NodeOwner,
    faults: FaultShare,
    outputBytesMax: number,
    replaced: CallOutcome | undefined,
  ) {
    this.node = node
    this.owner = owner
    this.faults = faults
    this.outputBytesMax = outputBytesMax
    this.emission = new Emission(replaced?.emission)
  }

  /** A call begins. */
  begin(): void {
    this.emission.begin()
    this.rejections.length = 0
  }

  /** It returned well: what it staged is open, what it rejected is a dead letter. @returns how many it rejected */
  finish(since: number, records: number, consumed: number): number {
    const rejected = this.rejections.length > 0 ? this.settleRejections(consumed) : 0
    const { counters, stage } = this.node
    counters.values[RECORDS_OUT]! += this.emission.records
    counters.values[BYTES_OUT]! += stage.stagedBytes
    this.emission.publish(since)
    counters.took((clockUs() - since) & 0x7fffffff, records)
    this.account()
    return rejected
  }

  /** It faulted: nothing of it stays. */
  discard(): void {
    this.rejections.length = 0
    this.emission.stage.discard()
  }

  /** Counts what the instance has used since it was last counted. */
  account(): void {
    const { instance, counters } = this.node
    const { values } = counters
    // Added to what an instance before this one, here or on another worker, has used.
    values[FUEL_USED]! += instance.fuelUsed - this.fuelTold
    values[BUSY_MS]! += instance.busyMs - this.busyTold
    this.fuelTold = instance.fuelUsed
    this.busyTold = instance.busyMs
    values[MEMORY_BYTES] = instance.memoryBytes
  }

  /** One record is the culprit. @param at where it begins in `input` */
  poison(fault: Fault, input: Uint8Array, at: number): void {
    const { spec, counters } = this.node
    const onError: OnError = spec.onError
    counters.values[ERRORS]! += 1
    if (onError.do === 'dead-letter') {
      counters.values[DEAD_LETTERS]! += 1
      this.owner.deadLetter(this.node, fault, input, at)
    }
    if (onError.do === 'stop' || this.faults.failed(onError.stopAbove)) this.owner.failed(this.node, fault)
  }

  /** Records were processed well. */
  passed(records: number): void {
    this.faults.passed(records)
  }

  /** Stages what a call that was made elsewhere has emitted. @returns why that cannot be passed on */
  take(output: Uint8Array): Fault | null {
    const { limits, ports } = this.node.spec
    try {
      if (output.length > 0) this.emission.take(output, 0, output.length, limits.outputBytesPerRecord, ports)
    } catch (thrown) {
      if (!(thrown instanceof GuestAbort)) throw thrown
      return { code: thrown.code, message: thrown.message, stack: '' }
    }
    return null
  }

  /** Lines that it logged elsewhere. @param dropped others, which were not kept */
  tell(lines: { level: number; text: string }[], dropped: number): void {
    for (const { level, text } of lines) this.logged(level, () => text)
    this.log.drop(dropped)
  }

  // InstanceOwner

  emitted(bytes: Uint8Array, from: number, to: number): void {
    const { limits, ports } = this.node.spec
    const { outputBytesPerRecord } = limits
    const { outputBytesMax } = this
    if (outputBytesMax < outputBytesPerRecord && this.emission.handedBytes + (to - from) > outputBytesMax) {
      throw new GuestAbort('FUEL_EXHAUSTED', `the operator emitted more than ${outputBytesMax} bytes within a slice`)
    }
    this.emission.take(bytes, from, to, outputBytesPerRecord, ports)
  }

  rejected(offset: number, message: () => string): void {
    // Where the first one ends the pipeline, what comes behind it in the batch may not have been.
    if (this.node.spec.onError.do === 'stop') throw new GuestAbort('INVALID_RECORD', message())
    if (this.rejections.length < REJECTIONS_MAX) this.rejections.push({ offset, message: message() })
  }

  logged(level: number, text: () => string): void {
    this.log.add(level, text)
  }

  woke(): void {
    this.node.woke()
  }

  /** Each record at most once, in their order, and only what was consumed: what else a guest names is no record. */
  private settleRejections(consumed: number): number {
    const input = this.node.instance.lastInput()
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
}
