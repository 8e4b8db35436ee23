// Who runs next: tenants share a worker by weighted deficit round robin over time, pipelines of a tenant take turns.
// Runs on: compute.
//
// Shreedhar and Varghese, "Efficient Fair Queueing using Deficit Round Robin" (1995), with milliseconds as bytes: time
// counts what fuel does not, copies and checks of the host for the tenant.

import type { QuotaCells } from '../quota/quota-cells.ts'
import type { Pipeline } from './pipeline.ts'

/** What a tenant of weight 1 may use before the next has its turn, ms. */
const QUANTUM_MS = 1

interface Line {
  tenant: number
  weight: number
  waiting: Pipeline[]
  /** Waiting pipelines before this one have had their turn. */
  head: number
  deficitMs: number
  isActive: boolean
}

export class FairQueue {
  private readonly lines = new Map<number, Line>()
  private active: Line[] = []
  private turn = 0
  private readonly cells: QuotaCells

  constructor(cells: QuotaCells) {
    this.cells = cells
  }

  push(pipeline: Pipeline): void {
    const { tenantIndex } = pipeline.graph
    let line = this.lines.get(tenantIndex)
    if (line === undefined) {
      line = { tenant: tenantIndex, weight: 1, waiting: [], head: 0, deficitMs: 0, isActive: false }
      this.lines.set(tenantIndex, line)
    }
    line.waiting.push(pipeline)
    if (!line.isActive) {
      line.isActive = true
      line.deficitMs = QUANTUM_MS * line.weight
      this.active.push(line)
    }
  }

  /** The next pipeline; undefined: none, or only those of tenants without fuel. // hot, once per turn */
  take(): Pipeline | undefined {
    for (let looked = 0; looked < this.active.length; ) {
      if (this.turn >= this.active.length) this.turn = 0
      const line = this.active[this.turn]!
      if (line.head === line.waiting.length) {
        this.retire(line)
        continue
      }
      if (line.deficitMs <= 0) {
        line.deficitMs += QUANTUM_MS * line.weight
        this.turn++
        // A line in debt waits as many rounds as it overdrew; one that has credit again is looked at in this round.
        if (line.deficitMs <= 0) looked = 0
        else if (this.active.length > 1) looked = 0
        continue
      }
      if (!this.cells.hasFuel(line.tenant)) {
        this.turn++
        looked++
        continue
      }
      const pipeline = line.waiting[line.head]!
      line.head++
      if (line.head > 64 && line.head * 2 > line.waiting.length) {
        line.waiting = line.waiting.slice(line.head)
        line.head = 0
      }
      return pipeline
    }
    return undefined
  }

  /** Some pipeline waits for its tenant's fuel. */
  get starved(): boolean {
    return this.active.length > 0
  }

  /** What the taken pipeline has used. */
  used(pipeline: Pipeline, ms: number, fuel: number): void {
    const line = this.lines.get(pipeline.graph.tenantIndex)
    if (line) line.deficitMs -= ms
    this.cells.tookFuel(pipeline.graph.tenantIndex, fuel)
  }

  private retire(line: Line): void {
    line.isActive = false
    line.waiting.length = 0
    line.head = 0
    this.active.splice(this.active.indexOf(line), 1)
    // A tenant that comes and goes leaves nothing behind.
    this.lines.delete(line.tenant)
  }
}
