// A processing node: worker threads, modules, and the pipelines that run on them.
// Runs on: control.

import { availableParallelism } from 'node:os'
import { SpqrError } from '../../schemas/errors.ts'
import { deadLetterTopic, ingestTopic, topicName } from '../../schemas/names.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { TenantSpec } from '../../schemas/tenant.ts'
import type { EdgeStats } from '../compute/messages.ts'
import type { Permissions } from '../permissions/permissions.ts'
import { Tenants } from '../quota/tenants.ts'
import { TopicRoom } from '../quota/topic-room.ts'
import { connectTransport, type KafkaAddress } from '../transport/connect.ts'
import { EmbeddedLog } from '../transport/embedded/embedded-log.ts'
import type { CheckpointSummary, Transport } from '../transport/transport.ts'
import { ApiRecords } from './api-records.ts'
import { type ComponentStats, componentStats } from './component-stats.ts'
import { Deployments, type DeploymentsOwner, type PutResult } from './deployments.ts'
import { Events } from './events.ts'
import { LoadWatch } from './load-watch.ts'
import { Modules } from './modules.ts'
import type { PipelineControl } from './pipeline-control.ts'
import { Pipelines } from './pipelines.ts'
import { Placement } from './placement.ts'
import { resolvePlan } from './plan-checks.ts'
import { ReaderPlaces } from './reader-places.ts'
import { Readers } from './readers.ts'
import { type Supervised, Supervision } from './supervision.ts'
import { TopicPages } from './topic-pages.ts'
import { WorkerMessages } from './worker-messages.ts'
import { Workers } from './workers.ts'

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

/** Of one pipeline: they stay until it goes, and each may hold all of its memory. */
const SAVEPOINTS_MAX = 100
/** Pipelines that stop at the same time when the host does. */
const STOPS_AT_ONCE = 64
const STOP_MS_MAX = 8000
/** Who asks for a checkpoint waits so long for an emitter. */
const CHECKPOINT_MS_MAX = 20_000

export class Host implements DeploymentsOwner, Supervised {
  readonly workers: Workers
  readonly transport: Transport
  readonly modules: Modules
  readonly events = new Events()
  readonly tenants = new Tenants()
  readonly permissions: Permissions
  readonly pipelines = new Pipelines()
  readonly placement: Placement
  readonly supervision = new Supervision(this)
  readonly deployments = new Deployments(this)
  /** What the HTTP API gives to sources and topics, and reads from these. */
  readonly records: ApiRecords
  private readonly topicRoom: TopicRoom
  readonly readers: Readers
  readonly topicPages: TopicPages
  readonly checkpointMsMax: number
  /** Rejects when the host cannot go on: its log thread died, or another cannot start. */
  readonly closed: Promise<void>
  private readonly log: EmbeddedLog | undefined
  private stopping = false
  private readonly loadWatch: LoadWatch

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
    this.modules = new Modules((message) => this.workers.toAllComputes(message))
    const messages = new WorkerMessages(this)
    this.workers = new Workers({
      computeWorkers,
      permissions: options.permissions.toJSON(),
      quota: this.tenants.memory,
      transport: () => (log ? { kind: 'embedded', port: log.connect() } : { kind: 'kafka', kafka: options.kafka! }),
      onCompute: (_, message) => messages.fromCompute(message),
      onBridge: (message) => messages.fromBridge(message),
      onComputeReplaced: (worker, culprit, stuck) => void this.supervision.computeReplaced(worker, culprit, stuck),
      onBridgeReplaced: () => {
        this.readers.outsLost()
        void this.supervision.restartAll(() => true)
      },
      onTrialsReplaced: (culprit, stuck) => this.supervision.blame(this.pipelines.control(culprit), stuck),
      onBroken: (error) => broken(error),
      onProcessEnded: (worker, culprit, why, next) => void this.supervision.processEnded(worker, culprit, why, next),
      greetings: () => this.modules.messages(),
    })
    this.placement = new Placement(this.workers, this.modules)
    this.records = new ApiRecords(this.workers)
    const places = new ReaderPlaces()
    this.readers = new Readers(this.workers, places)
    this.topicPages = new TopicPages((query, form) => this.records.fetchPage(query, form), places)
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
    return this.pipelines.list()
  }

  /** @throws SpqrError NOT_FOUND */
  pipeline(tenant: string, id: string): PipelineControl {
    return this.pipelines.get(tenant, id)
  }

  /** Creates a pipeline, or changes it to this plan. @throws SpqrError: what was before goes on */
  put(plan: Plan, options: { keepState: boolean; live?: boolean }): Promise<PutResult> {
    return this.pipelines.inTurn(plan.tenant, plan.id, async () => {
      const present = this.pipelines.find(plan.tenant, plan.id)
      if (present && plan.startFrom) return this.deployments.restartFrom(present, plan)
      if (!present) return this.deployments.create(plan)
      return this.deployments.change(present, plan, options)
    })
  }

  pause(tenant: string, id: string): Promise<void> {
    return this.pipelines.inTurn(tenant, id, () => this.pipeline(tenant, id).pause())
  }

  /** From a pause, a stop or a failure: goes on from the last checkpoint. */
  resume(tenant: string, id: string): Promise<void> {
    return this.pipelines.inTurn(tenant, id, async () => {
      const pipeline = this.pipeline(tenant, id)
      if (pipeline.state === 'running') return
      if (pipeline.state === 'paused' && pipeline.isLive) return pipeline.unpause()
      if (pipeline.state === 'completed') {
        throw new SpqrError('INVALID_STATE', `Pipeline "${id}" is completed: restart it to run it again.`)
      }
      await this.deployments.startAgain(pipeline, { ...pipeline.plan, paused: false, startFrom: undefined })
    })
  }

  /**
   * Moves a pipeline's operators to another compute worker while it runs.
   * @throws SpqrError INVALID_BODY (no such worker), INVALID_STATE (it does not run, or does not come to rest)
   */
  move(tenant: string, id: string, worker: number): Promise<void> {
    return this.pipelines.inTurn(tenant, id, async () => {
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
      if (!this.placement.hasThread(pipeline)) {
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
        if (pipeline.isLive || pipeline.state === 'failed' || pipeline.state === 'completed') throw thrown
        // Between the two workers: from the checkpoint that was just taken.
        await this.supervision.startFromCheckpoint(pipeline)
      } finally {
        this.placement.moved(before, pipeline.compute)
      }
      this.readers.moved(pipeline)
    })
  }

  stopPipeline(tenant: string, id: string): Promise<void> {
    return this.pipelines.inTurn(tenant, id, async () => {
      const pipeline = this.pipeline(tenant, id)
      await pipeline.stop()
    })
  }

  /** Removes a pipeline with its checkpoints and own topics; also what a crash left of one. */
  remove(tenant: string, id: string, drain: boolean): Promise<void> {
    return this.pipelines.inTurn(tenant, id, async () => {
      const pipeline = this.pipelines.find(tenant, id)
      if (pipeline) {
        if (drain) await pipeline.drain()
        await pipeline.dropWorkers()
        this.deployments.forget(pipeline)
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
    return this.pipelines.inTurn(tenant, id, async () => {
      const pipeline = this.pipelines.find(tenant, id)
      if (!pipeline) return
      await pipeline.stop()
      this.deployments.forget(pipeline)
      this.events.close(tenant, id)
    })
  }

  savepoint(tenant: string, id: string, name: string): Promise<CheckpointSummary> {
    return this.pipelines.inTurn(tenant, id, async () => {
      const pipeline = this.pipelines.find(tenant, id)
      const slot = { tenant, pipeline: id, slot: 0 }
      requireRoomFor(name, id, await this.transport.checkpoints(slot))
      if (pipeline?.isLive) return pipeline.takeCheckpoint(name)
      // What does not run stands at its last checkpoint, also where it has not run in this process.
      return this.transport.copyCheckpoint(slot, slot, undefined, name)
    })
  }

  /** Copies a checkpoint of one pipeline to another's id: where the other starts from. */
  forkFrom(tenant: string, from: string, to: string, savepoint?: string): Promise<CheckpointSummary> {
    return this.pipelines.inTurn(tenant, from, async () => {
      const original = this.pipelines.find(tenant, from)
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

  /** What is held for pipelines: all of it is given back with them. */
  get held(): { pipelines: number; keys: number; channels: number; blocks: number; readers: number; turns: number } {
    return {
      ...this.deployments.held,
      pipelines: this.pipelines.size,
      keys: this.pipelines.keys,
      readers: this.readers.size,
      turns: this.pipelines.inWork,
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
