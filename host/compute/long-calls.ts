// The calls of one operator that did not end within their slice: a record or a flush that is made elsewhere, with its whole
// budget, one at a time. Until it is judged the operator does nothing, so what others see does not depend on where it was
// made.
// Runs on: compute.

import type { CallOutcome } from './call-outcome.ts'
import type { Fault } from './fault.ts'
import { FLUSH_SLICE_FUEL, type InstanceLimits, SLICE_FUEL, SLICE_OUTPUT_BYTES } from './limits.ts'
import type { NodeOwner, OperatorNode } from './operator-node.ts'
import type { Part } from './salvage.ts'
import type { Verdict } from './trial.ts'

const NO_INPUT = new Uint8Array(0)

/** A call that is made elsewhere. */
export interface LongCall {
  trial: number
  /** The record; null: a flush. */
  part: Part | null
}

export class LongCalls {
  /** That is waited for. */
  pending: LongCall | null = null
  /** The last record needed more than a slice: the next one is not even begun here. */
  isRecordLong = false
  /** So did the last flush. */
  isFlushLong = false
  private readonly node: OperatorNode
  private readonly owner: NodeOwner
  private readonly outcome: CallOutcome
  /** Whole budgets. */
  private readonly limits: InstanceLimits
  private ports = { portsLow: 0, portsHigh: 0 }

  constructor(node: OperatorNode, owner: NodeOwner, outcome: CallOutcome, limits: InstanceLimits) {
    this.node = node
    this.owner = owner
    this.outcome = outcome
    this.limits = limits
  }

  /** Says which ports have a consumer. */
  connect(portsLow: number, portsHigh: number): void {
    this.ports = { portsLow, portsHigh }
  }

  /**
   * Has a record, or without one a flush, made elsewhere.
   * @param isSetupLong it was not even begun: the regions for it could not be made within a slice
   * @returns false: its whole budget was no more than a slice
   */
  start(part: Part | null, isSetupLong = false): boolean {
    const { limits, owner } = this
    const { instance, loaded } = this.node
    const { limits: slices } = instance
    const isWhole = part ? limits.fuelPerRecord <= slices.fuelPerRecord : limits.fuelPerFlush <= slices.fuelPerFlush
    if (!owner.hasTrials || (isWhole && !isSetupLong)) return false
    const state = instance.lend()
    if (state === null) return false
    const trial = owner.startTrial(this.node, {
      loaded,
      limits,
      ...this.ports,
      from: state,
      settings: null,
      input: part ? part.input.slice(part.from, part.to) : NO_INPUT,
    })
    this.pending = { trial, part }
    return true
  }

  /** @returns the call that is waited for no more, to be begun again; null: there was none */
  recall(): LongCall | null {
    const { pending } = this
    this.pending = null
    if (pending) this.owner.cancelTrial(pending.trial)
    return pending
  }

  /**
   * Goes on from where the call led to, with what it emitted staged.
   * @returns the record that it was, null for a flush; and why it did not go well
   * @throws where the state that it led to is none
   */
  judged(verdict: Verdict): { part: Part | null; fault: Fault | null } {
    const { part } = this.pending!
    const { instance } = this.node
    this.pending = null
    instance.fuelUsed += verdict.fuelUsed
    instance.busyMs += verdict.busyMs
    this.outcome.tell(verdict.logs, verdict.logsDropped)
    // Nor is the next one begun here after one that faulted.
    const isLong =
      verdict.fault !== null ||
      verdict.fuelUsed > (part ? SLICE_FUEL : FLUSH_SLICE_FUEL) ||
      verdict.output.length > SLICE_OUTPUT_BYTES
    if (part) this.isRecordLong = isLong
    else this.isFlushLong = isLong
    this.outcome.begin()
    const fault = verdict.fault ?? this.outcome.take(verdict.output)
    if (fault === null) {
      instance.adopt(verdict.state!)
      instance.wantsFlush = verdict.wantsFlush
    }
    return { part, fault }
  }
}
