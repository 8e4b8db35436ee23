// Drives one pipeline of the compute side in the test's own thread: the test plays the bridge, with real rings.

import { makeSlab, Slabs } from '../../host/compute/counters.ts'
import type {
  ChangeResult,
  ComputeToBridge,
  EdgeSpec,
  EmitterSpec,
  FromCompute,
  GraphSpec,
  Image,
  OperatorSpec,
} from '../../host/compute/messages.ts'
import type { OperatorNode } from '../../host/compute/operator-node.ts'
import { RingOutput } from '../../host/compute/output.ts'
import { Pipeline, type PipelineContext } from '../../host/compute/pipeline.ts'
import { LongSetups, type Ready, setUpElsewhere } from '../../host/compute/setup.ts'
import { Sink } from '../../host/compute/sink.ts'
import { Timers } from '../../host/compute/timers.ts'
import { Trials } from '../../host/compute/trials.ts'
import {
  decodeRecord,
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  KIND_MOVED,
  type PlainRecord,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
  RecordBuffer,
} from '../../host/record/record.ts'
import { ChannelReader, ChannelWriter } from '../../host/ring/channel.ts'
import type { Run } from '../../host/ring/ring.ts'
import { until } from './bridge-driver.ts'
import type { TestModule } from './probe-operator.ts'

/** What stands in an emitter's ring: a record's value as text, or `<barrier 3>`, `<end>`. */
export type Shown = string

interface SourceEnd {
  channel: number
  writer: ChannelWriter
  sequence: number
  announced: SharedArrayBuffer[]
}

interface EmitterEnd {
  reader: ChannelReader
  position: number
  shown: Shown[]
  records: PlainRecord[]
}

const ROUNDS_MAX = 100_000

export function edge(from: string, ...ports: number[]): EdgeSpec {
  let low = 0
  for (const port of ports.length ? ports : [0]) low |= 1 << port
  return { from, portsLow: low, portsHigh: 0 }
}

/** What differs from the usual. */
type OperatorMore = Partial<Omit<OperatorSpec, 'limits'>> & { limits?: Partial<OperatorSpec['limits']> }

export function operator(component: string, digest: string, edges: EdgeSpec[], more: OperatorMore = {}): OperatorSpec {
  return {
    component,
    name: 'probe',
    version: '1.0.0',
    digest,
    ports: 3,
    settings: '{}',
    edges,
    onError: { do: 'dead-letter', stopAbove: 0.5 },
    counters: 0,
    ...more,
    limits: { fuelPerRecord: 200_000_000, outputBytesPerRecord: 16 << 20, memoryBytes: 16 << 20, ...more.limits },
  }
}

/** Emitters are given as `name: edges`; channels and counters are numbered here. */
export function graphOf(
  sources: string[],
  operators: OperatorSpec[],
  emitters: Record<string, EdgeSpec[]>,
  local: string[] = [],
): GraphSpec {
  let counters = 1
  let channel = 1
  return {
    tenant: 'default',
    tenantIndex: 0,
    id: 'p',
    delivery: 'at-least-once',
    sources: sources.map((component) => ({ component, topic: 't', channel: channel++, counters: counters++ })),
    operators: operators.map((spec) => ({ ...spec, counters: counters++ })),
    splits: [],
    emitters: Object.entries(emitters).map(
      ([component, edges]): EmitterSpec => ({
        component,
        edges,
        channel: local.includes(component) ? -1 : channel++,
        capacityBytes: 1 << 20,
        counters: counters++,
      }),
    ),
    deadLetters: { channel: 0, counters: 0 },
  }
}

export class ComputeDriver implements PipelineContext {
  readonly timers = new Timers()
  readonly slabs = new Slabs()
  readonly trials: Trials
  /** Fuel that was used on the trial thread. */
  fuelTaken = 0
  readonly images: { epoch: number; image: Image }[] = []
  readonly sunk: { component: string; epoch: number; end: boolean }[] = []
  readonly events: FromCompute[] = []
  readonly listeners = new Map<number, RingOutput | Sink>()
  readonly pipeline: Pipeline
  /** Channels whose emitter takes nothing for now. */
  readonly stuck = new Set<number>()
  private readonly modules: Map<string, TestModule>
  private readonly sources = new Map<string, SourceEnd>()
  private readonly emitters = new Map<number, EmitterEnd>()
  private readonly buffer = new RecordBuffer()

  /** @param trials connected to a trial thread; else every call has its whole budget here */
  constructor(graph: GraphSpec, modules: TestModule[], images: Image[] = [], trials = new Trials(), ready?: Ready) {
    this.trials = trials
    this.slabs.add(0, makeSlab())
    this.modules = new Map(modules.map((module) => [module.digest, module]))
    this.pipeline = new Pipeline(1, graph, false, this)
    this.pipeline.create(images, ready)
  }

  /** A pipeline whose starts end elsewhere where they take long, as the loop of a worker has it. @throws SpqrError: one refuses */
  static async started(graph: GraphSpec, modules: TestModule[], trials: Trials): Promise<ComputeDriver> {
    let ready: Ready = new Map()
    for (;;) {
      try {
        return new ComputeDriver(graph, modules, [], trials, ready)
      } catch (thrown) {
        if (!(thrown instanceof LongSetups)) throw thrown
        let outcome: Ready | Error | undefined
        setUpElsewhere(trials, thrown, ready, {
          tenant: graph.tenantIndex,
          pipeline: 1,
          loaded: (digest) => modules.find((module) => module.digest === digest)!,
          tookFuel: () => {},
          done: (more) => (outcome = more),
          refused: (error) => (outcome = error),
          lost: () => (outcome = new Error('lost')),
        })
        await until(() => {
          trials.take()
          return outcome !== undefined
        }, 'the starts are not judged')
        if (outcome instanceof Error) throw outcome
        ready = outcome!
      }
    }
  }

  // PipelineContext

  module(digest: string): TestModule {
    return this.modules.get(digest)!
  }

  wake(): void {}

  listen(channel: number, _: Pipeline, end: RingOutput | Sink): void {
    this.listeners.set(channel, end)
  }

  unlisten(channel: number): void {
    this.listeners.delete(channel)
  }

  signal(): void {}

  tookFuel(_: number, fuel: number): void {
    this.fuelTaken += fuel
  }

  toBridge(message: ComputeToBridge): void {
    if (message.type === 'ring') this.emitterAt(message.channel).reader.announced(message.memory)
    else if (message.type === 'image') this.images.push({ epoch: message.epoch, image: message.image })
    else if (message.type === 'sunk') {
      this.sunk.push({ component: message.component, epoch: message.epoch, end: message.end })
    }
  }

  toControl(message: FromCompute): void {
    this.events.push(message)
  }

  // The test's side

  get failure(): Extract<FromCompute, { type: 'failed' }> | undefined {
    return this.events.find((event) => event.type === 'failed')
  }

  node(component: string): OperatorNode {
    return this.pipeline.node(component)!
  }

  /** Puts values into a source's ring, all as one batch as far as there is room, then lets everything flow. */
  feed(source: string, values: (string | PlainRecord)[]): this {
    const end = this.sourceAt(source)
    this.buffer.clear()
    for (const value of values) {
      const plain = typeof value === 'string' ? { value: Buffer.from(value), timestamp: 1 } : value
      end.sequence++
      this.buffer.add({ ...plain, sequence: end.sequence, sourceOffset: end.sequence - 1 })
    }
    const words = new Int32Array(this.buffer.bytes.buffer)
    let at = 0
    for (let round = 0; at < this.buffer.length; round++) {
      if (round > ROUNDS_MAX) throw new Error(`the source "${source}" finds no room`)
      if (this.failure) return this
      at += end.writer.push(this.buffer.bytes, words, at, this.buffer.length)
      this.announce(end)
      this.settle()
    }
    return this
  }

  barrier(epoch: number, ...sources: string[]): this {
    for (const source of sources) this.mark(source, KIND_BARRIER, epoch)
    return this.settle()
  }

  end(...sources: string[]): this {
    for (const source of sources) this.mark(source, KIND_END, 0)
    return this.settle()
  }

  /** Lets everything move that can. */
  settle(): this {
    for (let round = 0; ; round++) {
      if (round > ROUNDS_MAX) throw new Error('the pipeline never settles')
      const more = this.pipeline.advance(performance.now() + 5)
      const drained = this.drain()
      if (!more && !drained) return this
    }
  }

  /** Changes it, wherever that is made; meanwhile everything flows. @throws what refuses it */
  async changeWherever(graph: GraphSpec, keepState = false): Promise<ChangeResult[]> {
    let outcome: ChangeResult[] | Error | undefined
    this.pipeline.changeWherever(graph, keepState, (told) => (outcome = told))
    await until(() => {
      this.trials.take()
      this.settle()
      return outcome !== undefined
    }, 'the change is not over')
    if (outcome instanceof Error) throw outcome
    return outcome!
  }

  /** Fires every timer, whenever it is due. */
  elapse(): this {
    this.timers.run(Number.POSITIVE_INFINITY)
    return this.settle()
  }

  shown(component: string): Shown[] {
    return this.emitterAt(this.channelOf(component)).shown
  }

  shownAt(channel: number): Shown[] {
    return this.emitterAt(channel).shown
  }

  records(component: string): PlainRecord[] {
    return this.emitterAt(this.channelOf(component)).records
  }

  /** Dead letters, parsed. */
  letters(): { code: string; message: string; stack: string[]; record: { value: unknown } }[] {
    const { records } = this.emitterAt(this.pipeline.graph.deadLetters.channel)
    return records.map((record) => JSON.parse(Buffer.from(record.value!).toString()))
  }

  counters(component: string) {
    const { operators, emitters, sources } = this.pipeline.graph
    const spec = [...operators, ...emitters, ...sources].find((s) => s.component === component)!
    return this.slabs.block(spec.counters).read()
  }

  channelOf(component: string): number {
    return this.pipeline.graph.emitters.find((e) => e.component === component)!.channel
  }

  private mark(source: string, kind: number, epoch: number): void {
    const end = this.sourceAt(source)
    for (let round = 0; !end.writer.pushControl(kind, epoch); round++) {
      if (round > ROUNDS_MAX) throw new Error('no room for a mark')
      this.settle()
    }
    this.announce(end)
  }

  private sourceAt(source: string): SourceEnd {
    const present = this.sources.get(source)
    if (present) return present
    const { channel } = this.pipeline.graph.sources.find((s) => s.component === source)!
    const announced: SharedArrayBuffer[] = []
    const writer = new ChannelWriter(1 << 20, (memory) => announced.push(memory))
    const made = { channel, writer, announced, sequence: 0 }
    this.sources.set(source, made)
    return made
  }

  private announce(end: SourceEnd): void {
    const output = this.listeners.get(end.channel)
    if (!(output instanceof RingOutput)) throw new Error(`nobody listens to channel ${end.channel}`)
    for (const memory of end.announced.splice(0)) output.announced(memory)
  }

  private emitterAt(channel: number): EmitterEnd {
    let end = this.emitters.get(channel)
    if (!end) {
      end = { reader: new ChannelReader(), position: 0, shown: [], records: [] }
      this.emitters.set(channel, end)
    }
    return end
  }

  /** Empties the rings of the emitters. @returns whether anything was there */
  private drain(): boolean {
    let drained = false
    for (const [channel, end] of this.emitters) {
      if (this.stuck.has(channel)) continue
      while (this.take(channel, end)) drained = true
    }
    return drained
  }

  private take(channel: number, end: EmitterEnd): boolean {
    const ring = end.reader.ring
    if (ring === null) return false
    const run: Run = { from: 0, to: 0 }
    end.position = ring.peek(end.position, run)
    if (run.from >= run.to) return false
    const kind = ring.bytes[run.from + RECORD_KIND]!
    if (kind === KIND_MOVED) {
      if (!end.reader.moveOn()) throw new Error('a ring moved and none was announced')
      end.position = 0
      return true
    }
    if (kind === KIND_DATA) {
      const record = decodeRecord(ring.bytes.slice(run.from, run.to), 0)
      end.records.push(record)
      end.shown.push(Buffer.from(record.value ?? []).toString())
    } else {
      const epoch = ring.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]!
      end.shown.push(kind === KIND_BARRIER ? `<barrier ${epoch}>` : '<end>')
    }
    end.position = (end.position + ring.words[(run.from + RECORD_LENGTH) >> 2]!) | 0
    if (!ring.release(end.position)) return true
    const sink = this.listeners.get(channel)
    if (sink instanceof Sink) sink.unblock()
    return true
  }
}
