// Deals the records of an operator that is split by key out to its instances: one lane each, read by that instance alone.
// It goes on when every lane was read, so no instance is ever more than a batch behind another, and a barrier that enters
// the lanes has nothing before it in any of them.
// Runs on: compute. The lanes are its own.

import { KeyLanes } from '../record/key-lanes.ts'
import { KIND_DATA, RECORD_PORT } from '../record/record.ts'
import type { Run } from '../ring/ring.ts'
import { type Input, takeInput } from './input.ts'
import { Inputs, NOTHING } from './inputs.ts'
import { Stage } from './output.ts'

/** Dealt out at once: below a millisecond of looking for keys. */
const BATCH_BYTES = 128 << 10
const RECORDS_MAX = 1 << 30

const run: Run = { from: 0, to: 0 }
const taken = { bytes: 0, span: 0, records: 0 }

export class Splitter {
  readonly inputs = new Inputs()
  readonly lanes: Stage[]
  private readonly keys: KeyLanes

  /** @throws RangeError where `by` is no path */
  constructor(by: string, instances: number) {
    this.keys = new KeyLanes(by, instances)
    this.lanes = Array.from({ length: instances }, () => new Stage())
  }

  /** Bytes that were dealt out and wait. */
  get depth(): number {
    let bytes = 0
    for (const lane of this.lanes) bytes += lane.depth()
    return bytes
  }

  /** Does the next piece of work. @returns false: there is none that can be done now // hot */
  step(): boolean {
    const { inputs, lanes } = this
    for (let i = 0; i < lanes.length; i++) if (!lanes[i]!.empty) return false
    const kind = inputs.next(run)
    if (kind === NOTHING) return false
    if (kind === KIND_DATA) this.deal(inputs.current)
    else for (const lane of lanes) lane.publishControl(kind, inputs.epoch)
    return true
  }

  // hot
  private deal(input: Input): void {
    const { bytes, words } = input.output
    const { keys, lanes } = this
    const since = input.output.since()
    takeInput(bytes, words, run.from, run.to, input, BATCH_BYTES, RECORDS_MAX, taken)
    const end = run.from + taken.span
    for (let at = run.from; at < end; at += words[at >> 2]!) {
      if (!input.all && !input.takes(bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8))) continue
      const length = words[at >> 2]!
      const lane = lanes[keys.laneOf(bytes, words, at)]!
      const to = lane.reserve(length) >> 2
      const target = lane.words
      const from = at >> 2
      for (let i = 0; i < length >> 2; i++) target[to + i] = words[from + i]!
      lane.grow(length)
    }
    for (let i = 0; i < lanes.length; i++) lanes[i]!.publish(since)
    input.output.advance(input, taken.span)
  }
}
