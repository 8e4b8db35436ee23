// Turns a plan into what a compute worker and a bridge worker are told: numbers for channels and counters, edges as port
// bits, operators in the order in which records pass them.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan, PlanComponent, PlanEdge, PlanEmitter, PlanOperator, PlanSource } from '../../schemas/plan.ts'
import type { BridgeSpec } from '../bridges/runtime/messages.ts'
import { topicOfSource } from '../bridges/runtime/slot-topics.ts'
import type { EdgeSpec, GraphSpec, OperatorSpec } from '../compute/messages.ts'
import { laneName, unitName } from '../compute/units.ts'
import type { Tenant } from '../quota/tenants.ts'
import type { NumberPool } from './numbers.ts'

/** About 5 ms of guest code for one record; of code that only waits for memory up to 80 ms. */
const FUEL_PER_RECORD = 100_000_000
const OUTPUT_BYTES_PER_RECORD = 16 << 20
const MEMORY_MIB = 64
const EDGE_BYTES = 1 << 20

/** The numbers of one component, kept as long as it stays. */
interface Seat {
  kind: PlanComponent['kind']
  type: string
  channel: number
  counters: number
}

export interface Wired {
  graph: GraphSpec
  bridge: BridgeSpec
}

export class Wiring {
  private readonly channels: NumberPool
  private readonly blocks: NumberPool
  private seats = new Map<string, Seat>()
  private readonly letters: Seat
  private pending: Map<string, Seat> | null = null
  /** Taken out, but their rings are still being emptied: their numbers are in use. */
  private leaving: Seat[] = []

  constructor(channels: NumberPool, blocks: NumberPool) {
    this.channels = channels
    this.blocks = blocks
    this.letters = { kind: 'emitter', type: 'topic', channel: channels.take(), counters: blocks.take() }
  }

  /** Counter block of each component; of a split operator, of each instance under the name of its unit. */
  counters(): Map<string, number> {
    return new Map([...this.seats].map(([component, seat]) => [component, seat.counters]))
  }

  /** Blocks of the plan that was wired last, accepted or not. */
  pendingCounters(): number[] {
    return [...(this.pending ?? this.seats).values()].map((seat) => seat.counters)
  }

  lettersCounters(): number {
    return this.letters.counters
  }

  /** Numbers for a plan: components that stay keep theirs. `accept` or `reject` must follow. */
  wire(plan: Plan, tenant: Tenant): Wired {
    const seats = new Map<string, Seat>()
    for (const component of plan.components) {
      for (const name of namesOf(component)) seats.set(name, this.seatFor(component, name))
    }
    this.pending = seats
    const sources = plan.components.filter((c): c is PlanSource => c.kind === 'source')
    const operators = inOrder(plan)
    const emitters = plan.components.filter((c): c is PlanEmitter => c.kind === 'emitter')
    const portsOf = (component: string): string[] => operators.find((o) => o.id === component)?.ports ?? ['out']
    const deadLetters = { channel: this.letters.channel, counters: this.letters.counters }
    const bridge: BridgeSpec = {
      tenant: plan.tenant,
      id: plan.id,
      revision: plan.revision,
      delivery: plan.delivery,
      checkpointEveryMs: plan.checkpointEveryMs,
      sources: sources.map((source, index) => ({
        component: source.id,
        type: source.type,
        settings: source.settings,
        index,
        ...numbersOf(seats, source.id),
      })),
      operators: operators.flatMap((operator) => [...new Set([operator.id, ...namesOf(operator)])]),
      emitters: emitters.map((emitter) => ({
        component: emitter.id,
        type: emitter.type,
        settings: emitter.settings,
        ...numbersOf(seats, emitter.id),
      })),
      deadLetters,
      startFrom: plan.startFrom,
      forkOf: plan.forkOf,
      fresh: plan.fresh,
      tenantIndex: tenant.index,
      grants: tenant.spec.grants,
    }
    const graph: GraphSpec = {
      tenant: plan.tenant,
      tenantIndex: tenant.index,
      id: plan.id,
      delivery: plan.delivery,
      sources: bridge.sources.map((source) => ({
        component: source.component,
        topic: topicOfSource(bridge, source),
        channel: source.channel,
        counters: source.counters,
      })),
      operators: operators.flatMap((operator) => unitsOf(operator, seats, portsOf)),
      splits: operators.filter(isSplit).map((operator) => ({
        component: operator.id,
        digest: operator.digest,
        ports: operator.ports.length,
        edges: edgesOf(operator.from, portsOf),
        by: operator.partitionBy!,
        instances: operator.parallelism!,
      })),
      emitters: emitters.map((emitter) => ({
        component: emitter.id,
        edges: edgesOf(emitter.from, portsOf),
        capacityBytes: EDGE_BYTES,
        ...numbersOf(seats, emitter.id),
      })),
      deadLetters,
    }
    return { graph, bridge }
  }

  /** The wired plan runs. @param live in place of the one before, whose emitters still deliver: `left` gives those back */
  accept(live: boolean): void {
    const before = this.seats
    this.seats = this.pending ?? before
    this.pending = null
    if (!live) for (const seat of this.leaving.splice(0)) this.giveBack(seat)
    for (const [component, seat] of before) {
      if (this.seats.get(component) === seat) continue
      if (live && seat.kind === 'emitter' && seat.channel >= 0) this.leaving.push(seat)
      else this.giveBack(seat)
    }
  }

  /** An emitter that was taken out has delivered its last record. */
  left(channel: number): void {
    const index = this.leaving.findIndex((seat) => seat.channel === channel)
    if (index >= 0) this.giveBack(this.leaving.splice(index, 1)[0]!)
  }

  /** It does not. */
  reject(): void {
    for (const [component, seat] of this.pending ?? []) if (this.seats.get(component) !== seat) this.giveBack(seat)
    this.pending = null
  }

  free(): void {
    for (const seat of [...this.seats.values(), ...this.leaving, this.letters]) this.giveBack(seat)
    this.seats = new Map()
    this.leaving = []
  }

  private seatFor(component: PlanComponent, name: string): Seat {
    const type = component.kind === 'operator' ? 'operator' : component.type
    const present = this.seats.get(name)
    if (present && present.kind === component.kind && present.type === type) return present
    // An emitter that only counts needs no ring: the compute worker does it.
    const local = component.kind === 'operator' || (component.kind === 'emitter' && type === 'discard')
    return { kind: component.kind, type, channel: local ? -1 : this.channels.take(), counters: this.blocks.take() }
  }

  private giveBack(seat: Seat): void {
    if (seat.channel >= 0) this.channels.giveBack(seat.channel)
    this.blocks.giveBack(seat.counters)
  }
}

/** Whether it has several instances, each for some of the keys. */
export function isSplit({ parallelism = 1 }: PlanOperator): boolean {
  return parallelism > 1
}

/** Of the units that do a component's work: of all but a split operator it is itself. */
function namesOf(component: PlanComponent): string[] {
  if (component.kind !== 'operator' || !isSplit(component)) return [component.id]
  return Array.from({ length: component.parallelism! }, (_, instance) => unitName(component.id, instance))
}

/** What runs of an operator: one instance, or several that each read a lane. */
function unitsOf(
  operator: PlanOperator,
  seats: Map<string, Seat>,
  portsOf: (component: string) => string[],
): OperatorSpec[] {
  const spec = {
    name: operator.name,
    version: operator.version,
    digest: operator.digest,
    ports: operator.ports.length,
    settings: JSON.stringify(operator.settings),
    emitWhen: operator.emitWhen,
    onError: operator.onError,
    limits: {
      fuelPerRecord: operator.limits.fuelPerRecord ?? FUEL_PER_RECORD,
      memoryBytes: (operator.limits.memoryMiB ?? MEMORY_MIB) << 20,
      outputBytesPerRecord: operator.limits.outputBytesPerRecord ?? OUTPUT_BYTES_PER_RECORD,
    },
  }
  return namesOf(operator).map((component, instance) => {
    const { counters } = seats.get(component)!
    if (!isSplit(operator)) return { ...spec, component, edges: edgesOf(operator.from, portsOf), counters }
    const lane = { from: laneName(operator.id, instance), portsLow: -1, portsHigh: -1 }
    return { ...spec, component, of: operator.id, edges: [lane], counters }
  })
}

function numbersOf(seats: Map<string, Seat>, component: string): { channel: number; counters: number } {
  const { channel, counters } = seats.get(component)!
  return { channel, counters }
}

/** One edge per component that is read, with the ports as bits. */
function edgesOf(from: PlanEdge[], portsOf: (component: string) => string[]): EdgeSpec[] {
  const edges = new Map<string, EdgeSpec>()
  for (const edge of from) {
    const port = portsOf(edge.component).indexOf(edge.port)
    if (port < 0) throw new SpqrError('INVALID_DOCUMENT', `"${edge.component}" has no port "${edge.port}"`)
    const spec = edges.get(edge.component) ?? { from: edge.component, portsLow: 0, portsHigh: 0 }
    if (port < 32) spec.portsLow |= 1 << port
    else spec.portsHigh |= 1 << (port - 32)
    if (edge.capacityKiB !== undefined) spec.capacityBytes = edge.capacityKiB << 10
    if (edge.whenFull !== undefined) spec.whenFull = edge.whenFull
    edges.set(edge.component, spec)
  }
  return [...edges.values()]
}

/** Operators, each after those it reads from. */
function inOrder(plan: Plan): PlanOperator[] {
  const operators = new Map(
    plan.components.filter((c): c is PlanOperator => c.kind === 'operator').map((c) => [c.id, c] as const),
  )
  const ordered: PlanOperator[] = []
  const seen = new Set<string>()
  const visit = (operator: PlanOperator): void => {
    if (seen.has(operator.id)) return
    seen.add(operator.id)
    for (const edge of operator.from) {
      const before = operators.get(edge.component)
      if (before) visit(before)
    }
    ordered.push(operator)
  }
  for (const operator of operators.values()) visit(operator)
  return ordered
}
