// Moves a pipeline from a compute worker that is full to one that idles, when that has lasted a while.
// Runs on: control. It only decides; the host moves.

import type { PipelineControl } from './pipeline-control.ts'

/** A worker is full above this share of a core, and idle below that one. */
const FULL_SHARE = 0.9
const IDLE_SHARE = 0.5
/** So many looks in a row must say the same: a burst is no reason. */
const LOOKS_MIN = 5
/** After a move it waits so many looks, that the new load shows. */
const REST_LOOKS = 10
/** A pipeline that takes less than this share of a core is not worth a pause. */
const PIPELINE_SHARE_MIN = 0.05

export interface WorkerLoad {
  /** Share of the time since the last look that it worked, 0 … 1. */
  share: number
  /** Its pipelines and their share of the time. */
  pipelines: { pipeline: PipelineControl; share: number }[]
}

export interface Move {
  pipeline: PipelineControl
  worker: number
}

/** Some worker is full while another idles: its pipelines are worth a look. */
export function isUneven(workers: readonly WorkerLoad[]): boolean {
  return workers.some(({ share }) => share >= FULL_SHARE) && workers.some(({ share }) => share <= IDLE_SHARE)
}

export class Balancer {
  /** Looks in a row at which this worker was full while another idled. */
  private looks = 0
  private fullest = -1
  private restLooks = 0

  /** @returns what to move now; undefined: nothing */
  look(workers: readonly WorkerLoad[]): Move | undefined {
    if (this.restLooks > 0) {
      this.restLooks--
      return undefined
    }
    let full = 0
    let idle = 0
    workers.forEach(({ share }, worker) => {
      if (share > workers[full]!.share) full = worker
      if (share < workers[idle]!.share) idle = worker
    })
    const candidate = this.candidate(workers, full, idle)
    this.looks = candidate === undefined || full !== this.fullest ? 0 : this.looks + 1
    this.fullest = full
    if (candidate === undefined || this.looks < LOOKS_MIN) return undefined
    this.looks = 0
    this.restLooks = REST_LOOKS
    return { pipeline: candidate, worker: idle }
  }

  /** The pipeline whose move makes the two most alike; none where it would only change places, or where it is alone. */
  private candidate(workers: readonly WorkerLoad[], full: number, idle: number): PipelineControl | undefined {
    const from = workers[full]
    const to = workers[idle]
    if (!from || !to || from.share < FULL_SHARE || to.share > IDLE_SHARE) return undefined
    const active = from.pipelines.filter(({ share }) => share >= PIPELINE_SHARE_MIN)
    if (active.length < 2) return undefined
    const half = (from.share - to.share) / 2
    let best: WorkerLoad['pipelines'][number] | undefined
    for (const one of active) {
      // One that takes all of the difference along would make the other the full one.
      if (one.share >= from.share - to.share) continue
      if (!best || Math.abs(one.share - half) < Math.abs(best.share - half)) best = one
    }
    return best?.pipeline
  }
}
