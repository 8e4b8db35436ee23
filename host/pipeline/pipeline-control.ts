// The life of one pipeline on a host: created, changed, paused, stopped, started again from a checkpoint.
// Runs on: control. Its calls come one after the other; the owner sees to that.

import { type ErrorMessage, SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { CheckpointMeta, RestoreFrom } from '../bridges/runtime/messages.ts'
import type { ChangeResult, FromCompute, GraphSpec, Image } from '../compute/messages.ts'
import type { Checkpoint, CheckpointSummary, SlotId, Transport } from '../transport/transport.ts'
import { asReachedNow } from './revived.ts'
import { imagesOf } from './split-state.ts'
import type { Wired, Wiring } from './wiring.ts'
import type { BridgeThread, Workers } from './workers.ts'

export type PipelineState = 'starting' | 'running' | 'paused' | 'draining' | 'stopped' | 'completed' | 'failed'

export interface Reason {
  code: string
  message: string
  component?: string
}

export interface PipelineStatus {
  tenant: string
  id: string
  state: PipelineState
  reason?: Reason
  revision: number
  checkpoint?: CheckpointSummary
}

export interface StartTimings {
  placeMs: number
  instantiateMs: number
}

export interface PipelineOwner {
  readonly workers: Workers
  readonly transport: Transport
  /** Who asks for a checkpoint waits so long for what was taken in to be delivered. */
  readonly checkpointMsMax: number
  /** The state is another one. */
  changed(pipeline: PipelineControl): void
  /** Something about it went wrong, to be shown in its events. */
  report(pipeline: PipelineControl, error: SpqrError): void
}

/** A pipeline that is to move has so long to come to rest. */
const MOVE_MS_MAX = 5000
/** One that is to stop, as when the host does; longer, and it stops at the checkpoint before. */
const STOP_MS_MAX = 8000

/** Bridges and compute are told in parallel, and both must agree. */
export class PipelineControl {
  readonly key: number
  /** The worker that its operators run on: a compute worker, or the relay of its tenant's process. */
  compute: number
  readonly wiring: Wiring
  plan: Plan
  state: PipelineState = 'starting'
  reason: Reason | undefined
  checkpoint: CheckpointSummary | undefined
  private readonly owner: PipelineOwner
  /** Both workers have it. */
  private live = false
  /** Resolves when nothing of it is left on the workers, nor on its way to the transport. */
  private ending: Promise<void> | null = null
  /** When a compute worker died while it worked for this pipeline, ms of `performance.now()`. */
  crashedAtMs: number | undefined
  private pausedByUser: boolean
  /** The bridge worker is still to be told at which revision it is. */
  private revised: NodeJS.Immediate | undefined
  /** What the workers told of it while it was starting; nothing otherwise. */
  private told: (() => void)[] | undefined

  constructor(key: number, compute: number, plan: Plan, wiring: Wiring, owner: PipelineOwner) {
    this.key = key
    this.compute = compute
    this.plan = plan
    this.wiring = wiring
    this.owner = owner
    this.pausedByUser = plan.paused ?? false
  }

  /** Knows at which revision it is before it is asked anything else. */
  private get bridge(): BridgeThread {
    this.tellRevision()
    return this.owner.workers.bridge
  }

  private tellRevision(): void {
    if (!this.revised) return
    clearImmediate(this.revised)
    this.revised = undefined
    this.owner.workers.bridge.post({ type: 'revised', pipeline: this.key, revision: this.plan.revision })
  }

  get slot(): SlotId {
    return { tenant: this.plan.tenant, pipeline: this.plan.id, slot: 0 }
  }

  status(): PipelineStatus {
    const { tenant, id, revision } = this.plan
    return { tenant, id, state: this.state, reason: this.reason, revision, checkpoint: this.checkpoint }
  }

  /**
   * Starts it, from a checkpoint where there is one; one that says that it failed keeps it failed unless `retry`.
   * @param keep makes durable that it starts there, once all is open and before anything flows
   * @throws SpqrError why it cannot start; nothing is left running
   */
  async start(
    wired: Wired,
    from: Checkpoint | undefined,
    timings: StartTimings,
    retry: boolean,
    keep?: () => Promise<unknown>,
  ): Promise<void> {
    const meta = from?.meta as CheckpointMeta | undefined
    if (from) this.checkpoint = summaryOf(from)
    if (meta?.completed && !this.plan.startFrom) {
      this.moveTo('completed')
      return
    }
    if (meta?.failed && !retry) {
      this.reason = meta.failed
      this.moveTo('failed')
      return
    }
    this.told = []
    try {
      await this.startOnWorkers(wired, from, meta, timings, keep)
    } finally {
      const { told } = this
      this.told = undefined
      if (this.live) for (const act of told) act()
    }
  }

  private async startOnWorkers(
    wired: Wired,
    from: Checkpoint | undefined,
    meta: CheckpointMeta | undefined,
    timings: StartTimings,
    keep?: () => Promise<unknown>,
  ): Promise<void> {
    const started = performance.now()
    const images = from && meta ? asReachedNow(imagesOf(from), meta, this.plan) : []
    const restore: RestoreFrom | null = from && meta ? { epoch: from.epoch, meta, ended: endedOf(images, wired) } : null
    const { workers } = this.owner
    workers.isolated.use(this.compute, this.key)
    const transfer = images.map((image) => image.memory.buffer as ArrayBuffer)
    // A new pipeline whose sources can be read again may flow before both sides are there: what is early waits in its rings.
    const flows = this.plan.fresh === true && !this.pausedByUser && this.plan.delivery !== 'at-most-once'
    const [compute, bridge] = await Promise.allSettled([
      workers
        .compute(this.compute)
        .ask(
          { type: 'create', pipeline: this.key, bridge: 0, graph: wired.graph, images, paused: this.pausedByUser },
          transfer,
        ),
      this.bridge.ask({
        type: 'create',
        pipeline: this.key,
        compute: this.compute,
        spec: wired.bridge,
        from: restore,
        flows,
      }),
    ])
    timings.instantiateMs = performance.now() - started
    if (bridge.status === 'rejected' || compute.status === 'rejected') {
      await this.dropWorkers()
      throw bridge.status === 'rejected' ? bridge.reason : (compute as PromiseRejectedResult).reason
    }
    await keep?.().catch(async (thrown) => {
      await this.dropWorkers()
      throw thrown
    })
    // Given up meanwhile, with the worker that it was to run on.
    if (this.ending) return
    this.live = true
    if (!this.pausedByUser && !flows) this.bridge.post({ type: 'start', pipeline: this.key })
    this.moveTo(this.pausedByUser ? 'paused' : 'running')
  }

  /** Changes what runs to another plan. @throws SpqrError: what ran goes on, unless it is not live any more */
  async change(plan: Plan, wired: Wired, keepState: boolean): Promise<ChangeResult[]> {
    const { workers } = this.owner
    const compute = workers.compute(this.compute)
    const sameBridges = bridgesOf(this.plan) === bridgesOf(plan)
    // Operators' settings alone: the bridges need not know.
    if (sameBridges) {
      const answer = await compute.ask({ type: 'change', pipeline: this.key, graph: wired.graph, keepState })
      this.plan = plan
      // When the answer is on its way: a thread that is woken may take this one's core.
      this.revised ??= setImmediate(() => this.tellRevision())
      return (answer as { changes?: ChangeResult[] }).changes ?? []
    }
    await this.bridge.ask({ type: 'prepare', pipeline: this.key, spec: wired.bridge })
    let changes: ChangeResult[]
    try {
      const answer = await compute.ask({ type: 'change', pipeline: this.key, graph: wired.graph, keepState })
      changes = (answer as { changes?: ChangeResult[] }).changes ?? []
    } catch (thrown) {
      await this.bridge.ask({ type: 'abort', pipeline: this.key })
      throw thrown
    }
    const paused = this.state === 'paused'
    const answer = await this.bridge.ask({ type: 'commit', pipeline: this.key, paused }).catch((thrown) => {
      // Neither what it was nor what it was to be.
      this.lost()
      throw thrown
    })
    this.plan = plan
    return [...changes, ...(answer as { result: ChangeResult[] }).result]
  }

  async pause(): Promise<void> {
    if (this.state === 'paused') return
    this.expect('running', 'pause')
    await this.setPaused(true)
    this.moveTo('paused')
  }

  /**
   * Moves its operators to another compute worker; sources and emitters stay open, nothing is lost or doubled.
   * @param wired of the present plan
   * @throws SpqrError INVALID_STATE: it goes on where it is; any other: it runs nowhere, start it from its checkpoint
   */
  async move(worker: number, graph: GraphSpec): Promise<void> {
    const { workers } = this.owner
    const from = workers.compute(this.compute)
    await this.tellPause(true)
    try {
      await this.bridge.ask({ type: 'quiesce', pipeline: this.key, withinMs: MOVE_MS_MAX })
    } catch (thrown) {
      await this.tellPause(this.pausedByUser)
      throw thrown
    }
    try {
      const released = await from.ask({ type: 'release', pipeline: this.key })
      const { images = [], edges } = released as Extract<FromCompute, { type: 'done' }>
      this.compute = worker
      await this.bridge.ask({ type: 'relocate', pipeline: this.key, compute: worker })
      // What ended meanwhile is dropped there already, and would never be again.
      this.expectLive()
      const transfer = images.map((image) => image.memory.buffer as ArrayBuffer)
      await workers
        .compute(worker)
        .ask({ type: 'create', pipeline: this.key, bridge: 0, graph, images, paused: true, edges }, transfer)
      await this.tellPause(this.pausedByUser)
    } catch (thrown) {
      this.lost()
      throw thrown
    }
  }

  private expectLive(): void {
    if (!this.live) throw new SpqrError('INVALID_STATE', `Pipeline "${this.plan.id}" ended while it was moved.`)
  }

  /** From a pause. */
  async unpause(): Promise<void> {
    await this.setPaused(false)
    this.moveTo('running')
  }

  /** Takes a checkpoint and frees everything but the plan. */
  async stop(): Promise<void> {
    if (this.live) {
      const comesToRest = async (): Promise<void> => {
        await this.tellPause(true)
        await this.bridge.ask({ type: 'quiesce', pipeline: this.key, withinMs: STOP_MS_MAX })
      }
      // What is about to complete needs no checkpoint of ours; what is lost meanwhile stops at the one before.
      await comesToRest().catch(() => undefined)
      await this.dropWorkers()
    }
    // Also one that is to start again: it was lost, or what it needs is away.
    if (this.state === 'running' || this.state === 'paused' || this.state === 'starting') this.moveTo('stopped')
  }

  /** Frees everything; what no checkpoint covers comes again. */
  dropWorkers(): Promise<void> {
    this.live = false
    this.ending ??= this.dropAll()
    return this.ending
  }

  private async dropAll(): Promise<void> {
    const { workers } = this.owner
    await Promise.allSettled([
      workers.compute(this.compute).ask({ type: 'drop', pipeline: this.key }),
      this.bridge.ask({ type: 'drop', pipeline: this.key }),
    ])
    workers.isolated.leave(this.compute, this.key)
  }

  /** Lets what was accepted flow out, then ends. */
  async drain(): Promise<void> {
    if (!this.live || (this.state !== 'running' && this.state !== 'paused')) return
    if (this.state === 'paused') await this.setPaused(false)
    this.moveTo('draining')
    await this.bridge.ask({ type: 'drain', pipeline: this.key })
  }

  /** @throws SpqrError INVALID_STATE, also where an emitter does not deliver in time: what is behind it may be a stop */
  async takeCheckpoint(savepoint?: string): Promise<CheckpointSummary> {
    const { id } = this.plan
    if (!this.live) throw new SpqrError('INVALID_STATE', `Pipeline "${id}" is ${this.state}: it has no state to keep.`)
    const { checkpointMsMax } = this.owner
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, failed) => {
      const message = `Cannot keep the state of pipeline "${id}" now: an emitter has not delivered within ${checkpointMsMax / 1000} s; its events say why. Try again.`
      timer = setTimeout(() => failed(new SpqrError('INVALID_STATE', message, { retriable: true })), checkpointMsMax)
    })
    const taken = this.bridge.ask({ type: 'checkpoint', pipeline: this.key, savepoint })
    try {
      const answer = await Promise.race([taken, late])
      return (answer as { result?: unknown }).result as CheckpointSummary
    } finally {
      clearTimeout(timer)
      // It may come to its end when nobody waits for it any more.
      taken.catch(() => undefined)
    }
  }

  /** Acts on what a worker told of it: once it has started, for a source may end before all the others are open. */
  hear(act: () => void): void {
    if (this.told) this.told.push(act)
    else act()
  }

  checkpointed(summary: CheckpointSummary): void {
    this.checkpoint = summary
  }

  completed(): void {
    if (this.state === 'draining') return
    this.moveTo('completed')
    void this.dropWorkers()
  }

  /** @param lettersEnd its operators failed: their last dead letters are on their way to the bridge */
  failed(component: string, error: ErrorMessage, lettersEnd = false): void {
    if (this.state === 'failed' || this.state === 'stopped') return
    this.reason = { code: error.code, message: error.message, ...(component ? { component } : {}) }
    this.moveTo('failed')
    // Part of the ending: who starts or removes it next must not meet our last commit.
    this.ending = this.dropFailed(lettersEnd, this.ending)
      .then(() => this.keepFailure())
      .catch((thrown) => this.owner.report(this, SpqrError.from(thrown)))
  }

  /** Stands where the run before it stood: it could not be started. */
  standAs(before: PipelineControl, error: ErrorMessage): void {
    this.plan = before.plan
    if (before.state === 'stopped' || before.state === 'completed' || before.state === 'failed') {
      this.moveTo(before.state)
      this.reason = before.reason
    } else {
      this.failed('', error)
    }
  }

  private async dropFailed(lettersEnd: boolean, before: Promise<void> | null): Promise<void> {
    this.live = false
    await before
    const { bridge } = this
    // First: what the operators have left is to arrive there.
    await bridge.ask({ type: 'drop', pipeline: this.key, failed: { lettersEnd } }).catch(() => undefined)
    await this.dropAll()
  }

  /** Writes down with the last checkpoint that it failed, so that a restart of the host changes nothing. */
  private async keepFailure(): Promise<void> {
    const { transport } = this.owner
    const last = await transport.checkpoint(this.slot)
    const none: CheckpointMeta = { sources: {}, emitters: {}, operators: {}, completed: false }
    const meta: CheckpointMeta = { ...((last?.meta as CheckpointMeta | undefined) ?? none), failed: this.reason }
    const { epoch, snapshots } = last ?? { epoch: 0, snapshots: [] }
    await transport.commit({ slot: this.slot, epoch: epoch + 1, revision: this.plan.revision, meta, snapshots })
  }

  /**
   * It cannot go on as it runs: its worker died, or its epoch cannot be stored. What is left of it is dropped at once, for whoever
   * waits for it there, and has the pipeline's turn, would wait for ever.
   */
  lost(): void {
    if (this.live) void this.dropWorkers()
  }

  get isStarting(): boolean {
    return this.told !== undefined
  }

  get isLive(): boolean {
    return this.live
  }

  get wantsPause(): boolean {
    return this.pausedByUser
  }

  moveTo(state: PipelineState): void {
    if (state !== 'failed') this.reason = undefined
    if (this.state === state) return
    this.state = state
    this.owner.changed(this)
  }

  private async setPaused(paused: boolean): Promise<void> {
    this.pausedByUser = paused
    await this.tellPause(paused)
  }

  private async tellPause(paused: boolean): Promise<void> {
    const { workers } = this.owner
    await Promise.all([
      this.bridge.ask({ type: 'pause', pipeline: this.key, paused }),
      workers.compute(this.compute).ask({ type: 'pause', pipeline: this.key, paused }),
    ])
  }

  private expect(state: PipelineState, verb: string): void {
    if (this.state === state) return
    throw new SpqrError(
      'INVALID_STATE',
      `Cannot ${verb} pipeline "${this.plan.id}": it is ${this.state}, not ${state}.`,
    )
  }
}

function bridgesOf(plan: Plan): string {
  const bridges = plan.components.filter((c) => c.kind !== 'operator')
  // Another edge is a change for both as well: a barrier under way would wait for ever at an input that it never meets.
  const operators = plan.components.filter((c) => c.kind === 'operator').map(({ id, from }) => ({ id, from }))
  const { delivery, checkpointEveryMs } = plan
  return JSON.stringify([delivery, checkpointEveryMs, operators, bridges])
}

/** Images of operators that had ended and are still the same; copies, as the others go to the compute worker. */
function endedOf(images: Image[], { graph }: Wired): Image[] {
  const units = [...graph.operators, ...graph.splits]
  return images
    .filter((image) => image.ended && units.some((u) => u.component === image.component && u.digest === image.digest))
    .map((image) => ({ ...image, memory: image.memory.slice() }))
}

export function summaryOf({ epoch, createdAt, revision, bytes }: Checkpoint): CheckpointSummary {
  return { epoch, createdAt, revision, bytes }
}
