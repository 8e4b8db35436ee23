// Looks once a second how busy the compute workers are, and has the balancer say what to move.
// Runs on: control.

import { BUSY_MS } from '../compute/counters.ts'
import { Balancer, isUneven, type WorkerLoad } from './balancer.ts'
import type { PipelineControl } from './pipeline-control.ts'
import type { Workers } from './workers.ts'

const LOOK_EVERY_MS = 1000

export interface LoadOwner {
  readonly workers: Workers
  list(): PipelineControl[]
  /** Moves it, if that is still what is best. */
  rebalance(pipeline: PipelineControl, worker: number): void
}

export class LoadWatch {
  private readonly owner: LoadOwner
  private readonly balancer = new Balancer()
  private readonly timer: NodeJS.Timeout
  private beforeMs = performance.now()
  private busyUs: number[] = []
  /** Of the pipelines of workers that were full the last time. */
  private busyMs = new Map<PipelineControl, number>()

  constructor(owner: LoadOwner) {
    this.owner = owner
    this.timer = setInterval(() => this.look(), LOOK_EVERY_MS)
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private look(): void {
    const { workers } = this.owner
    const now = performance.now()
    const elapsedMs = now - this.beforeMs
    this.beforeMs = now
    const loads = Array.from({ length: workers.count }, (_, worker): WorkerLoad => {
      const busyUs = workers.busyUs(worker)
      const spentUs = (busyUs - (this.busyUs[worker] ?? busyUs)) >>> 0
      this.busyUs[worker] = busyUs
      return { share: Math.min(1, spentUs / 1000 / elapsedMs), pipelines: [] }
    })
    // Thousands of pipelines are only looked through where that may lead to something.
    const before = this.busyMs
    this.busyMs = new Map()
    if (isUneven(loads)) this.measurePipelines(loads, before, elapsedMs)
    const move = this.balancer.look(loads)
    if (move) this.owner.rebalance(move.pipeline, move.worker)
  }

  private measurePipelines(loads: WorkerLoad[], before: Map<PipelineControl, number>, elapsedMs: number): void {
    for (const pipeline of this.owner.list()) {
      if (!pipeline.isLive || pipeline.state !== 'running') continue
      let busyMs = 0
      for (const block of pipeline.wiring.counters().values()) {
        busyMs += this.owner.workers.slabs.block(block).values[BUSY_MS]!
      }
      this.busyMs.set(pipeline, busyMs)
      const share = Math.max(0, busyMs - (before.get(pipeline) ?? busyMs)) / elapsedMs
      // In a process of its own it is no worker's load.
      loads[pipeline.compute]?.pipelines.push({ pipeline, share })
    }
  }
}
