// Deals the records of an operator that is split by key out to its instances: one lane each, read by that instance alone.
// It goes on when every lane was read, so no instance is ever more than a batch behind another, and a barrier that enters
// the lanes has nothing before it in any of them.
// Runs on: compute. The lanes are its own.

import { KeyLanes } from '../record/key-lanes.ts'
import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_PORT,
  RECORD_SOURCE_OFFSET,
} from '../record/record.ts'
import type { Run } from '../ring/ring.ts'
import { type Input, takeInput } from './input.ts'
import { Stage } from './output.ts'

/** Dealt out at once: below a millisecond of looking for keys. */
const BATCH_BYTES = 128 << 10
const RECORDS_MAX = 1 << 30

const run: Run = { from: 0, to: 0 }
const taken = { bytes: 0, span: 0, records: 0 }

export class Splitter {
  readonly inputs: Input[] = []
  readonly lanes: Stage[]
  private readonly keys: KeyLanes
  private nextInput = 0
  /** Of the barrier that some inputs have seen. */
  private barrierEpoch = 0
  private ended = false

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
    if (this.ended) return false
    for (let i = 0; i < lanes.length; i++) if (!lanes[i]!.empty) return false
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[(this.nextInput + i) % inputs.length]!
      if (input.aligned || input.ended) continue
      input.output.peek(input, run)
      if (run.from >= run.to) continue
      this.nextInput = (this.nextInput + i + 1) % inputs.length
      const kind = input.output.bytes[run.from + RECORD_KIND]!
      if (kind === KIND_DATA) this.deal(input)
      else this.takeControl(input, kind)
      return true
    }
    // An input that was taken out may have been the last that had not ended.
    for (let i = 0; i < inputs.length; i++) if (!inputs[i]!.ended) return false
    if (inputs.length > 0) this.end(0)
    return this.ended
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

  private takeControl(input: Input, kind: number): void {
    const epoch = input.output.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]! >>> 0
    input.output.advance(input, RECORD_HEADER_BYTES)
    if (kind === KIND_BARRIER) {
      input.aligned = true
      this.barrierEpoch = epoch
      this.barrierIfAligned()
    } else if (kind === KIND_END) {
      input.end()
      if (this.inputs.every((i) => i.ended)) this.end(epoch)
      else if (this.inputs.some((i) => i.aligned)) this.barrierIfAligned()
    }
  }

  // An end that completes the alignment carries no epoch of its own: the barrier's counts.
  private barrierIfAligned(): void {
    for (const input of this.inputs) if (!input.aligned && !input.ended) return
    for (const input of this.inputs) input.aligned = false
    for (const lane of this.lanes) lane.publishControl(KIND_BARRIER, this.barrierEpoch)
  }

  private end(epoch: number): void {
    this.ended = true
    for (const lane of this.lanes) lane.publishControl(KIND_END, epoch)
  }
}
