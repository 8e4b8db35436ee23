// The inputs of whoever reads several edges: taken in turns, and aligned at barriers. (Aligned barriers: Carbone et al.,
// "Lightweight Asynchronous Snapshots for Distributed Dataflows", 2015.)
//
//       a ── 5 4 ┃ 3 2 1 ──▶ ┐               ┃ barrier of an epoch; what is right of it came before
//                            ├─▶ reader ──▶
//       b ── 3 ┃ 2 1 ──────▶ ┘
//
// A barrier parts the records of its edge in those of an epoch and those of the next. The state of a reader belongs to one
// epoch only if it has seen all records before every barrier and none behind any. So an input whose barrier has come to the
// front is held back: barrier and all behind it stay where they are, and the others are read on. When each shows its barrier
// the inputs are aligned: the barriers are taken off all of them, and the reader, told of one, keeps its state and passes it
// on. An input that has ended shows nothing more, and holds up no barrier; when all have ended, the reader is told of the end.
// Who is taken out while others wait for its barrier no longer counts.
// Runs on: compute.

import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_SOURCE_OFFSET,
} from '../record/record.ts'
import type { Run } from '../ring/ring.ts'
import type { Input } from './input.ts'

/** Nothing has come that may be taken now. */
export const NOTHING = 0

export class Inputs {
  readonly list: Input[] = []
  /** Whose data `next` has found. */
  current!: Input
  /** Of the barrier, or the end, that `next` has taken off all inputs; of an end 0 where the last to end was taken out. */
  epoch = 0
  /** Whose turn it is. */
  private turn = 0
  private endTold = false

  /**
   * Looks for what is to be taken next.
   *
   * @param run receives the run of `current` that begins with data; the reader advances that input by what it takes
   * @returns KIND_DATA; KIND_BARRIER: one has come on all inputs, and is off them; KIND_END: all have ended, told once; NOTHING // hot
   */
  next(run: Run): number {
    const { list } = this
    let open = 0
    let held = 0
    let epoch = 0
    for (let i = 0; i < list.length; i++) {
      const at = (this.turn + i) % list.length
      const input = list[at]!
      if (input.ended) continue
      open++
      const { output } = input
      output.peek(input, run)
      if (run.from >= run.to) continue
      const kind = output.bytes[run.from + RECORD_KIND]!
      if (kind === KIND_DATA) {
        this.turn = (at + 1) % list.length
        this.current = input
        return KIND_DATA
      }
      if (kind === KIND_BARRIER) {
        held++
        continue
      }
      // An end, or a mark that says nothing to us: it is taken, and the same input looked at again.
      epoch = this.takeMark(input, run)
      if (kind === KIND_END) input.end()
      open--
      i--
    }
    if (open > 0) return held === open ? this.takeBarriers(run) : NOTHING
    if (list.length === 0 || this.endTold) return NOTHING
    this.endTold = true
    this.epoch = epoch
    return KIND_END
  }

  private takeBarriers(run: Run): number {
    for (const input of this.list) {
      if (input.ended) continue
      input.output.peek(input, run)
      this.epoch = this.takeMark(input, run)
    }
    return KIND_BARRIER
  }

  /** Takes the mark that stands at the front. @returns its epoch */
  private takeMark(input: Input, run: Run): number {
    const epoch = input.output.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]! >>> 0
    input.output.advance(input, RECORD_HEADER_BYTES)
    return epoch
  }

  /** One more, also behind the end of all others: that of all will be told anew. */
  add(input: Input): void {
    this.list.push(input)
    this.endTold = false
  }

  /** All have ended. */
  get ended(): boolean {
    return this.list.length > 0 && this.list.every((input) => input.ended)
  }

  /** Gives up every place at an output. */
  detach(): void {
    for (const input of this.list) input.output.detach(input)
    this.list.length = 0
  }
}
