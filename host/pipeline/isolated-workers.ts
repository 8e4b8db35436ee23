// The relays of a host: one per tenant with isolated pipelines, started when the first of them starts and ended some time
// after the last. A relay stands where a compute worker would; its process may crash, and is started again with backoff.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { FromCompute } from '../compute/messages.ts'
import { type Status, slotOf, WORKERS_MAX } from '../compute/status.ts'
import type { ToRelay } from '../isolation/messages.ts'
import { Doorbell, makeDoorbell } from '../ring/doorbell.ts'
import { Thread } from './thread.ts'

export type RelayThread = Thread<ToRelay, FromCompute>

export interface IsolatedOptions {
  /** Numbers of compute workers are below this. */
  firstWorker: number
  status: Status
  /** What a relay thread is given besides what it alone has. */
  data: Record<string, unknown>
  onCompute: (worker: number, message: FromCompute) => void
  /** Gives the relay a port to the bridge, and what every worker is told first. */
  introduce: (worker: number, thread: RelayThread, bell: SharedArrayBuffer) => void
  /** The process ended and another stands in its place, without any pipeline. */
  onReplaced: (worker: number, culprit: number, why: string) => void
  /** It ended too often: nobody stands in its place. */
  onGivenUp: (worker: number, why: string) => void
}

/** So long after its last pipeline a process ends. */
const IDLE_MS = 5000
/** So many ends within CRASHES_MS, and its pipelines have failed. */
const CRASHES_MAX = 3
const CRASHES_MS = 10_000
const BACKOFF_MS = 250
const STOP_MS_MAX = 1000

interface Home {
  tenant: string
  worker: number
  thread: RelayThread
  bell: SharedArrayBuffer
  pid: Int32Array
  /** Pipelines that run on it, or are about to. */
  users: Set<number>
  modules: Set<string>
  idle: NodeJS.Timeout | undefined
  stopping: boolean
}

export class IsolatedWorkers {
  private readonly options: IsolatedOptions
  private readonly homes = new Map<number, Home>()
  /** The last thread of each number: calls to one that ended are refused by itself. */
  private readonly threads: RelayThread[] = []
  /** When processes of a tenant ended by themselves, lately. */
  private readonly crashes = new Map<string, number[]>()

  constructor(options: IsolatedOptions) {
    this.options = options
  }

  /** The worker of a tenant's isolated pipelines. @throws SpqrError QUOTA_EXCEEDED where the host has no room for another */
  place(tenant: string): number {
    for (const home of this.homes.values()) if (home.tenant === tenant && !home.stopping) return home.worker
    let worker = this.options.firstWorker
    while (this.homes.has(worker)) worker++
    if (worker >= WORKERS_MAX) {
      throw new SpqrError('QUOTA_EXCEEDED', 'This host has no room for another process of a tenant: use "thread"', {
        issues: [{ pointer: '/isolation', message: 'no room for another process on this host' }],
      })
    }
    this.start(tenant, worker)
    return worker
  }

  isIsolated(worker: number): boolean {
    return worker >= this.options.firstWorker
  }

  thread(worker: number): RelayThread {
    return this.threads[worker]!
  }

  /** The pipeline is about to run there. */
  use(worker: number, pipeline: number): void {
    const home = this.homes.get(worker)
    if (!home) return
    home.users.add(pipeline)
    clearTimeout(home.idle)
  }

  /** It does not any more. */
  leave(worker: number, pipeline: number): void {
    const home = this.homes.get(worker)
    if (home?.users.delete(pipeline)) this.restWhenIdle(home)
  }

  /** Sends a module once to a process. */
  provide(worker: number, digest: string, message: () => ToRelay): void {
    const home = this.homes.get(worker)
    if (!home || home.modules.has(digest)) return
    home.modules.add(digest)
    home.thread.post(message())
  }

  toAll(message: ToRelay): void {
    for (const { thread } of this.homes.values()) thread.post(message)
  }

  introduceAll(): void {
    for (const { worker, thread, bell } of this.homes.values()) this.options.introduce(worker, thread, bell)
  }

  /** Number of a tenant's process; 0 while there is none. */
  pid(worker: number): number {
    return this.homes.get(worker)?.pid[0] ?? 0
  }

  async stop(): Promise<void> {
    await Promise.all([...this.homes.values()].map((home) => this.end(home)))
  }

  private start(tenant: string, worker: number): void {
    const delayMs = BACKOFF_MS * Math.max(0, (this.crashes.get(tenant)?.length ?? 0) - 1)
    const bell = makeDoorbell()
    const ringer = new Doorbell(bell)
    const pid = new SharedArrayBuffer(4)
    const thread: RelayThread = new Thread(
      `relay-${worker}`,
      new URL('../isolation/relay.worker.js', import.meta.url),
      { ...this.options.data, index: worker, doorbell: bell, delayMs, pid },
      [],
      (message) => this.options.onCompute(worker, message),
      () => ringer.message(),
    )
    const home: Home = {
      tenant,
      worker,
      thread,
      bell,
      pid: new Int32Array(pid),
      users: new Set(),
      modules: new Set(),
      idle: undefined,
      stopping: false,
    }
    this.homes.set(worker, home)
    this.threads[worker] = thread
    this.options.introduce(worker, thread, bell)
    void thread.closed.then((cause) => this.ended(home, cause.message))
    this.restWhenIdle(home)
  }

  private ended(home: Home, why: string): void {
    const { worker, tenant, users } = home
    clearTimeout(home.idle)
    killed(home)
    if (this.homes.get(worker) === home) {
      this.homes.delete(worker)
      this.options.status.died(slotOf(worker))
    }
    if (home.stopping) return
    const now = Date.now()
    const crashes = [...(this.crashes.get(tenant) ?? []).filter((at) => now - at < CRASHES_MS), now]
    if (crashes.length >= CRASHES_MAX) {
      // Whoever resumes a pipeline begins anew.
      this.crashes.delete(tenant)
      this.options.onGivenUp(worker, why)
      return
    }
    this.crashes.set(tenant, crashes)
    // Without users another is started by the next that comes.
    if (users.size === 0) return
    const culprit = this.options.status.pipeline(worker)
    this.start(tenant, worker)
    this.options.onReplaced(worker, culprit, why)
  }

  private restWhenIdle(home: Home): void {
    clearTimeout(home.idle)
    if (home.users.size > 0) return
    home.idle = setTimeout(() => void this.end(home), IDLE_MS).unref()
  }

  /** Ends the process first: its parent is the one that sees it off. */
  private async end(home: Home): Promise<void> {
    home.stopping = true
    home.thread.post({ type: 'stop' })
    const late = new Promise<void>((done) => setTimeout(done, STOP_MS_MAX).unref())
    await Promise.race([home.thread.closed, late])
    await home.thread.kill()
    killed(home)
  }
}

/** Where the relay went first. */
function killed({ pid }: Home): void {
  const number = Atomics.exchange(pid, 0, 0)
  if (number === 0) return
  try {
    process.kill(number, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}
