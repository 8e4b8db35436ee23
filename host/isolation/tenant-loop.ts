// The other end of a relay: in a tenant's process it stands for control and bridge towards an ordinary compute worker.
// What comes through the pipe goes into rings, what the worker puts into rings goes into the pipe.
// Runs on: the tenant's process. It believes its host.

import type { Socket } from 'node:net'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { makeSlab, SLAB_BLOCKS, Slabs } from '../compute/counters.ts'
import type { ComputeToBridge, FromCompute, GraphSpec, ToCompute } from '../compute/messages.ts'
import { makeStatus, Status } from '../compute/status.ts'
import { makeQuotaCells, QuotaCells } from '../quota/quota-cells.ts'
import { Doorbell, DoorbellOwner, makeDoorbell } from '../ring/doorbell.ts'
import { releaseImage } from '../ring/image-memory.ts'
import type { FromProcess } from './check-message.ts'
import { CounterReporter } from './counter-report.ts'
import { demandsOf } from './demands.ts'
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
} from './frames.ts'
import { Inlet, type InletOwner } from './inlet.ts'
import { decodeToProcess, encodeFromProcess, MessageParts, type ToProcess } from './messages.ts'
import { Outlet } from './outlet.ts'
import { Pipe } from './pipe.ts'
import { PumpLoop, type PumpOwner } from './pump-loop.ts'

const SOURCE_RING_BYTES = 1 << 20
const REPORT_MS = 100
/** Of a text in an event or error. */
const TEXT_MAX = 16 << 10
const MESSAGE_BYTES_MAX = 2 ** 32
/** The one compute worker and the one bridge of this process. */
const ONLY = 0

export class TenantLoop implements FrameSink, PumpOwner, InletOwner {
  private readonly pipe: Pipe
  private readonly reader: FrameReader
  private readonly loop: PumpLoop
  private readonly control: MessagePort
  private readonly bridge: MessagePort
  private readonly computeBell: Doorbell
  private readonly status: Status
  private readonly quota: QuotaCells
  private readonly slabs = new Slabs()
  private readonly slabsMade = new Set<number>()
  private readonly reporter = new CounterReporter(this.slabs)
  private readonly graphs = new Map<number, GraphSpec>()
  /** Graphs that are asked for, by request; null: the pipeline goes. */
  private readonly asked = new Map<number, { pipeline: number; graph: GraphSpec | null }>()
  /** Pipelines that the host knows: of another it wants to hear nothing. */
  private readonly known = new Set<number>()
  private readonly leaving = new Set<number>()
  private readonly parts = new MessageParts()
  private reportTimer: NodeJS.Timeout | undefined
  private active = false

  /** @param connect makes the pipe; what it reads goes to the room of the reader, and is told by `received` */
  constructor(cores: number, connect: (reader: FrameReader) => Socket) {
    const statusMemory = makeStatus()
    const quotaMemory = makeQuotaCells()
    const bell = makeDoorbell()
    const computeBell = makeDoorbell()
    this.status = new Status(statusMemory)
    this.quota = new QuotaCells(quotaMemory)
    this.computeBell = new Doorbell(computeBell)
    const control = new MessageChannel()
    const bridge = new MessageChannel()
    this.control = control.port1
    this.bridge = bridge.port1
    const worker = new Worker(new URL('../compute/compute.worker.js', import.meta.url), {
      workerData: {
        index: ONLY,
        control: control.port2,
        doorbell: computeBell,
        status: statusMemory,
        quota: quotaMemory,
        cores,
      },
      transferList: [control.port2],
      resourceLimits: { stackSizeMb: 4 },
    })
    worker.on('error', (error) => {
      process.stderr.write(`${error.stack ?? error.message}\n`)
      process.exit(1)
    })
    worker.on('exit', () => process.exit(1))
    const owner = new DoorbellOwner(bell)
    this.loop = new PumpLoop(owner, this.status, cores, this)
    this.watchUpTo = (channel) => owner.watchUpTo(channel)
    this.reader = new FrameReader(this)
    this.pipe = new Pipe(connect(this.reader))
    this.pipe.onMark = (outlet) => this.tell(outlet.pipeline)
    this.pipe.onEnded = (outlet) => {
      if (this.leaving.delete(outlet.channel)) this.pipe.outlets.delete(outlet.channel)
    }
    this.control.on('message', (message: FromCompute) => this.fromCompute(message))
    this.bridge.on('message', (message: ComputeToBridge) => this.fromComputeToBridge(message))
    this.toCompute({ type: 'bridge', index: ONLY, port: bridge.port2, doorbell: bell }, [bridge.port2])
    this.pipe.send(FRAME_HELLO)
    this.loop.start()
  }

  private readonly watchUpTo: (channel: number) => void

  /** So many bytes came into the reader's room. */
  received(bytes: number): void {
    this.reader.received(bytes)
    this.loop.worked()
    this.pipe.flush()
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
        this.pipe.inlets.get(channel)?.receive(bytes, words, from, to)
        this.reportSoon()
        return
      case FRAME_CREDIT: {
        const outlet = this.pipe.outlets.get(channel)
        if (!outlet) return
        outlet.credit(extra)
        this.pipe.wake(outlet)
        return
      }
      case FRAME_PART:
      case FRAME_MESSAGE: {
        const whole = this.parts.take(bytes, from, to, type === FRAME_MESSAGE, MESSAGE_BYTES_MAX)
        if (whole) this.fromHost(decodeToProcess(whole))
        return
      }
      case FRAME_FUEL:
        this.pipe.send(FRAME_FUEL, channel, this.quota.setFuel(channel, extra))
        return
      case FRAME_PING:
        this.report()
        this.pipe.send(FRAME_PONG, this.status.pipeline(ONLY) + 1, this.status.heartbeat(ONLY))
        return
      default:
        throw new Error(`the host sends frames of type ${type}`)
    }
  }

  // PumpOwner

  signalled(channel: number): void {
    const outlet = this.pipe.outlets.get(channel)
    if (outlet) this.pipe.wake(outlet)
    else this.pipe.inlets.get(channel)?.unblock()
  }

  pump(): boolean {
    return this.pipe.flush()
  }

  // InletOwner

  announceRing(pipeline: number, channel: number, memory: SharedArrayBuffer): void {
    this.bridge.postMessage({ type: 'ring', pipeline, channel, memory })
    this.computeBell.message()
  }

  signal(channel: number): void {
    this.computeBell.signal(channel)
  }

  credit(channel: number, bytes: number): void {
    this.pipe.send(FRAME_CREDIT, channel, bytes)
  }

  // The host's messages

  private fromHost(message: ToProcess): void {
    switch (message.type) {
      case 'module-bytes': {
        const { digest, globals, memoryBytesMax, depthLimit, trace } = message
        const module = new WebAssembly.Module(message.bytes as Uint8Array<ArrayBuffer>)
        this.toCompute({ type: 'module', digest, module, globals, memoryBytesMax, depthLimit, trace })
        return
      }
      case 'create':
      case 'change':
        this.asked.set(message.request, { pipeline: message.pipeline, graph: message.graph })
        this.known.add(message.pipeline)
        this.add(message.pipeline, message.graph)
        break
      case 'drop':
        this.asked.set(message.request, { pipeline: message.pipeline, graph: null })
        break
    }
    this.toCompute(message)
  }

  /** Channels and blocks of a graph, those that are not there yet. */
  private add(pipeline: number, graph: GraphSpec): void {
    const { sources, emitters, blocks } = demandsOf(graph)
    for (const channel of sources) {
      if (this.pipe.inlets.get(channel)?.pipeline === pipeline) continue
      this.watchUpTo(channel)
      this.pipe.inlets.set(channel, new Inlet(channel, pipeline, 0, SOURCE_RING_BYTES, this))
    }
    for (const { channel } of emitters) {
      if (this.pipe.outlets.get(channel)?.pipeline === pipeline) continue
      this.watchUpTo(channel)
      const outlet = new Outlet(channel, pipeline, (full) => this.computeBell.signal(full))
      outlet.open = true
      this.pipe.outlets.set(channel, outlet)
    }
    for (const block of blocks) {
      this.makeSlab(Math.floor(block / SLAB_BLOCKS))
      this.reporter.add(block)
    }
    // The compute worker makes blocks for what the bridges of the host count, too.
    this.makeSlab(Math.floor(graph.deadLetters.counters / SLAB_BLOCKS))
    for (const { counters } of graph.emitters) this.makeSlab(Math.floor(counters / SLAB_BLOCKS))
  }

  private makeSlab(index: number): void {
    if (this.slabsMade.has(index)) return
    this.slabsMade.add(index)
    const memory = makeSlab()
    this.slabs.add(index, memory)
    this.toCompute({ type: 'slab', index, memory })
  }

  /**
   * Takes away what only `before` has.
   * @param drains an emitter that leaves still delivers what is in its ring, up to the end mark
   */
  private remove(pipeline: number, before: GraphSpec, after: GraphSpec | undefined, drains = false): void {
    const kept = after ? demandsOf(after) : { sources: [], emitters: [], blocks: [] }
    const gone = demandsOf(before)
    for (const channel of gone.sources) {
      if (kept.sources.includes(channel)) continue
      if (this.pipe.inlets.get(channel)?.pipeline === pipeline) this.pipe.inlets.delete(channel)
    }
    for (const { channel } of gone.emitters) {
      if (kept.emitters.some((emitter) => emitter.channel === channel)) continue
      const outlet = this.pipe.outlets.get(channel)
      if (outlet?.pipeline !== pipeline) continue
      if (drains) this.leaving.add(channel)
      else this.pipe.outlets.delete(channel)
    }
    for (const block of gone.blocks) if (!kept.blocks.includes(block)) this.reporter.remove(block)
  }

  // The compute worker's messages

  private fromCompute(message: FromCompute): void {
    switch (message.type) {
      case 'done':
      case 'refused': {
        const asked = this.asked.get(message.request)
        if (asked) {
          this.asked.delete(message.request)
          this.tell(asked.pipeline)
          this.settle(asked.pipeline, asked.graph, message.type === 'done')
        } else {
          this.report()
        }
        this.toHost(message.type === 'done' ? message : { ...message, error: shortened(message.error) })
        break
      }
      case 'failed':
        this.tell(message.pipeline)
        this.toHost({ ...message, error: shortened(message.error) })
        break
      case 'event':
        this.toHost({ ...message, text: message.text.slice(0, TEXT_MAX) } as FromProcess)
        break
      case 'tapped':
        this.toHost({ type: 'tapped', tap: message.tap, skipped: message.skipped }, message.frames)
    }
    this.pipe.flush()
  }

  private settle(pipeline: number, graph: GraphSpec | null, done: boolean): void {
    const before = this.graphs.get(pipeline)
    if (graph === null) {
      this.graphs.delete(pipeline)
      this.known.delete(pipeline)
      if (before) this.remove(pipeline, before, undefined)
      for (const [channel, outlet] of this.pipe.outlets) {
        if (outlet.pipeline !== pipeline) continue
        this.pipe.outlets.delete(channel)
        this.leaving.delete(channel)
      }
    } else if (done) {
      this.graphs.set(pipeline, graph)
      if (before) this.remove(pipeline, before, graph, true)
    } else {
      if (!before) this.known.delete(pipeline)
      this.remove(pipeline, graph, before)
    }
  }

  private fromComputeToBridge(message: ComputeToBridge): void {
    switch (message.type) {
      case 'ring': {
        const outlet = this.pipe.outlets.get(message.channel)
        if (outlet?.pipeline !== message.pipeline) return
        outlet.announced(message.memory)
        this.pipe.wake(outlet)
        break
      }
      case 'image': {
        const { memory, ...image } = message.image
        this.tell(message.pipeline)
        this.toHost({ ...message, image }, memory)
        releaseImage(memory)
        break
      }
      case 'sunk':
        this.tell(message.pipeline)
        this.toHost(message)
        break
      case 'dirty':
        this.toHost(message)
    }
    this.loop.worked()
    this.pipe.flush()
  }

  private toCompute(message: ToCompute, transfer: MessagePort[] = []): void {
    this.control.postMessage(message, transfer)
    this.computeBell.message()
  }

  private toHost(message: FromProcess, attachment?: Uint8Array): void {
    // Two ports bring what the compute worker says: a word of a pipeline may come after its end.
    if ('pipeline' in message && !this.known.has(message.pipeline)) return
    this.pipe.message(encodeFromProcess(message, attachment))
  }

  // Counters

  /** Tells the counters of one pipeline before what comes next. */
  private tell(pipeline: number): void {
    const graph = this.graphs.get(pipeline)
    if (!graph) return
    for (const frame of this.reporter.report(demandsOf(graph).blocks)) this.pipe.send(FRAME_COUNTERS, 0, 0, frame)
  }

  private report(): boolean {
    let some = false
    for (const frame of this.reporter.report()) {
      this.pipe.send(FRAME_COUNTERS, 0, 0, frame)
      some = true
    }
    return some
  }

  /** Every so often while something moves. */
  private reportSoon(): void {
    this.active = true
    this.reportTimer ??= setTimeout(() => {
      this.reportTimer = undefined
      const wasActive = this.active
      this.active = false
      if (this.report() || wasActive) this.reportSoon()
      this.pipe.flush()
    }, REPORT_MS)
  }
}

function shortened<T extends { message: string; stack?: string; issues?: unknown; extra?: unknown }>(error: T): T {
  const stack = error.stack?.slice(0, TEXT_MAX)
  return { ...error, message: error.message.slice(0, TEXT_MAX), ...(stack ? { stack } : {}), extra: undefined }
}
