// A running pipeline on a compute worker: its outputs, operators and sinks, and how they are changed while records flow.
// Runs on: compute.

import { SpqrError } from '../../schemas/errors.ts'
import { KIND_BARRIER, KIND_END } from '../record/record.ts'
import { movableBuffers } from '../ring/image-memory.ts'
import { clockUs } from '../ring/ring.ts'
import type { Slabs } from './counters.ts'
import { deadLetterRecord } from './dead-letter.ts'
import { EdgeQueue } from './edge-queue.ts'
import type { Fault } from './fault.ts'
import { Input } from './input.ts'
import type { Inputs } from './inputs.ts'
import type { LoadedModule } from './instance.ts'
import type { Merger } from './merger.ts'
import type {
  ChangeResult,
  ComputeToBridge,
  EdgeSpec,
  EdgeStats,
  FromCompute,
  GraphSpec,
  Image,
  OperatorSpec,
  TraceInfo,
} from './messages.ts'
import { limitsOf, type NodeOwner, OperatorNode } from './operator-node.ts'
import { type Output, RingOutput, Stage } from './output.ts'
import { Sink, type SinkOwner } from './sink.ts'
import { changesOf, Split } from './split.ts'
import type { Splitter } from './splitter.ts'
import { Tap } from './tap.ts'
import type { Timers } from './timers.ts'
import type { Started, TrialCall, Verdict } from './trial.ts'
import type { Trials } from './trials.ts'
import { componentOf } from './units.ts'

/** What a pipeline needs of its worker. */
export interface PipelineContext {
  readonly timers: Timers
  readonly slabs: Slabs
  readonly trials: Trials
  module(digest: string): LoadedModule & { trace: TraceInfo }
  /** Puts the pipeline among those that have something to do. */
  wake(pipeline: Pipeline): void
  /** Registers who reads, or writes, a channel on this worker. */
  listen(channel: number, pipeline: Pipeline, end: RingOutput | Sink): void
  unlisten(channel: number): void
  signal(channel: number): void
  /** Fuel that was used elsewhere for the tenant. */
  tookFuel(tenantIndex: number, fuel: number): void
  toBridge(message: ComputeToBridge, transfer?: ArrayBuffer[]): void
  toControl(message: FromCompute, transfer?: ArrayBuffer[]): void
}

const ALL = -1
/** Of a start and a configuration on the compute worker, each; a millisecond or two. */
const START_FUEL = 20_000_000
/** Dead letters that may wait before operators do. */
const LETTERS_BYTES = 1 << 20
/** Of an edge that names a policy but no capacity. */
const EDGE_BYTES = 1 << 20

export class Pipeline implements NodeOwner, SinkOwner {
  readonly key: number
  readonly timers: Timers
  /** Stands in the worker's list of those that have something to do. */
  queued = false
  paused: boolean
  dropped = false
  graph: GraphSpec
  private readonly context: PipelineContext
  private readonly sources = new Map<string, RingOutput>()
  private readonly nodes = new Map<string, OperatorNode>()
  private readonly splits = new Map<string, Split>()
  private readonly sinks = new Map<string, Sink>()
  /** Taken out of the graph, but the mark of their end has found no room yet. */
  private leaving: Sink[] = []
  /** Operators in the order in which records pass them, then sinks: what `advance` goes through. */
  private steps: (OperatorNode | Sink | EdgeQueue | Splitter | Merger)[] = []
  private readonly letters = new Stage()
  private lettersSink: Sink | null = null
  private readonly taps = new Map<number, Tap>()
  /** Operators that have passed the barrier in work. */
  private readonly passed = new Set<string>()
  private barrierEpoch = 0
  private failing = false

  constructor(key: number, graph: GraphSpec, paused: boolean, context: PipelineContext) {
    this.key = key
    this.graph = graph
    this.paused = paused
    this.context = context
    this.timers = context.timers
  }

  /**
   * Builds everything.
   * @param ready operators that were started elsewhere
   * @throws LongStart where one takes longer than a slice; SpqrError INVALID_DOCUMENT where one refuses its settings
   */
  create(images: Image[], ready: ReadonlyMap<string, Started> = new Map()): ChangeResult[] {
    const changes: ChangeResult[] = []
    this.makeSplits(this.graph, images)
    for (const spec of this.graph.operators) {
      const image = images.find((i) => i.component === spec.component && i.digest === spec.digest)
      const node = this.makeNode(spec)
      const fuel = Math.min(START_FUEL, limitsOf(spec).fuelPerSetup)
      const started = node.start(image, this.hasTrials ? fuel : undefined, ready.get(spec.component))
      if (started.fault?.code === 'FUEL_EXHAUSTED' && this.hasTrials) throw new LongStart(spec, image, started.fault)
      if (started.fault) throw refusal(spec, started.fault)
      this.nodes.set(spec.component, node)
      changes.push({ component: spec.component, sequence: node.sequence + 1, stateReset: started.stateReset })
    }
    this.rewire()
    for (const node of this.nodes.values()) if (node.ended) node.endAgain()
    return changesOf(changes, this.splits)
  }

  /**
   * Changes to another graph between two records. What did not change is not touched.
   * @throws SpqrError: nothing has changed
   */
  change(graph: GraphSpec, keepState: boolean): ChangeResult[] {
    this.refuseRevival(graph)
    // What the instances have emitted was made by what they are now.
    for (const split of this.splits.values()) split.merger.drain()
    this.makeSplits(graph, [])
    let prepared: Map<string, OperatorNode>
    let changes: ChangeResult[]
    try {
      prepared = this.prepare(graph, keepState)
      changes = this.configure(graph, prepared, keepState)
    } catch (thrown) {
      this.keepSplits(this.graph)
      throw thrown
    }
    const before = this.graph
    this.graph = graph
    for (const spec of before.operators) {
      const stays = graph.operators.some((s) => s.component === spec.component)
      if (stays && !prepared.has(spec.component)) continue
      const node = this.nodes.get(spec.component)!
      node.stop()
      // A node of another version takes over inputs and stage; one that is gone gives them up.
      if (!stays) node.inputs.detach()
      this.nodes.delete(spec.component)
    }
    for (const [component, node] of prepared) this.nodes.set(component, node)
    for (const spec of graph.operators) this.nodes.get(spec.component)!.retimeIfChanged(spec)
    this.keepSplits(graph)
    this.rewire()
    this.context.wake(this)
    return changesOf(changes, this.splits)
  }

  node(component: string): OperatorNode | undefined {
    return this.nodes.get(component)
  }

  /** Fuel of all its instances so far. */
  get fuelUsed(): number {
    let fuel = 0
    for (const node of this.nodes.values()) fuel += node.instance.fuelUsed
    return fuel
  }

  /** The state of every operator, for another worker to go on from. */
  images(): Image[] {
    const splits = [...this.splits.values()].map((split) => split.image())
    return [...splits, ...[...this.nodes.values()].map((node) => node.image())]
  }

  /** Removes it from the worker. */
  drop(): void {
    this.dropped = true
    for (const node of this.nodes.values()) node.stop()
    for (const spec of this.graph.sources) this.context.unlisten(spec.channel)
    for (const spec of this.graph.emitters) if (spec.channel >= 0) this.context.unlisten(spec.channel)
    this.context.unlisten(this.graph.deadLetters.channel)
    for (const sink of this.leaving) this.context.unlisten(sink.spec.channel)
  }

  setPaused(paused: boolean): void {
    this.paused = paused
    if (!paused) this.context.wake(this)
  }

  /** Moves records on until nothing can move or the time is up. @returns true: there is more to do // hot */
  advance(untilMs: number): boolean {
    const steps = this.steps
    for (;;) {
      // Nothing but the dead letters that led there.
      if (this.failing) return this.lettersSink?.step() ?? false
      let moved = false
      for (let i = 0; i < steps.length; i++) if (steps[i]!.step()) moved = true
      if (!moved) return false
      if (performance.now() >= untilMs) return true
    }
  }

  edges(): EdgeStats[] {
    return this.readers().flatMap(({ to, inputs, waiting }) =>
      inputs.map(({ from, output }) => {
        const dropped = output instanceof EdgeQueue ? output.dropped : 0
        return { from, to, depth: output.depth() + waiting, capacity: output.capacity, dropped }
      }),
    )
  }

  /** It ran elsewhere until now: what its edges dropped there counts on. */
  countOn(edges: EdgeStats[]): void {
    for (const { to, inputs } of this.readers()) {
      for (const { from, output } of inputs) {
        if (output instanceof EdgeQueue)
          output.dropped = edges.find((e) => e.from === from && e.to === to)?.dropped ?? 0
      }
    }
  }

  /** Who reads, with the bytes that wait behind its edges. */
  private readers(): { to: string; inputs: Input[]; waiting: number }[] {
    return [
      // Of a split operator what its instances have still to read as well.
      ...[...this.splits].map(([to, { splitter }]) => ({ to, inputs: splitter.inputs.list, waiting: splitter.depth })),
      ...[...this.nodes.values()]
        .filter((node) => !node.spec.of)
        .map((node) => ({ to: node.component, inputs: node.inputs.list, waiting: 0 })),
      ...[...this.sinks.values()].map((sink) => ({
        to: sink.component,
        inputs: sink.inputs.list,
        waiting: sink.writer?.depth ?? 0,
      })),
    ]
  }

  tap(tap: number, component: string, port: number, every: number): void {
    const output = this.outputOf(component)
    if (!output) return
    const made = new Tap(tap, component, port, every, (frames, skipped) =>
      this.context.toControl({ type: 'tapped', tap, frames, skipped }, [frames.buffer as ArrayBuffer]),
    )
    this.taps.set(tap, made)
    this.hookTaps()
  }

  untap(tap: number): void {
    this.taps.delete(tap)
    this.hookTaps()
  }

  tapReady(tap: number): void {
    this.taps.get(tap)?.ready()
  }

  // NodeOwner

  wake(): void {
    this.context.wake(this)
    this.context.toBridge({ type: 'dirty', pipeline: this.key })
  }

  barrierPassed(node: OperatorNode, epoch: number, image: Image | null): void {
    if (image) this.sendImage(epoch, image)
    if (!node.ended) {
      this.passed.add(node.component)
      this.barrierEpoch = epoch
    }
    let all = true
    let running = false
    for (const other of this.nodes.values()) {
      if (!other.ended) running = true
      if (!other.ended && !this.passed.has(other.component)) all = false
    }
    if (!running) {
      // The end says for the emitter of dead letters what a barrier would say.
      this.passed.clear()
      this.markLetters(KIND_END, epoch)
    } else if (all && this.passed.size > 0) {
      this.passed.clear()
      this.markLetters(KIND_BARRIER, this.barrierEpoch)
    }
  }

  private sendImage(epoch: number, image: Image): void {
    this.context.toBridge({ type: 'image', pipeline: this.key, epoch, image }, movableBuffers([image.memory]))
  }

  /** Bounds what poison records leave behind while their emitter is slow. */
  get lettersFull(): boolean {
    return this.letters.depth() > LETTERS_BYTES
  }

  deadLetter(node: OperatorNode, fault: Fault, input: Uint8Array, at: number): void {
    // Before the first letter is published: a stage without a reader forgets.
    if (this.lettersSink === null) this.openLetters()
    const { trace } = this.context.module(node.loaded.digest)
    const record = deadLetterRecord(node.spec, fault, trace, this.graph, input, at)
    const start = this.letters.reserve(record.length)
    this.letters.bytes.set(record.bytes.subarray(0, record.length), start)
    this.letters.grow(record.length)
    this.letters.publish(clockUs())
  }

  get hasTrials(): boolean {
    return this.context.trials.open
  }

  startTrial(node: OperatorNode, call: Omit<TrialCall, 'tenant' | 'pipeline'>): number {
    const { key: pipeline } = this
    const { tenantIndex: tenant } = this.graph
    const judged = (verdict: Verdict): void => {
      this.context.tookFuel(tenant, verdict.fuelUsed)
      // What comes after the failure belongs to no epoch.
      if (this.failing) return
      try {
        node.judged(verdict)
      } catch (thrown) {
        this.crashed(thrown)
      }
      this.context.wake(this)
    }
    const lost = (): void => {
      node.recall()
      this.context.wake(this)
    }
    return this.context.trials.start({ judged, lost }, { ...call, tenant, pipeline })
  }

  cancelTrial(trial: number): void {
    this.context.trials.cancel(trial)
  }

  failed(node: OperatorNode, fault: Fault): void {
    const component = componentOf(node.component)
    this.fail(component, new SpqrError(fault.code, `Operator "${component}" failed: ${fault.message}`))
  }

  /** Something of ours threw where nothing may: this pipeline ends, its neighbours go on. */
  crashed(thrown: unknown): void {
    this.fail('', SpqrError.from(thrown))
  }

  private fail(component: string, error: SpqrError): void {
    if (this.failing) return
    this.failing = true
    // The letters that led here are kept: their end says that these were all.
    this.markLetters(KIND_END, 0)
    this.context.wake(this)
    this.context.toControl({ type: 'failed', pipeline: this.key, component, error: error.toMessage() })
  }

  fault(node: OperatorNode, fault: Fault): void {
    const text = `${fault.code}: ${fault.message}`
    this.context.toControl({
      type: 'event',
      pipeline: this.key,
      component: componentOf(node.component),
      kind: 'fault',
      level: 3,
      text,
    })
  }

  logged(node: OperatorNode, level: number, text: string): void {
    const component = componentOf(node.component)
    this.context.toControl({ type: 'event', pipeline: this.key, component, kind: 'log', level, text })
  }

  // SinkOwner

  signal(channel: number): void {
    this.context.signal(channel)
  }

  announceRing(channel: number, memory: SharedArrayBuffer): void {
    this.context.toBridge({ type: 'ring', pipeline: this.key, channel, memory })
  }

  left(sink: Sink): void {
    this.context.unlisten(sink.spec.channel)
    this.leaving = this.leaving.filter((other) => other !== sink)
  }

  sunk(component: string, epoch: number, end: boolean): void {
    this.context.toBridge({ type: 'sunk', pipeline: this.key, component, epoch, end })
  }

  // Building

  private makeNode(spec: OperatorSpec, replaced?: OperatorNode): OperatorNode {
    const loaded = this.context.module(spec.digest)
    const faults = this.splits.get(spec.of ?? '')?.faults
    return new OperatorNode(spec, loaded, this.context.slabs.block(spec.counters), this, replaced, faults)
  }

  /** Those that are new. */
  private makeSplits(graph: GraphSpec, images: Image[]): void {
    for (const spec of graph.splits) {
      if (this.splits.has(spec.component)) continue
      const image = images.find((i) => i.component === spec.component)
      const passed = (epoch: number, whole: Image): void => this.sendImage(epoch, whole)
      this.splits.set(spec.component, new Split(spec, image, passed))
    }
  }

  /** Those that the graph names, as it has them. */
  private keepSplits(graph: GraphSpec): void {
    for (const [component, split] of this.splits) {
      const spec = graph.splits.find((s) => s.component === component)
      if (spec) {
        split.spec = spec
        continue
      }
      split.splitter.inputs.detach()
      split.merger.inputs.detach()
      this.splits.delete(component)
    }
  }

  /** @throws SpqrError INVALID_STATE where what has ended, and has said so to all behind it, would get records again */
  private refuseRevival(graph: GraphSpec): void {
    const hasEnded = (from: string): boolean => {
      const source = graph.sources.find((s) => s.component === from)
      if (source && this.sources.get(from)?.channelNumber !== source.channel) return false
      return this.outputOf(from)?.ended ?? false
    }
    // Another kind of emitter under the same id begins anew.
    const stays = graph.emitters.filter(({ component, channel }) => this.sinks.get(component)?.spec.channel === channel)
    for (const spec of [...graph.operators, ...stays]) {
      const present = this.nodes.get(spec.component) ?? this.sinks.get(spec.component)
      if (!present?.inputs.ended) continue
      const edge = spec.edges.find(({ from }) => !hasEnded(from))
      if (!edge) continue
      const why = 'it has ended with its sources; give it another id, or restart the pipeline'
      throw new SpqrError('INVALID_STATE', `Cannot give "${spec.component}" records of "${edge.from}": ${why}`)
    }
  }

  /** Starts the instances that are new or of another version, beside the running ones. */
  private prepare(graph: GraphSpec, keepState: boolean): Map<string, OperatorNode> {
    const prepared = new Map<string, OperatorNode>()
    for (const spec of graph.operators) {
      const present = this.nodes.get(spec.component)
      if (present && present.spec.digest === spec.digest && present.spec.ports === spec.ports) continue
      if (present && keepState) throw resetRefusal(spec.component)
      const node = this.makeNode(spec, present)
      const started = node.start(undefined)
      if (started.fault) throw refusal(spec, started.fault)
      prepared.set(spec.component, node)
    }
    return prepared
  }

  /** Gives running instances their new settings; the first that refuses takes all of them back. */
  private configure(graph: GraphSpec, prepared: Map<string, OperatorNode>, keepState: boolean): ChangeResult[] {
    const changes: ChangeResult[] = []
    const done: { node: OperatorNode; image: Image; spec: OperatorSpec }[] = []
    const takeBack = (): void => {
      for (const { node, image, spec } of done) {
        node.instance.restore(image.memory, image.globals)
        node.spec = spec
      }
    }
    // One that refuses is what it was by itself: only others that were before it are taken back.
    const configured = graph.operators.filter(
      (spec) => !prepared.has(spec.component) && this.nodes.get(spec.component)!.spec.settings !== spec.settings,
    ).length
    const mayBeTakenBack = keepState || configured > 1
    for (const spec of graph.operators) {
      const fresh = prepared.get(spec.component)
      if (fresh) {
        const stateReset = this.nodes.has(spec.component)
        changes.push({ component: spec.component, sequence: fresh.sequence + 1, stateReset })
        continue
      }
      const node = this.nodes.get(spec.component)!
      if (node.spec.settings === spec.settings) {
        node.spec = { ...spec, emitWhen: node.spec.emitWhen }
        continue
      }
      const before = mayBeTakenBack ? { node, image: node.image(), spec: node.spec } : null
      const stateReset = node.configure(spec)
      if (stateReset === null) {
        const fault = node.instance.fault!
        takeBack()
        throw refusal(spec, fault)
      }
      if (before) done.push(before)
      if (stateReset && keepState) {
        takeBack()
        throw resetRefusal(spec.component)
      }
      node.spec = { ...spec, emitWhen: node.spec.emitWhen }
      changes.push({ component: spec.component, sequence: node.sequence + 1, stateReset })
    }
    return changes
  }

  /** Makes sources, sinks and inputs what the graph says; keeps those that it still names, with their place. */
  private rewire(): void {
    for (const [component, output] of this.sources) {
      // Another kind of source under the same id has a ring of its own.
      if (this.graph.sources.some((s) => s.component === component && s.channel === output.channelNumber)) continue
      this.sources.delete(component)
      this.context.unlisten(output.channelNumber)
    }
    for (const spec of this.graph.sources) {
      if (this.sources.has(spec.component)) continue
      const output = new RingOutput(spec.channel, (channel) => this.context.signal(channel))
      this.sources.set(spec.component, output)
      this.context.listen(spec.channel, this, output)
    }
    for (const [component, sink] of this.sinks) {
      const spec = this.graph.emitters.find((s) => s.component === component)
      if (spec && spec.channel === sink.spec.channel) continue
      sink.inputs.detach()
      // Its ring ends here: the bridge delivers what is in it, then closes the emitter.
      if (sink.writer) {
        sink.leave()
        this.leaving.push(sink)
      }
      this.sinks.delete(component)
    }
    for (const spec of this.graph.emitters) {
      if (this.sinks.has(spec.component)) continue
      const sink = new Sink(spec, this.context.slabs.block(spec.counters), this)
      this.sinks.set(spec.component, sink)
      if (spec.channel >= 0) this.context.listen(spec.channel, this, sink)
    }
    for (const spec of this.graph.operators) this.rewireInputs(this.nodes.get(spec.component)!.inputs, spec.edges)
    for (const { spec, splitter, merger, mergerEdges } of this.splits.values()) {
      this.rewireInputs(splitter.inputs, spec.edges)
      this.rewireInputs(merger.inputs, mergerEdges)
    }
    for (const spec of this.graph.emitters) this.rewireInputs(this.sinks.get(spec.component)!.inputs, spec.edges)
    for (const node of this.nodes.values()) this.connectPorts(node)
    const sinks = this.graph.emitters.map((s) => this.sinks.get(s.component)!)
    // A queue moves before its consumer looks.
    this.steps = [...this.operatorSteps(), ...sinks].flatMap((step) => [...queuesOf(step.inputs.list), step])
    if (this.lettersSink) this.steps.push(this.lettersSink)
    for (const sink of this.leaving) this.steps.push(sink)
    this.hookTaps()
  }

  /** Instances of a split operator stand between what deals out and what gathers. */
  private operatorSteps(): (OperatorNode | Splitter | Merger)[] {
    const { operators } = this.graph
    return operators.flatMap(({ component, of }, i) => {
      const node = this.nodes.get(component)!
      const split = this.splits.get(of ?? '')
      if (!split) return [node]
      const first = operators[i - 1]?.of === of ? [] : [split.splitter]
      const last = operators[i + 1]?.of === of ? [] : [split.merger]
      return [...first, node, ...last]
    })
  }

  private rewireInputs({ list: inputs }: Inputs, edges: EdgeSpec[]): void {
    for (const input of [...inputs]) {
      const edge = edges.find((e) => e.from === input.from)
      const source = input.output instanceof EdgeQueue ? input.output.input.output : input.output
      if (edge && this.outputOf(edge.from) === source) continue
      input.output.detach(input)
      inputs.splice(inputs.indexOf(input), 1)
    }
    for (const edge of edges) {
      const present = inputs.find((i) => i.from === edge.from)
      if (present) this.retune(present, edge)
      else inputs.push(this.attach(edge))
    }
  }

  /** An input at the output that the edge names, seeing what comes from now on. */
  private attach(edge: EdgeSpec): Input {
    const input = new Input(edge.from, this.outputOf(edge.from)!, edge.portsLow, edge.portsHigh, this.takesAll(edge))
    input.output.attach(input)
    // What has ended already will not say so again.
    input.ended = input.output.ended
    if (edge.capacityBytes !== undefined || edge.whenFull !== undefined) this.interpose(input, edge)
    return input
  }

  /** Ports, capacity or policy of an edge that stays. */
  private retune(input: Input, edge: EdgeSpec): void {
    const reader = input.output instanceof EdgeQueue ? input.output.input : input
    reader.portsLow = edge.portsLow
    reader.portsHigh = edge.portsHigh
    reader.all = this.takesAll(edge)
    if (input.output instanceof EdgeQueue) {
      input.output.capacity = edge.capacityBytes ?? EDGE_BYTES
      input.output.whenFull = edge.whenFull ?? 'block'
    } else if (edge.capacityBytes !== undefined || edge.whenFull !== undefined) {
      this.interpose(input, edge)
    }
  }

  /** Puts a queue between an input and its output, at the input's place. */
  private interpose(input: Input, edge: EdgeSpec): void {
    const { output } = input
    const reader = new Input(edge.from, output, edge.portsLow, edge.portsHigh, input.all)
    reader.position = input.position
    reader.ended = input.ended
    output.cursors[output.cursors.indexOf(input)] = reader
    const queue = new EdgeQueue(reader, edge.capacityBytes ?? EDGE_BYTES, edge.whenFull ?? 'block')
    input.output = queue
    input.position = 0
    input.all = true
    queue.attach(input)
  }

  private takesAll(edge: EdgeSpec): boolean {
    const { operators, splits } = this.graph
    const from = [...operators, ...splits].find((s) => s.component === edge.from)
    return from === undefined || from.ports === 1
  }

  private connectPorts(node: OperatorNode): void {
    let low = 0
    let high = 0
    const component = componentOf(node.component)
    for (const spec of [...this.graph.operators, ...this.graph.splits, ...this.graph.emitters]) {
      for (const edge of spec.edges) {
        if (edge.from !== component) continue
        low |= edge.portsLow
        high |= edge.portsHigh
      }
    }
    for (const tap of this.taps.values()) {
      if (tap.component !== component) continue
      if (tap.port === ALL) continue
      if (tap.port < 32) low |= 1 << tap.port
      else high |= 1 << (tap.port - 32)
    }
    node.connect(low, high)
  }

  private outputOf(component: string): Output | undefined {
    const output = this.sources.get(component) ?? this.nodes.get(component)?.stage
    if (output) return output
    for (const split of this.splits.values()) {
      const its = split.outputOf(component)
      if (its) return its
    }
    return undefined
  }

  private hookTaps(): void {
    for (const [component, output] of [
      ...this.sources,
      ...[...this.nodes].map(([name, node]) => [name, node.stage] as const),
      ...[...this.splits].map(([name, split]) => [name, split.merger.stage] as const),
    ]) {
      const taps = [...this.taps.values()].filter((tap) => tap.component === component)
      output.onRelease =
        taps.length === 0
          ? null
          : (bytes, words, from, to) => {
              for (const tap of taps) tap.take(bytes, words, from, to)
            }
    }
    for (const node of this.nodes.values()) this.connectPorts(node)
  }

  // Dead letters

  private openLetters(): void {
    const { channel, counters } = this.graph.deadLetters
    const spec = { component: '', channel, edges: [], capacityBytes: 1 << 20, counters }
    this.lettersSink = new Sink(spec, this.context.slabs.block(counters), this)
    const input = new Input('', this.letters, ALL, ALL, true)
    this.letters.attach(input)
    this.lettersSink.inputs.list.push(input)
    this.context.listen(channel, this, this.lettersSink)
    this.steps.push(this.lettersSink)
  }

  /** Every operator has passed the barrier, or ended: so have the dead letters before it. */
  private markLetters(kind: number, epoch: number): void {
    if (this.lettersSink) this.letters.publishControl(kind, epoch)
    else this.sunk('', epoch, kind === KIND_END)
  }
}

function queuesOf(inputs: Input[]): EdgeQueue[] {
  return inputs.map((input) => input.output).filter((output) => output instanceof EdgeQueue)
}

/** An operator did not start within a slice: it is to be started elsewhere. */
export class LongStart extends Error {
  override readonly name = 'LongStart'
  readonly spec: OperatorSpec
  readonly image: Image | undefined
  constructor(spec: OperatorSpec, image: Image | undefined, fault: Fault) {
    super(refusal(spec, fault).message)
    this.spec = spec
    this.image = image
  }
}

export function refusal(spec: OperatorSpec, fault: Fault): SpqrError {
  const component = componentOf(spec.component)
  return new SpqrError('INVALID_DOCUMENT', `Operator "${component}" refuses its settings: ${fault.message}`, {
    issues: [{ pointer: `/components/${component}/settings`, message: fault.message }],
  })
}

function resetRefusal(unit: string): SpqrError {
  return new SpqrError(
    'INVALID_STATE',
    `Cannot change "${componentOf(unit)}" and keep its state: these settings start it anew. Leave out keepState=required to allow that.`,
  )
}
