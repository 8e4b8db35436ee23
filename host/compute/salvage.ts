// A batch that faulted, run again in ever smaller parts until the guilty records stand alone: those become dead letters, all
// others pass as if they had come by themselves.
// Runs on: compute. The input is a copy: the records are off the edge by then.

import { clockUs } from '../ring/ring.ts'
import type { CallOutcome } from './call-outcome.ts'
import type { Fault } from './fault.ts'
import type { LongCalls } from './long-calls.ts'
import type { OperatorNode } from './operator-node.ts'

/** Whole records of a batch, `from … to`. */
export interface Part {
  input: Uint8Array
  words: Int32Array
  from: number
  to: number
}

export class Salvage {
  /** The first to be run stands last. */
  readonly parts: Part[]
  private readonly node: OperatorNode
  private readonly outcome: CallOutcome
  private readonly longCalls: LongCalls

  /** @param replaced of the node whose place it takes: it goes on with what that has left */
  constructor(node: OperatorNode, outcome: CallOutcome, longCalls: LongCalls, replaced: Salvage | undefined) {
    this.node = node
    this.outcome = outcome
    this.longCalls = longCalls
    this.parts = replaced?.parts ?? []
  }

  /** The call with this input has faulted: it is undone and cut. */
  begin(bytes: number): void {
    const input = this.node.instance.lastInput().slice(0, bytes)
    this.undoAndCut({ input, words: new Int32Array(input.buffer), from: 0, to: bytes })
  }

  /** A record that waits here instead of being begun with others. @param record its memory is handed over */
  add(record: Uint8Array): void {
    this.parts.push({ input: record, words: new Int32Array(record.buffer), from: 0, to: record.length })
  }

  /** Runs the next part. */
  next(): void {
    const { outcome, longCalls } = this
    const { instance } = this.node
    const part = this.parts.pop()!
    const bytes = part.to - part.from
    const isAlone = part.from + part.words[part.from >> 2]! >= part.to
    if (longCalls.isRecordLong && isAlone && longCalls.start(part)) return
    const at = instance.inputFor(bytes)
    if (at < 0) {
      const fault = instance.fault!
      const next = part.from + part.words[part.from >> 2]!
      if (next < part.to) this.parts.push({ ...part, from: next })
      // To make regions takes it longer than a slice.
      const isLong = fault.code === 'FUEL_EXHAUSTED' && longCalls.start({ ...part, to: next }, true)
      if (!isLong) outcome.poison(fault, part.input, part.from)
      return
    }
    outcome.begin()
    instance.wantsFlush = false
    instance.bytes.set(part.input.subarray(part.from, part.to), at)
    instance.alone = isAlone
    const consumed = instance.process(bytes)
    instance.alone = false
    if (consumed < 0) {
      this.undoAndCut(part)
      return
    }
    if (consumed < bytes) this.parts.push({ ...part, from: part.from + consumed })
    const records = instance.recordsIn(consumed)
    const rejected = outcome.finish(clockUs(), 0, consumed)
    this.node.afterRecords(0, records - rejected)
  }

  private undoAndCut(part: Part): void {
    const { instance } = this.node
    const { progress } = instance
    const fault = instance.fault!
    this.outcome.discard()
    instance.undo()
    this.cut(part, fault, progress)
  }

  /** Cuts a part that faulted: at the guest's hint, else in halves; after FUEL_EXHAUSTED into single records. */
  private cut(part: Part, fault: Fault, hint: number): void {
    const { words, from, to } = part
    const first = words[from >> 2]!
    if (from + first >= to) {
      const { instance } = this.node
      if (fault.code === 'FUEL_EXHAUSTED' && this.longCalls.start(part)) {
        // Nor is the slice billed: what a record costs does not depend on where it was begun.
        instance.fuelUsed -= instance.limits.fuelPerRecord
        return
      }
      this.outcome.poison(fault, part.input, from)
      // It counts for `emitWhen: {records}` all the same.
      this.node.afterRecords(0, 0)
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
    for (let i = cuts.length - 1; i >= 0; i--) {
      const begin = cuts[i]!
      const end = i + 1 < cuts.length ? cuts[i + 1]! : to
      if (begin < end) this.parts.push({ ...part, from: begin, to: end })
    }
  }
}
