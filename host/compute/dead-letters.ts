// The dead letters of one pipeline on their way to the emitter that keeps them: made with the first one, for most
// pipelines never have any.
//
// They have no edges that barriers could come along: whoever writes them is every operator. So a barrier, or the end, is put
// behind them once all operators have passed it; letters of the epoch before are all in front of it then.
// Runs on: compute.

import { KIND_BARRIER, KIND_END } from '../record/record.ts'
import { clockUs } from '../ring/ring.ts'
import { deadLetterRecord } from './dead-letter.ts'
import type { Fault } from './fault.ts'
import { Input } from './input.ts'
import type { GraphSpec, TraceInfo } from './messages.ts'
import type { OperatorNode } from './operator-node.ts'
import { Stage } from './output.ts'
import type { Sink } from './sink.ts'

const ALL_PORTS = -1
/** Letters that may wait before operators do. */
const WAITING_BYTES_MAX = 1 << 20

export interface DeadLettersOwner {
  readonly graph: GraphSpec
  /** The first letter comes: makes the sink to their ring, which takes its turns from now on. */
  openLetters(): Sink
  /** There are no letters to put the mark behind. */
  noLetters(epoch: number, end: boolean): void
}

export class DeadLetters {
  /** null: there was none yet. */
  sink: Sink | null = null
  private readonly stage = new Stage()
  private readonly owner: DeadLettersOwner
  /** Operators that have passed the barrier in work. */
  private readonly passed = new Set<string>()
  private epoch = 0
  /** All operators had ended; one that was added since has not. */
  private hasEnded = false

  constructor(owner: DeadLettersOwner) {
    this.owner = owner
  }

  /** Bounds what poison records leave behind while their emitter is slow. */
  get full(): boolean {
    return this.stage.depth() > WAITING_BYTES_MAX
  }

  /** @param at where the record that could not be processed begins in `input` */
  add({ spec }: OperatorNode, fault: Fault, trace: TraceInfo, input: Uint8Array, at: number): void {
    // Before the first letter is published: a stage without a reader forgets.
    this.open()
    const record = deadLetterRecord(spec, fault, trace, this.owner.graph, input, at)
    const start = this.stage.reserve(record.length)
    this.stage.bytes.set(record.bytes.subarray(0, record.length), start)
    this.stage.grow(record.length)
    this.stage.publish(clockUs())
  }

  /** @param node has passed the barrier of this epoch, or has ended @param nodes all of the pipeline */
  barrierPassed(node: OperatorNode, epoch: number, nodes: Iterable<OperatorNode>): void {
    if (!node.ended) {
      this.passed.add(node.component)
      this.epoch = epoch
    }
    let all = true
    let running = false
    for (const other of nodes) {
      if (!other.ended) running = true
      if (!other.ended && !this.passed.has(other.component)) all = false
    }
    if (!running) {
      // The end says for the emitter of dead letters what a barrier would say.
      this.passed.clear()
      this.mark(KIND_END, epoch)
    } else if (all && this.passed.size > 0) {
      this.passed.clear()
      this.mark(KIND_BARRIER, this.epoch)
    }
  }

  /** These were all: the pipeline fails. */
  end(): void {
    this.mark(KIND_END, 0)
  }

  /** Has them read, by one that has not seen the end where there was one. */
  private open(): void {
    if (this.sink === null || this.hasEnded) {
      this.sink ??= this.owner.openLetters()
      this.hasEnded = false
      const input = new Input('', this.stage, ALL_PORTS, ALL_PORTS, true)
      this.stage.attach(input)
      this.sink.inputs.add(input)
    }
    const { list } = this.sink.inputs
    if (list.length === 1) return
    // One that has seen its end reads nothing more, and would hold up the stage.
    for (const input of list.filter(({ ended }) => ended)) {
      this.stage.detach(input)
      list.splice(list.indexOf(input), 1)
    }
  }

  private mark(kind: number, epoch: number): void {
    if (this.sink === null) {
      this.owner.noLetters(epoch, kind === KIND_END)
      return
    }
    this.open()
    this.stage.publishControl(kind, epoch)
    this.hasEnded = kind === KIND_END
  }
}
