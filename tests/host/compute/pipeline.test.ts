// A pipeline of the compute side, in one thread: batches, ports, barriers, ends, flushes, changes, poison.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { OperatorSpec } from '../../../host/compute/messages.ts'
import { ComputeDriver, edge, graphOf, operator } from '../../support/compute-driver.ts'
import { probe } from '../../support/probe-operator.ts'

const module = await probe()
const { digest } = module

function simple(more: Parameters<typeof operator>[3] = {}): ComputeDriver {
  const graph = graphOf(['in'], [operator('op', digest, [edge('in')], more)], { out: [edge('op')] })
  return new ComputeDriver(graph, [module])
}

/** Two sources into one operator. */
function joined(): ComputeDriver {
  const graph = graphOf(['a', 'b'], [operator('op', digest, [edge('a'), edge('b')])], { out: [edge('op')] })
  return new ComputeDriver(graph, [module])
}

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => String(from + i))
const seen = (driver: ComputeDriver, component = 'out'): string[] =>
  driver.shown(component).map((text) => text.replace(/#.*/, ''))

const flow = suite('records through a pipeline')

flow('leave in the order in which they came, numbered from 1 without a gap', () => {
  const driver = simple().feed('in', numbers(0, 5000)).feed('in', numbers(5000, 9000))
  assert.equal(seen(driver), numbers(0, 9000))
  assert.equal(
    driver.records('out').map((record) => record.sequence),
    numbers(1, 9001).map(Number),
  )
  const { recordsIn, recordsOut } = driver.counters('op')
  assert.equal([recordsIn, recordsOut], [9000, 9000])
})

flow('reach each of several consumers, whatever the others read', () => {
  const graph = graphOf(['in'], [operator('op', digest, [edge('in')])], { out: [edge('op')], raw: [edge('in')] })
  const driver = new ComputeDriver(graph, [module]).feed('in', numbers(0, 3000))
  assert.equal(seen(driver), numbers(0, 3000))
  assert.equal(seen(driver, 'raw'), numbers(0, 3000))
})

flow('leave by their port, and by several', () => {
  const emitters = { out: [edge('op', 0)], side: [edge('op', 1)], all: [edge('op', 0, 1)] }
  const graph = graphOf(['in'], [operator('op', digest, [edge('in')])], emitters)
  const driver = new ComputeDriver(graph, [module])
  driver.feed('in', ['x', 'side', 'both', 'y', 'side'])
  assert.equal(seen(driver), ['x', 'both', 'y'])
  assert.equal(seen(driver, 'side'), ['side', 'both', 'side'])
  assert.equal(seen(driver, 'all'), ['x', 'side', 'both', 'both', 'y', 'side'])
})

flow('that nobody listens for are left out, and have no sequence', () => {
  const driver = simple().feed('in', ['side', 'x', 'side', 'y'])
  assert.equal(
    driver.records('out').map((record) => record.sequence),
    [1, 2],
  )
})

flow('pass through a chain whose every stage is read by two', () => {
  const operators = [
    operator('one', digest, [edge('in')]),
    operator('two', digest, [edge('one')]),
    operator('three', digest, [edge('one'), edge('two')]),
  ]
  const driver = new ComputeDriver(graphOf(['in'], operators, { out: [edge('three')] }), [module])
  driver.feed('in', numbers(0, 700))
  assert.is(driver.records('out').length, 1400)
  assert.is(driver.counters('three').recordsIn, 1400)
})

flow('wait where an emitter takes nothing, and none is lost when it does again', () => {
  const driver = simple()
  driver.stuck.add(driver.channelOf('out'))
  const large = 'z'.repeat(20_000)
  const values = numbers(0, 60).map((n) => `${n}${large}`)
  driver.feed('in', values.slice(0, 50))
  driver.stuck.clear()
  driver.settle().feed('in', values.slice(50))
  assert.equal(seen(driver), values)
})

flow('of any size up to the largest grow the rings on their way', () => {
  const sizes = [1, 5_000, 100, 200_000, 3, 900_000, 17, 1_000_000]
  const limits = { fuelPerRecord: 2_000_000_000 }
  const driver = simple({ limits }).feed(
    'in',
    sizes.map((size) => 'v'.repeat(size)),
  )
  assert.equal(
    seen(driver).map((text) => text.length),
    sizes,
  )
})

flow.run()

const marks = suite('barriers and ends')

marks('pass an operator once they stood on all its inputs; what came behind waits', () => {
  const driver = joined().feed('a', ['a1']).barrier(1, 'a').feed('a', ['a2']).feed('b', ['b1'])
  assert.equal(driver.shown('out'), ['a1#1', 'b1#2'])
  driver.barrier(1, 'b')
  assert.equal(driver.shown('out'), ['a1#1', 'b1#2', '<barrier 1>', 'a2#3'])
  assert.equal(
    driver.images.map(({ epoch, image }) => [epoch, image.sequence]),
    [[1, 2]],
  )
})

marks('an end completes the alignment under the epoch of the barrier', () => {
  const driver = joined().feed('a', ['a1']).barrier(7, 'a').feed('b', ['b1']).end('b')
  assert.equal(driver.shown('out'), ['a1#1', 'b1#2', '<barrier 7>'])
  assert.equal(driver.images.at(-1)!.epoch, 7)
  assert.equal(
    driver.sunk.map((s) => [s.component, s.epoch]),
    [['', 7]],
  )
})

marks('an input that ended counts as aligned in every later barrier', () => {
  const driver = joined().end('b').feed('a', ['a1']).barrier(1, 'a').feed('a', ['a2']).barrier(2, 'a').end('a')
  assert.equal(driver.shown('out'), ['a1#1', '<barrier 1>', 'a2#2', '<barrier 2>', 'total 2', '<end>'])
})

marks('an emitter that reads an ended and a running operator gets its barriers', () => {
  const operators = [operator('x', digest, [edge('a')]), operator('y', digest, [edge('b')])]
  const graph = graphOf(['a', 'b'], operators, { out: [edge('x'), edge('y')] })
  const driver = new ComputeDriver(graph, [module])
  driver.barrier(3, 'a').end('b')
  assert.equal(driver.shown('out'), ['total 0', '<barrier 3>'])
  driver.barrier(4, 'a').end('a')
  assert.equal(driver.shown('out'), ['total 0', '<barrier 3>', '<barrier 4>', 'total 0', '<end>'])
})

marks('dead letters get a barrier when the last operator has passed it or ended, and only then', () => {
  const operators = ['x', 'y', 'z'].map((name, i) => operator(name, digest, [edge('abc'[i]!)]))
  const emitters = { out: [edge('x'), edge('y'), edge('z')] }
  const driver = new ComputeDriver(graphOf(['a', 'b', 'c'], operators, emitters), [module])
  const letterMarks = (): unknown[] => driver.sunk.filter((s) => s.component === '').map((s) => [s.epoch, s.end])
  driver.barrier(1, 'a').end('a')
  driver.barrier(1, 'b')
  assert.equal(letterMarks(), [])
  driver.barrier(1, 'c')
  assert.equal(letterMarks(), [[1, false]])
  driver.barrier(2, 'b').end('c')
  assert.equal(letterMarks(), [
    [1, false],
    [2, false],
  ])
  driver.end('b')
  assert.equal(letterMarks().at(-1), [0, true])
})

marks('an operator that a checkpoint calls ended says so downstream when it is restored', () => {
  const operators = [operator('x', digest, [edge('a')]), operator('y', digest, [edge('b')])]
  const graph = graphOf(['a', 'b'], operators, { out: [edge('x'), edge('y')] })
  const first = new ComputeDriver(graph, [module]).feed('a', ['1']).end('a').barrier(1, 'b')
  const images = ['x', 'y'].map((name) => first.images.findLast((i) => i.image.component === name)!.image)
  const second = new ComputeDriver(graph, [module], images)
  second.end('a').feed('b', ['2']).barrier(2, 'b').end('b')
  assert.equal(second.shown('out'), ['2#1', '<barrier 2>', 'total 1', '<end>'])
})

marks('a restored operator goes on with its state, its sequence and its timers', () => {
  const more = { emitWhen: { everyMs: 1000 } }
  const first = simple(more).feed('in', ['a', 'b']).barrier(1, 'in')
  const second = new ComputeDriver(first.pipeline.graph, [module], [first.images[0]!.image])
  second.elapse().feed('in', ['c'])
  assert.equal(second.shown('out'), ['total 2', 'c#3'])
  assert.is(second.records('out')[0]!.sequence, 3)
})

marks('an emitter that only counts tells the bridge of its marks itself', () => {
  const graph = graphOf(['in'], [operator('op', digest, [edge('in')])], { out: [edge('op')] }, ['out'])
  const driver = new ComputeDriver(graph, [module]).feed('in', ['a', 'b']).barrier(4, 'in').end('in')
  assert.equal(
    driver.sunk.filter((s) => s.component === 'out').map((s) => [s.epoch, s.end]),
    [
      [4, false],
      [0, true],
    ],
  )
  assert.is(driver.counters('out').recordsIn, 3)
})

marks.run()

const flushes = suite('emitWhen')

flushes('{records} flushes exactly behind every n-th, wherever batches are cut', () => {
  const driver = simple({ emitWhen: { records: 3 } })
    .feed('in', numbers(0, 4))
    .feed('in', numbers(4, 10))
  const expected = numbers(0, 10).flatMap((n, i) => (i % 3 === 2 ? [n, `total ${i + 1}`] : [n]))
  assert.equal(seen(driver), expected)
})

flushes('{records} counts poison records, the last of a batch too', () => {
  const driver = simple({ emitWhen: { records: 3 } }).feed('in', ['a', 'trap', 'b', 'c', 'd', 'trap', 'e'])
  assert.equal(seen(driver), ['a', 'b', 'total 2', 'c', 'd', 'total 4', 'e'])
})

flushes('{everyMs} flushes after records only', () => {
  const driver = simple({ emitWhen: { everyMs: 50 } })
  // Without a record there is one timer, after which the instance rests.
  assert.is(driver.timers.size, 1)
  driver.feed('in', ['a'])
  assert.is(driver.timers.size, 2)
  driver.elapse().elapse()
  assert.equal(seen(driver), ['a', 'total 1', 'total 1'])
})

flushes('{operator} flushes behind the record that asked, within a batch', () => {
  const driver = simple({ emitWhen: { operator: true } }).feed('in', ['a', 'flush', 'b'])
  assert.equal(seen(driver), ['a', 'asked', 'total 2', 'b'])
})

flushes('{operator} is not asked by a call that is undone, nor by the replay of an earlier one', () => {
  const driver = simple({ emitWhen: { operator: true } })
    .feed('in', ['a', 'flush'])
    .feed('in', ['trap'])
    .feed('in', ['c'])
  assert.equal(seen(driver), ['a', 'asked', 'total 2', 'c'])
})

flushes('waits while the pipeline is paused', () => {
  const driver = simple({ emitWhen: { everyMs: 50 } }).feed('in', ['a'])
  driver.pipeline.setPaused(true)
  driver.elapse()
  assert.equal(seen(driver), ['a'])
  driver.pipeline.setPaused(false)
  driver.settle()
  assert.equal(seen(driver), ['a', 'total 1'])
})

flushes('that a record asked for comes before the next one and before a barrier, though the pipeline is paused', () => {
  const driver = simple({ emitWhen: { operator: true } })
  driver.pipeline.setPaused(true)
  driver.feed('in', ['a', 'flush', 'b']).feed('in', ['flush']).barrier(1, 'in')
  assert.equal(seen(driver), ['a', 'asked', 'total 2', 'b', 'asked', 'total 4', '<barrier 1>'])
})

flushes('a fault is undone, the third in a row fails the pipeline', () => {
  const settings = JSON.stringify({ flushTrap: true })
  const driver = simple({ emitWhen: { everyMs: 50 }, settings })
  for (const value of ['a', 'b']) driver.feed('in', [value]).elapse()
  assert.equal(driver.shown('out'), ['a#1', 'b#2'])
  assert.is(driver.failure, undefined)
  driver.feed('in', ['c']).elapse()
  assert.is(driver.failure?.error.code, 'OPERATOR_TRAP')
})

flushes.run()

const poison = suite('poison records')

poison('a thousand of 10^5 become dead letters; the rest leaves in order, and the state is theirs alone', () => {
  const values = numbers(0, 100_000).map((n) => (Number(n) % 100 === 37 ? 'trap' : n))
  const driver = simple()
  for (let at = 0; at < values.length; at += 5000) driver.feed('in', values.slice(at, at + 5000))
  const good = values.filter((value) => value !== 'trap')
  assert.is(driver.failure, undefined)
  assert.equal(
    driver.shown('out'),
    good.map((value, i) => `${value}#${i + 1}`),
  )
  assert.is(driver.letters().length, 1000)
  const { recordsIn, recordsOut, errors, deadLetters } = driver.counters('op')
  assert.equal([recordsIn, recordsOut, errors, deadLetters], [100_000, 99_000, 1000, 1000])
})

poison('the letter says what happened, where, and to which record', () => {
  const driver = simple().feed('in', ['a', { value: Buffer.from('trap'), key: Buffer.from('k'), timestamp: 5 }, 'b'])
  const [letter] = driver.letters() as unknown as Record<string, unknown>[]
  assert.is(letter!.code, 'OPERATOR_TRAP')
  assert.match(String(letter!.message), 'told to')
  assert.equal(letter!.record, { key: 'k', value: 'trap', headers: {} })
  assert.equal(letter!.source, { topic: 't', partition: 0, offset: '1' })
})

poison('one that the guest rejects by itself costs no second call', () => {
  const driver = simple().feed('in', ['a', 'reject', 'b', 'reject'])
  assert.equal(driver.shown('out'), ['a#1', 'b#2'])
  assert.equal(
    driver.letters().map((letter) => [letter.code, letter.message]),
    [
      ['INVALID_RECORD', 'told to'],
      ['INVALID_RECORD', 'told to'],
    ],
  )
})

poison('fuel is judged record by record: one is over it, its neighbours are not', () => {
  const driver = simple().feed('in', ['a', 'spin', 'b', 'spin:100000', 'c'])
  assert.equal(seen(driver), ['a', 'b', 'c'])
  assert.equal(
    driver.letters().map((letter) => letter.code),
    ['FUEL_EXHAUSTED'],
  )
})

poison('a record that comes alone has the same fuel as one in a batch', () => {
  const steps = 2_000_000
  const limits = { fuelPerRecord: 2_000_000_000 }
  const driver = simple({ limits }).feed('in', [`spin:${steps}`])
  driver.feed('in', [`spin:${steps}`, `spin:${steps}`, 'a'])
  assert.equal(driver.letters(), [])
  assert.equal(seen(driver), ['a'])
})

poison('what costs more in a flush than in a record is replayed all the same', () => {
  const limits = { fuelPerRecord: 300_000 }
  const driver = simple({ limits }).feed('in', Array(650).fill('a')).feed('in', ['trap']).feed('in', ['z'])
  assert.is(driver.shown('out').at(-1), 'z#651')
})

poison('output over its bound is the record’s fault that made it', () => {
  const limits = { outputBytesPerRecord: 20_000 }
  const driver = simple({ limits }).feed('in', ['a', 'big:30000', 'b', 'many:1000', 'c'])
  assert.equal(seen(driver), ['a', 'b', 'c'])
  assert.equal(
    driver.letters().map((letter) => letter.code),
    ['OUTPUT_EXCEEDED', 'OUTPUT_EXCEEDED'],
  )
})

poison('memory over its bound is MEMORY_EXHAUSTED, and what was held before stays', async () => {
  const small = await probe({ memoryMiB: 4 })
  const graph = graphOf(['in'], [operator('op', small.digest, [edge('in')])], { out: [edge('op')] })
  const driver = new ComputeDriver(graph, [small])
  driver.feed('in', ['hold:1000000', 'a', 'hold:3900000', 'b'])
  assert.equal(driver.shown('out'), ['held', 'a#2', 'b#3'])
  assert.equal(
    driver.letters().map((letter) => letter.code),
    ['MEMORY_EXHAUSTED'],
  )
})

poison('skip leaves no letter, stop fails at the first', () => {
  const skipping = simple({ onError: { do: 'skip', stopAbove: 0.5 } }).feed('in', ['a', 'trap', 'b'])
  assert.equal([seen(skipping), skipping.letters(), skipping.failure], [['a', 'b'], [], undefined])
  for (const [word, code] of [
    ['trap', 'OPERATOR_TRAP'],
    ['reject', 'INVALID_RECORD'],
  ] as const) {
    const stopping = simple({ onError: { do: 'stop', stopAbove: 0.5 } }).feed('in', ['a', word, 'b', word])
    assert.is(stopping.failure?.error.code, code)
    assert.equal([seen(stopping), stopping.counters('op').errors], [['a'], 1], `nothing behind the first ${word}`)
  }
})

poison('one in a hundred never reaches a stopAbove of a half, all of them do once 10,000 were seen', () => {
  const few = simple({ onError: { do: 'skip', stopAbove: 0.5 } })
  for (let round = 0; round < 30; round++) {
    few.feed(
      'in',
      numbers(0, 1000).map((n) => (Number(n) % 100 === 0 ? 'trap' : n)),
    )
  }
  assert.is(few.failure, undefined)
  for (const word of ['trap', 'reject']) {
    const all = simple({ onError: { do: 'skip', stopAbove: 0.5 } })
    for (let round = 0; round < 9; round++) all.feed('in', Array(1000).fill(word))
    assert.is(all.failure, undefined, word)
    for (let round = 0; round < 3; round++) all.feed('in', Array(1000).fill(word))
    assert.ok(all.failure, word)
  }
})

poison('letters wait for their emitter, and the operator for them', () => {
  const driver = simple()
  driver.stuck.add(driver.pipeline.graph.deadLetters.channel)
  const large = `trap:${'x'.repeat(30_000)}`
  // Not all find room, and this thread would wait for ever: as many as the ring of the source holds.
  const values = Array.from({ length: 60 }, () => large)
  for (let round = 0; round < 4; round++) {
    try {
      driver.feed('in', values)
    } catch (error) {
      assert.match(String(error), 'finds no room')
      break
    }
  }
  assert.ok(driver.pipeline.lettersFull)
  const before = driver.counters('op').deadLetters
  assert.ok(before < 240)
  driver.stuck.clear()
  driver.settle()
  assert.not(driver.pipeline.lettersFull)
  assert.ok(driver.counters('op').deadLetters > before)
  assert.is(driver.letters().length, driver.counters('op').deadLetters)
})

poison('lines of a guest’s log are bounded, and what is dropped is told', () => {
  const began = performance.now()
  const driver = simple().feed('in', ['log:5000'])
  // A hundred of each second that it took, the first and the last perhaps in part, and one that tells of the others.
  const seconds = Math.floor((performance.now() - began) / 1000) + 2
  const lines = driver.events.filter((event) => event.type === 'event')
  assert.ok(lines.length >= 100 && lines.length <= seconds * 101, `${lines.length} lines in ${seconds} s`)
})

poison.run()

const changes = suite('a change while records flow')

changes('of settings holds exactly from the sequence that is answered', () => {
  const driver = simple({ settings: '{"prefix":"old "}' }).feed('in', numbers(0, 500))
  const next = graphOf(['in'], [operator('op', digest, [edge('in')], { settings: '{"prefix":"new "}' })], {
    out: [edge('op')],
  })
  const [change] = driver.pipeline.change(next, true)
  driver.feed('in', numbers(500, 1000))
  assert.equal(change, { component: 'op', sequence: 501, stateReset: false })
  for (const { sequence, value } of driver.records('out')) {
    assert.is(Buffer.from(value!).toString().startsWith('new '), sequence! >= 501)
  }
  assert.is(driver.shown('out').at(-1), 'new 999#1000')
})

changes('that an operator refuses leaves everything as it was, others that had agreed too', () => {
  const made = (one: string, two: string) =>
    graphOf(
      ['in'],
      [
        operator('one', digest, [edge('in')], { settings: `{"prefix":"${one}"}` }),
        operator('two', digest, [edge('one')], { settings: `{"prefix":"${two}"}` }),
      ],
      { out: [edge('two')] },
    )
  const driver = new ComputeDriver(made('1', '2'), [module]).feed('in', ['a'])
  assert.throws(() => driver.pipeline.change(made('x', 'refuse'), false), /refused/)
  driver.feed('in', ['b'])
  assert.equal(driver.shown('out'), ['21a#1#1', '21b#2#2'])
})

changes('that one operator refuses changes nothing of another whose settings stay', () => {
  const made = (two: string, onError: OperatorSpec['onError']) =>
    graphOf(
      ['in'],
      [
        operator('one', digest, [edge('in')], { onError }),
        operator('two', digest, [edge('one')], { settings: `{"prefix":"${two}"}` }),
      ],
      { out: [edge('two')] },
    )
  const driver = new ComputeDriver(made('2', { do: 'dead-letter', stopAbove: 1 }), [module])
  assert.throws(() => driver.pipeline.change(made('refuse', { do: 'stop', stopAbove: 1 }), false), /refused/)
  driver.feed('in', ['reject', 'b'])
  assert.is(driver.letters().length, 1)
  assert.equal(driver.shown('out'), ['2b#1#1'])
})

changes('that would reset the state is refused where it is to be kept', () => {
  const driver = simple().feed('in', ['a'])
  const next = graphOf(['in'], [operator('op', digest, [edge('in')], { settings: '{"reset":true}' })], {
    out: [edge('op')],
  })
  assert.throws(() => driver.pipeline.change(next, true), /keep its state/)
  driver.feed('in', ['b'])
  const [change] = driver.pipeline.change(next, false)
  assert.is(change!.stateReset, true)
  driver.feed('in', ['c'])
  assert.equal(driver.shown('out'), ['a#1', 'b#2', 'c#1'])
})

changes('of another version takes over inputs and place, with a state of its own', async () => {
  const other = await probe({ memoryMiB: 6 })
  const twin = { ...other, digest: 'other' }
  const driver = new ComputeDriver(graphOf(['in'], [operator('op', digest, [edge('in')])], { out: [edge('op')] }), [
    module,
    twin,
  ]).feed('in', ['a', 'b'])
  const next = graphOf(['in'], [operator('op', 'other', [edge('in')])], { out: [edge('op')] })
  assert.equal(driver.pipeline.change(next, false), [{ component: 'op', sequence: 3, stateReset: true }])
  driver.feed('in', ['c'])
  assert.equal(driver.shown('out'), ['a#1', 'b#2', 'c#1'])
  assert.is(driver.records('out')[2]!.sequence, 3)
})

changes('in the middle of a barrier does not lose it', async () => {
  const twin = { ...(await probe({ memoryMiB: 6 })), digest: 'other' }
  const graph = (of: string) =>
    graphOf(['a', 'b'], [operator('x', of, [edge('a')]), operator('y', digest, [edge('b')])], {
      out: [edge('x'), edge('y')],
    })
  const driver = new ComputeDriver(graph(digest), [module, twin]).barrier(1, 'a')
  driver.pipeline.change(graph('other'), false)
  driver.barrier(1, 'b')
  assert.equal(driver.shown('out'), ['<barrier 1>'])
  assert.equal(
    driver.sunk.map((s) => s.epoch),
    [1],
  )
})

changes('adds and removes consumers of an output whose records flow', () => {
  const one = graphOf(['in'], [operator('op', digest, [edge('in')])], { out: [edge('op')] })
  const both = { ...one, emitters: [...one.emitters, { ...one.emitters[0]!, component: 'more', channel: 9 }] }
  const driver = new ComputeDriver(one, [module]).feed('in', ['a'])
  driver.pipeline.change(both, true)
  driver.feed('in', ['b'])
  driver.pipeline.change(one, true)
  driver.settle().feed('in', ['c'])
  assert.equal(seen(driver), ['a', 'b', 'c'])
  assert.is(driver.listeners.has(9), false)
})

changes('a new emitter behind what has ended gets its end at once', () => {
  const one = graphOf(['in'], [operator('op', digest, [edge('in')])], { out: [edge('op')] })
  const both = { ...one, emitters: [...one.emitters, { ...one.emitters[0]!, component: 'more', channel: 9 }] }
  const driver = new ComputeDriver(one, [module]).feed('in', ['a']).end('in')
  driver.pipeline.change(both, true)
  driver.settle()
  assert.equal(driver.shownAt(9), ['<end>'])
})

changes('an input that is taken out while a barrier waits for it holds the barrier up no longer', () => {
  const op = operator('op', digest, [edge('a'), edge('b')])
  const joined = graphOf(['a', 'b'], [op], { out: [edge('op')] })
  const alone = { ...joined, operators: joined.operators.map((spec) => ({ ...spec, edges: [edge('a')] })) }
  const driver = new ComputeDriver(joined, [module]).feed('a', ['1']).barrier(1, 'a').feed('a', ['2'])
  assert.equal(driver.shown('out'), ['1#1'])
  driver.pipeline.change(alone, true)
  driver.settle()
  assert.equal(driver.shown('out'), ['1#1', '<barrier 1>', '2#2'])
})

changes('a removed emitter gets what was for it and its end, however full its ring is', () => {
  const one = graphOf(['in'], [operator('op', digest, [edge('in')])], { out: [edge('op')] })
  const both = { ...one, emitters: [...one.emitters, { ...one.emitters[0]!, component: 'more', channel: 9 }] }
  const driver = new ComputeDriver(both, [module])
  driver.stuck.add(9)
  driver.feed('in', Array(40).fill('x'.repeat(29_000)))
  driver.pipeline.change(one, true)
  driver.settle()
  driver.stuck.clear()
  driver.settle()
  const shown = driver.shownAt(9)
  assert.is(shown.at(-1), '<end>')
  assert.is(driver.listeners.has(9), false)
  driver.feed('in', ['z'])
  assert.is(seen(driver).at(-1), 'z')
})

changes.run()
