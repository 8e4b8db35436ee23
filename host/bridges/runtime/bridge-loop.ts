// The event loop of a bridge worker: which pumps have work, how it sleeps, and the control thread's wishes.
// Runs on: bridge.

import type { MessagePort } from 'node:worker_threads'
import { SpqrError } from '../../../schemas/errors.ts'
import { Slabs } from '../../compute/counters.ts'
import type { BridgeToCompute, ComputeToBridge } from '../../compute/messages.ts'
import type { Status } from '../../compute/status.ts'
import type { Permissions } from '../../permissions/permissions.ts'
import type { QuotaCells } from '../../quota/quota-cells.ts'
import { Doorbell, DoorbellOwner } from '../../ring/doorbell.ts'
import { EarlyRings } from '../../ring/early-rings.ts'
import type { Transport } from '../../transport/transport.ts'
import { BridgePoll } from './bridge-poll.ts'
import { EmitterPump } from './emitter-pump.ts'
import { ingest } from './ingest-api.ts'
import type { FromBridge, ToBridge } from './messages.ts'
import { Slot } from './slot.ts'
import type { ComputeLink, Pump, SlotContext } from './slot-parts.ts'
import { SourcePump } from './source-pump.ts'
import { Subscriptions } from './subscriptions.ts'
import { fetchPage, fetchRecords, produceRecords } from './topic-api.ts'
import { TurnQueue } from './turn-queue.ts'

/** One turn of the loop, ms: then timers and messages have their chance. */
const TURN_MS = 2

export interface BridgeSetup {
  control: MessagePort
  doorbell: SharedArrayBuffer
  status: Status
  cores: number
  transport: Transport
  permissions: Permissions
  quota: QuotaCells
}

interface ComputeWorker extends ComputeLink {
  port: MessagePort
}

export class BridgeLoop {
  private readonly setup: BridgeSetup
  private readonly bell: DoorbellOwner
  private readonly slabs = new Slabs()
  private readonly slots = new Map<number, Slot>()
  private readonly computes: ComputeWorker[] = []
  private readonly pumps: (Pump | undefined)[] = []
  /** Number of the pipeline that each pump belongs to. */
  private readonly pipelineOf: number[] = []
  private readonly early = new EarlyRings()
  private readonly queued = new TurnQueue<Pump>()
  private readonly subscriptions: Subscriptions
  private readonly context: SlotContext
  private scheduled = false
  private asleep = false
  private readonly poll = new BridgePoll()

  constructor(setup: BridgeSetup) {
    this.setup = setup
    this.bell = new DoorbellOwner(setup.doorbell)
    this.subscriptions = new Subscriptions((message) => this.toControl(message))
    this.context = {
      transport: setup.transport,
      permissions: setup.permissions,
      quota: setup.quota,
      slabs: this.slabs,
      schedule: (pump) => this.schedule(pump),
      listen: (channel, pump, pipeline) => {
        this.pumps[channel] = pump
        this.pipelineOf[channel] = pipeline
        this.bell.watchUpTo(channel)
        if (!(pump instanceof EmitterPump)) return
        for (const memory of this.early.take(pipeline, channel)) pump.announced(memory)
        this.schedule(pump)
      },
      unlisten: (channel) => {
        const pump = this.pumps[channel]
        if (pump) this.queued.delete(pump)
        this.pumps[channel] = undefined
      },
      toControl: (message) => this.toControl(message),
    }
  }

  run(): void {
    this.setup.status.woke()
    this.setup.control.on('message', (message: ToBridge) => this.fromControl(message))
    this.turnSoon()
  }

  private toControl(message: FromBridge): void {
    this.setup.control.postMessage(message)
  }

  private schedule(pump: Pump): void {
    this.queued.add(pump)
    this.turnSoon()
  }

  private turnSoon(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(this.turn)
  }

  private readonly onSignal = (channel: number): void => {
    const pump = this.pumps[channel]
    if (!pump) return
    this.poll.came()
    if (pump instanceof SourcePump) pump.unblock()
    this.queued.add(pump)
  }

  /** One turn: every pump that has work gets a share of it. */
  private readonly turn = (): void => {
    this.scheduled = false
    const started = performance.now()
    this.bell.takeSignals(this.onSignal)
    this.queued.run(started + TURN_MS, this.turnOf)
    if (this.queued.size > 0) this.turnSoon()
    else this.rest()
  }

  // hot
  private readonly turnOf = (pump: Pump): boolean => {
    const moved = turnOf(pump)
    if (!moved) return false
    if (pump instanceof SourcePump) this.poll.sent(performance.now())
    else this.poll.moved(performance.now())
    return true
  }

  /** Nothing to do: polls for a moment after work, then sleeps until it is rung. */
  private rest(): void {
    if (this.poll.goesOn(performance.now()) && this.setup.status.awake <= this.setup.cores) {
      this.turnSoon()
      return
    }
    if (this.asleep) return
    this.asleep = true
    this.setup.status.slept()
    void this.bell.rung().then(() => {
      this.asleep = false
      this.setup.status.woke()
      this.turnSoon()
    })
  }

  private fromCompute(index: number, message: ComputeToBridge): void {
    switch (message.type) {
      case 'ring': {
        const pump = this.pumps[message.channel]
        if (pump instanceof EmitterPump && this.pipelineOf[message.channel] === message.pipeline) {
          pump.announced(message.memory)
          this.schedule(pump)
        } else {
          this.early.keep(message.pipeline, message.channel, message.memory)
        }
        return
      }
      case 'image':
        this.slots.get(message.pipeline)?.image(message.epoch, message.image)
        return
      case 'sunk':
        this.slots.get(message.pipeline)?.sunk(message.component, message.epoch, message.end)
        return
      case 'dirty':
        this.slots.get(message.pipeline)?.dirty()
        return
      default:
        throw new Error(`compute worker ${index} says ${JSON.stringify(message)}`)
    }
  }

  private fromControl(message: ToBridge): void {
    switch (message.type) {
      case 'compute':
        this.computes[message.index] = this.linkOf(message.index, message.port, message.doorbell)
        return
      case 'slab':
        this.slabs.add(message.index, message.memory)
        return
      case 'start':
        this.slots.get(message.pipeline)?.start()
        return
      case 'revised':
        this.slots.get(message.pipeline)?.revised(message.revision)
        return
      case 'grants':
        for (const slot of this.slots.values()) if (slot.spec.tenant === message.tenant) slot.grant(message.grants)
        return
      case 'unsubscribe':
        this.subscriptions.remove(message.subscription)
        return
      case 'subscribers-ready':
        this.subscriptions.ready(message.subscriptions)
        return
      default:
        void this.answer(message)
    }
  }

  // Every message that asks gets exactly one answer, whatever happens inside.
  private async answer(message: Extract<ToBridge, { request: number }>): Promise<void> {
    try {
      const result = await this.carryOut(message)
      this.toControl({ type: 'done', request: message.request, result })
    } catch (thrown) {
      this.toControl({ type: 'refused', request: message.request, error: SpqrError.from(thrown).toMessage() })
    }
  }

  private async carryOut(message: Extract<ToBridge, { request: number }>): Promise<unknown> {
    switch (message.type) {
      case 'create': {
        const slot = new Slot(message.pipeline, message.spec, this.context, this.computes[message.compute]!)
        this.slots.set(message.pipeline, slot)
        try {
          await slot.open(message.from)
        } catch (thrown) {
          this.slots.delete(message.pipeline)
          this.early.drop(message.pipeline)
          await slot.drop()
          throw thrown
        }
        if (message.flows) slot.start()
        return undefined
      }
      case 'prepare':
        return this.slot(message.pipeline).prepare(message.spec)
      case 'commit':
        return this.slot(message.pipeline).commitChange(message.paused)
      case 'abort':
        return this.slot(message.pipeline).abortChange()
      case 'pause':
        return this.slot(message.pipeline).setPaused(message.paused)
      case 'drain':
        return this.slot(message.pipeline).drain()
      case 'checkpoint':
        return this.slot(message.pipeline).checkpoint(message.savepoint)
      case 'try-start':
        return this.slot(message.pipeline).tryStart(message.startFrom)
      case 'quiesce':
        return this.slot(message.pipeline).quiesce(message.withinMs)
      case 'relocate':
        return this.slot(message.pipeline).relocate(this.computes[message.compute]!)
      case 'drop': {
        const slot = this.slots.get(message.pipeline)
        // One that failed is still to hear of its last dead letters.
        if (!message.failed) this.slots.delete(message.pipeline)
        await slot?.drop(message.failed)
        this.slots.delete(message.pipeline)
        this.early.drop(message.pipeline)
        return undefined
      }
      case 'ingest':
        return ingest(this.slot(message.pipeline), this.setup.transport, message)
      case 'subscribe':
        return this.subscriptions.add(this.slot(message.pipeline), message)
      case 'produce':
        return produceRecords(this.setup.transport, message.topic, message.contentType, message.body)
      case 'fetch':
        if (message.form) return fetchPage(this.setup.transport, message, message.form)
        return fetchRecords(this.setup.transport, message)
      case 'stop':
        await Promise.allSettled([...this.slots.values()].map((slot) => slot.drop()))
        this.slots.clear()
        return undefined
    }
  }

  private slot(key: number): Slot {
    const slot = this.slots.get(key)
    if (!slot) throw new SpqrError('INVALID_STATE', 'The pipeline does not run on this host')
    return slot
  }

  private linkOf(index: number, port: MessagePort, memory: SharedArrayBuffer): ComputeWorker {
    const bell = new Doorbell(memory)
    port.on('message', (message: ComputeToBridge) => this.fromCompute(index, message))
    return {
      port,
      signal: (channel) => bell.signal(channel),
      announceRing: (pipeline, channel, ring) => {
        const message: BridgeToCompute = { type: 'ring', pipeline, channel, memory: ring }
        port.postMessage(message)
        bell.message()
      },
    }
  }
}

/** A bridge that throws fails its own pipeline, not the thread and with it every other one. */
function turnOf(pump: Pump): boolean {
  try {
    return pump.turn()
  } catch (thrown) {
    pump.crashed(thrown)
    return false
  }
}
