// A processing node: worker threads, modules, and the pipelines that run on them.
// Runs on: control.

import { availableParallelism } from 'node:os'
import { SpqrError } from '../../schemas/errors.ts'
import { deadLetterTopic, ingestTopic, topicName } from '../../schemas/names.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { ReaderForm } from '../../schemas/reader-form.ts'
import type { TenantSpec } from '../../schemas/tenant.ts'
import type { FromBridge, TopicPage } from '../bridges/runtime/messages.ts'
import type { ChangeResult, EdgeStats, FromCompute } from '../compute/messages.ts'
import type { Permissions } from '../permissions/permissions.ts'
import { Tenants } from '../quota/tenants.ts'
import { TopicRoom } from '../quota/topic-room.ts'
import { CHANNELS_MAX } from '../ring/doorbell.ts'
import { connectTransport, type KafkaAddress } from '../transport/connect.ts'
import { EmbeddedLog } from '../transport/embedded/embedded-log.ts'
import type { Checkpoint, CheckpointSummary, Transport } from '../transport/transport.ts'
import { type ComponentStats, componentStats } from './component-stats.ts'
import { Events } from './events.ts'
import { LoadWatch } from './load-watch.ts'
import { Modules } from './modules.ts'
import { type NumberPool, Numbers } from './numbers.ts'
import { PipelineControl, type PipelineOwner, type PipelineState, type StartTimings } from './pipeline-control.ts'
import { inDocument, resolvePlan } from './plan-checks.ts'
import { ReaderPlaces } from './reader-places.ts'
import { Readers } from './readers.ts'
import { isSplitAnew } from './split-state.ts'
import { isGoneBackTo, isPlaceInSources, keepAsNewest, ofOtherVersions, startingPoint } from './starting-point.ts'
import { isRunning, type Supervised, Supervision } from './supervision.ts'
import { TopicPages } from './topic-pages.ts'
import { Wiring } from './wiring.ts'
import { type BridgeThread, Workers } from './workers.ts'

export interface HostOptions {
  dataDir: string
  permissions: Permissions
  /** In place of the embedded transport. */
  kafka?: KafkaAddress
  /** Is told when the transport goes away and comes back. */
  onTransport?: (state: string, detail: string) => void
  /** Threads that run operators; 2 unless there are more cores. */
  computeWorkers?: number
  /** Who asks for a savepoint or a fork waits so long for an emitter that does not deliver; 20,000. */
  checkpointMsMax?: number
}

export interface PutResult {
  state: PipelineState
  warnings: string[]
  timings: StartTimings
  changes: ChangeResult[]
}

/** Instances that one process can hold, a little under what its address space does. */
const PIPELINES_MAX = 12_000
/** Of one pipeline: they stay until it goes, and each may hold all of its memory. */
const SAVEPOINTS_MAX = 100
const BLOCKS_MAX = 1 << 20
/** Pipelines that stop at the same time when the host does. */
const STOPS_AT_ONCE = 64
const STOP_MS_MAX = 8000
/** Who asks for a checkpoint waits so long for an emitter. */
const CHECKPOINT_MS_MAX = 20_000
/** Of a pipeline that has no worker yet. */
const NOWHERE = -1

export class Host implements PipelineOwner, Supervised {
  readonly workers: Workers
  readonly transport: Transport
  readonly modules: Modules
  readonly events = new Events()
  readonly tenants = new Tenants()
  private readonly topicRoom: TopicRoom
  readonly readers: Readers
  readonly topicPages: TopicPages
  readonly checkpointMsMax: number
  /** Rejects when the host cannot go on: its log thread died, or another cannot start. */
  readonly closed: Promise<void>
  private readonly log: EmbeddedLog | undefined
  private readonly permissions: Permissions
  private readonly pipelines = new Map<string, PipelineControl>()
  private readonly byKey = new Map<number, PipelineControl>()
  private readonly serial = new Map<string, Promise<unknown>>()
  private nextKey = 1
  private readonly channels = new Numbers('channels', CHANNELS_MAX)
  private readonly blockNumbers = new Numbers('components', BLOCKS_MAX)
  /** Counter blocks; what is given back starts from zero for the next. */
  private readonly blocks: NumberPool = {
    take: () => this.blockNumbers.take(),
    giveBack: (block) => {
      this.workers.clearBlock(block)
      this.blockNumbers.giveBack(block)
    },
  }
  private readonly load: number[]
  private stopping = false
  private readonly loadWatch: LoadWatch
  private readonly supervision = new Supervision(this)

  /** Opens the transport and starts the threads. @throws SpqrError IN_USE, INVALID_STATE, TRANSPORT_UNAVAILABLE */
  static async start(options: HostOptions): Promise<Host> {
    const { kafka, dataDir } = options
    if (kafka)
      return new Host(await connectTransport({ kind: 'kafka', kafka }, options.onTransport), undefined, options)
    const log = await EmbeddedLog.start({ dataDir })
    return new Host(await connectTransport({ kind: 'embedded', port: log.connect() }), log, options)
  }

  private constructor(transport: Transport, log: EmbeddedLog | undefined, options: HostOptions) {
    this.log = log
    let broken: (error: SpqrError) => void = () => undefined
    this.closed = Promise.race([
      log?.closed ?? new Promise<void>(() => undefined),
      new Promise<void>((_, failed) => (broken = failed)),
    ])
    this.closed.catch(() => undefined)
    this.permissions = options.permissions
    this.checkpointMsMax = options.checkpointMsMax ?? CHECKPOINT_MS_MAX
    this.transport = transport
    const computeWorkers = options.computeWorkers ?? Math.max(2, availableParallelism() - 1)
    this.load = new Array<number>(computeWorkers).fill(0)
    this.modules = new Modules((message) => this.workers.toAllComputes(message))
    this.workers = new Workers({
      computeWorkers,
      permissions: options.permissions.toJSON(),
      quota: this.tenants.memory,
      transport: () => (log ? { kind: 'embedded', port: log.connect() } : { kind: 'kafka', kafka: options.kafka! }),
      onCompute: (_, message) => this.fromCompute(message),
      onBridge: (message) => this.fromBridge(message),
      onComputeReplaced: (worker, culprit, stuck) => void this.supervision.computeReplaced(worker, culprit, stuck),
      onBridgeReplaced: () => {
        this.readers.outsLost()
        void this.supervision.restartAll(() => true)
      },
      onTrialsReplaced: (culprit, stuck) => this.supervision.blame(this.byKey.get(culprit), stuck),
      onBroken: (error) => broken(error),
      onProcessEnded: (worker, culprit, why, next) => void this.supervision.processEnded(worker, culprit, why, next),
      greetings: () => this.modules.messages(),
    })
    const places = new ReaderPlaces()
    this.readers = new Readers(this.workers, places)
    this.topicPages = new TopicPages((query, form) => this.fetchPage(query, form), places)
    this.topicRoom = new TopicRoom(this.tenants, this.transport)
    this.loadWatch = new LoadWatch(this)
  }

  /** Bounds, grants and secrets of a tenant, from now on; secrets for what starts or changes later. */
  putTenant(spec: TenantSpec): void {
    // What cannot be read is refused here, not where it would be used.
    if (spec.grants) this.permissions.narrow(spec.grants)
    this.tenants.put(spec)
    this.workers.bridge.post({ type: 'grants', tenant: spec.id, grants: spec.grants })
  }

  list(): PipelineControl[] {
    return [...this.pipelines.values()]
  }

  /** @throws SpqrError NOT_FOUND */
  pipeline(tenant: string, id: string): PipelineControl {
    const pipeline = this.pipelines.get(keyOf(tenant, id))
    if (!pipeline) throw new SpqrError('NOT_FOUND', `There is no pipeline "${id}".`)
    return pipeline
  }

  /** Creates a pipeline, or changes it to this plan. @throws SpqrError: what was before goes on */
  put(plan: Plan, options: { keepState: boolean; live?: boolean }): Promise<PutResult> {
    return this.inTurn(plan.tenant, plan.id, async () => {
      const present = this.pipelines.get(keyOf(plan.tenant, plan.id))
      if (present && plan.startFrom) return this.restartFrom(present, plan)
      if (!present) return this.create(plan)
      return this.change(present, plan, options)
    })
  }

  pause(tenant: string, id: string): Promise<void> {
    return this.inTurn(tenant, id, () => this.pipeline(tenant, id).pause())
  }

  /** From a pause, a stop or a failure: goes on from the last checkpoint. */
  resume(tenant: string, id: string): Promise<void> {
    return this.inTurn(tenant, id, async () => {
      const pipeline = this.pipeline(tenant, id)
      if (pipeline.state === 'running') return
      if (pipeline.state === 'paused' && pipeline.isLive) return pipeline.unpause()
      if (pipeline.state === 'completed') {
        throw new SpqrError('INVALID_STATE', `Pipeline "${id}" is completed: restart it to run it again.`)
      }
      await this.startAgain(pipeline, { ...pipeline.plan, paused: false, startFrom: undefined })
    })
  }

  /**
   * Moves a pipeline's operators to another compute worker while it runs.
   * @throws SpqrError INVALID_BODY (no such worker), INVALID_STATE (it does not run, or does not come to rest)
   */
  move(tenant: string, id: string, worker: number): Promise<void> {
    return this.inTurn(tenant, id, async () => {
      const pipeline = this.pipeline(tenant, id)
      if (!Number.isInteger(worker) || worker < 0 || worker >= this.workers.count) {
        const message = `must be a number of a compute worker, 0 to ${this.workers.count - 1}`
        throw new SpqrError('INVALID_BODY', `Cannot move pipeline "${id}": "worker" ${message}.`, {
          issues: [{ pointer: '/worker', message }],
        })
      }
      if (!pipeline.isLive) {
        throw new SpqrError('INVALID_STATE', `Cannot move pipeline "${id}": it is ${pipeline.state}, not running.`)
      }
      const before = pipeline.compute
      if (!this.hasThread(pipeline)) {
        throw new SpqrError('INVALID_STATE', `Cannot move pipeline "${id}": it runs in a process of its own.`)
      }
      if (before === worker) return
      const { plan } = pipeline
      const { graph } = pipeline.wiring.wire(
        resolvePlan(plan, this.tenants, this.permissions),
        this.tenants.get(plan.tenant),
      )
      pipeline.wiring.accept(true)
      try {
        await pipeline.move(worker, graph)
      } catch (thrown) {
        if (pipeline.compute === before && pipeline.isLive) throw thrown
        // Between the two workers: from the checkpoint that was just taken.
        await this.supervision.startFromCheckpoint(pipeline)
      } finally {
        this.load[before]!--
        this.load[pipeline.compute]!++
      }
      this.readers.moved(pipeline)
    })
  }

  stopPipeline(tenant: string, id: string): Promise<void> {
    return this.inTurn(tenant, id, async () => {
      const pipeline = this.pipeline(tenant, id)
      await pipeline.stop()
    })
  }

  /** Removes a pipeline with its checkpoints and own topics; also what a crash left of one. */
  remove(tenant: string, id: string, drain: boolean): Promise<void> {
    return this.inTurn(tenant, id, async () => {
      const pipeline = this.pipelines.get(keyOf(tenant, id))
      if (pipeline) {
        if (drain) await pipeline.drain()
        await pipeline.dropWorkers()
        this.forget(pipeline)
      }
      await this.transport.deleteCheckpoints(tenant, id)
      const own = [topicName(tenant, deadLetterTopic(id)), topicName(tenant, ingestTopic(id, ''))]
      for (const name of own) {
        for (const topic of await this.transport.listTopics(name)) {
          // A topic below a pipeline's name that is not of one of its sources is somebody's own.
          const isOfSource = name.endsWith('.') && !topic.name.slice(name.length).includes('.')
          if (topic.name === name || isOfSource) await this.transport.deleteTopic(topic.name)
        }
      }
      this.events.close(tenant, id)
    })
  }

  /** Stops a pipeline at a checkpoint and knows it no more; checkpoints and topics stay, for whoever has it next. */
  release(tenant: string, id: string): Promise<void> {
    return this.inTurn(tenant, id, async () => {
      const pipeline = this.pipelines.get(keyOf(tenant, id))
      if (!pipeline) return
      await pipeline.stop()
      this.forget(pipeline)
      this.events.close(tenant, id)
    })
  }

  savepoint(tenant: string, id: string, name: string): Promise<CheckpointSummary> {
    return this.inTurn(tenant, id, async () => {
      const pipeline = this.pipelines.get(keyOf(tenant, id))
      const slot = { tenant, pipeline: id, slot: 0 }
      requireRoomFor(name, id, await this.transport.checkpoints(slot))
      if (pipeline?.isLive) return pipeline.takeCheckpoint(name)
      // What does not run stands at its last checkpoint, also where it has not run in this process.
      return this.transport.copyCheckpoint(slot, slot, undefined, name)
    })
  }

  /** Copies a checkpoint of one pipeline to another's id: where the other starts from. */
  forkFrom(tenant: string, from: string, to: string, savepoint?: string): Promise<CheckpointSummary> {
    return this.inTurn(tenant, from, async () => {
      const original = this.pipelines.get(keyOf(tenant, from))
      if (savepoint === undefined && original?.isLive) await original.takeCheckpoint()
      const slot = { tenant, pipeline: from, slot: 0 }
      return this.transport.copyCheckpoint(slot, { ...slot, pipeline: to }, savepoint)
    })
  }

  /** What each component did so far, and what waits on each edge; also of a pipeline that does not run now. */
  async stats(tenant: string, id: string): Promise<{ components: Record<string, ComponentStats>; edges: EdgeStats[] }> {
    const pipeline = this.pipeline(tenant, id)
    // Asked first: with the answer of a process come its last counts.
    const answer = pipeline.isLive
      ? await this.workers
          .compute(pipeline.compute)
          .ask({ type: 'edges', pipeline: pipeline.key })
          .catch(() => undefined)
      : undefined
    const components = componentStats(pipeline.wiring.counters(), this.workers.slabs)
    return { components, edges: answer?.type === 'done' ? (answer.edges ?? []) : [] }
  }

  /** Index of a component's output port; -1 for all. @throws SpqrError NOT_FOUND */
  portOf(pipeline: PipelineControl, component: string, port: string | undefined): number {
    const found = pipeline.plan.components.find((c) => c.id === component)
    if (!found || found.kind === 'emitter') {
      throw new SpqrError('NOT_FOUND', `Pipeline "${pipeline.plan.id}" has no source or operator "${component}".`)
    }
    if (port === undefined) return -1
    const index = (found.kind === 'operator' ? found.ports : ['out']).indexOf(port)
    if (index < 0) throw new SpqrError('NOT_FOUND', `"${component}" has no port "${port}".`)
    return index
  }

  /** @throws SpqrError as `ingest` of the bridge says */
  async ingest(pipeline: PipelineControl, component: string, contentType: string, body: Uint8Array): Promise<unknown> {
    const transfer =
      body.byteOffset === 0 && body.byteLength === body.buffer.byteLength ? [body.buffer as ArrayBuffer] : []
    return this.askBridge({ type: 'ingest', pipeline: pipeline.key, component, contentType, body }, transfer)
  }

  /** @returns the answer as JSON bytes */
  async produce(topic: string, contentType: string, body: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.askBridge({ type: 'produce', topic, contentType, body })) as Uint8Array<ArrayBuffer>
  }

  /** @returns the answer as JSON bytes */
  async fetchRecords(query: {
    topic: string
    partition?: number
    from: string
    limit: number
    own?: boolean
  }): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.askBridge({ type: 'fetch', ...query })) as Uint8Array<ArrayBuffer>
  }

  /** A topic's records for one who follows it. */
  async fetchPage(query: Parameters<Host['fetchRecords']>[0], form: ReaderForm): Promise<TopicPage> {
    return (await this.askBridge({ type: 'fetch', ...query, form })) as TopicPage
  }

  private async askBridge(
    question: Parameters<BridgeThread['ask']>[0],
    transfer: ArrayBuffer[] = [],
  ): Promise<unknown> {
    const answer = await this.workers.bridge.ask(question, transfer)
    return answer.type === 'done' ? answer.result : undefined
  }

  /** Every pipeline takes a last checkpoint, then the threads end. Bounded in time; the rest follows after a restart. */
  async stop(): Promise<void> {
    this.stopping = true
    this.loadWatch.stop()
    const live = this.list().filter((pipeline) => pipeline.isLive)
    const stopAll = async (): Promise<void> => {
      const next = async (): Promise<void> => {
        for (let pipeline = live.pop(); pipeline; pipeline = live.pop()) {
          const stopped = pipeline
          await stopped.stop().catch((thrown) => this.report(stopped, SpqrError.from(thrown)))
        }
      }
      await Promise.all(Array.from({ length: STOPS_AT_ONCE }, next))
    }
    await Promise.race([stopAll(), new Promise((late) => setTimeout(late, STOP_MS_MAX).unref())])
    await this.modules.stop()
    await this.workers.stop()
    await this.topicRoom.stop()
    await this.transport.stop()
    await this.log?.stop()
    this.events.closeAll()
    this.tenants.stop()
  }

  // PipelineOwner

  changed(pipeline: PipelineControl): void {
    const { tenant, id } = pipeline.plan
    if (this.stopping) return
    this.events.state(tenant, id, pipeline.state, pipeline.reason)
  }

  report(pipeline: PipelineControl, error: SpqrError): void {
    const { tenant, id } = pipeline.plan
    this.events.show(tenant, id, { kind: 'fault', component: '', level: 3, text: `${error.code}: ${error.message}` })
  }

  // Starting

  private async create(plan: Plan): Promise<PutResult> {
    if (this.pipelines.size >= PIPELINES_MAX) {
      throw new SpqrError('QUOTA_EXCEEDED', `This host has no more than ${PIPELINES_MAX} pipelines.`)
    }
    const pipeline = new PipelineControl(this.nextKey++, NOWHERE, plan, new Wiring(this.channels, this.blocks), this)
    this.pipelines.set(keyOf(plan.tenant, plan.id), pipeline)
    this.byKey.set(pipeline.key, pipeline)
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
    const resolved = resolvePlan(plan, this.tenants, this.permissions)
    try {
      const wired = pipeline.wiring.wire(resolved, this.tenants.get(plan.tenant))
      this.workers.ensureBlocks(this.highestBlock(pipeline))
      if (!plan.fresh) await this.fence(plan)
      const from = await startingPoint(this.transport, pipeline.slot, plan)
      const keep = from && isGoneBackTo(plan) ? keepAsNewest(this.transport, pipeline.slot, from) : undefined
      if (from) this.tellVersions(plan, from)
      this.place(pipeline, plan)
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
    if (delivery === 'exactly-once') await this.transport.fence?.({ tenant, pipeline: id, slot: 0 })
  }

  /** Whose state starts anew because the document replaced its operator since. */
  private tellVersions(plan: Plan, from: Checkpoint): void {
    for (const { id, name, version } of ofOtherVersions(plan, from)) {
      const text = `its state was made by another version of the operator: ${name}@${version} starts anew`
      this.events.show(plan.tenant, plan.id, { kind: 'log', component: id, level: 2, text })
    }
  }

  private async change(
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
    const resolved = resolvePlan(plan, this.tenants, this.permissions)
    try {
      const wired = pipeline.wiring.wire(resolved, this.tenants.get(plan.tenant))
      this.provide(pipeline, plan)
      this.workers.ensureBlocks(this.highestBlock(pipeline))
      timings.placeMs = performance.now() - began
      const changes = await pipeline.change(plan, wired, keepState)
      pipeline.wiring.accept(true)
      timings.instantiateMs = performance.now() - began - timings.placeMs
      return { state: pipeline.state, warnings: [], timings, changes }
    } catch (thrown) {
      pipeline.wiring.reject()
      throw inDocument(plan, thrown)
    }
  }

  /** Another isolation, or operators split in another way: from a checkpoint. @throws SpqrError: it runs as it was */
  private async startAsAnother(pipeline: PipelineControl, plan: Plan): Promise<PutResult> {
    const before = pipeline.plan
    const paused = pipeline.state === 'paused'
    resolvePlan(plan, this.tenants, this.permissions)
    await pipeline.stop()
    const start = async (wanted: Plan): Promise<PutResult> => {
      const from = this.pipeline(plan.tenant, plan.id)
      const timings = await this.startAgain(from, { ...wanted, paused, startFrom: undefined })
      return { state: this.pipeline(plan.tenant, plan.id).state, warnings: [], timings, changes: [] }
    }
    try {
      return await start(plan)
    } catch (thrown) {
      await start(before)
      throw thrown
    }
  }

  private async restartFrom(pipeline: PipelineControl, plan: Plan): Promise<PutResult> {
    // Refused before anything is stopped where there is nothing to start from.
    const from = await startingPoint(this.transport, pipeline.slot, plan)
    if (isPlaceInSources(from) && pipeline.isLive) await this.tryStart(pipeline, plan)
    if (plan.startFrom === 'checkpoint' && pipeline.isLive) await pipeline.stop()
    else await pipeline.dropWorkers()
    const timings = await this.startAgain(pipeline, plan)
    return { state: this.pipeline(plan.tenant, plan.id).state, warnings: [], timings, changes: [] }
  }

  private async tryStart({ key }: PipelineControl, plan: Plan): Promise<void> {
    try {
      await this.workers.bridge.ask({ type: 'try-start', pipeline: key, startFrom: plan.startFrom! })
    } catch (thrown) {
      throw inDocument(plan, thrown)
    }
  }

  private async startAgain(before: PipelineControl, plan: Plan): Promise<StartTimings> {
    // What ended by itself may still be ending.
    await before.dropWorkers()
    const next = this.fresh(before, plan)
    try {
      const timings = await this.start(next, plan, true)
      this.readers.restarted(before, next)
      return timings
    } catch (thrown) {
      // What ran goes on from where it was, if only the place that was asked for is no good.
      if (plan.startFrom !== undefined && isRunning(before.state)) {
        next.plan = before.plan
        await this.supervision.startFromCheckpoint(next, before.wantsPause)
      } else next.standAs(before, SpqrError.from(thrown).toMessage())
      throw thrown
    }
  }

  /** A control of its own for each start: messages of the one before name another number, which is never given again. */
  fresh(before: PipelineControl, plan: Plan): PipelineControl {
    this.byKey.delete(before.key)
    const next = new PipelineControl(this.nextKey++, before.compute, plan, before.wiring, this)
    next.state = before.state
    next.checkpoint = before.checkpoint
    next.crashedAtMs = before.crashedAtMs
    this.byKey.set(next.key, next)
    this.pipelines.set(keyOf(plan.tenant, plan.id), next)
    return next
  }

  /** Where its operators run: on one of the threads, or in the tenant's own process. */
  private place(pipeline: PipelineControl, plan: Plan): void {
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

  private hasThread(pipeline: PipelineControl): boolean {
    return pipeline.compute !== NOWHERE && !this.workers.isolated.isIsolated(pipeline.compute)
  }

  /** Compute threads have every module; a process is given those of its pipelines. */
  private provide(pipeline: PipelineControl, plan: Plan): void {
    for (const component of plan.components) {
      if (component.kind !== 'operator') continue
      const { digest } = component
      this.workers.isolated.provide(pipeline.compute, digest, () => this.modules.bytesOf(digest))
    }
  }

  private highestBlock(pipeline: PipelineControl): number {
    return Math.max(pipeline.wiring.lettersCounters(), ...pipeline.wiring.pendingCounters())
  }

  private forget(pipeline: PipelineControl): void {
    this.pipelines.delete(keyOf(pipeline.plan.tenant, pipeline.plan.id))
    this.byKey.delete(pipeline.key)
    if (this.hasThread(pipeline)) this.load[pipeline.compute]!--
    pipeline.wiring.free()
    this.readers.gone(pipeline)
  }

  /** What is held for pipelines: all of it is given back with them. */
  get held(): { pipelines: number; keys: number; channels: number; blocks: number; readers: number; turns: number } {
    return {
      pipelines: this.pipelines.size,
      keys: this.byKey.size,
      channels: this.channels.inUse,
      blocks: this.blockNumbers.inUse,
      readers: this.readers.size,
      turns: this.serial.size,
    }
  }

  rebalance(pipeline: PipelineControl, worker: number): void {
    const { tenant, id } = pipeline.plan
    this.move(tenant, id, worker).catch((thrown) => this.report(pipeline, SpqrError.from(thrown)))
  }

  // Supervised

  get isStopping(): boolean {
    return this.stopping
  }

  control(key: number): PipelineControl | undefined {
    return this.byKey.get(key)
  }

  restarted(before: PipelineControl, now: PipelineControl): void {
    this.readers.restarted(before, now)
  }

  // Messages of workers

  private fromCompute(message: FromCompute): void {
    switch (message.type) {
      case 'failed':
        this.hear(message.pipeline, (pipeline) => pipeline.failed(message.component, message.error, true))
        return
      case 'event':
        this.showEvent(message)
        return
      case 'tapped':
        this.readers.tapped(message.tap, message.frames, message.skipped)
        return
      default:
        return
    }
  }

  private fromBridge(message: FromBridge): void {
    switch (message.type) {
      case 'failed':
        this.hear(message.pipeline, (pipeline) => pipeline.failed(message.component, message.error))
        return
      case 'fell-back':
        this.hear(message.pipeline, ({ key }) => this.supervision.fellBack(key, SpqrError.fromMessage(message.error)))
        return
      case 'completed':
        this.hear(message.pipeline, (pipeline) => pipeline.completed())
        return
      case 'left':
        this.byKey.get(message.pipeline)?.wiring.left(message.channel)
        return
      case 'checkpointed':
        this.byKey.get(message.pipeline)?.checkpointed(message.summary)
        return
      case 'event':
        this.showEvent(message)
        return
      case 'out':
        this.readers.out(message.subscriptions, message.piece)
        return
      case 'out-end':
        this.readers.outEnd(message.subscription)
        return
      default:
        return
    }
  }

  private hear(key: number, act: (pipeline: PipelineControl) => void): void {
    const pipeline = this.byKey.get(key)
    pipeline?.hear(() => act(pipeline))
  }

  private showEvent(message: Extract<FromCompute, { type: 'event' }>): void {
    const pipeline = this.byKey.get(message.pipeline)
    if (!pipeline) return
    const { tenant, id } = pipeline.plan
    this.events.show(tenant, id, {
      kind: message.kind,
      component: message.component,
      level: message.level,
      text: message.text,
    })
  }

  /** Calls for one pipeline come one after the other; different pipelines do not wait for each other. */
  async inTurn<T>(tenant: string, id: string, work: () => Promise<T>): Promise<T> {
    const key = keyOf(tenant, id)
    const before = this.serial.get(key)
    const mine = before ? before.then(work, work) : work()
    this.serial.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.serial.get(key) === mine) this.serial.delete(key)
    }
  }
}

/** @throws SpqrError QUOTA_EXCEEDED */
function requireRoomFor(name: string, id: string, kept: CheckpointSummary[]): void {
  const names = new Set(kept.flatMap(({ savepoint }) => savepoint ?? []))
  if (names.size < SAVEPOINTS_MAX || names.has(name)) return
  throw new SpqrError(
    'QUOTA_EXCEEDED',
    `Cannot keep the savepoint "${name}": "${id}" has ${SAVEPOINTS_MAX} already; give it the name of one of them, which it then replaces.`,
  )
}

function keyOf(tenant: string, id: string): string {
  return `${tenant}/${id}`
}
