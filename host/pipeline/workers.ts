// The worker threads of a host: compute workers, kept warm and replaced when they die, and the bridge worker.
// Runs on: control.

import { availableParallelism } from 'node:os'
import { MessageChannel } from 'node:worker_threads'
import type { SpqrError } from '../../schemas/errors.ts'
import type { FromBridge, ToBridge } from '../bridges/runtime/messages.ts'
import { makeSlab, SLAB_BLOCKS, Slabs } from '../compute/counters.ts'
import type { FromCompute, ToCompute } from '../compute/messages.ts'
import { BRIDGE_SLOT, makeStatus, Status, slotOf, TRIALS } from '../compute/status.ts'
import type { TrialsMessage } from '../compute/trial.ts'
import type { PermissionsMessage } from '../permissions/permissions.ts'
import { Doorbell, makeDoorbell } from '../ring/doorbell.ts'
import type { TransportAddress } from '../transport/connect.ts'
import { IsolatedWorkers } from './isolated-workers.ts'
import { Thread } from './thread.ts'

export type ComputeThread = Thread<ToCompute, FromCompute>
export type BridgeThread = Thread<ToBridge, FromBridge>

export interface WorkersOptions {
  computeWorkers: number
  permissions: PermissionsMessage
  /** Quota cells of the tenants. */
  quota: SharedArrayBuffer
  /** How the bridge worker reaches the transport; a new one for each worker. */
  transport: () => TransportAddress
  onCompute: (worker: number, message: FromCompute) => void
  onBridge: (message: FromBridge) => void
  /**
   * A worker died and another stands in its place, without any pipeline.
   * @param culprit what it worked on, -1 for nothing
   * @param stuck it did not move on, and was ended for that
   */
  onComputeReplaced: (worker: number, culprit: number, stuck: boolean) => void
  onBridgeReplaced: () => void
  /** The trial thread died and another stands in its place; operators ask it again. Else as `onComputeReplaced`. */
  onTrialsReplaced: (culprit: number, stuck: boolean) => void
  /** The process of a tenant ended; `next` says whether another stands in its place. */
  onProcessEnded: (worker: number, culprit: number, why: string, next: boolean) => void
  /** A thread cannot even start. */
  onBroken: (error: SpqrError) => void
  /** What a new compute worker is told before anything else. */
  greetings: () => ToCompute[]
}

const WATCH_MS = 500
/** A compute worker that sleeps wakes at least every second; one that has not moved for so long is stuck. */
const STUCK_MS = 4000
/** A flush may have two seconds of a core's time, and others come first. */
const TRIAL_STUCK_MS = 20_000
/** Of a tenant's process. Its threads and ours do not see each other run: where one polls, it may take another's core. */
const PROCESS_THREADS = 2
/** A thread that ends so soon after it began will do so again: the host cannot go on. */
const BORN_DEAD_MS = 300

export class Workers {
  readonly slabs = new Slabs()
  /** Those that stand for a tenant's process. */
  readonly isolated: IsolatedWorkers
  private readonly options: WorkersOptions
  private readonly statusMemory = makeStatus()
  private readonly status = new Status(this.statusMemory)
  private readonly computes: ComputeThread[] = []
  private readonly bells: SharedArrayBuffer[] = []
  private readonly slabMemories: SharedArrayBuffer[] = []
  private bridgeThread!: BridgeThread
  private trials!: Thread<TrialsMessage, { type: never }>
  private readonly bridgeBell = makeDoorbell()
  private readonly seen: { heartbeat: number; at: number }[] = []
  private readonly stuck = new Set<object>()
  private readonly watch: NodeJS.Timeout
  private stopping = false

  constructor(options: WorkersOptions) {
    this.options = options
    this.isolated = new IsolatedWorkers({
      firstWorker: options.computeWorkers,
      status: this.status,
      data: { status: this.statusMemory, quota: options.quota, cores: availableParallelism() - PROCESS_THREADS },
      onCompute: options.onCompute,
      introduce: (worker, thread, bell) => {
        for (const [index, memory] of this.slabMemories.entries()) thread.post({ type: 'slab', index, memory })
        this.introduce(worker, thread, bell)
      },
      onReplaced: (worker, culprit, why) => options.onProcessEnded(worker, culprit, why, true),
      onGivenUp: (worker, why) => options.onProcessEnded(worker, -1, why, false),
    })
    this.startBridge()
    for (let worker = 0; worker < options.computeWorkers; worker++) this.startCompute(worker)
    this.startTrials()
    this.watch = setInterval(() => this.look(), WATCH_MS)
    this.watch.unref()
  }

  get count(): number {
    return this.computes.length
  }

  get bridge(): BridgeThread {
    return this.bridgeThread
  }

  compute(worker: number): ComputeThread {
    return this.computes[worker] ?? this.isolated.thread(worker)
  }

  toAllComputes(message: ToCompute): void {
    for (const thread of this.computes) thread.post(message)
    // A process is given modules as its pipelines need them.
    if (message.type !== 'module') this.isolated.toAll(message)
  }

  /** Makes counter blocks up to this number exist everywhere. */
  ensureBlocks(number: number): void {
    while (this.slabMemories.length <= Math.floor(number / SLAB_BLOCKS)) {
      const index = this.slabMemories.length
      const memory = makeSlab()
      this.slabMemories.push(memory)
      this.slabs.add(index, memory)
      this.toAllComputes({ type: 'slab', index, memory })
      this.bridgeThread.post({ type: 'slab', index, memory })
    }
  }

  /** Microseconds that a compute worker spent on pipelines, modulo 2^32. */
  busyUs(worker: number): number {
    return this.status.busyUs(worker)
  }

  /** Zeroes a block that nobody writes to any more. */
  clearBlock(number: number): void {
    if (Math.floor(number / SLAB_BLOCKS) < this.slabMemories.length) this.slabs.block(number).clear()
  }

  async stop(): Promise<void> {
    this.stopping = true
    clearInterval(this.watch)
    await this.bridgeThread.ask({ type: 'stop' }).catch(() => undefined)
    await this.isolated.stop()
    await Promise.all([this.bridgeThread.kill(), this.trials.kill(), ...this.computes.map((thread) => thread.kill())])
  }

  private startBridge(): void {
    const transport = this.options.transport()
    const thread: BridgeThread = new Thread(
      'bridge',
      new URL('../bridges/runtime/bridge.worker.js', import.meta.url),
      {
        doorbell: this.bridgeBell,
        status: this.statusMemory,
        cores: availableParallelism(),
        transport,
        permissions: this.options.permissions,
        quota: this.options.quota,
      },
      transport.kind === 'embedded' ? [transport.port] : [],
      this.options.onBridge,
    )
    this.bridgeThread = thread
    for (const [index, memory] of this.slabMemories.entries()) thread.post({ type: 'slab', index, memory })
    for (const [worker, compute] of this.computes.entries()) this.introduce(worker, compute, this.bells[worker]!)
    this.isolated.introduceAll()
    const born = Date.now()
    void thread.closed.then((cause) => {
      if (this.stopping) return
      if (Date.now() - born < BORN_DEAD_MS) return this.options.onBroken(cause)
      this.status.died(BRIDGE_SLOT)
      this.startBridge()
      this.options.onBridgeReplaced()
    })
  }

  private startCompute(worker: number): void {
    const bell = makeDoorbell()
    const ringer = new Doorbell(bell)
    this.bells[worker] = bell
    const thread: ComputeThread = new Thread(
      `compute-${worker}`,
      new URL('../compute/compute.worker.js', import.meta.url),
      {
        index: worker,
        doorbell: bell,
        status: this.statusMemory,
        quota: this.options.quota,
        cores: availableParallelism(),
      },
      [],
      (message) => this.options.onCompute(worker, message),
      () => ringer.message(),
    )
    this.computes[worker] = thread
    this.seen[worker] = { heartbeat: this.status.heartbeat(worker), at: Date.now() }
    for (const [index, memory] of this.slabMemories.entries()) thread.post({ type: 'slab', index, memory })
    for (const message of this.options.greetings()) thread.post(message)
    this.introduce(worker, thread, bell)
    if (this.trials) this.introduceTrials(thread, bell)
    const born = Date.now()
    void thread.closed.then((cause) => {
      if (this.stopping) return
      if (Date.now() - born < BORN_DEAD_MS) return this.options.onBroken(cause)
      const culprit = this.status.pipeline(worker)
      this.status.died(slotOf(worker))
      this.startCompute(worker)
      this.options.onComputeReplaced(worker, culprit, this.stuck.delete(thread))
    })
  }

  private startTrials(): void {
    this.status.turn(TRIALS, -1)
    const thread: Thread<TrialsMessage, { type: never }> = new Thread(
      'trials',
      new URL('../compute/trial.worker.js', import.meta.url),
      { status: this.statusMemory },
      [],
      () => undefined,
    )
    this.trials = thread
    this.seen[TRIALS] = { heartbeat: this.status.heartbeat(TRIALS), at: Date.now() }
    for (const [worker, compute] of this.computes.entries()) this.introduceTrials(compute, this.bells[worker]!)
    const born = Date.now()
    void thread.closed.then((cause) => {
      if (this.stopping) return
      if (Date.now() - born < BORN_DEAD_MS) return this.options.onBroken(cause)
      const culprit = this.status.pipeline(TRIALS)
      this.options.onTrialsReplaced(culprit, this.stuck.delete(thread))
      this.startTrials()
    })
  }

  /** Gives a compute worker and the trial thread a port to each other. */
  private introduceTrials(compute: ComputeThread, doorbell: SharedArrayBuffer): void {
    const { port1, port2 } = new MessageChannel()
    compute.post({ type: 'trials', port: port1 }, [port1])
    this.trials.post({ type: 'compute', port: port2, doorbell }, [port2])
  }

  /** Gives a compute worker and the bridge worker a port and a doorbell to each other. */
  private introduce(worker: number, compute: ComputeThread, doorbell: SharedArrayBuffer): void {
    const { port1, port2 } = new MessageChannel()
    compute.post({ type: 'bridge', index: 0, port: port1, doorbell: this.bridgeBell }, [port1])
    this.bridgeThread.post({ type: 'compute', index: worker, port: port2, doorbell }, [port2])
  }

  /** Ends a compute worker whose loop does not turn any more; it is then replaced like one that died. */
  private look(): void {
    const now = Date.now()
    this.computes.forEach((thread, worker) => {
      this.endIfStuck(thread, worker, now, STUCK_MS)
    })
    // It does not wake while there is nothing to try.
    if (this.status.pipeline(TRIALS) >= 0) this.endIfStuck(this.trials, TRIALS, now, TRIAL_STUCK_MS)
  }

  private endIfStuck(thread: { kill(): Promise<void> }, worker: number, now: number, afterMs: number): void {
    const heartbeat = this.status.heartbeat(worker)
    const seen = this.seen[worker]!
    if (heartbeat !== seen.heartbeat) this.seen[worker] = { heartbeat, at: now }
    else if (now - seen.at > afterMs) {
      this.seen[worker] = { heartbeat, at: now }
      this.stuck.add(thread)
      void thread.kill()
    }
  }
}
