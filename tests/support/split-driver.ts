// A pipeline of the compute side from a plan, wired as a host does it: for operators that are split by key.

import type { GraphSpec, Image } from '../../host/compute/messages.ts'
import { Numbers } from '../../host/pipeline/numbers.ts'
import { Wiring } from '../../host/pipeline/wiring.ts'
import type { Tenant } from '../../host/quota/tenants.ts'
import type { KeyLanes } from '../../host/record/key-lanes.ts'
import { type PlainRecord, RecordBuffer } from '../../host/record/record.ts'
import type { PlanComponent, PlanOperator } from '../../schemas/plan.ts'
import { ComputeDriver } from './compute-driver.ts'
import type { TestModule } from './probe-operator.ts'
import { emitter, source } from './test-host.ts'

const TENANT: Tenant = { index: 0, spec: { id: 'default', quotas: {}, secrets: {} } }

/** `in` → `op` → `out`; what differs from the usual is given. */
export function splitPlan(module: TestModule, ports: string[], more: Partial<PlanOperator>): PlanComponent[] {
  const operator: PlanOperator = {
    kind: 'operator',
    id: 'op',
    name: 'probe',
    version: '1.0.0',
    digest: module.digest,
    ports,
    from: [{ component: 'in', port: 'out' }],
    settings: {},
    onError: { do: 'dead-letter', stopAbove: 0.5 },
    limits: {},
    permissions: [],
    ...more,
  }
  return [source('in', 'topic'), operator, emitter('out', 'topic', ['op'])]
}

export class SplitDriver extends ComputeDriver {
  readonly #wiring: Wiring

  static start(components: PlanComponent[], modules: TestModule[], images: Image[] = []): SplitDriver {
    const wiring = new Wiring(new Numbers('channels', 1000), new Numbers('blocks', 1000))
    return new SplitDriver(wiring, components, modules, images)
  }

  private constructor(wiring: Wiring, components: PlanComponent[], modules: TestModule[], images: Image[]) {
    super(graphFrom(wiring, components), modules, images)
    this.#wiring = wiring
  }

  change(components: PlanComponent[], keepState = false): ReturnType<ComputeDriver['pipeline']['change']> {
    return this.pipeline.change(graphFrom(this.#wiring, components), keepState)
  }

  /** The images of one epoch, of each unit the last. */
  imagesAt(epoch: number): Image[] {
    const units = new Map<string, Image>()
    for (const one of this.images) if (one.epoch === epoch || one.image.ended) units.set(one.image.component, one.image)
    return [...units.values()]
  }
}

function graphFrom(wiring: Wiring, components: PlanComponent[]): GraphSpec {
  const plan = {
    tenant: 'default',
    id: 'p',
    revision: 1,
    delivery: 'at-least-once' as const,
    checkpointEveryMs: 1000,
    isolation: 'thread' as const,
    components,
  }
  const { graph } = wiring.wire(plan, TENANT)
  wiring.accept(true)
  return graph
}

/** The lane of a record, by its key or its value. */
export function laneOf(lanes: KeyLanes, record: Partial<PlainRecord>): number {
  const buffer = new RecordBuffer(256)
  buffer.add({ timestamp: 0, ...record })
  return lanes.laneOf(buffer.bytes, new Int32Array(buffer.bytes.buffer), 0)
}
