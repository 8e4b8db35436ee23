// What it costs to split an operator by key on its one thread: events through a ring, the operator, and a count behind it, in
// one instance and in several, in turns. Records per second of CPU time.

import type { PlanOperator } from '../../schemas/plan.ts'
import { shippedWasm } from '../support/guest.ts'
import { loaded, PROBE_PORTS, probe, type TestModule } from '../support/probe-operator.ts'
import { SplitDriver, splitPlan } from '../support/split-driver.ts'
import { emitter } from '../support/test-host.ts'
import { shopEvents } from './events.ts'
import { isShort, median, type Row, spread } from './row.ts'

const ROUNDS = isShort ? 2 : 15
/** Every instance has its share of the code optimised by its own calls. */
const WARM_UP = isShort ? 1 : 15
/** Of a CPU-heavy operator: steps of its loop for each record. */
const STEPS = 20_000

interface Work {
  name: string
  module: TestModule
  operator: Partial<PlanOperator>
  partitionBy: string
  records: Parameters<SplitDriver['feed']>[1]
  /** How often a round gives them. */
  times: number
}

export async function run(): Promise<Row[]> {
  const events = shopEvents(4000).map((event) => JSON.stringify(event))
  const keys = Array.from({ length: 500 }, (_, n) => Buffer.from(`key ${n}`))
  const aggregate = { groupBy: 'product.id', fields: [{ path: 'product.price', as: 'revenue', fn: 'sum' }] }
  const works: Work[] = [
    {
      name: 'an operator of 20,000 steps a record',
      module: await probe(),
      operator: { ports: PROBE_PORTS },
      partitionBy: 'key',
      records: keys.map((key) => ({ key, value: Buffer.from(`spin:${STEPS}`), timestamp: 1 })),
      times: 4,
    },
    {
      name: 'json-aggregate, 250 B events',
      module: await loaded(shippedWasm('json-aggregate')),
      operator: { settings: aggregate },
      partitionBy: 'product.id',
      records: events,
      times: 10,
    },
  ]
  return works.flatMap((work) => [2, 8].map((instances) => compare(work, instances)))
}

function compare(work: Work, instances: number): Row {
  const one = driverOf(work, {})
  const several = driverOf(work, { partitionBy: work.partitionBy, parallelism: instances })
  const rates = { one: [] as number[], several: [] as number[] }
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    const single = rateOf(one, work)
    const split = rateOf(several, work)
    if (round < WARM_UP) continue
    rates.one.push(single)
    rates.several.push(split)
  }
  const [before, value] = [median(rates.one), median(rates.several)]
  return {
    name: `${work.name}: parallelism ${instances}`,
    value,
    unit: 'records/s of CPU',
    baseline: { name: 'parallelism 1', value: before },
    ratio: value / before,
    note: `one thread; ${spread(rates.several, 0)}`,
  }
}

function driverOf({ module, operator }: Work, more: Partial<PlanOperator>): SplitDriver {
  const [source, op] = splitPlan(module, operator.ports ?? ['out'], { ...operator, ...more })
  return SplitDriver.start([source!, op!, emitter('count', 'discard', ['op'])], [module])
}

function rateOf(driver: SplitDriver, { records, times }: Work): number {
  const before = process.cpuUsage()
  for (let i = 0; i < times; i++) driver.feed('in', records)
  const { user, system } = process.cpuUsage(before)
  return (records.length * times) / ((user + system) / 1e6)
}
