// What a graph is while it runs: the rings of its sources, its operators and what splits them, its sinks, its taps, and the
// edges between them, in the order in which records pass. Made by a specification, and made again by another one: what both
// name stays as it is, with its place in what it reads.
// Runs on: compute.

import type { Slabs } from './counters.ts'
import type { EdgeQueue } from './edge-queue.ts'
import { countOn, type EdgeOrigins, queuesOf, rewireInputs, statsOf } from './edges.ts'
import type { LoadedModule } from './guest.ts'
import type { Input } from './input.ts'
import type { Merger } from './merger.ts'
import type { EdgeStats, GraphSpec, Image, OperatorSpec } from './messages.ts'
import { type NodeOwner, OperatorNode } from './operator-node.ts'
import { type Output, RingOutput } from './output.ts'
import { Sink, type SinkOwner } from './sink.ts'
import { Split } from './split.ts'
import type { Splitter } from './splitter.ts'
import type { Tap } from './tap.ts'
import { componentOf } from './units.ts'

const ALL_PORTS = -1

/** What the parts of a graph need of its pipeline. */
export interface GraphOwner extends NodeOwner, SinkOwner {
  readonly slabs: Slabs
  module(digest: string): LoadedModule
  /** The other end of this channel is a bridge's. */
  listen(channel: number, end: RingOutput | Sink): void
  unlisten(channel: number): void
  /** Of an epoch, for its checkpoint. */
  imageTaken(epoch: number, image: Image): void
}

export class RunningGraph implements EdgeOrigins {
  spec: GraphSpec
  readonly sources = new Map<string, RingOutput>()
  readonly nodes = new Map<string, OperatorNode>()
  readonly splits = new Map<string, Split>()
  readonly sinks = new Map<string, Sink>()
  readonly taps = new Map<number, Tap>()
  /** Operators in the order in which records pass them, then sinks: what a turn of the pipeline goes through. */
  steps: (OperatorNode | Sink | EdgeQueue | Splitter | Merger)[] = []
  /** Taken out of the graph, but the mark of their end has found no room yet. */
  private leaving: Sink[] = []
  private readonly owner: GraphOwner

  constructor(spec: GraphSpec, owner: GraphOwner) {
    this.spec = spec
    this.owner = owner
  }

  makeNode(spec: OperatorSpec, replaced?: OperatorNode): OperatorNode {
    const { owner } = this
    const faults = this.splits.get(spec.of ?? '')?.faults
    const counters = owner.slabs.block(spec.counters)
    return new OperatorNode(spec, owner.module(spec.digest), counters, owner, replaced, faults)
  }

  /** Those that are new. */
  makeSplits(graph: GraphSpec, images: Image[]): void {
    for (const spec of graph.splits) {
      if (this.splits.has(spec.component)) continue
      const image = images.find((i) => i.component === spec.component)
      const passed = (epoch: number, whole: Image): void => this.owner.imageTaken(epoch, whole)
      this.splits.set(spec.component, new Split(spec, image, passed))
    }
  }

  /** Those that the graph names, as it has them. */
  keepSplits(graph: GraphSpec): void {
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

  /** Makes sources, sinks and inputs what `spec` says; keeps those that it still names, with their place. */
  rewire(lettersSink: Sink | null): void {
    const { owner, spec: graph } = this
    for (const [component, output] of this.sources) {
      // Another kind of source under the same id has a ring of its own.
      if (graph.sources.some((s) => s.component === component && s.channel === output.channelNumber)) continue
      this.sources.delete(component)
      owner.unlisten(output.channelNumber)
    }
    for (const { component, channel } of graph.sources) {
      if (this.sources.has(component)) continue
      const output = new RingOutput(channel, (number) => owner.signal(number))
      this.sources.set(component, output)
      owner.listen(channel, output)
    }
    for (const [component, sink] of this.sinks) {
      const spec = graph.emitters.find((s) => s.component === component)
      if (spec && spec.channel === sink.spec.channel) continue
      sink.inputs.detach()
      // Its ring ends here: the bridge delivers what is in it, then closes the emitter.
      if (sink.writer) {
        sink.leave()
        this.leaving.push(sink)
      }
      this.sinks.delete(component)
    }
    for (const spec of graph.emitters) {
      if (this.sinks.has(spec.component)) continue
      const sink = new Sink(spec, owner.slabs.block(spec.counters), owner)
      this.sinks.set(spec.component, sink)
      if (spec.channel >= 0) owner.listen(spec.channel, sink)
    }
    for (const spec of graph.operators) rewireInputs(this.nodes.get(spec.component)!.inputs, spec.edges, this)
    for (const { spec, splitter, merger, mergerEdges } of this.splits.values()) {
      rewireInputs(splitter.inputs, spec.edges, this)
      rewireInputs(merger.inputs, mergerEdges, this)
    }
    for (const spec of graph.emitters) rewireInputs(this.sinks.get(spec.component)!.inputs, spec.edges, this)
    for (const node of this.nodes.values()) this.connectPorts(node)
    const sinks = graph.emitters.map((s) => this.sinks.get(s.component)!)
    // A queue moves before its consumer looks.
    this.steps = [...this.operatorSteps(), ...sinks].flatMap((step) => [...queuesOf(step.inputs.list), step])
    if (lettersSink) this.steps.push(lettersSink)
    for (const sink of this.leaving) this.steps.push(sink)
    this.hookTaps()
  }

  /** A sink that was taken out has put its end into its ring. */
  left(sink: Sink): void {
    this.owner.unlisten(sink.spec.channel)
    this.leaving = this.leaving.filter((other) => other !== sink)
  }

  /** Stops all of it. */
  drop(): void {
    const { owner, spec: graph } = this
    for (const node of this.nodes.values()) node.stop()
    for (const spec of graph.sources) owner.unlisten(spec.channel)
    for (const spec of graph.emitters) if (spec.channel >= 0) owner.unlisten(spec.channel)
    owner.unlisten(graph.deadLetters.channel)
    for (const sink of this.leaving) owner.unlisten(sink.spec.channel)
  }

  /** The state of every operator. */
  images(): Image[] {
    const splits = [...this.splits.values()].map((split) => split.image())
    return [...splits, ...[...this.nodes.values()].map((node) => node.image())]
  }

  edges(): EdgeStats[] {
    return this.readers().flatMap(({ to, inputs, waiting }) => statsOf(to, inputs, waiting))
  }

  /** It ran elsewhere until now: what its edges dropped there counts on. */
  countOn(edges: EdgeStats[]): void {
    for (const { to, inputs } of this.readers()) countOn(to, inputs, edges)
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

  // EdgeOrigins

  outputOf(component: string): Output | undefined {
    const output = this.sources.get(component) ?? this.nodes.get(component)?.stage
    if (output) return output
    for (const split of this.splits.values()) {
      const its = split.outputOf(component)
      if (its) return its
    }
    return undefined
  }

  hasOnePort(component: string): boolean {
    const { operators, splits } = this.spec
    const from = [...operators, ...splits].find((s) => s.component === component)
    return from === undefined || from.ports === 1
  }

  /** Has what every component emits seen by its taps. */
  hookTaps(): void {
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

  /** Tells an operator which of its ports somebody reads. */
  private connectPorts(node: OperatorNode): void {
    let low = 0
    let high = 0
    const component = componentOf(node.component)
    for (const spec of [...this.spec.operators, ...this.spec.splits, ...this.spec.emitters]) {
      for (const edge of spec.edges) {
        if (edge.from !== component) continue
        low |= edge.portsLow
        high |= edge.portsHigh
      }
    }
    for (const tap of this.taps.values()) {
      if (tap.component !== component) continue
      if (tap.port === ALL_PORTS) continue
      if (tap.port < 32) low |= 1 << tap.port
      else high |= 1 << (tap.port - 32)
    }
    node.connect(low, high)
  }

  /** Instances of a split operator stand between what deals out and what gathers. */
  private operatorSteps(): (OperatorNode | Splitter | Merger)[] {
    const { operators } = this.spec
    return operators.flatMap(({ component, of }, i) => {
      const node = this.nodes.get(component)!
      const split = this.splits.get(of ?? '')
      if (!split) return [node]
      const first = operators[i - 1]?.of === of ? [] : [split.splitter]
      const last = operators[i + 1]?.of === of ? [] : [split.merger]
      return [...first, node, ...last]
    })
  }
}
