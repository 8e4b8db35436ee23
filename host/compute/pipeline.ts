// A running pipeline on a compute worker: its turns, and what its parts tell the rest of the host of it: barriers passed,
// faults, failure. The parts themselves are its running graph.
// Runs on: compute.

import { SpqrError } from '../../schemas/errors.ts'
import { movableBuffers } from '../ring/image-memory.ts'
import type { Slabs } from './counters.ts'
import { DeadLetters, type DeadLettersOwner } from './dead-letters.ts'
import type { Fault } from './fault.ts'
import { changeGraph } from './graph-change.ts'
import type { LoadedModule } from './guest.ts'
import { SETUP_SLICE_FUEL } from './limits.ts'
import type { ChangeResult, ComputeToBridge, EdgeStats, FromCompute, GraphSpec, Image, TraceInfo } from './messages.ts'
import type { OperatorNode } from './operator-node.ts'
import type { RingOutput } from './output.ts'
import { type GraphOwner, RunningGraph } from './running-graph.ts'
import { LongSetups, type Ready, Setup, setUpElsewhere } from './setup.ts'
import { Sink } from './sink.ts'
import { changesOf } from './split.ts'
import { Tap } from './tap.ts'
import type { Timers } from './timers.ts'
import type { TrialCall, Verdict } from './trial.ts'
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

const LETTERS_RING_BYTES = 1 << 20

export class Pipeline implements GraphOwner, DeadLettersOwner {
  readonly key: number
  readonly timers: Timers
  readonly slabs: Slabs
  /** Stands in the worker's list of those that have something to do. */
  queued = false
  paused: boolean
  dropped = false
  private readonly context: PipelineContext
  private readonly running: RunningGraph
  private readonly letters = new DeadLetters(this)
  private failing = false
  /** The last change did not end within a slice: the next one is not even begun here. */
  private isChangeLong = false
  /** A change that is made elsewhere for now: gives it up. */
  private giveUpChange: ((error: SpqrError) => void) | null = null

  constructor(key: number, graph: GraphSpec, paused: boolean, context: PipelineContext) {
    this.key = key
    this.paused = paused
    this.context = context
    this.timers = context.timers
    this.slabs = context.slabs
    this.running = new RunningGraph(graph, this)
  }

  get graph(): GraphSpec {
    return this.running.spec
  }

  /**
   * Builds everything.
   * @param ready operators that were started elsewhere
   * @throws LongSetups where they take longer than a slice; SpqrError INVALID_DOCUMENT where one refuses its settings
   */
  create(images: Image[], ready: Ready = new Map()): ChangeResult[] {
    const { running, graph } = this
    const changes: ChangeResult[] = []
    const setup = new Setup(this.hasTrials, ready)
    running.makeSplits(graph, images)
    for (const spec of graph.operators) {
      const image = images.find((i) => i.component === spec.component && i.digest === spec.digest)
      const node = running.makeNode(spec)
      const stateReset = setup.start(node, image) ?? false
      running.nodes.set(spec.component, node)
      changes.push({ component: spec.component, sequence: node.sequence + 1, stateReset })
    }
    setup.end()
    running.rewire(null)
    for (const node of running.nodes.values()) if (node.ended) node.endAgain()
    return changesOf(changes, running.splits)
  }

  /**
   * Changes to another graph between two records. What did not change is not touched.
   * @param ready operators that were given their settings elsewhere
   * @throws LongSetups where they take longer than a slice: those that run do nothing until another try;
   *   SpqrError: nothing has changed
   */
  change(graph: GraphSpec, keepState: boolean, ready: Ready = new Map()): ChangeResult[] {
    const { running } = this
    const setup = new Setup(this.hasTrials, ready, this.isChangeLong ? 0 : undefined)
    let changes: ChangeResult[]
    try {
      changes = changeGraph(running, graph, keepState, setup)
    } catch (thrown) {
      if (!(thrown instanceof LongSetups)) this.stays()
      // A state that was given and is none leaves none to go on with.
      if (ready.size > 0 && !(thrown instanceof LongSetups || thrown instanceof SpqrError)) this.crashed(thrown)
      throw thrown
    }
    running.rewire(this.letters.sink)
    this.stays()
    return changesOf(changes, running.splits)
  }

  /**
   * The same, however long it takes: what does not end within a slice is made elsewhere, and meanwhile this pipeline, but for
   * the operators that get the settings, and all others go on.
   * @param done told once: what has changed, or why nothing has
   */
  changeWherever(graph: GraphSpec, keepState: boolean, done: (outcome: ChangeResult[] | Error) => void): void {
    const attempt = (ready: Ready): void => {
      let changes: ChangeResult[]
      try {
        changes = this.change(graph, keepState, ready)
      } catch (thrown) {
        if (thrown instanceof LongSetups) elsewhere(thrown, ready)
        else done(thrown as Error)
        return
      }
      done(changes)
    }
    const elsewhere = (long: LongSetups, before: Ready): void => {
      let fuelUsed = 0
      const over = (isLong: boolean): void => {
        this.giveUpChange = null
        this.isChangeLong = isLong
      }
      this.giveUpChange = setUpElsewhere(this.context.trials, long, before, {
        tenant: graph.tenantIndex,
        pipeline: this.key,
        loaded: (digest) => this.module(digest),
        tookFuel: (fuel) => {
          fuelUsed += fuel
          this.context.tookFuel(graph.tenantIndex, fuel)
        },
        done: (ready) => {
          over(fuelUsed > SETUP_SLICE_FUEL)
          attempt(ready)
        },
        refused: (error) => {
          over(true)
          this.stays()
          done(error)
        },
        lost: () => attempt(before),
      })
    }
    attempt(new Map())
  }

  /** Goes on as it is. */
  private stays(): void {
    for (const node of this.running.nodes.values()) node.letGo()
    this.context.wake(this)
  }

  node(component: string): OperatorNode | undefined {
    return this.running.nodes.get(component)
  }

  /** Fuel of all its instances so far. */
  get fuelUsed(): number {
    let fuel = 0
    for (const node of this.running.nodes.values()) fuel += node.instance.fuelUsed
    return fuel
  }

  /** The state of every operator, for another worker to go on from. */
  images(): Image[] {
    return this.running.images()
  }

  /** Removes it from the worker. */
  drop(): void {
    this.dropped = true
    const { id } = this.graph
    this.giveUpChange?.(new SpqrError('INVALID_STATE', `Cannot change "${id}": it has ended meanwhile.`))
    this.running.drop()
  }

  setPaused(paused: boolean): void {
    this.paused = paused
    if (!paused) this.context.wake(this)
  }

  /** Moves records on until nothing can move or the time is up. @returns true: there is more to do // hot */
  advance(untilMs: number): boolean {
    const { steps } = this.running
    for (;;) {
      // Nothing but the dead letters that led there.
      if (this.failing) return this.letters.sink?.step() ?? false
      let moved = false
      for (let i = 0; i < steps.length; i++) if (steps[i]!.step()) moved = true
      if (!moved) return false
      if (performance.now() >= untilMs) return true
    }
  }

  edges(): EdgeStats[] {
    return this.running.edges()
  }

  /** It ran elsewhere until now: what its edges dropped there counts on. */
  countOn(edges: EdgeStats[]): void {
    this.running.countOn(edges)
  }

  tap(tap: number, component: string, port: number, every: number): void {
    if (!this.running.outputOf(component)) return
    const made = new Tap(tap, component, port, every, (frames, skipped) =>
      this.context.toControl({ type: 'tapped', tap, frames, skipped }, [frames.buffer as ArrayBuffer]),
    )
    this.running.taps.set(tap, made)
    this.running.hookTaps()
  }

  untap(tap: number): void {
    this.running.taps.delete(tap)
    this.running.hookTaps()
  }

  tapReady(tap: number): void {
    this.running.taps.get(tap)?.ready()
  }

  // NodeOwner

  wake(): void {
    this.context.wake(this)
    this.context.toBridge({ type: 'dirty', pipeline: this.key })
  }

  barrierPassed(node: OperatorNode, epoch: number, image: Image | null): void {
    if (image) this.imageTaken(epoch, image)
    this.letters.barrierPassed(node, epoch, this.running.nodes.values())
  }

  get lettersFull(): boolean {
    return this.letters.full
  }

  deadLetter(node: OperatorNode, fault: Fault, input: Uint8Array, at: number): void {
    const { trace } = this.context.module(node.loaded.digest)
    this.letters.add(node, fault, trace, input, at)
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
    this.letters.end()
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
    this.running.left(sink)
  }

  sunk(component: string, epoch: number, end: boolean): void {
    this.context.toBridge({ type: 'sunk', pipeline: this.key, component, epoch, end })
  }

  // GraphOwner

  module(digest: string): LoadedModule {
    return this.context.module(digest)
  }

  listen(channel: number, end: RingOutput | Sink): void {
    this.context.listen(channel, this, end)
  }

  unlisten(channel: number): void {
    this.context.unlisten(channel)
  }

  imageTaken(epoch: number, image: Image): void {
    this.context.toBridge({ type: 'image', pipeline: this.key, epoch, image }, movableBuffers([image.memory]))
  }

  // DeadLettersOwner

  openLetters(): Sink {
    const { channel, counters } = this.graph.deadLetters
    const spec = { component: '', channel, edges: [], capacityBytes: LETTERS_RING_BYTES, counters }
    const sink = new Sink(spec, this.slabs.block(counters), this)
    this.listen(channel, sink)
    this.running.steps.push(sink)
    return sink
  }

  noLetters(epoch: number, end: boolean): void {
    this.sunk('', epoch, end)
  }
}
