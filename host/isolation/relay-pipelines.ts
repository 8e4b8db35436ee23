// The pipelines of a relay: the host's end of each of their channels, and what their process may say of them.
// Runs on: relay thread.

import type { Slabs } from '../compute/counters.ts'
import type { ComputeToBridge, GraphSpec, Image } from '../compute/messages.ts'
import { EarlyRings } from '../ring/early-rings.ts'
import type { FromProcess } from './check-message.ts'
import { checkRecords } from './check-records.ts'
import { CounterMirror } from './counter-report.ts'
import { demandsOf } from './demands.ts'
import { MalformedFrame } from './frames.ts'
import { Inlet, type InletOwner } from './inlet.ts'
import type { ModuleBytes } from './messages.ts'
import { Outlet } from './outlet.ts'
import type { Pipe } from './pipe.ts'

const PAGE_BYTES = 64 << 10
/** A pipeline that failed is dropped: more than what was under way meanwhile is noise for the control thread. */
const FAILURES_MAX = 100

interface Relayed {
  key: number
  graph: GraphSpec
  /** A graph that is asked for: until it is answered both hold. */
  next: GraphSpec | null
  bridge: number
  /** The last barrier that was sent to the process. */
  epoch: number
  /** Epoch of the last image of each operator; Infinity: of the one that ended. */
  images: Map<string, number>
  /** Epoch of the last mark of each emitter without a ring. */
  sunk: Map<string, number>
  /** Emitters that left: what was under way is let go. */
  goneChannels: Set<number>
  failures: number
  leaving: Set<number>
}

export interface RelayOwner {
  readonly slabs: Slabs
  /** The bridge's doorbell, and its port. */
  signalBridge(bridge: number, channel: number): void
  announceToBridge(bridge: number, pipeline: number, channel: number, memory: SharedArrayBuffer): void
  credit(channel: number, bytes: number): void
  /** The channel is looked at from now on. */
  watchUpTo(channel: number): void
}

export class RelayPipelines {
  private readonly pipelines = new Map<number, Relayed>()
  private readonly mirror = new CounterMirror()
  private readonly modules = new Map<string, { globals: Set<string>; memoryBytesMax: number }>()
  /** Rings announced before the pipeline that reads them was made here. */
  private readonly early = new EarlyRings()
  private readonly pipe: Pipe
  private readonly owner: RelayOwner
  /** The largest memory that an instance here may have. */
  memoryBytesMax = PAGE_BYTES

  constructor(pipe: Pipe, owner: RelayOwner) {
    this.pipe = pipe
    this.owner = owner
  }

  has(key: number): boolean {
    return this.pipelines.has(key)
  }

  /** @returns false: it is known */
  addModule({ digest, globals, memoryBytesMax }: ModuleBytes): boolean {
    if (this.modules.has(digest)) return false
    this.modules.set(digest, { globals: new Set(globals), memoryBytesMax })
    this.memoryBytesMax = Math.max(this.memoryBytesMax, memoryBytesMax)
    return true
  }

  create(key: number, graph: GraphSpec, bridge: number): void {
    const pipeline: Relayed = {
      key,
      graph,
      next: null,
      bridge,
      epoch: 0,
      images: new Map(),
      sunk: new Map(),
      goneChannels: new Set(),
      failures: 0,
      leaving: new Set(),
    }
    this.pipelines.set(key, pipeline)
    this.open(pipeline, graph)
  }

  change(key: number, graph: GraphSpec): void {
    const pipeline = this.pipelines.get(key)
    if (!pipeline) return
    pipeline.next = graph
    this.open(pipeline, graph)
  }

  /** The process has answered `create` or `change`. */
  settled(key: number, done: boolean): void {
    const pipeline = this.pipelines.get(key)
    if (!pipeline) return
    const { next, graph } = pipeline
    pipeline.next = null
    if (!done) {
      if (next) this.close(pipeline, next, graph, false)
      else this.drop(key)
      return
    }
    if (next) {
      pipeline.graph = next
      this.close(pipeline, graph, next, true)
    }
    for (const channel of demandsOf(pipeline.graph).sources) {
      const outlet = this.pipe.outlets.get(channel)
      if (!outlet) continue
      outlet.open = true
      this.pipe.wake(outlet)
    }
  }

  /** The host wants no more of it: nothing goes, and what comes is let go until the process says that it is gone. */
  dropping(key: number): void {
    for (const inlet of this.pipe.inlets.values()) if (inlet.pipeline === key) inlet.closed = true
    for (const outlet of this.pipe.outlets.values()) if (outlet.pipeline === key) outlet.open = false
  }

  drop(key: number): void {
    const pipeline = this.pipelines.get(key)
    this.pipelines.delete(key)
    this.early.drop(key)
    if (!pipeline) return
    for (const [channel, inlet] of this.pipe.inlets) if (inlet.pipeline === key) this.pipe.inlets.delete(channel)
    for (const [channel, outlet] of this.pipe.outlets) if (outlet.pipeline === key) this.pipe.outlets.delete(channel)
    for (const graph of [pipeline.graph, pipeline.next]) {
      if (!graph) continue
      for (const block of demandsOf(graph).blocks) this.mirror.remove(block)
    }
  }

  /** A bridge has made a ring. */
  announced(key: number, channel: number, memory: SharedArrayBuffer): void {
    const outlet = this.pipe.outlets.get(channel)
    if (outlet?.pipeline !== key) {
      this.early.keep(key, channel, memory)
      return
    }
    outlet.announced(memory)
    this.pipe.wake(outlet)
  }

  // What the process says. All of it throws MalformedFrame.

  /** Records of a channel. // hot */
  records(channel: number, bytes: Uint8Array, words: Int32Array, from: number, to: number): void {
    const inlet = this.pipe.inlets.get(channel)
    if (inlet === undefined) {
      for (const { goneChannels } of this.pipelines.values()) if (goneChannels.has(channel)) return
      throw new MalformedFrame(`records for channel ${channel}`)
    }
    if (inlet.closed) return
    checkRecords(bytes, words, from, to, inlet, this.epochOf(inlet.pipeline))
    inlet.receive(bytes, words, from, to)
    this.letGo(inlet)
  }

  credit(channel: number, bytes: number): void {
    const outlet = this.pipe.outlets.get(channel)
    if (!outlet) return
    if (bytes <= 0 || !outlet.credit(bytes)) throw new MalformedFrame(`credit of ${bytes} bytes`)
    this.pipe.wake(outlet)
  }

  counters(bytes: Uint8Array, from: number, to: number): void {
    this.mirror.take(bytes, from, to)
  }

  /** The consumer of an emitter's ring made room. */
  unblock(channel: number): void {
    const inlet = this.pipe.inlets.get(channel)
    if (!inlet) return
    inlet.unblock()
    this.letGo(inlet)
  }

  /** @returns what the bridge is to be told */
  image({ pipeline: key, epoch, image }: Extract<FromProcess, { type: 'image' }>, memory: Uint8Array): ComputeToBridge {
    const pipeline = this.known(key)
    const graphs = [pipeline.graph, ...(pipeline.next ? [pipeline.next] : [])]
    const module = this.modules.get(image.digest)
    const isOurs = graphs.some((graph) => isImageOf(graph, image))
    if (!isOurs || !module) throw new MalformedFrame(`an image of "${image.component}"`)
    if (memory.length % PAGE_BYTES !== 0 || memory.length > (image.split ? 0 : module.memoryBytesMax)) {
      throw new MalformedFrame(`an image of ${memory.length} bytes`)
    }
    for (const name of Object.keys(image.globals)) {
      if (!module.globals.has(name)) throw new MalformedFrame(`an image with the global ${name}`)
    }
    this.mark(pipeline.images, image.component, epoch, image.ended, key)
    const whole: Image = { ...image, memory }
    return { type: 'image', pipeline: key, epoch, image: whole }
  }

  /** @returns what the bridge is to be told; undefined: it knows */
  sunk(message: Extract<FromProcess, { type: 'sunk' }>): ComputeToBridge | undefined {
    const pipeline = this.known(message.pipeline)
    const graphs = [pipeline.graph, ...(pipeline.next ? [pipeline.next] : [])]
    const isOurs =
      message.component === '' ||
      graphs.some((graph) => graph.emitters.some((e) => e.component === message.component && e.channel < 0))
    if (!isOurs) throw new MalformedFrame(`the end of "${message.component}"`)
    // One that fails after its end says so twice.
    if (message.end && pipeline.sunk.get(message.component) === Number.POSITIVE_INFINITY) return undefined
    this.mark(pipeline.sunk, message.component, message.epoch, message.end, message.pipeline)
    return message
  }

  /** The bridge of a pipeline. */
  bridgeOf(key: number): number {
    return this.known(key).bridge
  }

  /** Is one of this pipeline's components, or of none. */
  checkComponent(key: number, component: string): void {
    const { graph, next } = this.known(key)
    const all = [graph, ...(next ? [next] : [])].flatMap((g) => [
      ...g.sources,
      ...g.operators,
      ...g.splits,
      ...g.emitters,
    ])
    if (component !== '' && !all.some((c) => c.component === component)) {
      throw new MalformedFrame(`the component "${component}"`)
    }
  }

  /** One of its components has failed. */
  failed(key: number, component: string): void {
    this.checkComponent(key, component)
    if (++this.known(key).failures > FAILURES_MAX) throw new MalformedFrame(`pipeline ${key} failed again and again`)
  }

  private known(key: number): Relayed {
    const pipeline = this.pipelines.get(key)
    if (!pipeline) throw new MalformedFrame(`pipeline ${key}`)
    return pipeline
  }

  /** Each barrier that was sent comes back once; the end once more. */
  private mark(seen: Map<string, number>, component: string, epoch: number, end: boolean, key: number): void {
    const last = seen.get(component) ?? 0
    const isFresh = end ? last < Number.POSITIVE_INFINITY : epoch > last
    if (!isFresh || epoch > this.epochOf(key))
      throw new MalformedFrame(`epoch ${epoch} of "${component}" after ${last}`)
    seen.set(component, end ? Number.POSITIVE_INFINITY : epoch)
  }

  /** The last barrier that a source of the pipeline sent to the process. */
  private epochOf(key: number): number {
    const pipeline = this.pipelines.get(key)
    if (!pipeline) return 0
    this.noteEpoch(pipeline, pipeline.graph)
    if (pipeline.next) this.noteEpoch(pipeline, pipeline.next)
    return pipeline.epoch
  }

  private noteEpoch(pipeline: Relayed, graph: GraphSpec): void {
    for (const { channel } of graph.sources) {
      pipeline.epoch = Math.max(pipeline.epoch, this.pipe.outlets.get(channel)?.epoch ?? 0)
    }
  }

  /** Makes the channels of a graph that are not there yet. */
  private open(pipeline: Relayed, graph: GraphSpec): void {
    const { key, bridge } = pipeline
    const { owner, pipe } = this
    const { sources, emitters, blocks } = demandsOf(graph)
    const toBridge: InletOwner = {
      announceRing: (_, channel, memory) => owner.announceToBridge(bridge, key, channel, memory),
      signal: (channel) => owner.signalBridge(bridge, channel),
      credit: (channel, bytes) => owner.credit(channel, bytes),
    }
    for (const channel of sources) {
      if (pipe.outlets.get(channel)?.pipeline === key) continue
      owner.watchUpTo(channel)
      const outlet = new Outlet(channel, key, (full) => owner.signalBridge(bridge, full))
      pipe.outlets.set(channel, outlet)
      for (const memory of this.early.take(key, channel)) outlet.announced(memory)
    }
    for (const { channel, ports, capacityBytes } of emitters) {
      pipeline.goneChannels.delete(channel)
      if (pipe.inlets.get(channel)?.pipeline === key) {
        pipe.inlets.get(channel)!.ports = Math.max(pipe.inlets.get(channel)!.ports, ports)
        continue
      }
      owner.watchUpTo(channel)
      pipe.inlets.set(channel, new Inlet(channel, key, ports, capacityBytes, toBridge))
    }
    for (const block of blocks) this.mirror.add(block, owner.slabs)
  }

  /** Closes what only `before` has. @param drains an emitter that leaves still gets what is under way */
  private close(pipeline: Relayed, before: GraphSpec, after: GraphSpec, drains: boolean): void {
    this.noteEpoch(pipeline, before)
    const gone = demandsOf(before)
    const kept = demandsOf(after)
    for (const channel of gone.sources) if (!kept.sources.includes(channel)) this.pipe.outlets.delete(channel)
    for (const { channel } of gone.emitters) {
      if (kept.emitters.some((emitter) => emitter.channel === channel)) continue
      const inlet = this.pipe.inlets.get(channel)
      if (inlet?.pipeline !== pipeline.key) continue
      pipeline.leaving.add(channel)
      if (!drains) inlet.closed = true
      this.letGo(inlet)
    }
    for (const block of gone.blocks) if (!kept.blocks.includes(block)) this.mirror.remove(block)
  }

  /** An emitter that left is done when its end has passed. */
  private letGo(inlet: Inlet): void {
    const pipeline = this.pipelines.get(inlet.pipeline)
    if (!pipeline?.leaving.has(inlet.channel)) return
    if (!inlet.closed && !(inlet.ended && inlet.empty)) return
    pipeline.leaving.delete(inlet.channel)
    pipeline.goneChannels.add(inlet.channel)
    this.pipe.inlets.delete(inlet.channel)
  }
}

/** Of one of its units, or of all instances of one of its split operators. */
function isImageOf(graph: GraphSpec, { component, digest, split }: Omit<Image, 'memory'>): boolean {
  if (!split) return graph.operators.some((o) => o.component === component && o.digest === digest)
  return graph.splits.some(
    (s) => s.component === component && s.digest === digest && s.by === split.by && s.instances === split.instances,
  )
}
