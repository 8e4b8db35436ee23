// The pipelines that a host knows: by their names, and by the numbers that workers call them by. A number stands for one start
// of a pipeline and is never given again, so what a worker says late of an earlier start reaches nobody.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { PipelineControl } from './pipeline-control.ts'

export class Pipelines {
  private readonly byName = new Map<string, PipelineControl>()
  private readonly byKey = new Map<number, PipelineControl>()
  private readonly turns = new Map<string, Promise<unknown>>()
  private nextKey = 1

  list(): PipelineControl[] {
    return [...this.byName.values()]
  }

  get size(): number {
    return this.byName.size
  }

  /** Numbers that stand for a start. */
  get keys(): number {
    return this.byKey.size
  }

  /** Pipelines that somebody does something to, or waits for. */
  get inWork(): number {
    return this.turns.size
  }

  find(tenant: string, id: string): PipelineControl | undefined {
    return this.byName.get(nameOf(tenant, id))
  }

  /** @throws SpqrError NOT_FOUND */
  get(tenant: string, id: string): PipelineControl {
    const pipeline = this.find(tenant, id)
    if (!pipeline) throw new SpqrError('NOT_FOUND', `There is no pipeline "${id}".`)
    return pipeline
  }

  /** The control of this number, while it stands for its pipeline. */
  control(key: number): PipelineControl | undefined {
    return this.byKey.get(key)
  }

  /** A number for another start. */
  newKey(): number {
    return this.nextKey++
  }

  /** From now on it stands for the pipeline of its plan. @param before the one that did */
  put(pipeline: PipelineControl, before?: PipelineControl): void {
    if (before) this.byKey.delete(before.key)
    this.byKey.set(pipeline.key, pipeline)
    this.byName.set(nameOf(pipeline.plan.tenant, pipeline.plan.id), pipeline)
  }

  delete({ plan, key }: PipelineControl): void {
    this.byName.delete(nameOf(plan.tenant, plan.id))
    this.byKey.delete(key)
  }

  /** Calls for one pipeline come one after the other; different pipelines do not wait for each other. */
  async inTurn<T>(tenant: string, id: string, work: () => Promise<T>): Promise<T> {
    const name = nameOf(tenant, id)
    const before = this.turns.get(name)
    const mine = before ? before.then(work, work) : work()
    this.turns.set(name, mine)
    try {
      return await mine
    } finally {
      if (this.turns.get(name) === mine) this.turns.delete(name)
    }
  }
}

function nameOf(tenant: string, id: string): string {
  return `${tenant}/${id}`
}
