// Calls that do not end within their slice: made on the trial thread, and nothing else is different.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LongSetups } from '../../../host/compute/setup.ts'
import { until } from '../../support/bridge-driver.ts'
import { seeded } from '../../support/client.ts'
import { ComputeDriver, edge, graphOf, operator } from '../../support/compute-driver.ts'
import { compiledWasm, loaded, PROBE_PORTS, probe, SLOW_START, type TestModule } from '../../support/probe-operator.ts'
import { TrialThread } from '../../support/trial-thread.ts'

/** More than a slice, less than a record's budget. */
const HEAVY = 'spin:3000000'

const threads: TrialThread[] = []
const trials = suite('Trials')

trials.after.each(async () => {
  for (const thread of threads.splice(0)) await thread.stop()
})

function graph(module: TestModule, more: Parameters<typeof operator>[3] = {}) {
  return graphOf(['in'], [operator('op', module.digest, [edge('in')], more)], { out: [edge('op')] })
}

/** A pipeline whose long calls are made elsewhere. */
async function apart(more: Parameters<typeof operator>[3] = {}, module?: TestModule) {
  const of = module ?? (await probe())
  const thread = new TrialThread()
  threads.push(thread)
  const driver = new ComputeDriver(graph(of, more), [of], [], thread.trials)
  return { driver, thread, module: of }
}

/** Lets everything flow until this many records, or marks, have come out. */
async function comes(driver: ComputeDriver, shown: number, letters = 0): Promise<void> {
  await until(() => {
    driver.trials.take()
    driver.settle()
    return driver.shown('out').length >= shown && driver.letters().length >= letters
  }, 'the trial is not over')
}

trials('give a record its whole budget, and what it did is as if it had been done here', async () => {
  const { driver, module } = await apart()
  const here = new ComputeDriver(graph(module), [module])
  const records = ['a', HEAVY, 'b', 'side', HEAVY, HEAVY, 'a', 'c']
  for (const one of [driver, here]) one.feed('in', records)
  await comes(driver, here.shown('out').length)
  assert.equal(driver.shown('out'), here.shown('out'))
  assert.equal(driver.node('op').image().memory, here.node('op').image().memory)
  assert.is(driver.counters('op').errors, 0)
  assert.is(driver.counters('op').recordsIn, records.length)
  assert.ok(driver.fuelTaken > 0)
})

trials('are where a record without end is stopped: it alone is a dead letter', async () => {
  const { driver } = await apart({ limits: { fuelPerRecord: 50_000_000 } })
  driver.feed('in', ['a', 'spin', 'b'])
  await comes(driver, 2, 1)
  assert.equal(driver.shown('out'), ['a#1', 'b#2'])
  assert.equal(
    driver.letters().map(({ code, record }) => [code, record.value]),
    [['FUEL_EXHAUSTED', 'spin']],
  )
  assert.ok(driver.fuelTaken >= 50_000_000 && driver.fuelTaken < 51_000_000, `${driver.fuelTaken}`)
})

trials('leave the worker to others: it never runs longer than a slice', async () => {
  const { driver } = await apart()
  const { limits } = driver.node('op').instance
  assert.ok(limits.fuelPerRecord <= 10_000_000 && limits.fuelPerCall <= 10_000_000)
  driver.feed('in', ['spin'])
  assert.equal(driver.letters(), [])
  assert.is(driver.settle().shown('out').length, 0)
  await comes(driver, 0, 1)
})

trials('do not change what a record costs', async () => {
  const { driver, module } = await apart()
  const here = new ComputeDriver(graph(module), [module])
  const records = [HEAVY, HEAVY, 'a', HEAVY, 'b']
  for (const one of [driver, here]) {
    for (const [i, record] of records.entries()) {
      one.feed('in', [record]).barrier(i + 1, 'in')
      await until(() => {
        one.trials.take()
        one.settle()
        return one.shown('out').includes(`<barrier ${i + 1}>`)
      }, 'the record is not through')
    }
  }
  assert.is(driver.counters('op').fuelUsed, here.counters('op').fuelUsed)
})

trials('end the same way as here whatever the operator does', async () => {
  const { driver, module } = await apart({ limits: { fuelPerRecord: 100_000_000 } })
  const here = new ComputeDriver(graph(module, { limits: { fuelPerRecord: 100_000_000 } }), [module])
  const kinds = [HEAVY, 'spin', 'trap', 'reject', 'many:3', 'log:200', 'hold:70000', 'a', 'b', 'headers', 'random']
  const random = seeded(7)
  const records = Array.from({ length: 40 }, () => kinds[random(kinds.length)]!).filter((r) => r !== 'random')
  for (const one of [driver, here]) one.feed('in', records)
  await comes(driver, here.shown('out').length, here.letters().length)
  assert.equal(driver.shown('out'), here.shown('out'))
  const told = (one: ComputeDriver) => one.letters().map(({ code, message, record }) => [code, message, record.value])
  assert.equal(told(driver), told(here))
  assert.equal(driver.counters('op').recordsOut, here.counters('op').recordsOut)
  assert.equal(driver.counters('op').errors, here.counters('op').errors)
})

trials('hold back a barrier until they are judged', async () => {
  const { driver } = await apart()
  driver.feed('in', [HEAVY, 'a']).barrier(1, 'in')
  await comes(driver, 2)
  assert.equal(driver.shown('out'), ['a#2', '<barrier 1>'])
  assert.is(driver.images.length, 1)
})

trials('are begun again under new settings when these change meanwhile', async () => {
  const { driver } = await apart()
  driver.feed('in', [HEAVY, 'a'])
  const before = driver.pipeline.graph
  const changed = { ...before, operators: before.operators.map((o) => ({ ...o, settings: '{"prefix":"new "}' })) }
  driver.pipeline.change(changed, false)
  await comes(driver, 1)
  driver.trials.take()
  assert.equal(driver.settle().shown('out'), ['new a#2'])
  assert.is(driver.counters('op').recordsIn, 2)
})

trials('are begun again by another version of the operator', async () => {
  const { driver, module } = await apart()
  driver.feed('in', [HEAVY, 'a'])
  const before = driver.pipeline.graph
  const changed = { ...before, operators: before.operators.map((o) => ({ ...o, ports: 2 })) }
  assert.is(module.digest, changed.operators[0]!.digest)
  driver.pipeline.change(changed, false)
  await comes(driver, 1)
  assert.equal(driver.shown('out'), ['a#2'])
})

trials('are asked again of another thread when theirs ends', async () => {
  const { driver, thread } = await apart()
  driver.feed('in', [HEAVY, 'a'])
  thread.restart()
  await comes(driver, 1)
  assert.equal(driver.shown('out'), ['a#2'])
  assert.is(driver.counters('op').errors, 0)
})

trials('give a flush its budget too, and an end waits for it', async () => {
  const source = `import { Operator, Record, Emitter, register } from 'spqr'
class Long extends Operator {
  count: i32 = 0
  process(record: Record, out: Emitter): void { this.count++ }
  flush(out: Emitter): void {
    let x = 0
    for (let i = 0; i < 10000000; i++) x = x * 31 + i
    out.write(this.count.toString() + (x == 1 ? '!' : ''))
  }
}
register(new Long())
`
  const module = await loaded((await compiledWasm(source, PROBE_PORTS)).wasm)
  const { driver } = await apart({ emitWhen: { records: 2 } }, module)
  driver.feed('in', ['a', 'b', 'c']).end('in')
  assert.equal(driver.shown('out'), [])
  await comes(driver, 3)
  assert.equal(driver.shown('out'), ['2', '3', '<end>'])
})

trials(
  'of a pipeline’s start: what takes long is made elsewhere, and what never ends refuses the creation',
  async () => {
    const module = await loaded((await compiledWasm(SLOW_START, PROBE_PORTS)).wasm)
    const thread = new TrialThread()
    threads.push(thread)
    const from = (steps: number) => graph(module, { settings: `{"steps":${steps}}` })
    const here = new ComputeDriver(from(10_000_000), [module]).feed('in', ['a'])
    assert.throws(
      () => new ComputeDriver(from(10_000_000), [module], [], thread.trials),
      (thrown: unknown) => thrown instanceof LongSetups,
    )
    const driver = await ComputeDriver.started(from(10_000_000), [module], thread.trials)
    assert.equal(driver.feed('in', ['a']).shown('out'), here.shown('out'))
    const refused = await ComputeDriver.started(from(-1), [module], thread.trials).catch((thrown: Error) => thrown)
    assert.match((refused as Error).message, /refuses its settings: .* takes more work than the 2\d{9} fuel/)
  },
)

trials('of what was dropped are nobody’s', async () => {
  const { driver } = await apart()
  driver.feed('in', ['spin'])
  driver.pipeline.drop()
  driver.trials.take()
  assert.equal(driver.letters(), [])
})

trials.run()
