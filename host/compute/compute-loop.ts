// The synchronous loop of a compute worker: signals, messages, timers, and a fair slice for each pipeline that has work.
// Runs on: compute.

import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { SpqrError } from '../../schemas/errors.ts'
import type { QuotaCells } from '../quota/quota-cells.ts'
import { Doorbell, DoorbellOwner } from '../ring/doorbell.ts'
import { EarlyRings } from '../ring/early-rings.ts'
import { PollScore } from '../ring/poll-score.ts'
import { Slabs } from './counters.ts'
import { FairQueue } from './fair-queue.ts'
import type { LoadedModule } from './guest.ts'
import type { BridgeToCompute, ChangeResult, ComputeToBridge, FromCompute, ToCompute, TraceInfo } from './messages.ts'
import { RingOutput } from './output.ts'
import { Pipeline, type PipelineContext } from './pipeline.ts'
import { LongSetups, type Ready, setUpElsewhere } from './setup.ts'
import { Sink } from './sink.ts'
import { makeSpare } from './spare-instances.ts'
import type { Status } from './status.ts'
import { Timers } from './timers.ts'
import { Trials } from './trials.ts'

/** A pipeline's turn, ms: short enough that its neighbours hardly notice. */
const SLICE_MS = 1
/** After work it polls so long before it sleeps: a wake-up costs about as much. */
const POLL_MS = 0.05
/** Polls only if it had work this recently. */
const RECENT_MS = 1
const SLEEP_MS_MAX = 1000
/** So soon it looks again for fuel of a tenant that has used up its own. */
const STARVED_MS = 10

export interface ComputeSetup {
  index: number
  control: MessagePort
  doorbell: SharedArrayBuffer
  status: Status
  quota: QuotaCells
  cores: number
}

interface BridgeLink {
  port: MessagePort
  bell: Doorbell
  /** What the pipelines of this bridge are given; one for all of them. */
  context: PipelineContext
}

interface Listener {
  pipeline: Pipeline
  end: RingOutput | Sink
}

type Module = LoadedModule & { trace: TraceInfo }

export class ComputeLoop {
  private readonly setup: ComputeSetup
  private readonly bell: DoorbellOwner
  private readonly timers = new Timers()
  private readonly slabs = new Slabs()
  private readonly trials = new Trials()
  private readonly modules = new Map<string, Module>()
  private readonly pipelines = new Map<number, Pipeline>()
  private readonly listeners: (Listener | undefined)[] = []
  private readonly bridges: BridgeLink[] = []
  /** Rings announced before the pipeline that reads them was made here. */
  private readonly early = new EarlyRings()
  private readonly queue: FairQueue
  private readonly score = new PollScore()
  private stopped = false

  constructor(setup: ComputeSetup) {
    this.setup = setup
    this.bell = new DoorbellOwner(setup.doorbell)
    this.queue = new FairQueue(setup.quota)
  }

  /** Runs until it is told to stop. */
  run(): void {
    const { status, index, cores } = this.setup
    const onSignal = (channel: number): void => this.signalled(channel)
    let lastWork = 0
    status.woke()
    while (!this.stopped) {
      if (this.bell.takeMessages()) this.takeMessages()
      this.bell.takeSignals(onSignal)
      const now = performance.now()
      this.timers.run(now)
      const pipeline = this.queue.take()
      if (pipeline !== undefined) {
        pipeline.queued = false
        status.turn(index, pipeline.key)
        if (pipeline.dropped) continue
        const fuelBefore = pipeline.fuelUsed
        const more = advance(pipeline, now + SLICE_MS)
        lastWork = performance.now()
        status.worked(index, lastWork - now)
        this.queue.used(pipeline, lastWork - now, pipeline.fuelUsed - fuelBefore)
        if (more) this.wake(pipeline)
        continue
      }
      status.turn(index, -1)
      // Polling helps the next record only where it takes no core from the thread that would bring it.
      if (now - lastWork < RECENT_MS && status.awake <= cores) {
        if (this.poll(now + POLL_MS)) continue
      }
      if (makeSpare()) continue
      status.slept()
      const longest = this.queue.starved ? STARVED_MS : SLEEP_MS_MAX
      this.bell.sleep(Math.min(longest, this.timers.next(performance.now())))
      status.woke()
    }
    status.slept()
  }

  /** Looks for signals until then, if that is worth it. @returns true: something came */
  private poll(untilMs: number): boolean {
    if (!this.score.isWorth()) return false
    while (performance.now() < untilMs) {
      if (!this.bell.anything()) continue
      this.score.hit()
      return true
    }
    this.score.miss()
    return false
  }

  private wake(pipeline: Pipeline): void {
    if (pipeline.queued || pipeline.dropped) return
    pipeline.queued = true
    this.queue.push(pipeline)
  }

  private signalled(channel: number): void {
    const listener = this.listeners[channel]
    if (listener === undefined) return
    if (listener.end instanceof Sink) listener.end.unblock()
    else if (listener.end.cursors.length === 0) listener.end.skip()
    this.wake(listener.pipeline)
  }

  private takeMessages(): void {
    for (const { port } of this.bridges) {
      for (let m = receiveMessageOnPort(port); m; m = receiveMessageOnPort(port)) this.fromBridge(m.message)
    }
    this.trials.take()
    const control = this.setup.control
    for (let m = receiveMessageOnPort(control); m; m = receiveMessageOnPort(control)) this.fromControl(m.message)
  }

  private fromBridge(message: BridgeToCompute): void {
    const listener = this.listeners[message.channel]
    if (listener?.end instanceof RingOutput && listener.pipeline.key === message.pipeline) {
      listener.end.announced(message.memory)
      this.wake(listener.pipeline)
    } else {
      this.early.keep(message.pipeline, message.channel, message.memory)
    }
  }

  private fromControl(message: ToCompute): void {
    switch (message.type) {
      case 'bridge':
        this.bridges[message.index] = this.linkOf(message.port, new Doorbell(message.doorbell))
        return
      case 'slab':
        this.slabs.add(message.index, message.memory)
        return
      case 'module':
        this.modules.set(message.digest, message)
        return
      case 'trials':
        this.trials.connect(message.port)
        return
      case 'source-map': {
        const module = this.modules.get(message.digest)
        if (module) module.trace.sourceMap = message.sourceMap
        return
      }
      case 'create':
        this.create(message)
        return
      case 'change':
        this.change(message)
        return
      case 'edges':
        this.answer(message.request, () => ({ edges: this.pipeline(message.pipeline).edges() }))
        return
      case 'drop':
        this.answer(message.request, () => {
          this.pipelines.get(message.pipeline)?.drop()
          this.pipelines.delete(message.pipeline)
          this.early.drop(message.pipeline)
          return undefined
        })
        return
      case 'release':
        this.answer(message.request, () => {
          const pipeline = this.pipeline(message.pipeline)
          const answer = { images: pipeline.images(), edges: pipeline.edges() }
          pipeline.drop()
          this.pipelines.delete(message.pipeline)
          return answer
        })
        return
      case 'pause':
        this.answer(message.request, () => {
          this.pipeline(message.pipeline).setPaused(message.paused)
          return undefined
        })
        return
      case 'tap':
        this.pipelines.get(message.pipeline)?.tap(message.tap, message.component, message.port, message.every)
        return
      case 'untap':
        this.pipelines.get(message.pipeline)?.untap(message.tap)
        return
      case 'tap-ready':
        this.pipelines.get(message.pipeline)?.tapReady(message.tap)
        return
      case 'stop':
        this.stopped = true
        return
    }
  }

  /** @param ready operators that took too long to be started here */
  private create(message: Extract<ToCompute, { type: 'create' }>, ready: Ready = new Map()): void {
    const link = this.bridges[message.bridge]!
    const pipeline = new Pipeline(message.pipeline, message.graph, message.paused, link.context)
    try {
      const changes = pipeline.create(message.images, ready)
      if (message.edges) pipeline.countOn(message.edges)
      this.pipelines.set(message.pipeline, pipeline)
      this.answer(message.request, () => ({ changes }))
    } catch (thrown) {
      pipeline.drop()
      if (thrown instanceof LongSetups) this.startElsewhere(message, ready, thrown)
      else this.refuse(message.request, thrown)
    }
  }

  private startElsewhere(message: Extract<ToCompute, { type: 'create' }>, ready: Ready, long: LongSetups): void {
    const { tenantIndex } = message.graph
    const { context } = this.bridges[message.bridge]!
    setUpElsewhere(this.trials, long, ready, {
      tenant: tenantIndex,
      pipeline: message.pipeline,
      loaded: (digest) => context.module(digest),
      tookFuel: (fuel) => context.tookFuel(tenantIndex, fuel),
      done: (more) => this.create(message, more),
      refused: (error) => this.refuse(message.request, error),
      lost: () => this.create(message, ready),
    })
  }

  private change({ request, pipeline: key, graph, keepState }: Extract<ToCompute, { type: 'change' }>): void {
    const told = (outcome: ChangeResult[] | Error): void => {
      if (outcome instanceof Error) this.refuse(request, outcome)
      else this.answer(request, () => ({ changes: outcome }))
    }
    const pipeline = this.pipelines.get(key)
    if (pipeline) pipeline.changeWherever(graph, keepState, told)
    else told(notHere(key))
  }

  private refuse(request: number, thrown: unknown): void {
    this.answer(request, () => {
      throw thrown
    })
  }

  private pipeline(key: number): Pipeline {
    const pipeline = this.pipelines.get(key)
    if (!pipeline) throw notHere(key)
    return pipeline
  }

  // Every control message that asks gets exactly one answer, whatever happens inside.
  private answer(request: number, work: () => Partial<Extract<FromCompute, { type: 'done' }>> | undefined): void {
    let answer: FromCompute
    try {
      answer = { ...work(), type: 'done', request }
    } catch (thrown) {
      answer = { type: 'refused', request, error: SpqrError.from(thrown).toMessage() }
    }
    const images = answer.type === 'done' ? (answer.images ?? []) : []
    this.setup.control.postMessage(
      answer,
      images.map((image) => image.memory.buffer as ArrayBuffer),
    )
  }

  private linkOf(port: MessagePort, bell: Doorbell): BridgeLink {
    const context: PipelineContext = {
      timers: this.timers,
      slabs: this.slabs,
      trials: this.trials,
      module: (digest) => {
        const module = this.modules.get(digest)
        if (!module) throw new SpqrError('INTERNAL', `the module ${digest} is not on this worker`)
        return module
      },
      wake: (pipeline) => this.wake(pipeline),
      listen: (channel, pipeline, end) => {
        this.listeners[channel] = { pipeline, end }
        this.bell.watchUpTo(channel)
        if (end instanceof RingOutput) {
          for (const memory of this.early.take(pipeline.key, channel)) end.announced(memory)
        }
        this.wake(pipeline)
      },
      unlisten: (channel) => {
        this.listeners[channel] = undefined
      },
      signal: (channel) => bell.signal(channel),
      tookFuel: (tenantIndex, fuel) => this.setup.quota.tookFuel(tenantIndex, fuel),
      toBridge: (message: ComputeToBridge, transfer = []) => port.postMessage(message, transfer),
      toControl: (message: FromCompute, transfer = []) => this.setup.control.postMessage(message, transfer),
    }
    return { port, bell, context }
  }
}

function notHere(key: number): SpqrError {
  return new SpqrError('INTERNAL', `there is no pipeline ${key} on this worker`)
}

/** What throws in one pipeline ends that one, not the thread and with it all others. */
function advance(pipeline: Pipeline, untilMs: number): boolean {
  try {
    return pipeline.advance(untilMs)
  } catch (thrown) {
    pipeline.crashed(thrown)
    return false
  }
}
