// What happens when something ends that should not: a thread, a tenant's process, an epoch. What ran there starts again from its
// checkpoint; whose work it was twice, fails.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Deployments } from './deployments.ts'
import type { PipelineControl, PipelineState } from './pipeline-control.ts'
import type { Pipelines } from './pipelines.ts'
import type { Readers } from './readers.ts'

/** What supervision needs of its host. */
export interface Supervised {
  readonly isStopping: boolean
  readonly pipelines: Pipelines
  readonly deployments: Deployments
  readonly readers: Readers
  report(pipeline: PipelineControl, error: SpqrError): void
}

/** Two crashes of a worker within this time, at work for the same pipeline, are that pipeline's. */
const CRASHES_APART_MS = 60_000
/** Waits between attempts to start again what runs nowhere. */
const AGAIN_MS_MIN = 200
const AGAIN_MS_MAX = 5000

/** Whether a pipeline of this state has something on the workers. */
export function isRunning(state: PipelineState): boolean {
  return state === 'running' || state === 'paused' || state === 'draining'
}

export class Supervision {
  private readonly host: Supervised

  constructor(host: Supervised) {
    this.host = host
  }

  /** @param culprit what the worker worked on, -1 for nothing @param stuck it did not come back, and was ended for that */
  async computeReplaced(worker: number, culprit: number, stuck: boolean): Promise<void> {
    const suspect = this.host.pipelines.control(culprit)
    if (suspect?.compute === worker) this.blame(suspect, stuck)
    await this.restartAll((pipeline) => pipeline.compute === worker)
  }

  /** A thread ended while it worked for this pipeline. */
  blame(suspect: PipelineControl | undefined, stuck: boolean): void {
    if (!suspect) return
    const now = performance.now()
    // A thread that died may have died of anything; of the same pipeline twice it did not by chance.
    const again = suspect.crashedAtMs !== undefined && now - suspect.crashedAtMs < CRASHES_APART_MS
    suspect.crashedAtMs = now
    if (!stuck && !again) return
    const what = stuck ? 'did not come back' : 'ended its worker twice'
    suspect.failed('', { code: 'OPERATOR_TRAP', message: `An operator ${what}; the worker was replaced` })
  }

  /** A tenant's process is gone: its pipelines start again from their checkpoints, or, where it ends again and again, fail. */
  async processEnded(worker: number, culprit: number, why: string, next: boolean): Promise<void> {
    const there = this.host.pipelines.list().filter((pipeline) => pipeline.compute === worker)
    const concerned = there.filter((pipeline) => pipeline.isLive)
    for (const pipeline of concerned) this.host.report(pipeline, new SpqrError('INTERNAL', why))
    // It only says who it was where that one did not come back.
    if (next) return this.computeReplaced(worker, culprit, culprit >= 0)
    const waiting = there.filter((pipeline) => !pipeline.isLive && pipeline.state === 'starting')
    for (const pipeline of [...concerned, ...waiting]) {
      pipeline.failed('', { code: 'OPERATOR_TRAP', message: `${why}; it was started again too often` })
    }
  }

  /** An epoch was lost: the pipeline goes on from its last checkpoint, as after a crash. */
  fellBack(key: number, error: SpqrError): void {
    const pipeline = this.host.pipelines.control(key)
    if (!pipeline?.isLive) return
    this.host.report(pipeline, error)
    pipeline.lost()
    pipeline.moveTo('starting')
    void this.inBackground(pipeline, async () => {
      // Meanwhile it may have been removed, stopped or started again, or have failed.
      const isSame = this.host.pipelines.control(key) === pipeline && pipeline.state === 'starting'
      if (isSame) await this.startFromCheckpoint(pipeline)
    })
  }

  /** Starts again, from their checkpoints, what ran on a thread that died. */
  async restartAll(concerned: (pipeline: PipelineControl) => boolean): Promise<void> {
    const lost = this.host.pipelines
      .list()
      .filter((pipeline) => (pipeline.isLive || pipeline.isStarting) && concerned(pipeline))
    for (const pipeline of lost) pipeline.lost()
    for (const pipeline of lost) {
      await this.inBackground(pipeline, () => {
        // Meanwhile it may have been removed, stopped or started again.
        const isSame = this.host.pipelines.control(pipeline.key) === pipeline && isRunning(pipeline.state)
        return isSame ? this.startFromCheckpoint(pipeline) : Promise.resolve()
      })
    }
  }

  /** Starts again what runs nowhere, or only in part; later where what it needs is away. In its turn. */
  async startFromCheckpoint(before: PipelineControl, paused = before.wantsPause, waitMs = AGAIN_MS_MIN): Promise<void> {
    await before.dropWorkers()
    const plan = { ...before.plan, startFrom: undefined, fresh: false, paused }
    const next = this.host.deployments.fresh(before, plan)
    try {
      await this.host.deployments.start(next, plan, true)
      this.host.readers.restarted(next)
    } catch (thrown) {
      const error = SpqrError.from(thrown)
      // Given up meanwhile, with the process that it was to run in.
      if (next.state === 'failed') return
      if (!error.retriable || this.host.isStopping) next.failed('', error.toMessage())
      else this.startAgainLater(next, error, waitMs)
    }
  }

  /** What is away for a while need not be anybody's work. */
  private startAgainLater(pipeline: PipelineControl, error: SpqrError, waitMs: number): void {
    this.host.report(pipeline, error)
    pipeline.moveTo('starting')
    const again = (): Promise<void> =>
      this.inBackground(pipeline, async () => {
        const isWaiting = this.host.pipelines.control(pipeline.key) === pipeline && pipeline.state === 'starting'
        if (!isWaiting || this.host.isStopping) return
        await this.startFromCheckpoint(pipeline, pipeline.wantsPause, Math.min(waitMs * 2, AGAIN_MS_MAX))
      })
    setTimeout(() => void again(), waitMs).unref()
  }

  /** In its turn; nobody waits for it, so what goes wrong is told by the pipeline's events, and the others go on. */
  private async inBackground(pipeline: PipelineControl, work: () => Promise<void>): Promise<void> {
    const { tenant, id } = pipeline.plan
    try {
      await this.host.pipelines.inTurn(tenant, id, work)
    } catch (thrown) {
      this.host.report(pipeline, SpqrError.from(thrown))
    }
  }
}
