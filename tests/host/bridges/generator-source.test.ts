import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { discardEmitter } from '../../../host/bridges/discard-emitter.ts'
import { generatorSource } from '../../../host/bridges/generator-source.ts'
import { Pacer } from '../../../host/bridges/pacer.ts'
import { Random } from '../../../host/bridges/random.ts'
import { timerSource } from '../../../host/bridges/timer-source.ts'
import { writeFixed, writeInteger } from '../../../host/bridges/write-number.ts'
import type { PlainRecord } from '../../../host/record/record.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { BridgeDriver, textsOf } from '../../support/bridge-driver.ts'

const generator = suite('generator')
const timer = suite('timer')
const pacer = suite('Pacer')
const numbers = suite('writeInteger, writeFixed')

const template = {
  n: { $seq: 5 },
  user: { id: { $int: [1, 3] }, name: { $pick: ['Ann', 'Zoë "Z"', { $int: [-2, -1] }] } },
  price: { $float: [0, 10, 2] },
  raw: { $float: [-1, 1] },
  list: [true, null, { $seq: 0 }, 'x'],
}

async function make(
  settings: Record<string, unknown>,
  count?: number,
  position?: unknown,
): Promise<{ records: PlainRecord[]; driver: BridgeDriver }> {
  const driver = new BridgeDriver()
  const source = generatorSource.create(settings, driver.context)
  await source.open(position)
  const records = await driver.pull(source, count)
  await source.stop()
  return { records, driver }
}

generator('fills the template in and ends after count', async () => {
  const { records, driver } = await make({ template, count: 2000, seed: 1 })
  assert.is(records.length, 2000)
  assert.ok(driver.ended)
  const picked = new Set<unknown>()
  textsOf(records).forEach((text, i) => {
    const v = JSON.parse(text!)
    assert.is(v.n, 5 + i)
    assert.is(records[i]!.sourceOffset, i)
    assert.ok(v.user.id >= 1 && v.user.id <= 3)
    assert.ok(v.price >= 0 && v.price <= 10)
    assert.match(text!, /"price":\d+\.\d\d,/)
    assert.ok(v.raw >= -1 && v.raw <= 1)
    assert.equal(v.list, [true, null, i, 'x'])
    picked.add(v.user.name)
  })
  assert.equal(picked, new Set(['Ann', 'Zoë "Z"', -2, -1]))
})

generator('the same seed gives the same records, another one others', async () => {
  const [a, b, c] = await Promise.all([1, 1, 2].map((seed) => make({ template, count: 500, seed })))
  assert.equal(textsOf(a!.records), textsOf(b!.records))
  assert.not.equal(textsOf(a!.records), textsOf(c!.records))
  const [d, e] = await Promise.all([make({ template, count: 50 }), make({ template, count: 50 })])
  assert.not.equal(textsOf(d!.records), textsOf(e!.records))
})

generator('goes on from a position exactly, also without a seed', async () => {
  const whole = new BridgeDriver()
  const source = generatorSource.create({ template, count: 30_000 }, whole.context)
  await source.open(undefined)
  await whole.pull(source, 1)
  const after = whole.position
  const rest = textsOf(await whole.pull(source))
  const again = await make({ template, count: 30_000 }, undefined, after)
  assert.ok(rest.length > 1000)
  assert.equal(textsOf(again.records), rest)
})

generator('another seed gives other records from the position on, counted on', async () => {
  const counted = { n: { $seq: 0 }, x: { $int: [0, 1_000_000] } }
  const first = await make({ template: counted, count: 10, seed: 1 })
  const on = async (seed: number): Promise<string[]> =>
    textsOf((await make({ template: counted, count: 20, seed }, undefined, first.driver.position)).records) as string[]
  const [same, other] = await Promise.all([on(1), on(2)])
  assert.is(other.length, 10)
  assert.match(other[0]!, '"n":10')
  assert.not.equal(other, same)
})

generator('keeps a rate, and takes another one while it runs', async () => {
  const driver = new BridgeDriver()
  const source = generatorSource.create({ template: { n: { $seq: 0 } }, recordsPerSecond: 500 }, driver.context)
  await source.open(undefined)
  const records = await driver.pull(source, 50)
  assert.ok(records.length < 100, `${records.length} at once`)
  assert.ok(source.configure!({ template: { n: { $seq: 0 } }, recordsPerSecond: 100_000, count: 20_000 }))
  assert.not.ok(source.configure!({ template: { m: { $seq: 0 } } }))
  records.push(...(await driver.pull(source)))
  assert.equal(
    textsOf(records),
    Array.from({ length: 20_000 }, (_, n) => `{"n":${n}}`),
  )
  await source.stop()
})

generator('tells every problem of a template with its pointer', () => {
  const wrong = {
    a: { $int: [3, 1] },
    b: [{ $pik: [] }],
    'c/d': { $pick: [] },
    e: { $now: 1, x: 2 },
    f: { $float: [0, 1, 20] },
    // What lies between would be no number.
    g: { $float: [-1.7e308, 1.7e308] },
  }
  try {
    generatorSource.create({ template: wrong }, new BridgeDriver().context)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, SpqrError)
    const pointers = (error as SpqrError).issues?.map((i) => i.pointer)
    assert.equal(pointers, [
      '/template/a/$int',
      '/template/b/0/$pik',
      '/template/c~1d/$pick',
      '/template/e',
      '/template/f/$float',
      '/template/g/$float',
    ])
  }
})

generator('any JSON without directives comes out as itself', async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (value) => {
      fc.pre(!JSON.stringify(value).includes('"$') && !Object.is(value, -0))
      const { records } = await make({ template: value, count: 1 })
      assert.is(textsOf(records)[0], JSON.stringify(value))
    }),
    { numRuns: 200 },
  )
})

pacer('what is due follows the clock, in whole records, and a long hold-up is not made up for', () => {
  const p = new Pacer(1000, 0)
  assert.is(p.due(0), 1)
  p.took(1)
  assert.is(p.due(0.5), 0)
  assert.is(p.due(10), 10)
  p.took(10)
  assert.is(p.due(10.5), 0)
  assert.is(p.waitMs(10.5), 2)
  assert.is(p.due(1_000_000), 1001)
  const slow = new Pacer(0.1, 0)
  slow.took(1)
  assert.is(slow.due(9_999), 0)
  assert.is(slow.waitMs(0), 10_000)
  assert.is(slow.due(10_000), 1)
})

numbers('are what JavaScript would write', () => {
  const bytes = new Uint8Array(64)
  const text = (end: number): string => new TextDecoder().decode(bytes.subarray(0, end))
  fc.assert(fc.property(fc.maxSafeInteger(), (n) => assert.is(text(writeInteger(bytes, 0, n)), String(n))))
  fc.assert(
    fc.property(fc.integer({ min: -1e9, max: 1e9 }), fc.integer({ min: 0, max: 6 }), (n, digits) => {
      const value = n / 10 ** digits
      const written = text(writeFixed(bytes, 0, value, digits))
      assert.is(Number(written), value)
      assert.is(written, value.toFixed(digits))
    }),
  )
  const random = Random.seeded(3)
  const seen = new Set(Array.from({ length: 1000 }, () => random.int(-1, 2)))
  assert.equal([...seen].sort(), [-1, 0, 1, 2])
})

timer('counts on from its position', async () => {
  const driver = new BridgeDriver()
  const source = timerSource.create({ everyMs: 5 }, driver.context)
  await source.open({ sequence: 7 })
  const values = textsOf(await driver.pull(source, 3)).map((t) => JSON.parse(t!))
  await source.stop()
  assert.equal(
    values.map((v) => v.sequence),
    [8, 9, 10],
  )
  assert.ok(values.every((v) => Math.abs(v.timestamp - Date.now()) < 60_000))
  assert.equal(driver.position, { sequence: 10 })
})

timer('discard takes everything', async () => {
  const emitter = discardEmitter.create({}, new BridgeDriver().context)
  await emitter.open(undefined)
  assert.is(emitter.write(new Uint8Array(100), 8, 96), 88)
})

generator.run()
timer.run()
pacer.run()
numbers.run()
