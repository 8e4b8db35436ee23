// A relay: towards control and bridge it is a compute worker like any other, but its instances live in the tenant's process
// at the other end of a pipe. It copies records from ring to pipe and back, and lets nothing in that it has not checked.
// Runs on: relay thread, one per tenant with isolated pipelines. It ends when the process does.

import type { MessagePort } from 'node:worker_threads'
import { SpqrError } from '../../schemas/errors.ts'
import { Slabs } from '../compute/counters.ts'
import type { BridgeToCompute, ComputeToBridge, FromCompute } from '../compute/messages.ts'
import type { Status } from '../compute/status.ts'
import { NO_BOUND, type QuotaCells } from '../quota/quota-cells.ts'
import { Doorbell, DoorbellOwner } from '../ring/doorbell.ts'
import { decodeFromProcess, type FromProcess } from './check-message.ts'
import { checkRecords } from './check-records.ts'
import {
  FRAME_COUNTERS,
  FRAME_CREDIT,
  FRAME_FUEL,
  FRAME_HELLO,
  FRAME_MESSAGE,
  FRAME_PART,
  FRAME_PING,
  FRAME_PONG,
  FRAME_RECORDS,
  FrameReader,
  type FrameSink,
  MalformedFrame,
} from './frames.ts'
import type { TenantProcess } from './launch.ts'
import { encodeToProcess, MessageParts, type ToProcess, type ToRelay } from './messages.ts'
import { Pipe } from './pipe.ts'
import { PumpLoop, type PumpOwner } from './pump-loop.ts'
import { RelayPipelines } from './relay-pipelines.ts'

const PING_MS = 1000
/** A process that does not answer for so long is ended. */
const SILENT_MS = 10_000
/** Its compute thread wakes at least every second. */
const STUCK_MS = 5000
const FUEL_MS = 10
/** Where none was used, it is asked for more seldom. */
const FUEL_IDLE_TURNS = 10
/** Besides the memory of an image. */
const MESSAGE_BYTES_MAX = 8 << 20
/** Events, and words of pipelines that have something to do: what is more is let go. */
const WORDS_PER_SECOND = 2000
/** A tap copies at most this before its reader is ready; it may not know yet that the reader was. */
const TAP_BYTES_MAX = 2 * (256 << 10)

export interface RelaySetup {
  index: number
  control: MessagePort
  doorbell: SharedArrayBuffer
  status: Status
  quota: QuotaCells
  cores: number
  process: TenantProcess
  /** The process ended, and why: nothing more is done. */
  onEnd: (why: string) => void
}

interface BridgeLink {
  port: MessagePort
  bell: Doorbell
}

export class RelayLoop implements FrameSink, PumpOwner {
  private readonly setup: RelaySetup
  private readonly pipe: Pipe
  private readonly reader: FrameReader
  private readonly loop: PumpLoop
  private readonly slabs = new Slabs()
  private readonly pipelines: RelayPipelines
  private readonly bridges: BridgeLink[] = []
  private readonly requests = new Map<number, { type: ToRelay['type']; pipeline: number }>()
  private readonly taps = new Map<number, { pipeline: number; bytes: number }>()
  private readonly parts = new MessageParts()
  private readonly timers: NodeJS.Timeout[] = []
  private tenantIndex = -1
  private fuelTurn = 0
  private fuelAsked = false
  private heard = performance.now()
  private heartbeat = -1
  private moved = performance.now()
  private wordsLeft = WORDS_PER_SECOND
  private why = ''
  /** The pipeline that is to blame for the end, -1 for none. */
  private culprit = -1

  constructor(setup: RelaySetup) {
    this.setup = setup
    const { socket, child } = setup.process
    const bell = new DoorbellOwner(setup.doorbell)
    this.pipe = new Pipe(socket)
    this.reader = new FrameReader(this)
    this.pipelines = new RelayPipelines(this.pipe, {
      slabs: this.slabs,
      signalBridge: (bridge, channel) => this.bridges[bridge]?.bell.signal(channel),
      announceToBridge: (bridge, pipeline, channel, memory) =>
        this.toBridge(bridge, { type: 'ring', pipeline, channel, memory }),
      credit: (channel, bytes) => this.pipe.send(FRAME_CREDIT, channel, bytes),
      watchUpTo: (channel) => bell.watchUpTo(channel),
    })
    this.loop = new PumpLoop(bell, setup.status, setup.cores, this)
    child.once('exit', (code, signal) => this.ended(signal ?? `status ${code}`))
  }

  run(): void {
    const { socket } = this.setup.process
    socket.on('data', (chunk: Buffer) => this.received(chunk))
    // What broke it does not matter: it closes.
    socket.on('error', () => undefined)
    socket.on('close', () => this.kill('it closed its pipe'))
    socket.resume()
    this.setup.control.on('message', (message: ToRelay) => this.fromControl(message))
    this.timers.push(
      setInterval(() => this.ping(), PING_MS),
      setInterval(() => this.shareFuel(), FUEL_MS),
    )
    this.loop.start()
  }

  private received(chunk: Uint8Array): void {
    try {
      this.reader.take(chunk)
      this.loop.worked()
      this.pipe.flush()
    } catch (thrown) {
      if (!(thrown instanceof MalformedFrame)) throw thrown
      this.kill(`it sent ${thrown.message}`)
    }
  }

  private kill(why: string): void {
    this.why ||= why
    this.setup.process.child.kill('SIGKILL')
  }

  private ended(how: string): void {
    for (const timer of this.timers) clearInterval(timer)
    const words = this.setup.process.lastWords()
    const why = `The process of this tenant ended (${this.why || how})${words ? `: ${words}` : ''}`
    this.setup.onEnd(why)
  }

  // PumpOwner

  signalled(channel: number): void {
    const outlet = this.pipe.outlets.get(channel)
    if (outlet) this.pipe.wake(outlet)
    else this.pipelines.unblock(channel)
  }

  pump(): boolean {
    this.setup.status.turn(this.setup.index, this.culprit)
    return this.pipe.flush()
  }

  // FrameSink // hot

  frame(
    type: number,
    channel: number,
    extra: number,
    bytes: Uint8Array,
    words: Int32Array,
    from: number,
    to: number,
  ): void {
    switch (type) {
      case FRAME_RECORDS:
        this.pipelines.records(channel, bytes, words, from, to)
        return
      case FRAME_CREDIT:
        this.pipelines.credit(channel, extra)
        return
      case FRAME_COUNTERS:
        this.pipelines.counters(bytes, from, to)
        return
      case FRAME_PART:
      case FRAME_MESSAGE: {
        const bytesMax = MESSAGE_BYTES_MAX + this.pipelines.memoryBytesMax
        const whole = this.parts.take(bytes, from, to, type === FRAME_MESSAGE, bytesMax)
        if (!whole) return
        const { message, attachment } = decodeFromProcess(whole)
        this.fromProcess(message, attachment)
        return
      }
      case FRAME_FUEL:
        if (!this.fuelAsked || extra < 0) throw new MalformedFrame(`${extra} units of fuel`)
        this.fuelAsked = false
        this.fuelTurn = extra > 0 ? 0 : this.fuelTurn
        this.setup.quota.tookFuelUnits(this.tenantIndex, extra)
        return
      case FRAME_PONG:
        this.pong(channel, extra)
        return
      case FRAME_HELLO:
        return
      default:
        throw new MalformedFrame(`a frame of type ${type}`)
    }
  }

  // The process

  private fromProcess(message: FromProcess, attachment: Uint8Array<ArrayBuffer>): void {
    switch (message.type) {
      case 'done':
      case 'refused':
        this.answered(message)
        return
      case 'failed':
        this.pipelines.failed(message.pipeline, message.component)
        this.toControl(message)
        return
      case 'event':
        this.pipelines.checkComponent(message.pipeline, message.component)
        if (this.wordsLeft-- > 0) this.toControl(message)
        return
      case 'tapped':
        this.tapped(message, attachment)
        return
      case 'image': {
        const image = this.pipelines.image(message, attachment)
        this.toBridge(this.pipelines.bridgeOf(message.pipeline), image, [attachment.buffer])
        return
      }
      case 'sunk': {
        const sunk = this.pipelines.sunk(message)
        if (sunk) this.toBridge(this.pipelines.bridgeOf(message.pipeline), sunk)
        return
      }
      case 'dirty':
        if (this.wordsLeft-- > 0) this.toBridge(this.pipelines.bridgeOf(message.pipeline), message)
    }
  }

  private answered(message: Extract<FromProcess, { type: 'done' | 'refused' }>): void {
    const asked = this.requests.get(message.request)
    if (!asked) throw new MalformedFrame(`an answer to ${message.request}`)
    this.requests.delete(message.request)
    const done = message.type === 'done'
    if (asked.type === 'create' || asked.type === 'change') this.pipelines.settled(asked.pipeline, done)
    else if (asked.type === 'drop') {
      this.pipelines.drop(asked.pipeline)
      for (const [tap, { pipeline }] of this.taps) if (pipeline === asked.pipeline) this.taps.delete(tap)
    }
    this.toControl(message)
  }

  private tapped({ tap, skipped }: Extract<FromProcess, { type: 'tapped' }>, frames: Uint8Array<ArrayBuffer>): void {
    const known = this.taps.get(tap)
    // It may have been taken away a moment ago.
    if (!known) return
    // Its bytes bound how much there is of it; what has none is without end.
    if (frames.length === 0) throw new MalformedFrame('a tap of nothing')
    known.bytes += frames.length
    if (known.bytes > TAP_BYTES_MAX) throw new MalformedFrame(`${known.bytes} bytes for a tap`)
    const words = new Int32Array(frames.buffer, 0, frames.length >> 2)
    checkRecords(frames, words, 0, frames.length, { ports: 1 << 16, epoch: 0, ended: false }, 0)
    this.toControl({ type: 'tapped', tap, frames, skipped }, [frames.buffer])
  }

  private pong(working: number, heartbeat: number): void {
    this.heard = performance.now()
    if (heartbeat !== this.heartbeat) {
      this.heartbeat = heartbeat
      this.moved = this.heard
      return
    }
    if (this.heard - this.moved < STUCK_MS) return
    // The control thread reads who it was from the same place as of a compute worker.
    if (this.pipelines.has(working - 1)) this.culprit = working - 1
    this.setup.status.turn(this.setup.index, this.culprit)
    this.kill('an operator did not come back')
  }

  private ping(): void {
    this.wordsLeft = WORDS_PER_SECOND
    this.setup.status.turn(this.setup.index, this.culprit)
    if (performance.now() - this.heard > SILENT_MS) this.kill('it does not answer')
    this.pipe.send(FRAME_PING)
    this.pipe.flush()
  }

  /** The process has a cell of its own for the tenant's fuel, filled from here; what it used is taken from the host's. */
  private shareFuel(): void {
    if (this.tenantIndex < 0 || this.fuelAsked) return
    const units = this.setup.quota.fuelOf(this.tenantIndex)
    this.fuelTurn++
    const isIdle = units === NO_BOUND || this.fuelTurn > FUEL_IDLE_TURNS
    if (isIdle && this.fuelTurn % FUEL_IDLE_TURNS !== 0) return
    this.sendFuel(units)
    this.pipe.flush()
  }

  private sendFuel(units: number): void {
    this.fuelAsked = true
    this.pipe.send(FRAME_FUEL, this.tenantIndex, units)
  }

  // Control and bridge

  private fromControl(message: ToRelay): void {
    switch (message.type) {
      case 'bridge':
        this.link(message.index, message.port, new Doorbell(message.doorbell))
        return
      case 'slab':
        this.slabs.add(message.index, message.memory)
        return
      case 'module':
        // Of modules it is sent the bytes, as it needs them.
        return
      case 'release': {
        const error = new SpqrError(
          'INVALID_STATE',
          'A pipeline does not leave the process of its tenant while it runs',
        )
        this.toControl({ type: 'refused', request: message.request, error: error.toMessage() })
        return
      }
      case 'stop':
        this.kill('it is not needed any more')
        return
      case 'module-bytes':
        if (this.pipelines.addModule(message)) this.toProcess(message)
        return
      case 'create':
        if (this.tenantIndex < 0) {
          this.tenantIndex = message.graph.tenantIndex
          this.sendFuel(this.setup.quota.fuelOf(this.tenantIndex))
        }
        this.pipelines.create(message.pipeline, message.graph, message.bridge)
        break
      case 'change':
        this.pipelines.change(message.pipeline, message.graph)
        break
      case 'drop':
        this.pipelines.dropping(message.pipeline)
        break
      case 'tap':
        this.taps.set(message.tap, { pipeline: message.pipeline, bytes: 0 })
        break
      case 'untap':
        this.taps.delete(message.tap)
        break
      case 'tap-ready': {
        const tap = this.taps.get(message.tap)
        if (tap) tap.bytes = 0
        break
      }
    }
    if ('request' in message) this.requests.set(message.request, { type: message.type, pipeline: message.pipeline })
    this.toProcess(message)
  }

  private toProcess(message: ToProcess): void {
    this.pipe.message(encodeToProcess(message))
    this.pipe.flush()
  }

  private toControl(message: FromCompute, transfer: ArrayBuffer[] = []): void {
    this.setup.control.postMessage(message, transfer)
  }

  private toBridge(bridge: number, message: ComputeToBridge, transfer: ArrayBuffer[] = []): void {
    this.bridges[bridge]?.port.postMessage(message, transfer)
  }

  private link(index: number, port: MessagePort, bell: Doorbell): void {
    this.bridges[index] = { port, bell }
    port.on('message', (message: BridgeToCompute) => {
      this.pipelines.announced(message.pipeline, message.channel, message.memory)
      this.pipe.flush()
    })
  }
}
