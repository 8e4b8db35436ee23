// Puts plans into effect: a pipeline is created, changed while it runs, or started again from a checkpoint or another place. A
// plan that cannot be put into effect leaves what was there, or starts it again.
// Runs on: control. Calls for one pipeline come in its turn.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { ChangeResult } from '../compute/messages.ts'
import type { Permissions } from '../permissions/permissions.ts'
import type { Tenants } from '../quota/tenants.ts'
import { CHANNELS_MAX } from '../ring/doorbell.ts'
import type { Checkpoint } from '../transport/transport.ts'
import type { Events } from './events.ts'
import { type NumberPool, Numbers } from './numbers.ts'
import { PipelineControl, type PipelineOwner, type PipelineState, type StartTimings } from './pipeline-control.ts'
import type { Pipelines } from './pipelines.ts'
import { NOWHERE, type Placement } from './placement.ts'
import { inDocument, resolvePlan } from './plan-checks.ts'
import type { Readers } from './readers.ts'
import { isSplitAnew } from './split-state.ts'
import { isGoneBackTo, isPlaceInSources, keepAsNewest, ofOtherVersions, startingPoint } from './starting-point.ts'
import { isRunning, type Supervision } from './supervision.ts'
import { Wiring } from './wiring.ts'

export interface PutResult {
  state: PipelineState
  warnings: string[]
  timings: StartTimings
  changes: ChangeResult[]
}

/** Instances that one process can hold, a little under what its address space does. */
const PIPELINES_MAX = 12_000
const BLOCKS_MAX = 1 << 20

/** What deployments need of their host. */
export interface DeploymentsOwner extends PipelineOwner {
  readonly pipelines: Pipelines
  readonly placement: Placement
  readonly readers: Readers
  readonly events: Events
  readonly tenants: Tenants
  readonly permissions: Permissions
  readonly supervision: Supervision
}

export class Deployments {
  private readonly host: DeploymentsOwner
  private readonly channels = new Numbers('channels', CHANNELS_MAX)
  private readonly blockNumbers = new Numbers('components', BLOCKS_MAX)
  /** Counter blocks; what is given back starts from zero for the next. */
  private readonly blocks: NumberPool = {
    take: () => this.blockNumbers.take(),
    giveBack: (block) => {
      this.host.workers.clearBlock(block)
      this.blockNumbers.giveBack(block)
    },
  }

  constructor(host: DeploymentsOwner) {
    this.host = host
  }

  /** Numbers that pipelines hold. */
  get held(): { channels: number; blocks: number } {
    return { channels: this.channels.inUse, blocks: this.blockNumbers.inUse }
  }

  /** @throws SpqrError: there is no such pipeline */
  async create(plan: Plan): Promise<PutResult> {
    const { pipelines } = this.host
    if (pipelines.size >= PIPELINES_MAX) {
      throw new SpqrError('QUOTA_EXCEEDED', `This host has no more than ${PIPELINES_MAX} pipelines.`)
    }
    const wiring = new Wiring(this.channels, this.blocks)
    const pipeline = new PipelineControl(pipelines.newKey(), NOWHERE, plan, wiring, this.host)
    pipelines.put(pipeline)
    try {
      const timings = await this.start(pipeline, plan, plan.startFrom !== undefined)
      return { state: pipeline.state, warnings: [], timings, changes: [] }
    } catch (thrown) {
      this.forget(pipeline)
      throw thrown
    }
  }

  /** @param retry also one that failed at its checkpoint @throws SpqrError: nothing of it runs */
  async start(pipeline: PipelineControl, plan: Plan, retry: boolean): Promise<StartTimings> {
    const timings: StartTimings = { placeMs: 0, instantiateMs: 0 }
    const began = performance.now()
    const resolved = resolvePlan(plan, this.host.tenants, this.host.permissions)
    try {
      const wired = pipeline.wiring.wire(resolved, this.host.tenants.get(plan.tenant))
      this.host.workers.ensureBlocks(this.highestBlock(pipeline))
      if (!plan.fresh) await this.fence(plan)
      const from = await startingPoint(this.host.transport, pipeline.slot, plan)
      const keep = from && isGoneBackTo(plan) ? keepAsNewest(this.host.transport, pipeline.slot, from) : undefined
      if (from) this.tellVersions(plan, from)
      this.host.placement.place(pipeline, plan)
      timings.placeMs = performance.now() - began
      pipeline.moveTo('starting')
      await pipeline.start(wired, from, timings, retry, keep)
      // Where it starts from is said once: the next start goes on from its checkpoint.
      pipeline.plan = { ...plan, fresh: undefined, startFrom: undefined }
      pipeline.wiring.accept(false)
      return timings
    } catch (thrown) {
      pipeline.wiring.reject()
      throw inDocument(plan, thrown)
    }
  }

  /** Ends what a run before this one still has open, before anybody looks at how far it came: else it could commit in between. */
  private async fence({ tenant, id, delivery }: Plan): Promise<void> {
    if (delivery === 'exactly-once') await this.host.transport.fence?.({ tenant, pipeline: id, slot: 0 })
  }

  /** Whose state starts anew because the document replaced its operator since. */
  private tellVersions(plan: Plan, from: Checkpoint): void {
    for (const { id, name, version } of ofOtherVersions(plan, from)) {
      const text = `its state was made by another version of the operator: ${name}@${version} starts anew`
      this.host.events.show(plan.tenant, plan.id, { kind: 'log', component: id, level: 2, text })
    }
  }

  /**
   * @param live refuses one that does not run, which else takes note of the plan
   * @throws SpqrError: what ran goes on, from its checkpoint where it was changed in part
   */
  async change(
    pipeline: PipelineControl,
    plan: Plan,
    { keepState, live = false }: { keepState: boolean; live?: boolean },
  ): Promise<PutResult> {
    const timings: StartTimings = { placeMs: 0, instantiateMs: 0 }
    const isDealtAnew = isSplitAnew(pipeline.plan, plan)
    if (!pipeline.isLive) {
      if (live) {
        const { state } = pipeline
        const what = state === 'completed' ? 'restart it first' : 'replace its document and resume it'
        throw new SpqrError('INVALID_STATE', `Cannot change "${plan.id}": it is ${state}; ${what}.`)
      }
      // What does not run takes note; it holds when it starts again.
      pipeline.plan = { ...plan, paused: pipeline.plan.paused }
      return { state: pipeline.state, warnings: [], timings, changes: [] }
    }
    if (isDealtAnew || plan.isolation !== pipeline.plan.isolation) return this.startAsAnother(pipeline, plan)
    const began = performance.now()
    const resolved = resolvePlan(plan, this.host.tenants, this.host.permissions)
    try {
      const wired = pipeline.wiring.wire(resolved, this.host.tenants.get(plan.tenant))
      this.host.placement.provide(pipeline, plan)
      this.host.workers.ensureBlocks(this.highestBlock(pipeline))
      timings.placeMs = performance.now() - began
      const changes = await pipeline.change(plan, wired, keepState)
      pipeline.wiring.accept(true)
      timings.instantiateMs = performance.now() - began - timings.placeMs
      return { state: pipeline.state, warnings: [], timings, changes }
    } catch (thrown) {
      const isLost = !pipeline.isLive
      // Until it is dropped, the numbers that the change took are in use.
      if (isLost) await pipeline.dropWorkers()
      pipeline.wiring.reject()
      if (isLost && isRunning(pipeline.state)) await this.host.supervision.startFromCheckpoint(pipeline)
      throw inDocument(plan, thrown)
    }
  }

  /** Another isolation, or operators split in another way: from a checkpoint. @throws SpqrError: it runs as it was */
  private async startAsAnother(pipeline: PipelineControl, plan: Plan): Promise<PutResult> {
    const before = pipeline.plan
    const paused = pipeline.state === 'paused'
    resolvePlan(plan, this.host.tenants, this.host.permissions)
    await pipeline.stop()
    const start = async (wanted: Plan): Promise<PutResult> => {
      const from = this.host.pipelines.get(plan.tenant, plan.id)
      const timings = await this.startAgain(from, { ...wanted, paused, startFrom: undefined })
      return { state: this.host.pipelines.get(plan.tenant, plan.id).state, warnings: [], timings, changes: [] }
    }
    try {
      return await start(plan)
    } catch (thrown) {
      await start(before)
      throw thrown
    }
  }

  /** Runs again from where the plan says. @throws SpqrError: what ran goes on, or from its checkpoint */
  async restartFrom(pipeline: PipelineControl, plan: Plan): Promise<PutResult> {
    // Refused before anything is stopped where there is nothing to start from.
    const from = await startingPoint(this.host.transport, pipeline.slot, plan)
    if (isPlaceInSources(from) && pipeline.isLive) await this.tryStart(pipeline, plan)
    if (plan.startFrom === 'checkpoint' && pipeline.isLive) await pipeline.stop()
    else await pipeline.dropWorkers()
    const timings = await this.startAgain(pipeline, plan)
    return { state: this.host.pipelines.get(plan.tenant, plan.id).state, warnings: [], timings, changes: [] }
  }

  private async tryStart({ key }: PipelineControl, plan: Plan): Promise<void> {
    try {
      await this.host.workers.bridge.ask({ type: 'try-start', pipeline: key, startFrom: plan.startFrom! })
    } catch (thrown) {
      throw inDocument(plan, thrown)
    }
  }

  /** Starts what has ended, or ends now. @throws SpqrError: it stands as before, or runs from its checkpoint */
  async startAgain(before: PipelineControl, plan: Plan): Promise<StartTimings> {
    // What ended by itself may still be ending.
    await before.dropWorkers()
    const next = this.fresh(before, plan)
    try {
      const timings = await this.start(next, plan, true)
      this.host.readers.restarted(next)
      return timings
    } catch (thrown) {
      // What ran goes on from where it was, if only the place that was asked for is no good.
      if (plan.startFrom !== undefined && isRunning(before.state)) {
        next.plan = before.plan
        await this.host.supervision.startFromCheckpoint(next, before.wantsPause)
      } else next.standAs(before, SpqrError.from(thrown).toMessage())
      throw thrown
    }
  }

  /** A control of its own for each start: messages of the one before name another number, which is never given again. */
  fresh(before: PipelineControl, plan: Plan): PipelineControl {
    const { pipelines } = this.host
    const next = new PipelineControl(pipelines.newKey(), before.compute, plan, before.wiring, this.host)
    next.state = before.state
    next.checkpoint = before.checkpoint
    next.crashedAtMs = before.crashedAtMs
    pipelines.put(next, before)
    return next
  }

  private highestBlock(pipeline: PipelineControl): number {
    return Math.max(pipeline.wiring.lettersCounters(), ...pipeline.wiring.pendingCounters())
  }

  /** It is gone: what was held for it is free. */
  forget(pipeline: PipelineControl): void {
    const { pipelines, placement, readers } = this.host
    pipelines.delete(pipeline)
    placement.giveBack(pipeline)
    pipeline.wiring.free()
    readers.gone(pipeline)
  }
}
