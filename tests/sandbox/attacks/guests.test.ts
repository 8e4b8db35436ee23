// Modules that are admitted, and attack the host that runs them: through its imports, its views, its turns. Each runs in a
// pipeline of its own, on the host's code, with a trial thread.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LongSetups } from '../../../host/compute/setup.ts'
import { tryCall } from '../../../host/compute/trial-loop.ts'
import { admit } from '../../../host/sandbox/admit.ts'
import { until } from '../../support/bridge-driver.ts'
import { ComputeDriver, edge, graphOf, operator } from '../../support/compute-driver.ts'
import { FUNCREF, I32, type ModuleSpec, op, operatorModule, withProcess } from '../../support/module-builder.ts'
import { loaded, probe } from '../../support/probe-operator.ts'
import { TrialThread } from '../../support/trial-thread.ts'

const threads: TrialThread[] = []
const guests = suite('guests against their host')

guests.after.each(async () => {
  for (const thread of threads.splice(0)) await thread.stop()
})

const poke = (at: number, value: number): number[] => [...op.i32(at), ...op.i32(value), ...op.store]
const MAILBOX = 1024
const OUT = 16_384
const OUTPUT_AT = MAILBOX + 8
const OUTPUT_BYTES = MAILBOX + 16
const regions = [8192, 8192, OUT, 49_152].flatMap((value, i) => poke(MAILBOX + 4 * i, value))
const allocate = { export: 'allocate', params: [I32, I32], results: [I32], code: [...regions, ...op.i32(MAILBOX)] }

/** Whole records of 56 bytes, for a port. */
const frames = (count: number, port = 0, at = OUT): number[] =>
  Array.from({ length: count }, (_, i) => [
    ...poke(at + i * 56, 56),
    ...poke(at + i * 56 + 4, 1 | (port << 16)),
    ...poke(at + i * 56 + 44, 8),
  ]).flat()

const LOG = { name: 'log', params: [I32, I32, I32] }
const REJECT = { name: 'reject', params: [I32, I32, I32] }
const TRACE = { name: 'trace', params: [I32, I32, 0x7c, 0x7c, 0x7c, 0x7c, 0x7c] }
const HAND_OVER = { name: 'hand_over' }
const ABORT = { name: 'abort', params: [I32, I32, I32, I32] }
const FLUSH_NOW = { name: 'flush_now' }

/** A pipeline around a module whose `process` has this code; an `allocate` that the spec has stands for the usual one. */
async function attacked(code: number[], spec: ModuleSpec = {}, fuelPerRecord = 50_000_000): Promise<ComputeDriver> {
  const own = spec.functions ?? []
  const functions = own.some((f) => f.export === 'allocate') ? own : [...own, allocate]
  const module = await loaded(withProcess([...code, ...op.get(0)], { ...spec, functions }), { memoryMiB: 16 })
  const thread = new TrialThread()
  threads.push(thread)
  const limits = { fuelPerRecord }
  const graph = graphOf(['in'], [operator('op', module.digest, [edge('in')], { ports: 2, limits })], {
    out: [edge('op')],
  })
  return ComputeDriver.started(graph, [module], thread.trials)
}

/** Feeds one record. @returns the code of its dead letter */
async function verdict(driver: ComputeDriver): Promise<string> {
  driver.feed('in', ['a'])
  await until(() => {
    driver.trials.take()
    driver.settle()
    return driver.letters().length > 0
  }, 'the record is not judged')
  assert.is(driver.failure, undefined)
  return driver.letters()[0]!.code
}

const LIMITS = {
  fuelPerCall: 8_000_000,
  fuelPerRecord: 8_000_000,
  fuelPerFlush: 8_000_000,
  fuelPerSetup: 8_000_000,
  fuelPerSettingsByte: 1500,
  outputBytesPerRecord: 1 << 20,
  memoryBytes: 16 << 20,
}

const forever = (...body: number[][]): number[] => op.loop(...body, op.br(0))

guests('a log without end, of the longest lines: a few are kept, none is read in vain', async () => {
  const driver = await attacked(forever([...op.i32(1), ...op.i32(0), ...op.i32(65_000), ...op.call(0)]), {
    imports: [LOG],
  })
  assert.is(await verdict(driver), 'FUEL_EXHAUSTED')
  const lines = driver.events.filter((event) => event.type === 'event')
  assert.ok(lines.length > 0 && lines.length <= 300, `${lines.length} lines`)
})

guests('the same through the table costs as much', async () => {
  const cost = async (code: number[], spec: ModuleSpec): Promise<number> => {
    const driver = await attacked(code, spec)
    driver.feed('in', ['a'])
    return driver.counters('op').fuelUsed
  }
  const args = [...op.i32(1), ...op.i32(0), ...op.i32(8)]
  const direct = await cost([...args, ...op.call(0)], { imports: [LOG] })
  const table = { imports: [LOG], table: [FUNCREF, 0, 1], elements: [[0, ...op.i32(0), 0x0b, 1, 0]] }
  assert.ok((await cost([...args, ...op.i32(0), ...op.callIndirect(0)], table)) >= direct)
})

guests('a rejection without end: of one record one letter', async () => {
  const reject = [...op.i32(0), ...op.i32(0), ...op.i32(65_000), ...op.call(0)]
  const driver = await attacked(forever(reject), { imports: [REJECT] })
  assert.is(await verdict(driver), 'FUEL_EXHAUSTED')
  assert.is(driver.letters().length, 1)
})

guests('output without end for a port that nobody listens to', async () => {
  const driver = await attacked([...frames(500, 1), ...forever([...poke(OUTPUT_BYTES, 500 * 56), ...op.call(0)])], {
    imports: [HAND_OVER],
  })
  assert.is(await verdict(driver), 'OUTPUT_EXCEEDED')
})

guests('a memory handed over as a whole, as output', async () => {
  const code = [...op.i32(200), ...op.grow, ...op.drop, ...poke(OUTPUT_AT, 0), ...poke(OUTPUT_BYTES, 12 << 20)]
  assert.is(await verdict(await attacked(code)), 'OPERATOR_TRAP')
})

guests('output from memory that grew under the view of the host is read where it is', async () => {
  const at = 3 << 16
  const code = [
    ...op.i32(4),
    ...op.grow,
    ...op.drop,
    ...frames(2, 0, at),
    ...poke(OUTPUT_AT, at),
    ...poke(OUTPUT_BYTES, 112),
  ]
  const driver = (await attacked(code)).feed('in', ['a', 'b'])
  assert.equal(driver.letters(), [])
  assert.ok(driver.records('out').length >= 2)
})

guests('memory that grows in the middle of a handing over, and again after it', async () => {
  const grow = [...op.i32(1), ...op.grow, ...op.drop]
  const hand = [...frames(1), ...poke(OUTPUT_AT, OUT), ...poke(OUTPUT_BYTES, 56), ...op.call(0)]
  const driver = await attacked([...grow, ...hand, ...grow, ...hand, ...grow], { imports: [HAND_OVER] })
  driver.feed('in', ['a'])
  assert.is(driver.records('out').length, 2)
  assert.equal(driver.letters(), [])
})

guests('memory that grows much in one call does so away from the worker, and a little right here', async () => {
  const growing = (pages: number): number[] => [...op.i32(pages), ...op.grow, 0x1a]
  const grown = (driver: ComputeDriver): number => driver.node('op').instance.memoryBytes >> 16
  for (const { pages, fuel, isElsewhere } of [
    { pages: 32, fuel: 50_000_000, isElsewhere: false },
    { pages: 33, fuel: 50_000_000, isElsewhere: true },
    // Whose whole budget is a slice is not sent anywhere.
    { pages: 33, fuel: 5_000_000, isElsewhere: false },
  ]) {
    const driver = await attacked(growing(pages), {}, fuel)
    const before = grown(driver)
    driver.feed('in', ['a'])
    assert.is(grown(driver), isElsewhere ? before : before + pages)
    await until(() => {
      driver.trials.take()
      return grown(driver.settle()) === before + pages
    }, 'the memory did not grow')
    assert.is(driver.fuelTaken > 0, isElsewhere)
    assert.equal(driver.letters(), [])
  }
})

guests('output that is much for one call is made away from the worker, and is the same', async () => {
  // Sixty records of 40,048 bytes: above 2 MiB, and far from a slice of fuel.
  const [count, bytes] = [60, 40_048]
  const frame = [...poke(OUT, bytes), ...poke(OUT + 4, 1), ...poke(OUT + 44, bytes - 48)]
  const hand = [...frame, ...poke(OUTPUT_AT, OUT), ...poke(OUTPUT_BYTES, bytes), ...op.call(0)]
  const code = Array.from({ length: count }, () => hand).flat()
  const driver = await attacked(code, { imports: [HAND_OVER] })
  driver.feed('in', ['a'])
  assert.is(driver.shown('out').length, 0)
  await until(() => {
    driver.trials.take()
    return driver.settle().shown('out').length >= count
  }, 'the output did not come')
  assert.is(driver.shown('out').length, count)
  assert.ok(driver.fuelTaken > 0)
  assert.equal(driver.letters(), [])
})

guests('memory that grows with every record until its bound', async () => {
  const code = [...op.i32(16), ...op.grow, ...op.i32(-1), 0x46, ...op.if(op.unreachable)]
  const driver = await attacked(code)
  for (let i = 0; i < 30; i++) driver.feed('in', ['a'])
  const codes = new Set(driver.letters().map((letter) => letter.code))
  assert.equal([...codes], ['MEMORY_EXHAUSTED'])
  assert.is(driver.counters('op').memoryBytes <= 16 << 20, true)
})

guests('pointers out of range, to every import that takes some', async () => {
  for (const pointer of [-1, 0x7fffffff, 65_535, 65_536, -4]) {
    for (const bytes of [-1, 0x7fffffff, 4]) {
      const log = [...op.i32(9), ...op.i32(pointer), ...op.i32(bytes), ...op.call(0)]
      const reject = [...op.i32(-8), ...op.i32(pointer), ...op.i32(bytes), ...op.call(1)]
      const f64 = [0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]
      const trace = [...op.i32(pointer), ...op.i32(bytes), ...Array(5).fill(f64).flat(), ...op.call(2)]
      const driver = await attacked([...log, ...reject, ...trace], { imports: [LOG, REJECT, TRACE] })
      driver.feed('in', ['a'])
      assert.is(driver.failure, undefined)
      assert.is(driver.counters('op').recordsIn, 1)
      assert.ok(driver.letters().every(({ code }) => code === 'OPERATOR_TRAP' || code === 'INVALID_RECORD'))
    }
    const four = [pointer, pointer, -1, -1].flatMap((value) => op.i32(value))
    assert.is(await verdict(await attacked([...four, ...op.call(0)], { imports: [ABORT] })), 'OPERATOR_TRAP')
  }
})

guests('process that calls itself, flush, configure and allocate again from within', async () => {
  // Functions: 0 imported, then those of the spec, allocate, process, and the rest of the ABI.
  const spec: ModuleSpec = {
    imports: [HAND_OVER],
    functions: [
      { export: 'flush', results: [I32], code: [...frames(1), ...poke(OUTPUT_BYTES, 56), ...op.call(0), ...op.i32(0)] },
      { export: 'configure', params: [I32], results: [I32], code: op.i32(1) },
    ],
  }
  const again = [
    ...[...op.call(1), ...op.drop],
    ...[...op.get(0), ...op.call(2), ...op.drop],
    ...[...op.i32(-1), ...op.i32(-1), ...op.call(3), ...op.drop],
  ]
  const driver = await attacked(again, spec)
  driver.feed('in', ['a']).barrier(1, 'in')
  assert.is(driver.failure, undefined)
  assert.equal(driver.shown('out').at(-1), '<barrier 1>')
  const endless = await attacked([...op.get(0), ...op.call(4), ...op.drop], spec)
  assert.is(await verdict(endless), 'OPERATOR_TRAP')
  assert.match(endless.letters()[0]!.message, 'too deep')
})

guests('an import exported as a function of the ABI is refused, or answers for itself', async () => {
  for (const [name, imports] of [
    ['process', [HAND_OVER]],
    ['flush', [FLUSH_NOW]],
    ['configure', [LOG]],
  ] as const) {
    const module = operatorModule({ imports: [...imports], without: [name], exports: [{ name, kind: 0, index: 0 }] })
    assert.not(admit(module).ok, name)
  }
  const start = operatorModule({ imports: [HAND_OVER], exports: [{ name: 'spqr_start', kind: 0, index: 0 }] })
  assert.is(typeof admit(start).ok, 'boolean')
})

guests('output at the start, from settings and from making regions leads nowhere', async () => {
  const emit = [...frames(1), ...poke(OUTPUT_AT, OUT), ...poke(OUTPUT_BYTES, 56), ...op.call(0)]
  const places = [
    { export: 'spqr_start', code: [...regions, ...emit] },
    { export: 'configure', params: [I32], results: [I32], code: [...emit, ...op.i32(0)] },
  ]
  for (const place of places) {
    const work = attacked([], { imports: [HAND_OVER], functions: [place] })
    const thrown = await work.then(
      (driver) => driver.feed('in', ['a']).records('out').length,
      (error: Error) => error.message,
    )
    // The start knows no mailbox yet: there is nothing to take.
    assert.ok(thrown === 0 || /emitted where it was given no record/.test(String(thrown)), String(thrown))
  }
})

guests('settings without end refuse the creation', async () => {
  const endless = { export: 'configure', params: [I32], results: [I32], code: [...forever([]), ...op.i32(0)] }
  const thrown = await attacked([], { functions: [endless] }).catch((error: Error) => error)
  assert.instance(thrown, Error)
  assert.match((thrown as Error).message, /refuses its settings: .*fuel/)
})

/** Settings longer than `{}` are read for ever, with a line of log first. */
const ENDLESS_CHANGE: ModuleSpec = {
  imports: [LOG],
  functions: [
    {
      export: 'configure',
      params: [I32],
      results: [I32],
      code: [
        ...[...op.get(0), ...op.i32(2), 0x4b],
        ...op.if([...op.i32(1), ...op.i32(0), ...op.i32(8), ...op.call(0), ...forever([])]),
        ...op.i32(0),
      ],
    },
  ],
}

guests('settings without end of what runs are read away from its neighbours, and leave it as it was', async () => {
  const driver = await attacked([], ENDLESS_CHANGE)
  const module = await probe()
  const graph = graphOf(['in'], [operator('op', module.digest, [edge('in')])], { out: [edge('op')] })
  const neighbour = new ComputeDriver(graph, [module], [], driver.trials)
  const lines = () => driver.events.filter((event) => event.type === 'event').length
  const outcomes: (object | Error)[] = []
  const ROUNDS = 3
  for (let round = 1; round <= ROUNDS; round++) {
    const before = driver.pipeline.graph
    const operators = before.operators.map((spec) => ({ ...spec, settings: '{"for":"ever"}' }))
    driver.pipeline.changeWherever({ ...before, operators }, false, (outcome) => outcomes.push(outcome))
    // The worker has its turn again, and nothing is decided: the first time a slice was tried here, then not even that.
    assert.is(outcomes.length, round - 1)
    assert.is(lines(), 1)
    neighbour.feed('in', ['a'])
    assert.is(neighbour.shown('out').length, round)
    await until(() => {
      driver.trials.take()
      return outcomes.length === round
    }, 'the change is not judged')
    assert.match((outcomes[round - 1] as Error).message, /refuses its settings: .* takes more work than/)
  }
  // Ten times the budget of a record, and what there is for each byte: all of it was used up there.
  assert.ok(driver.fuelTaken >= ROUNDS * 500_000_000, `${driver.fuelTaken}`)
  assert.ok(driver.counters('op').fuelUsed < 1_000_000)
  assert.is(driver.feed('in', ['a']).counters('op').recordsIn, 1)
  assert.equal([driver.letters(), driver.failure], [[], undefined])
})

guests('regions made without end are made away from the worker, once for each record', async () => {
  // The first time it is quick: that is the start.
  const isFirst = [...op.globalGet(0), 0x45]
  const body = [...isFirst, 0x04, 0x40, ...op.i32(1), ...op.globalSet(0), 0x05, ...forever([]), 0x0b]
  const code = [...body, ...regions, ...op.i32(MAILBOX)]
  const endless = { export: 'allocate', params: [I32, I32], results: [I32], code }
  const driver = await attacked([], { functions: [endless], globals: [[I32, 1, ...op.i32(0), 0x0b]] }, 5_000_000)
  const value = new Uint8Array(10_000)
  const RECORDS = 3
  driver.feed(
    'in',
    Array.from({ length: RECORDS }, () => ({ value, timestamp: 1 })),
  )
  assert.equal(driver.letters(), [])
  await until(() => {
    driver.trials.take()
    driver.settle()
    return driver.letters().length === RECORDS
  }, 'the records are not judged')
  assert.equal([...new Set(driver.letters().map(({ code }) => code))], ['FUEL_EXHAUSTED'])
  assert.ok(driver.fuelTaken >= RECORDS * 50_000_000, `${driver.fuelTaken}`)
})

guests('memory that grows much at the start, or with settings, does so away from the worker', async () => {
  const growing = (pages: number): number[] => [...op.i32(pages), ...op.grow, 0x1a]
  const places = [
    { export: 'spqr_start', code: growing(33) },
    { export: 'configure', params: [I32], results: [I32], code: [...growing(33), ...op.i32(0)] },
  ]
  for (const place of places) {
    const module = await loaded(withProcess([...op.get(0)], { functions: [place, allocate] }), { memoryMiB: 16 })
    const thread = new TrialThread()
    threads.push(thread)
    const graph = graphOf(['in'], [operator('op', module.digest, [edge('in')])], { out: [edge('op')] })
    assert.throws(
      () => new ComputeDriver(graph, [module], [], thread.trials),
      (thrown: unknown) => thrown instanceof LongSetups,
    )
    const driver = await ComputeDriver.started(graph, [module], thread.trials)
    const before = driver.node('op').instance.memoryBytes
    assert.ok(before >= 34 << 16)
    const operators = graph.operators.map((spec) => ({ ...spec, settings: '{"a":1}' }))
    const changes = await driver.changeWherever({ ...graph, operators })
    assert.equal(changes, [{ component: 'op', sequence: 1, stateReset: false }])
    const isGrown = place.export === 'configure'
    assert.is(driver.node('op').instance.memoryBytes, isGrown ? before + (33 << 16) : before)
    assert.is(driver.fuelTaken > 0, isGrown)
  }
})

guests('names of every object, and names like those that admission adds', async () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'spqr', 'fuel', 'spqr:', 'then']) {
    const module = operatorModule({
      globals: [[I32, 1, ...op.i32(0), 0x0b]],
      exports: [{ name, kind: 3, index: 0 }],
      functions: [allocate],
    })
    const admission = admit(module)
    if (!admission.ok) assert.match(admission.issues[0]!.message, /spqr:/, name)
    else {
      const one = await loaded(module)
      const graph = graphOf(['in'], [operator('op', one.digest, [edge('in')])], { out: [edge('op')] })
      const driver = new ComputeDriver(graph, [one]).feed('in', ['a']).barrier(1, 'in')
      assert.equal(Object.keys(driver.images[0]!.image.globals), [...one.globals], name)
    }
  }
  for (const name of ['spqr:fuel', 'spqr:depth', 'spqr:grow-failed', 'spqr:g0']) {
    const exports = [{ name, kind: 3, index: 0 }]
    assert.not(admit(operatorModule({ globals: [[I32, 1, ...op.i32(0), 0x0b]], exports })).ok, name)
  }
})

guests('a mailbox moved outside by a call is that operator’s own end', async () => {
  const moved = await attacked([...poke(MAILBOX, -8), ...poke(OUTPUT_AT, -8), ...poke(OUTPUT_BYTES, 8)])
  assert.is(await verdict(moved), 'OPERATOR_TRAP')
})

guests(
  'regions moved outside by a call that returns well are that call’s fault, not of the undo behind it',
  async () => {
    // The first call moves them; the next would have traps undone to the state that it left, where nothing can be put back.
    for (const field of [MAILBOX, MAILBOX + 4, OUTPUT_AT, OUTPUT_AT + 4]) {
      const isFirst = [...op.globalGet(0), 0x45]
      const first = [...poke(field, -8), ...op.i32(1), ...op.globalSet(0)]
      const driver = await attacked([...isFirst, 0x04, 0x40, ...first, 0x05, ...op.unreachable, 0x0b], {
        globals: [[I32, 1, ...op.i32(0), 0x0b]],
      })
      for (let records = 1; records <= 4; records++) {
        driver.feed('in', ['a'])
        await until(() => {
          driver.trials.take()
          driver.settle()
          return driver.letters().length === records
        }, `record ${records} is not judged`)
        assert.is(driver.letters().at(-1)!.code, 'OPERATOR_TRAP')
      }
      assert.is(driver.failure, undefined)
    }
  },
)

guests('an image that is none ends its own start, not the thread that tries starts', async () => {
  const module = await loaded(
    withProcess(op.get(0), { functions: [allocate], globals: [[I32, 1, ...op.i32(0), 0x0b]] }),
  )
  const memory = (change: (words: Int32Array) => void): Uint8Array => {
    const words = new Int32Array(16_384)
    words.set([8192, 8192, OUT, 49_152], MAILBOX >> 2)
    change(words)
    return new Uint8Array(words.buffer)
  }
  const sound = memory(() => {})
  const globals = { [module.globals[0]!]: 1 }
  const ended = (image: { memory: Uint8Array; globals: Record<string, number | string> }): string | undefined =>
    tryCall({
      tenant: 0,
      pipeline: 0,
      loaded: module,
      limits: LIMITS,
      portsLow: -1,
      portsHigh: -1,
      from: { image },
      settings: '{}',
      input: new Uint8Array(0),
    }).fault?.code
  assert.is(ended({ memory: sound, globals }), undefined)
  const moved = memory((words) => (words[MAILBOX >> 2] = -8))
  assert.is(ended({ memory: moved, globals }), 'OPERATOR_TRAP')
  assert.is(ended({ memory: sound, globals: {} }), 'MEMORY_EXHAUSTED')
  assert.is(ended({ memory: new Uint8Array(1 << 30), globals }), 'MEMORY_EXHAUSTED')
})

guests.run()
