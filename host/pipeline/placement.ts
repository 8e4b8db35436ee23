// Where the operators of a pipeline run: on the compute worker that has fewest, or in the process of their tenant. They stay
// there over restarts; the balancer, or somebody, moves them between workers.
// Runs on: control.

import type { Plan } from '../../schemas/plan.ts'
import type { Modules } from './modules.ts'
import type { PipelineControl } from './pipeline-control.ts'
import type { Workers } from './workers.ts'

/** Of a pipeline that has no worker yet. */
export const NOWHERE = -1

export class Placement {
  private readonly workers: Workers
  private readonly modules: Modules
  /** Pipelines of each compute worker. */
  private readonly load: number[]

  constructor(workers: Workers, modules: Modules) {
    this.workers = workers
    this.modules = modules
    this.load = new Array<number>(workers.count).fill(0)
  }

  /** @throws SpqrError QUOTA_EXCEEDED where there is no room for another process */
  place(pipeline: PipelineControl, plan: Plan): void {
    const hasThread = this.hasThread(pipeline)
    if (plan.isolation === 'process') {
      const worker = this.workers.isolated.place(plan.tenant)
      if (hasThread) this.load[pipeline.compute]!--
      pipeline.compute = worker
      this.provide(pipeline, plan)
    } else if (!hasThread) {
      pipeline.compute = this.load.indexOf(Math.min(...this.load))
      this.load[pipeline.compute]!++
    }
  }

  /** Whether it has its place on a compute worker. */
  hasThread({ compute }: PipelineControl): boolean {
    return compute !== NOWHERE && !this.workers.isolated.isIsolated(compute)
  }

  /** Compute workers have every module; a process is given those of its pipelines. */
  provide(pipeline: PipelineControl, plan: Plan): void {
    for (const component of plan.components) {
      if (component.kind !== 'operator') continue
      const { digest } = component
      this.workers.isolated.provide(pipeline.compute, digest, () => this.modules.bytesOf(digest))
    }
  }

  /** It went from one compute worker to another, or came back. */
  moved(from: number, to: number): void {
    this.load[from]!--
    this.load[to]!++
  }

  /** It is gone. */
  giveBack(pipeline: PipelineControl): void {
    if (this.hasThread(pipeline)) this.load[pipeline.compute]!--
  }
}
