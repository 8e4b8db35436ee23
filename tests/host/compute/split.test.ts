// An operator that is split by key: the same results as one instance gives, one state at a barrier, changes in all
// instances at one record.

import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KeyLanes } from '../../../host/record/key-lanes.ts'
import type { PlanOperator } from '../../../schemas/plan.ts'
import { shippedWasm } from '../../support/guest.ts'
import { loaded, PROBE_PORTS, probe } from '../../support/probe-operator.ts'
import { laneOf, SplitDriver, splitPlan } from '../../support/split-driver.ts'
import { emitter, source } from '../../support/test-host.ts'

const probed = await probe()
const aggregate = await loaded(shippedWasm('json-aggregate'))
const dedupe = await loaded(shippedWasm('dedupe'))

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i))
const byKey = (n: number): { key: Buffer; value: Buffer; timestamp: number } => ({
  key: Buffer.from(String(n % 50)),
  value: Buffer.from(String(n)),
  timestamp: 1,
})
const keyed = (from: number, to: number): ReturnType<typeof byKey>[] => numbers(from, to).map((n) => byKey(Number(n)))
const plain = (text: string): string => text.replace(/#.*/, '')

function probeSplit(instances: number, more: Partial<PlanOperator> = {}): SplitDriver {
  return SplitDriver.start(probePlan(instances, more), [probed])
}

function probePlan(instances: number, more: Partial<PlanOperator> = {}): ReturnType<typeof splitPlan> {
  return splitPlan(probed, PROBE_PORTS, { partitionBy: 'key', parallelism: instances, ...more })
}

const flow = suite('a split operator')

flow('gives every record to the one instance of its key, in order', () => {
  const driver = probeSplit(3).feed('in', keyed(0, 4000)).feed('in', keyed(4000, 9000))
  const lanes = new KeyLanes('key', 3)
  const counts = [0, 0, 0]
  const expected = new Map(
    keyed(0, 9000).map((record) => [record.value.toString(), ++counts[laneOf(lanes, record)]!] as const),
  )
  const shown = driver.shown('out')
  assert.is(shown.length, 9000)
  for (const text of shown) {
    const [n, count] = text.split('#')
    if (Number(count) !== expected.get(n!)) assert.unreachable(`${text}, not #${expected.get(n!)}`)
  }
  const byLane = [0, 1, 2].map((i) => driver.counters(`op#${i}`).recordsIn)
  assert.equal(byLane, counts)
  for (const count of counts) assert.ok(count > 0)
})

flow('numbers what leaves it as one, over all ports, from 1 without a gap', () => {
  const plan = [...probePlan(2), emitter('side', 'topic', ['op.side'])]
  const driver = SplitDriver.start(plan, [probed])
  driver.feed('in', keyed(0, 100))
  driver.feed(
    'in',
    keyed(0, 50).map((record) => ({ ...record, value: Buffer.from('both') })),
  )
  const sequences = [...driver.records('out'), ...driver.records('side')].map((record) => record.sequence)
  assert.equal(
    sequences.sort((a, b) => a! - b!),
    numbers(1, 201).map(Number),
  )
  const out = driver.records('out').map((record) => record.sequence!)
  assert.equal(
    out,
    [...out].sort((a, b) => a - b),
  )
})

flow('waits where an emitter takes nothing, and loses nothing', () => {
  const driver = probeSplit(4)
  driver.stuck.add(driver.channelOf('out'))
  const large = 'z'.repeat(20_000)
  const records = keyed(0, 200).map((r) => ({ ...r, value: Buffer.from(`${r.value}${large}`) }))
  driver.feed('in', records.slice(0, 120))
  assert.ok(driver.shown('out').length < 120)
  driver.stuck.clear()
  driver.settle().feed('in', records.slice(120))
  assert.equal(new Set(driver.shown('out').map(plain)).size, 200)
})

flow('is one component in the edges', () => {
  const driver = probeSplit(3).feed('in', keyed(0, 100))
  assert.equal(
    driver.pipeline.edges().map(({ from, to, depth }) => [from, to, depth]),
    [
      ['in', 'op', 0],
      ['op', 'out', 0],
    ],
  )
})

flow('reads and is read over edges with a capacity and a policy', () => {
  const plan = probePlan(3, { from: [{ component: 'in', port: 'out', capacityKiB: 16, whenFull: 'block' }] })
  const dropping = { component: 'op', port: 'out', capacityKiB: 16, whenFull: 'drop-oldest' as const }
  const some = { ...emitter('some', 'topic', ['op']), from: [dropping] }
  const driver = SplitDriver.start([...plan, some], [probed])
  driver.stuck.add(driver.channelOf('some'))
  const large = Buffer.from('z'.repeat(10_000))
  driver.feed(
    'in',
    keyed(0, 400).map((record) => ({ ...record, value: large })),
  )
  driver.barrier(1, 'in').stuck.clear()
  driver.settle().end('in')
  assert.is(driver.shown('out').filter((text) => text.startsWith('z')).length, 400)
  const { dropped } = driver.pipeline.edges().find(({ to }) => to === 'some')!
  const kept = driver.shown('some')
  assert.ok(dropped > 0)
  assert.is(kept.filter((text) => text.startsWith('z')).length, 400 - dropped)
  assert.equal(
    kept.filter((text) => text.startsWith('<')),
    ['<barrier 1>', '<end>'],
  )
  // Where it runs next it counts on.
  const next = SplitDriver.start([...plan, some], [probed])
  next.pipeline.countOn(driver.pipeline.edges())
  assert.is(next.pipeline.edges().find(({ to }) => to === 'some')!.dropped, dropped)
})

flow('is tapped as one, at ports too that nothing else reads', () => {
  const driver = probeSplit(3)
  driver.pipeline.tap(7, 'op', 1, 1)
  driver.feed(
    'in',
    keyed(0, 40).map((record, i) => (i % 4 ? record : { ...record, value: Buffer.from('side') })),
  )
  const tapped = driver.events.flatMap((event) => (event.type === 'tapped' ? [Buffer.from(event.frames)] : []))
  assert.is(Buffer.concat(tapped).toString().split('side').length - 1, 10)
  assert.is(driver.shown('out').length, 30)
})

flow('passes a barrier on once, when all instances have, with an image of each', () => {
  const driver = probeSplit(3).feed('in', keyed(0, 100)).barrier(5, 'in').feed('in', keyed(100, 150))
  const shown = driver.shown('out')
  assert.equal([shown.length, shown.indexOf('<barrier 5>')], [151, 100])
  const images = driver.images.map(({ epoch, image }) => [epoch, image.component])
  assert.equal(images.sort(), [
    [5, 'op'],
    [5, 'op#0'],
    [5, 'op#1'],
    [5, 'op#2'],
  ])
  const whole = driver.imagesAt(5).find((image) => image.component === 'op')!
  assert.equal([whole.sequence, whole.split], [100, { by: 'key', instances: 3 }])
  assert.equal(driver.sunk, [{ component: '', epoch: 5, end: false }])
})

flow('does nothing behind a barrier in one instance before all have passed it', () => {
  const driver = probeSplit(2, { emitWhen: { everyMs: 1000 } })
  driver.feed('in', keyed(0, 100))
  driver.stuck.add(driver.channelOf('out'))
  driver.feed('in', keyed(100, 200)).barrier(1, 'in').elapse()
  driver.stuck.clear()
  driver.settle().elapse()
  const shown = driver.shown('out')
  const before = shown.slice(0, shown.indexOf('<barrier 1>')).length
  assert.is(driver.imagesAt(1).find((image) => image.component === 'op')!.sequence, before)
})

flow('flushes each instance and ends when all have', () => {
  const driver = probeSplit(3).feed('in', keyed(0, 90)).end('in')
  const shown = driver.shown('out')
  assert.equal([shown.length, shown.at(-1)], [94, '<end>'])
  const totals = shown.filter((text) => text.startsWith('total')).map((text) => Number(text.slice(6)))
  assert.is(totals.length, 3)
  assert.is(
    totals.reduce((a, b) => a + b),
    90,
  )
  const ended = driver.images.filter(({ image }) => image.ended).map(({ image }) => image.component)
  assert.equal(ended.sort(), ['op', 'op#0', 'op#1', 'op#2'])
})

flow('goes on from its images with state, sequence and timers, and an ended one says so again', () => {
  const more = { emitWhen: { everyMs: 1000 } }
  const first = probeSplit(3, more).feed('in', keyed(0, 300)).barrier(1, 'in')
  const second = SplitDriver.start(probePlan(3, more), [probed], first.imagesAt(1))
  first.feed('in', keyed(300, 600))
  second.feed('in', keyed(300, 600))
  assert.equal(second.shown('out').sort(), first.shown('out').slice(301).sort())
  assert.is(second.records('out')[0]!.sequence, 301)
  const third = SplitDriver.start(probePlan(3, more), [probed], first.imagesAt(1)).elapse()
  assert.is(third.shown('out').filter((text) => text.startsWith('total')).length, 3)
  first.end('in')
  const ended = SplitDriver.start(probePlan(3, more), [probed], first.imagesAt(2)).settle()
  assert.equal(ended.shown('out'), ['<end>'])
})

flow('a poison record is one dead letter of the component, and its instance alone is undone', () => {
  const driver = probeSplit(3)
  const records = keyed(0, 200)
  records[77] = { ...byKey(77), value: Buffer.from('trap') }
  driver.feed('in', records)
  assert.is(driver.shown('out').length, 199)
  const letters = driver.letters() as unknown as { component: string; code: string; source: { offset: string } }[]
  assert.equal(
    letters.map(({ component, code, source }) => [component, code, source.offset]),
    [['op', 'OPERATOR_TRAP', '77']],
  )
})

flow('fails as a component, by the share of faults over all instances', () => {
  const driver = probeSplit(4, { onError: { do: 'dead-letter', stopAbove: 0.5 } })
  const traps = Array.from({ length: 10_200 }, (_, n) => ({
    ...byKey(n),
    value: Buffer.from(n % 5 < 3 ? 'reject' : 'x'),
  }))
  driver.feed('in', traps)
  assert.is(driver.failure?.component, 'op')
  const letters = driver.letters().length
  assert.ok(letters > 5_900 && letters < 6_200, String(letters))
})

flow('of an operator, between two others that are split as well', () => {
  const plan = [
    ...probePlan(2),
    ...probePlan(3)
      .slice(1, 2)
      .map((c) => ({ ...c, id: 'next', from: [{ component: 'op', port: 'out' }] }) as PlanOperator),
    emitter('end', 'topic', ['next']),
  ]
  const driver = SplitDriver.start(plan, [probed])
  driver.feed('in', keyed(0, 700)).barrier(1, 'in').end('in')
  assert.is(driver.shown('out').length, 700 + 1 + 2 + 1)
  assert.is(driver.shown('end').length, 700 + 1 + 2 + 3 + 1)
  assert.is(driver.shown('end').indexOf('<barrier 1>'), 700)
})

flow.run()

const change = suite('a change of a split operator')
const prefixed = (prefix: string, more: Partial<PlanOperator> = {}): ReturnType<typeof splitPlan> =>
  probePlan(3, { settings: { prefix }, ...more })

change('holds in all instances from the sequence that is told, with their state', () => {
  const driver = probeSplit(3).feed('in', keyed(0, 100))
  driver.stuck.add(driver.channelOf('out'))
  const large = Buffer.from('z'.repeat(30_000))
  // What is stuck in front of the emitter, in the instances and before them, is on both sides of the change.
  driver.feed(
    'in',
    keyed(0, 120).map((record) => ({ ...record, value: large })),
  )
  const [told, ...others] = driver.change(prefixed('new '))
  assert.equal([told!.component, told!.stateReset, others.length], ['op', false, 0])
  driver.stuck.clear()
  driver.settle().feed('in', keyed(100, 200))
  assert.is(driver.records('out').length, 320)
  for (const { sequence, value } of driver.records('out')) {
    const isNew = Buffer.from(value!).toString().startsWith('new ')
    if (isNew !== sequence! >= told!.sequence) assert.unreachable(`${sequence}, the change is from ${told!.sequence}`)
  }
  assert.ok(told!.sequence > 101 && told!.sequence < 220, String(told!.sequence))
  const counts = driver.shown('out').map((text) => Number(text.split('#')[1]))
  assert.ok(Math.max(...counts) > 50)
})

change('that is refused, or would start the state anew where it must stay, changes no instance', () => {
  const driver = probeSplit(3).feed('in', keyed(0, 30))
  assert.throws(() => driver.change(prefixed('refuse')), /"op" refuses its settings/)
  assert.throws(() => driver.change(probePlan(3, { settings: { reset: true } }), true), /Cannot change "op" and keep/)
  driver.feed('in', keyed(30, 60))
  const plainly = probeSplit(3).feed('in', keyed(0, 30)).feed('in', keyed(30, 60))
  assert.equal(driver.shown('out').sort(), plainly.shown('out').sort())
})

change('takes the component out, and puts it in, while the rest goes on', () => {
  const driver = probeSplit(3).feed('in', keyed(0, 30))
  const without = [probePlan(3)[0]!, emitter('out', 'topic', ['in'])]
  driver.change(without)
  driver.feed('in', keyed(30, 60))
  driver.change(probePlan(3))
  driver.feed('in', keyed(60, 90)).barrier(1, 'in')
  const shown = driver.shown('out')
  assert.equal(new Set(shown.map(plain)).size, 91)
  assert.equal(
    shown.slice(30, 60).every((text) => !text.includes('#')),
    true,
  )
})

interface Step {
  do: 'feed' | 'feed b' | 'barrier' | 'elapse' | 'hold' | 'go' | 'change'
  records: number
}

change('holds where it says, and a barrier has what it says before it, whatever happens in what order', () => {
  const steps = fc.array(
    fc.record<Step>({
      do: fc.constantFrom('feed', 'feed', 'feed b', 'barrier', 'elapse', 'hold', 'go', 'change', 'change'),
      records: fc.constantFrom(1, 7, 100, 700),
    }),
    { maxLength: 25 },
  )
  const padded = (record: ReturnType<typeof byKey>): ReturnType<typeof byKey> => ({
    ...record,
    value: Buffer.from(`${record.value}:${'z'.repeat(2000)}`),
  })
  const from = ['in', 'b'].map((component) => ({ component, port: 'out' }))
  const planOf = (instances: number, prefix: string): ReturnType<typeof splitPlan> => [
    source('b', 'topic'),
    ...probePlan(instances, { from, settings: { prefix }, emitWhen: { everyMs: 1000 } }),
  ]
  fc.assert(
    fc.property(steps, fc.integer({ min: 2, max: 4 }), (todo, instances) => {
      const driver = SplitDriver.start(planOf(instances, 'p0:'), [probed])
      const out = driver.channelOf('out')
      const changedAt: number[] = [1]
      let fed = 0
      let epoch = 0
      let heldBack = 0
      for (const step of todo) {
        if (step.do === 'feed' || step.do === 'feed b') {
          // A little more than the emitter's ring holds; much more would never find room.
          const count = Math.min(step.records, driver.stuck.has(out) ? 700 - heldBack : 2000 - fed)
          if (driver.stuck.has(out)) heldBack += count
          driver.feed(step.do === 'feed' ? 'in' : 'b', keyed(fed, fed + count).map(padded))
          fed += count
        } else if (step.do === 'barrier') driver.barrier(++epoch, 'in', 'b')
        else if (step.do === 'elapse') driver.elapse()
        else if (step.do === 'hold') driver.stuck.add(out)
        else if (step.do === 'go') {
          driver.stuck.delete(out)
          heldBack = 0
        } else changedAt.push(driver.change(planOf(instances, `p${changedAt.length}:`))[0]!.sequence)
        driver.settle()
      }
      driver.stuck.clear()
      driver.settle().end('in', 'b')
      const values = new Set<string>()
      const last = new Map<string, number>()
      let sequence = 0
      const records = driver.records('out')
      for (const text of driver.shown('out')) {
        const mark = /^<barrier (\d+)>$/.exec(text)
        if (mark) {
          const isWhole = ({ epoch: its, image }: (typeof driver.images)[number]): boolean =>
            its === Number(mark[1]) && image.split !== undefined && !image.ended
          assert.is(driver.images.find(isWhole)?.image.sequence, sequence, text)
        }
        if (text.startsWith('<')) continue
        assert.is(records[sequence++]!.sequence, sequence)
        const [, prefix, n, count] = /^p(\d+):(\d+):z*#(\d+)$/.exec(text) ?? []
        if (n === undefined) continue
        const since = changedAt.findLastIndex((from) => from <= sequence)
        assert.is(changedAt[Number(prefix)], changedAt[since], `${text} is number ${sequence}, changes at ${changedAt}`)
        assert.ok(Number(count) > (last.get(String(Number(n) % 50)) ?? 0), text)
        last.set(String(Number(n) % 50), Number(count))
        values.add(n)
      }
      assert.is(values.size, fed)
    }),
    { numRuns: 40 },
  )
})

change.run()

const same = suite('split and not split')

interface Event {
  k?: string | number | null
  n: number
}
const event: fc.Arbitrary<Event> = fc.record(
  {
    k: fc.oneof(
      fc.constantFrom('a', 'b', 'é', '', '1', null),
      fc.integer({ min: -3, max: 30 }),
      fc.constantFrom(0.5, 1e300),
    ),
    n: fc.nat(9),
  },
  { requiredKeys: ['n'] },
)
const events = fc.array(fc.array(event, { maxLength: 60 }), { minLength: 1, maxLength: 6 })
const instances = fc.integer({ min: 2, max: 5 })

/** What comes out of batches with barriers between them, and from halfway on from the checkpoint there. */
function outcome(operator: Partial<PlanOperator>, module: typeof probed, batches: Event[][]): string[] {
  const components = splitPlan(module, operator.ports ?? ['out'], operator)
  let driver = SplitDriver.start(components, [module])
  const shown: string[] = []
  const half = batches.length >> 1
  batches.forEach((batch, i) => {
    driver.feed(
      'in',
      batch.map((one) => JSON.stringify(one)),
    )
    driver.barrier(i + 1, 'in')
    if (i !== half) return
    shown.push(...driver.shown('out'))
    driver = SplitDriver.start(components, [module], driver.imagesAt(i + 1))
  })
  driver.end('in')
  return [...shown, ...driver.shown('out')].filter((text) => !text.startsWith('<')).sort()
}

for (const [name, operator, module] of [
  [
    'aggregates by the same key',
    {
      settings: {
        groupBy: 'k',
        fields: [
          { as: 'count', fn: 'count' },
          { path: 'n', as: 'sum', fn: 'sum' },
          { path: 'n', as: 'all', fn: 'distinct' },
        ],
      },
      emitWhen: { everyMs: 1000 },
    },
    aggregate,
  ],
  ['dedupes by the same key', { settings: { by: 'k', capacity: 1_000_000 }, ports: ['out', 'duplicates'] }, dedupe],
] as [string, Partial<PlanOperator>, typeof probed][]) {
  same(`${name}, over a restart from a checkpoint`, () => {
    fc.assert(
      fc.property(events, instances, (batches, parallelism) => {
        const split = outcome({ ...operator, partitionBy: 'k', parallelism }, module, batches)
        assert.equal(split, outcome(operator, module, batches))
      }),
      { numRuns: 25 },
    )
  })
}

same.run()
