// An instance: a call that faults has never been, and a guest that lies harms nobody but itself.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Instance, type InstanceOwner } from '../../../host/compute/instance.ts'
import type { InstanceLimits } from '../../../host/compute/limits.ts'
import { RecordBuffer } from '../../../host/record/record.ts'
import { seeded } from '../../support/client.ts'
import { ComputeDriver, edge, graphOf, operator } from '../../support/compute-driver.ts'
import { I32, op, operatorModule, withProcess } from '../../support/module-builder.ts'
import { loaded, probe, type TestModule } from '../../support/probe-operator.ts'

const module = await probe()

const LIMITS: InstanceLimits = {
  fuelPerCall: 5_000_000,
  fuelPerRecord: 5_000_000,
  fuelPerFlush: 50_000_000,
  fuelPerSetup: 50_000_000,
  fuelPerSettingsByte: 1500,
  outputBytesPerRecord: 1 << 20,
  memoryBytes: 16 << 20,
}

class Owner implements InstanceOwner {
  readonly emittedBytes: number[] = []
  readonly rejections: string[] = []
  readonly lines: string[] = []

  emitted(_: Uint8Array, from: number, to: number): void {
    this.emittedBytes.push(to - from)
  }

  rejected(_: number, message: () => string): void {
    this.rejections.push(message())
  }

  woke(): void {}

  logged(_: number, text: () => string): void {
    this.lines.push(text())
  }
}

function instance(
  of: TestModule = module,
  settings = '{}',
  limits: Partial<InstanceLimits> = {},
): { made: Instance; owner: Owner } {
  const owner = new Owner()
  const made = new Instance(of, { ...LIMITS, ...limits }, owner)
  assert.ok(made.start(), made.fault?.message)
  made.connect(-1, -1)
  assert.ok(made.configure(Buffer.from(settings)) >= 0, made.fault?.message)
  return { made, owner }
}

const buffer = new RecordBuffer()

/** One call with these values as records; undone where it faults. @returns the fault's code */
function process(made: Instance, values: string[]): string | undefined {
  buffer.clear()
  for (const value of values) buffer.add({ value: Buffer.from(value), timestamp: 1 })
  const at = made.inputFor(buffer.length)
  if (at < 0) return made.fault!.code
  made.bytes.set(buffer.bytes.subarray(0, buffer.length), at)
  if (made.process(buffer.length) >= 0) return undefined
  const { code } = made.fault!
  made.undo()
  assert.is(made.fault!.code, code, 'undo keeps the fault')
  return code
}

function sameState(a: Instance, b: Instance, what: string): void {
  const [one, two] = [a.image(), b.image()]
  assert.equal(one.globals, two.globals, `${what}: globals`)
  assert.is(one.memory.length, two.memory.length, `${what}: size of the memory`)
  assert.is(Buffer.compare(one.memory, two.memory), 0, `${what}: memory`)
}

const undo = suite('undo')

undo('of random calls with random faults leaves what the good calls alone would, byte for byte', () => {
  const faulty = ['trap', 'spin', 'hold:20000000', 'flushTrap']
  for (let seed = 1; seed <= 12; seed++) {
    const random = seeded(seed)
    const { made: tried } = instance()
    const { made: plain } = instance()
    let faults = 0
    for (let call = 0; call < 60; call++) {
      const good = Array.from({ length: 1 + random(40) }, (_, i) =>
        random(30) === 0 ? `hold:${random(60_000)}` : `v${(call * 7 + i) % 300}`,
      )
      if (random(3) === 0) {
        const bad = [...good]
        bad.splice(random(bad.length + 1), 0, faulty[random(3)]!)
        assert.ok(process(tried, bad), `seed ${seed}, call ${call} faults`)
        faults++
      }
      assert.is(process(tried, good), undefined)
      assert.is(process(plain, good), undefined)
      if (random(6) === 0) {
        assert.is(tried.flush(), 0)
        assert.is(plain.flush(), 0)
      }
      if (random(9) === 0) {
        assert.is(tried.watermark(call), 0)
        assert.is(plain.watermark(call), 0)
      }
      if (call % 10 === 9) sameState(tried, plain, `seed ${seed}, call ${call}`)
    }
    assert.ok(faults > 5)
  }
})

undo('takes a memory that grew back to the size it had', () => {
  const { made } = instance(module, '{}', { memoryBytes: 4 << 20 })
  process(made, ['a'])
  const before = made.memoryBytes
  assert.is(process(made, ['hold:1500000', 'trap']), 'OPERATOR_TRAP')
  assert.is(made.memoryBytes, before)
  assert.is(process(made, ['hold:1500000']), undefined)
  assert.ok(made.memoryBytes > before)
  const grown = made.memoryBytes
  assert.is(process(made, ['hold:20000000']), 'MEMORY_EXHAUSTED')
  assert.is(made.memoryBytes, grown)
})

undo('shows nothing of the calls it runs again', () => {
  const { made, owner } = instance()
  process(made, ['a', 'reject', 'log:3', 'flush'])
  process(made, ['b'])
  const before = [owner.emittedBytes.length, owner.rejections.length, owner.lines.length]
  made.wantsFlush = false
  assert.is(process(made, ['trap']), 'OPERATOR_TRAP')
  owner.emittedBytes.pop()
  assert.ok(owner.emittedBytes.length <= before[0]! + 1)
  assert.equal([owner.rejections.length, owner.lines.length], before.slice(1))
  assert.not(made.wantsFlush)
})

undo('costs no fuel of its own', () => {
  const { made: tried } = instance()
  const { made: plain } = instance()
  for (let i = 0; i < 20; i++) {
    process(tried, ['a', 'b'])
    process(plain, ['a', 'b'])
  }
  const before = tried.fuelUsed
  assert.is(before, plain.fuelUsed, 'the same calls cost the same')
  process(tried, ['trap'])
  const once = tried.fuelUsed - before
  process(tried, ['trap'])
  assert.is(tried.fuelUsed - before, once * 2)
})

undo('of settings that are refused leaves the old ones and the state', () => {
  const { made } = instance(module, '{"prefix":"old"}')
  const { made: other } = instance(module, '{"prefix":"old"}')
  for (const one of [made, other]) process(one, ['a', 'b'])
  assert.ok(made.configure(Buffer.from('{"prefix":"refuse"}')) < 0)
  assert.match(made.fault!.message, 'prefix: refused')
  assert.ok(made.configure(Buffer.from('no json')) < 0)
  for (const one of [made, other]) process(one, ['c'])
  const [seen, expected] = [made.image(), other.image()]
  assert.is(seen.memory.length, expected.memory.length)
})

undo('random and clock answer the same when a call runs again', () => {
  const { made } = instance()
  for (let i = 0; i < 10; i++) process(made, ['random', 'random'])
  const before = made.image()
  process(made, ['random', 'trap'])
  const after = made.image()
  assert.equal(after.globals, before.globals)
  assert.is(Buffer.compare(before.memory, after.memory), 0)
})

undo.run()

const images = suite('an image')

images('put in place of the state goes on as the one it was taken of', () => {
  const { made } = instance()
  process(made, ['a', 'b', 'hold:300000', 'c'])
  const { memory, globals } = made.image()
  const { made: other } = instance()
  process(other, ['x'])
  other.restore(memory.slice(), globals)
  sameState(made, other, 'restored')
  for (const one of [made, other]) assert.is(process(one, ['d', 'e']), undefined)
  sameState(made, other, 'gone on')
})

images('that lacks a global is refused', () => {
  const { made } = instance()
  const { memory, globals } = made.image()
  const [name] = Object.keys(globals)
  const { [name!]: _, ...rest } = globals
  assert.throws(() => made.restore(memory, rest), RangeError)
})

images.run()

const liars = suite('a guest that lies')

/** A module made by hand, one page of memory, whose regions stand where `allocate` says. */
const mailbox = (words: [offset: number, value: number][], result = 1024): number[] => [
  ...words.flatMap(([offset, value]) => [...op.i32(1024 + offset), ...op.i32(value), ...op.store]),
  ...op.i32(result),
]
const REGIONS: [number, number][] = [
  [0, 8192],
  [4, 4096],
  [8, 16384],
  [12, 4096],
]
const allocate = (words = REGIONS, result = 1024) => ({
  export: 'allocate',
  params: [I32, I32],
  results: [I32],
  code: mailbox(words, result),
})

async function guest(code: number[], more: Parameters<typeof operatorModule>[0] = {}): Promise<TestModule> {
  return loaded(withProcess(code, { ...more, functions: [...(more.functions ?? []), allocate()] }))
}

liars('about its mailbox or its regions cannot start', async () => {
  const wrong = [
    allocate(REGIONS, 65_535),
    allocate(REGIONS, -8),
    allocate(REGIONS, 1026),
    allocate([[0, 8193], ...REGIONS.slice(1)]),
    allocate([[0, 65_528], ...REGIONS.slice(1)]),
    allocate([...REGIONS.slice(0, 1), [4, -1], ...REGIONS.slice(2)]),
    allocate([...REGIONS.slice(0, 2), [8, -8], ...REGIONS.slice(3)]),
  ]
  for (const [i, one] of wrong.entries()) {
    const made = new Instance(await loaded(operatorModule({ functions: [one] })), LIMITS, new Owner())
    const started = made.start() && made.configure(Buffer.from('{}')) >= 0
    // Regions may be too small for what is asked for; then it is the first call that says so.
    assert.ok(!started || made.inputFor(8192) < 0, `lie ${i}`)
    assert.ok(made.fault, `lie ${i}`)
  }
})

liars('about what it consumed faults', async () => {
  for (const consumed of [0, 8, 12, -5, 1_000_000, 0x7fffffff]) {
    const { made } = instance(await guest(op.i32(consumed)))
    assert.ok(process(made, ['aaaaaaaaaaaaaaaa', 'b']), `${consumed} consumed`)
  }
  const { made } = instance(await guest(op.i32(64)))
  assert.is(process(made, ['aaaaaaaaaaaaaaaa', 'b']), undefined, 'the first record alone is fine')
})

/** Puts a word into the output region, or the mailbox. */
const poke = (at: number, value: number): number[] => [...op.i32(at), ...op.i32(value), ...op.store]
const OUT = 16_384
const OUTPUT_BYTES = 1024 + 16
/** A whole record of 56 bytes with 8 bytes of value, and then what is changed in it. */
const frame = (...changed: number[][]): number[] => [
  ...poke(OUT, 56),
  ...poke(OUT + 4, 1),
  ...poke(OUT + 44, 8),
  ...poke(OUTPUT_BYTES, 56),
  ...changed.flat(),
  ...op.get(0),
]

function pipelineOf(one: TestModule): ComputeDriver {
  const graph = graphOf(['in'], [operator('op', one.digest, [edge('in')], { ports: 2 })], { out: [edge('op')] })
  return new ComputeDriver(graph, [one])
}

liars('about a frame of its output has its record called poison, and nothing of it leaves', async () => {
  const sound = pipelineOf(await guest(frame())).feed('in', ['a'])
  assert.is(sound.records('out').length, 1)
  const lies: Record<string, number[]> = {
    'length 0': poke(OUT, 0),
    'length of a header': poke(OUT, 48),
    'length beyond': poke(OUT, 64),
    'length huge': poke(OUT, 0x7ffffff8),
    'length negative': poke(OUT, -8),
    'length odd': poke(OUT, 57),
    'value huge': poke(OUT + 44, 0x7fffffff),
    'value negative': poke(OUT + 44, -1),
    'key and value that wrap': [...poke(OUT + 36, 0x7fffffff), ...poke(OUT + 44, 0x7fffffff)],
    'a barrier': poke(OUT + 4, 2),
    'an end': poke(OUT + 4, 4),
    'unknown flags': poke(OUT + 4, 1 | (255 << 8)),
    'a port that it has not': poke(OUT + 4, 1 | (2 << 16)),
    'headers that are none': [...poke(OUT + 44, 0), ...poke(OUT + 40, 8), ...poke(OUT + 48, -1)],
    'headers cut off': [...poke(OUT + 44, 0), ...poke(OUT + 40, 8), ...poke(OUT + 48, 8)],
    'half a frame': poke(OUTPUT_BYTES, 32),
    'odd bytes': poke(OUTPUT_BYTES, 57),
    'bytes outside': poke(OUTPUT_BYTES, 0x7ffffff8),
    'bytes negative': poke(OUTPUT_BYTES, -8),
    'output elsewhere': [...poke(1024 + 8, 65_528), ...poke(OUTPUT_BYTES, 56)],
    'output unaligned': poke(1024 + 8, OUT + 4),
  }
  for (const [lie, code] of Object.entries(lies)) {
    const driver = pipelineOf(await guest(frame(code))).feed('in', ['a', 'b'])
    assert.equal(driver.records('out'), [], lie)
    assert.equal(
      driver.letters().map((letter) => letter.code),
      ['OPERATOR_TRAP', 'OPERATOR_TRAP'],
      lie,
    )
  }
})

liars('by writing over its input loses nobody’s place in it', async () => {
  // Zeroes the lengths of all records of its input, then stops behind the first.
  const code = [...op.i32(8192), ...op.i32(0), ...op.i32(4096), ...op.fill, ...op.i32(56)]
  const driver = pipelineOf(await guest(code)).feed('in', ['a', 'b', 'c'])
  assert.is(driver.counters('op').recordsIn, 3)
  assert.equal(driver.letters(), [])
})

liars('by rejecting what is no record, or one record often, rejects each once at most', async () => {
  const imports = [{ name: 'reject', params: [I32, I32, I32] }]
  const reject = (at: number): number[] => [...op.i32(at), ...op.i32(0), ...op.i32(4), ...op.call(0)]
  const code = [0, 0, 8, 8, 56, 56, 57, 112, 4_000_000, -8].flatMap(reject)
  const driver = pipelineOf(await guest([...code, ...op.get(0)], { imports })).feed('in', ['a', 'b'])
  assert.is(driver.letters().length, 2)
  assert.is(driver.counters('op').errors, 2)
})

liars('by handing over again and again the same bytes is bounded by its output', async () => {
  const imports = [{ name: 'hand_over' }]
  const again = op.loop([...poke(OUTPUT_BYTES, 56), ...op.call(0), ...op.br(0)])
  const one = await guest([...frame().slice(0, -2), ...again, ...op.get(0)], { imports })
  const driver = pipelineOf(one).feed('in', ['a'])
  assert.equal(driver.records('out'), [])
  assert.ok(['OUTPUT_EXCEEDED', 'FUEL_EXHAUSTED'].includes(driver.letters()[0]!.code), driver.letters()[0]!.code)
})

liars('by a status of its own faults, whatever it says', async () => {
  for (const [status, code] of [
    [-1, 'INVALID_RECORD'],
    [-2, 'OPERATOR_TRAP'],
    [-2147483648, 'OPERATOR_TRAP'],
  ] as const) {
    const driver = pipelineOf(await guest(op.i32(status))).feed('in', ['a'])
    assert.is(driver.letters()[0]?.code, code, `${status}`)
  }
})

liars('with less room than a batch needs gets its records one by one', async () => {
  const driver = pipelineOf(await guest(op.get(0))).feed('in', Array(300).fill('x'.repeat(100)))
  assert.is(driver.counters('op').recordsIn, 300)
  assert.equal(driver.letters(), [])
  driver.feed('in', ['y'.repeat(5000), 'z'])
  assert.is(driver.counters('op').recordsIn, 302)
  assert.equal(
    driver.letters().map((letter) => letter.code),
    ['MEMORY_EXHAUSTED'],
  )
})

liars.run()
