// Gathers what the instances of an operator that is split by key emit, as if it were one: numbers the records, and passes a
// barrier or the end on when it has come out of every instance.
// Runs on: compute. An instance whose barrier is held back until the others' have come does nothing meanwhile: so the operator
// as a whole has one state, and one sequence, at a barrier.

import { KIND_DATA, KIND_END, RECORD_SEQUENCE } from '../record/record.ts'
import type { Run } from '../ring/ring.ts'
import { type Input, takeInput } from './input.ts'
import { Inputs, NOTHING } from './inputs.ts'
import { Stage } from './output.ts'

const BATCH_BYTES = 256 << 10
const RECORDS_MAX = 1 << 30

const run: Run = { from: 0, to: 0 }
const taken = { bytes: 0, span: 0, records: 0 }

export class Merger {
  /** One per instance. */
  readonly inputs = new Inputs()
  readonly stage = new Stage()
  /** Number of the last record that left. */
  sequence = 0
  private readonly passed: (epoch: number, ended: boolean) => void

  /** @param passed every instance has passed the barrier, or has ended; the mark follows */
  constructor(passed: (epoch: number, ended: boolean) => void) {
    this.passed = passed
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  step(): boolean {
    return this.stage.empty && this.move()
  }

  /** Takes all that the instances have emitted so far, however much waits already: behind it comes what they emit later. */
  drain(): void {
    while (this.move());
  }

  // hot
  private move(): boolean {
    const { inputs } = this
    const kind = inputs.next(run)
    if (kind === NOTHING) return false
    if (kind === KIND_DATA) {
      this.take(inputs.current)
      return true
    }
    this.passed(inputs.epoch, kind === KIND_END)
    this.stage.publishControl(kind, inputs.epoch)
    return true
  }

  // hot
  private take(input: Input): void {
    const { output } = input
    const since = output.since()
    takeInput(output.bytes, output.words, run.from, run.to, input, BATCH_BYTES, RECORDS_MAX, taken)
    const { stage } = this
    const start = stage.reserve(taken.span)
    stage.bytes.set(output.bytes.subarray(run.from, run.from + taken.span), start)
    const { words } = stage
    for (let at = start; at < start + taken.span; at += words[at >> 2]!) {
      const sequence = ++this.sequence
      const word = (at + RECORD_SEQUENCE) >> 2
      words[word] = sequence | 0
      words[word + 1] = (sequence / 4294967296) | 0
    }
    stage.grow(taken.span)
    output.advance(input, taken.span)
    stage.publish(since)
  }
}
