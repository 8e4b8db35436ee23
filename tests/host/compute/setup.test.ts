// Settings that do not end within a slice: given elsewhere, and nothing else is different.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ChangeResult, GraphSpec, OperatorSpec } from '../../../host/compute/messages.ts'
import type { SpqrError } from '../../../schemas/errors.ts'
import { until } from '../../support/bridge-driver.ts'
import { ComputeDriver, edge, graphOf, operator } from '../../support/compute-driver.ts'
import { compiledWasm, loaded, type TestModule } from '../../support/probe-operator.ts'
import { TrialThread } from '../../support/trial-thread.ts'

/** Counts its records; its settings take so many `steps` before they hold. */
const COUNTS = `import { Operator, Settings, Change, Record, Emitter, log, register } from 'spqr'
class Counts extends Operator {
  count: i32 = 0
  prefix: string = ''
  x: i32 = 0
  configure(settings: Settings): Change {
    const steps = <i32>settings.i64('steps')
    this.prefix = settings.str('prefix')
    for (let i = 0; steps < 0 || i < steps; i++) this.x = this.x * 31 + i
    if (steps > 0) log.info('after ' + steps.toString())
    if (settings.bool('refuse')) throw new Error('refused')
    if (!settings.bool('reset')) return Change.Keep
    this.count = 0
    return Change.Reset
  }
  process(record: Record, out: Emitter): void { this.count++; out.write(this.prefix + this.count.toString()) }
}
register(new Counts())
`
/** More than a slice, less than the budget. */
const LONG = 10_000_000

const threads: TrialThread[] = []
const setup = suite('settings that take long')
setup.after.each(async () => {
  for (const thread of threads.splice(0)) await thread.stop()
})

let module: Promise<TestModule> | undefined
const counts = (): Promise<TestModule> => {
  module ??= compiledWasm(COUNTS).then(({ wasm }) => loaded(wasm))
  return module
}

/** `in → a → b → out`, and a thread for what takes long. */
async function chain() {
  const of = await counts()
  const thread = new TrialThread()
  threads.push(thread)
  const operators = [operator('a', of.digest, [edge('in')]), operator('b', of.digest, [edge('a')])]
  const graph = graphOf(['in'], operators, { out: [edge('b')] })
  return { driver: new ComputeDriver(graph, [of], [], thread.trials), here: new ComputeDriver(graph, [of]), thread }
}

function changed({ pipeline }: ComputeDriver, settings: Record<string, object>): GraphSpec {
  const of = (spec: OperatorSpec): OperatorSpec => {
    const own = settings[spec.component]
    return own ? { ...spec, settings: JSON.stringify(own) } : spec
  }
  return { ...pipeline.graph, operators: pipeline.graph.operators.map(of) }
}

setup('hold from a record on that the answer names, with the state as it was', async () => {
  const { driver, here } = await chain()
  for (const one of [driver, here]) one.feed('in', ['x', 'x'])
  const long = { b: { prefix: 'new ', steps: LONG } }
  let changes: ChangeResult[] | undefined
  driver.pipeline.changeWherever(changed(driver, long), false, (outcome) => (changes = outcome as ChangeResult[]))
  // What comes meanwhile waits in front of it; the one before it goes on.
  driver.feed('in', ['x', 'x']).barrier(1, 'in')
  assert.is(changes, undefined)
  assert.equal(driver.shown('out'), ['1', '2'])
  assert.is(driver.counters('a').recordsOut, 4)
  await until(() => {
    driver.trials.take()
    return changes !== undefined
  }, 'the change is not over')
  assert.equal(driver.settle().shown('out'), ['1', '2', 'new 3', 'new 4', '<barrier 1>'])
  assert.equal(changes, [{ component: 'b', sequence: 3, stateReset: false }])
  assert.equal(here.pipeline.change(changed(here, long), false), changes)
  here.feed('in', ['x', 'x']).barrier(1, 'in')
  assert.equal(here.shown('out'), driver.shown('out'))
  assert.equal(driver.node('b').image().memory, here.node('b').image().memory)
  assert.is(driver.counters('b').fuelUsed, here.counters('b').fuelUsed)
  const lines = driver.events.filter((event) => event.type === 'event').map(({ text }) => text)
  assert.equal(lines, [`after ${LONG}`])
})

setup('that are refused there leave what ran, also what had taken its own', async () => {
  const { driver } = await chain()
  driver.feed('in', ['x'])
  const refused = { a: { prefix: 'a' }, b: { prefix: 'new ', steps: LONG, refuse: true } }
  const thrown = await driver.changeWherever(changed(driver, refused)).catch((error: SpqrError) => error)
  assert.match((thrown as SpqrError).message, /Operator "b" refuses its settings: refused/)
  assert.equal(driver.feed('in', ['x']).shown('out'), ['1', '2'])
  assert.equal(
    driver.pipeline.graph.operators.map(({ settings }) => settings),
    ['{}', '{}'],
  )
})

setup('of several operators hold all at once', async () => {
  const { driver } = await chain()
  driver.feed('in', ['x'])
  const both = { a: { prefix: 'a', steps: 1 }, b: { prefix: 'b', steps: LONG } }
  const changes = await driver.changeWherever(changed(driver, both))
  assert.equal(
    changes.map(({ component, sequence }) => [component, sequence]),
    [
      ['a', 2],
      ['b', 2],
    ],
  )
  const refused = { a: { prefix: 'c', steps: LONG }, b: { prefix: 'd', refuse: true } }
  const thrown = await driver.changeWherever(changed(driver, refused)).catch((error: SpqrError) => error)
  assert.match((thrown as SpqrError).message, /Operator "b" refuses/)
  assert.equal(driver.feed('in', ['x']).shown('out'), ['1', 'b2'])
})

setup('share one slice: many that are short alone do not add up on the worker', async () => {
  const of = await counts()
  const thread = new TrialThread()
  threads.push(thread)
  const ids = Array.from({ length: 12 }, (_, i) => `o${i}`)
  const operators = ids.map((id, i) => operator(id, of.digest, [edge(i === 0 ? 'in' : ids[i - 1]!)]))
  const driver = new ComputeDriver(graphOf(['in'], operators, { out: [edge(ids.at(-1)!)] }), [of], [], thread.trials)
  const settings = Object.fromEntries(ids.map((id) => [id, { prefix: 'n', steps: LONG / 20 }]))
  let isOver = false
  driver.pipeline.changeWherever(changed(driver, settings), false, () => (isOver = true))
  assert.not(isOver)
  await until(() => {
    driver.trials.take()
    return isOver
  }, 'the change is not over')
  assert.equal(driver.feed('in', ['x']).shown('out'), ['n1'])
  assert.ok(driver.fuelTaken > 0)
})

setup('that begin the state anew are refused where it is to be kept', async () => {
  const { driver } = await chain()
  driver.feed('in', ['x'])
  const reset = changed(driver, { a: { steps: LONG, reset: true } })
  const thrown = await driver.changeWherever(reset, true).catch((error: SpqrError) => error)
  assert.is((thrown as SpqrError).code, 'INVALID_STATE')
  assert.equal(driver.feed('in', ['x']).shown('out'), ['1', '2'])
  const [change] = await driver.changeWherever(reset)
  assert.is(change!.stateReset, true)
  assert.equal(driver.node('a').sequence, 2)
})

setup('are asked again of another thread when theirs ends', async () => {
  const { driver, thread } = await chain()
  let changes: ChangeResult[] | Error | undefined
  const graph = changed(driver, { a: { steps: LONG }, b: { prefix: 'new ' } })
  driver.pipeline.changeWherever(graph, false, (outcome) => (changes = outcome))
  thread.restart()
  await until(() => {
    driver.trials.take()
    return changes !== undefined
  }, 'the change is not over')
  assert.equal(driver.feed('in', ['x']).shown('out'), ['new 1'])
})

setup('of what is dropped meanwhile are refused, once', async () => {
  const { driver } = await chain()
  const outcomes: (ChangeResult[] | Error)[] = []
  driver.pipeline.changeWherever(changed(driver, { a: { steps: -1 } }), false, (outcome) => outcomes.push(outcome))
  driver.pipeline.drop()
  assert.is((outcomes[0] as SpqrError).code, 'INVALID_STATE')
  driver.trials.take()
  assert.is(outcomes.length, 1)
})

setup('that were short again are given on the worker again', async () => {
  const { driver } = await chain()
  await driver.changeWherever(changed(driver, { a: { steps: LONG } }))
  await driver.changeWherever(changed(driver, { a: { steps: 1 } }))
  const before = driver.fuelTaken
  let changes: ChangeResult[] | Error | undefined
  driver.pipeline.changeWherever(changed(driver, { a: { steps: 2 } }), false, (outcome) => (changes = outcome))
  assert.equal(changes, [{ component: 'a', sequence: 1, stateReset: false }])
  assert.is(driver.fuelTaken, before)
})

setup.run()
