// json-filter against a plain model of its conditions.

import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Guest, shipped } from '../support/guest.ts'

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
type Condition = { [name: string]: unknown }

const guest = new Guest(shipped('json-filter'))

/** Which of these values pass. */
function passing(where: unknown, ...values: string[]): boolean[] {
  guest.configure({ where })
  guest.values(...values)
  assert.equal(guest.rejected, [])
  assert.is(guest.out.length, values.length)
  return guest.out.map((record) => record.port === 0)
}

const absent = Symbol('absent')

/** What a path of plain names leads to. */
function at(value: Json, path: string): Json | typeof absent {
  let here: Json | undefined = value
  for (const name of path.split('.')) {
    if (typeof here !== 'object' || here === null || Array.isArray(here) || !Object.hasOwn(here, name)) return absent
    here = here[name]
  }
  return here as Json
}

const points = (text: string): number[] => Array.from(text, (c) => c.codePointAt(0)!)

function order(a: Json, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a < b ? -1 : a > b ? 1 : 0
  if (typeof a !== 'string' || typeof b !== 'string') return Number.NaN
  const [x, y] = [points(a), points(b)]
  for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i]! < y[i]! ? -1 : 1
  return Math.sign(x.length - y.length)
}

const same = (a: unknown, b: unknown): boolean =>
  typeof a === 'object' && a !== null ? canonical(a as Json) === canonical(b as Json) : a === b

function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value === 'object' && value !== null) {
    return `{${Object.keys(value)
      .sort()
      .map((name) => `${JSON.stringify(name)}:${canonical(value[name]!)}`)
      .join()}}`
  }
  return JSON.stringify(value) ?? ''
}

function holds(where: Condition | Condition[], value: Json): boolean {
  if (Array.isArray(where)) return where.every((one) => holds(one, value))
  if (where.all) return (where.all as Condition[]).every((one) => holds(one, value))
  if (where.any) return (where.any as Condition[]).some((one) => holds(one, value))
  if (where.not) return !holds(where.not as Condition, value)
  const found = at(value, where.path as string)
  const [name, wanted] = Object.entries(where).find(([key]) => key !== 'path')!
  if (name === 'exists') return (found !== absent) === wanted
  if (found === absent) return false
  const bounds = wanted as Json[]
  switch (name) {
    case 'equals':
      return same(found, wanted)
    case 'notEquals':
      return !same(found, wanted)
    case 'in':
      return bounds.some((one) => same(found, one))
    case 'notIn':
      return !bounds.some((one) => same(found, one))
    case 'gt':
      return order(found, wanted) > 0
    case 'gte':
      return order(found, wanted) >= 0
    case 'lt':
      return order(found, wanted) < 0
    case 'lte':
      return order(found, wanted) <= 0
    case 'between':
      return order(found, bounds[0]) >= 0 && order(found, bounds[1]) <= 0
    case 'contains':
      if (Array.isArray(found)) return found.some((one) => same(one, wanted))
      return typeof found === 'string' && typeof wanted === 'string' && found.includes(wanted)
    case 'startsWith':
      return typeof found === 'string' && found.startsWith(wanted as string)
    case 'endsWith':
      return typeof found === 'string' && found.endsWith(wanted as string)
    default:
      throw new Error(name)
  }
}

const text = fc.constantFrom(
  '',
  'a',
  'ab',
  'abc',
  'b',
  'é',
  '\u{1f600}',
  '\uffff',
  'a"b',
  '\\',
  '\n',
  'purchase',
  'x'.repeat(40),
)
const number = fc.constantFrom(0, -0, 1, -1, 1.5, 0.1 + 0.2, 1e21, 1e-7, 2 ** 53, 123456789012345680000, 5e-324)
const scalar: fc.Arbitrary<Json> = fc.oneof(text, number, fc.boolean(), fc.constant(null))
const inner: fc.Arbitrary<Json> = fc.oneof(
  { weight: 4, arbitrary: scalar },
  { weight: 1, arbitrary: fc.array(scalar, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.dictionary(fc.constantFrom('a', 'b', 'c'), scalar, { maxKeys: 3 }) },
)
const record: fc.Arbitrary<Json> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'id', 'a longer name than sixteen'), inner, { maxKeys: 5 }),
  },
  { weight: 1, arbitrary: inner },
)
const path = fc.constantFrom('a', 'b', 'c', 'a.a', 'a.b', 'b.c', 'id', 'a longer name than sixteen')
const bound = fc.oneof(text, number)
const comparison: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ path, equals: inner }),
  fc.record({ path, notEquals: inner }),
  fc.record({ path, in: fc.array(scalar, { maxLength: 4 }) }),
  fc.record({ path, notIn: fc.array(scalar, { maxLength: 4 }) }),
  fc.record({ path, gt: bound }),
  fc.record({ path, gte: bound }),
  fc.record({ path, lt: bound }),
  fc.record({ path, lte: bound }),
  fc.record({ path, between: fc.tuple(bound, bound) }),
  fc.record({ path, contains: scalar }),
  fc.record({ path, startsWith: text }),
  fc.record({ path, endsWith: text }),
  fc.record({ path, exists: fc.boolean() }),
)
const { where } = fc.letrec<{ where: Condition }>((tie) => ({
  where: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    comparison,
    fc.record({ all: fc.array(tie('where'), { maxLength: 3 }) }),
    fc.record({ any: fc.array(tie('where'), { maxLength: 3 }) }),
    fc.record({ not: tie('where') }),
  ) as fc.Arbitrary<Condition>,
}))

/** The same value with every character of its strings and names escaped. */
function escaped(value: Json): string {
  const quote = (plain: string): string =>
    `"${Array.from({ length: plain.length }, (_, i) => `\\u${plain.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`
  if (typeof value === 'string') return quote(value)
  if (Array.isArray(value)) return `[${value.map(escaped).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([name, one]) => `${quote(name)}:${escaped(one)}`)
    .join()}}`
}

const filter = suite('json-filter')

filter('decides as the model does, however the record is written', () => {
  let passed = 0
  let all = 0
  fc.assert(
    fc.property(
      fc.array(where, { maxLength: 3 }),
      fc.array(record, { minLength: 10, maxLength: 10 }),
      (list, values) => {
        const expected = values.map((value) => holds(list, JSON.parse(JSON.stringify(value)) as Json))
        passed += expected.filter(Boolean).length
        all += expected.length
        assert.equal(passing(list, ...values.map((v) => JSON.stringify(v))), expected)
        assert.equal(passing(list, ...values.map((v) => JSON.stringify(v, null, 2))), expected)
        assert.equal(passing(list, ...values.map(escaped)), expected)
      },
    ),
    { numRuns: 1500 },
  )
  assert.ok(passed > all / 20 && passed < all * 0.95, `${passed} of ${all}`)
})

const anyNumber = fc.oneof(
  number,
  fc.integer(),
  fc.integer({ min: -99, max: 99 }),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
)
const anyText = fc.oneof(
  text,
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.nat().map(String),
)
const anyValue: fc.Arbitrary<Json> = fc.oneof(
  { weight: 5, arbitrary: anyNumber },
  { weight: 5, arbitrary: anyText },
  { weight: 1, arbitrary: inner },
)

const plain = (value: Json): string => JSON.stringify(value)

/** The same value by another text: numbers with zeros and exponents, what else there is with escapes. */
function spelled(value: Json): string {
  if (typeof value !== 'number') return escaped(value)
  const sign = Object.is(value, -0) ? '-' : ''
  const signed = `${sign}${plain(value)}`
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? `${signed}.000E-0` : `${sign}${value.toExponential()}`
}

filter('looks values up in long lists as the model does, however list and record are written', () => {
  let passed = 0
  let all = 0
  const lists = fc.array(anyValue, { minLength: 5, maxLength: 300 })
  fc.assert(
    fc.property(
      lists,
      fc.array(anyValue, { minLength: 5, maxLength: 5 }),
      fc.nat(),
      fc.boolean(),
      (list, others, n, isIn) => {
        const values = [...others, ...Array.from({ length: 5 }, (_, i) => list[(n + i * 7) % list.length]!), -0]
        const name = isIn ? 'in' : 'notIn'
        const expected = [...values.map((value) => holds({ path: 'a', [name]: list }, { a: value })), false]
        passed += expected.filter(Boolean).length
        all += expected.length
        for (const write of [plain, spelled]) {
          const settings = `{"where":{"path":"a","${name}":[${list.map((value) => write(value)).join()}]}}`
          for (const read of [plain, spelled]) {
            guest.configure(settings)
            guest.values(...values.map((value) => `{"a":${read(value)}}`), '{}')
            assert.equal(
              guest.out.map((record) => record.port === 0),
              expected,
            )
          }
        }
      },
    ),
    { numRuns: 400 },
  )
  assert.ok(passed > all / 5 && passed < all * 0.8, `${passed} of ${all}`)
})

filter('finds every value of the longest list, and no other', () => {
  const COUNT = 10_000
  for (const of of [
    (n: number) => n,
    (n: number) => n * 2 ** 40,
    (n: number) => n / 3,
    (n: number) => 2 ** 53 - 2 * n,
    (n: number) => n * 1e300,
    (n: number) => `key-${n}`,
    (n: number) => `${n}-é\u{1f600}-${'x'.repeat(40)}`,
  ]) {
    const list = Array.from({ length: COUNT }, (_, n) => of(n))
    guest.configure({ where: { path: 'a', in: list } })
    for (let from = 0; from < COUNT; from += 500) {
      guest.values(...list.slice(from, from + 500).map((value) => JSON.stringify({ a: value })))
      assert.is(guest.texts(0).length, 500)
    }
    const others = Array.from({ length: 500 }, (_, n) => of(COUNT + 1 + n * 17))
    guest.values(...others.map((value) => JSON.stringify({ a: value })))
    assert.is(guest.texts(0).length, others.filter((value) => list.includes(value)).length)
  }
})

filter('tells many paths from each other: fields, fields of fields, elements', () => {
  const COUNT = 3000
  const paths = Array.from({ length: COUNT }, (_, n) =>
    n % 3 === 0 ? `f${n}` : n % 3 === 1 ? `o${n % 7}.f${n % 30}.g${n}` : `list[${n}]`,
  )
  // Each twice: the same path is the same place.
  const any = [...paths, ...paths].map((path, n) => ({ path, equals: n % COUNT }))
  guest.configure({ where: { any } })
  const values: string[] = []
  const expected: boolean[] = []
  for (let n = 0; n < COUNT; n += 97) {
    for (const value of [n, n + 1]) {
      const list = Array.from({ length: n + 1 }, (_, i) => (i === n ? value : null))
      const record =
        n % 3 === 0
          ? { [`f${n}`]: value }
          : n % 3 === 1
            ? { [`o${n % 7}`]: { [`f${n % 30}`]: { [`g${n}`]: value } } }
            : { list }
      values.push(JSON.stringify(record))
      expected.push(value === n)
    }
  }
  for (let from = 0; from < values.length; from += 4) {
    guest.values(...values.slice(from, from + 4))
    assert.equal(
      guest.out.map((record) => record.port === 0),
      expected.slice(from, from + 4),
    )
  }
})

filter('of duplicate keys the last counts', () => {
  assert.equal(passing([{ path: 'a', equals: 2 }], '{"a":1,"a":2}', '{"a":2,"a":1}', '{"a":2,"\\u0061":1}'), [
    true,
    false,
    false,
  ])
  assert.equal(passing([{ path: 'a.b', exists: true }], '{"a":{"b":1},"a":{}}', '{"a":{},"a":{"b":1}}'), [false, true])
})

filter('an empty list is true, also where there is none; a single condition needs no list', () => {
  assert.equal(passing([], '1'), [true])
  assert.equal(passing(undefined, '{}'), [true])
  assert.equal(passing({ path: 'a', equals: 1 }, '{"a":1}'), [true])
})

filter('passes records on unchanged, by out or rejected, and names what is not JSON', () => {
  guest.configure({ where: [{ path: 'a', gt: 1.5 }] })
  guest.values(' { "a" : 2.50 } ', '{"a":1}', '{"a":', '\u0000\u0001', '', '{"a":3} x')
  assert.equal(guest.texts(0), [' { "a" : 2.50 } '])
  assert.equal(guest.texts(1), ['{"a":1}'])
  assert.equal(
    guest.rejected.map((r) => r.index),
    [2, 3, 4, 5],
  )
  assert.match(guest.rejected[0]!.message, /not JSON/)
})

filter('an empty condition still checks the record', () => {
  guest.configure({ where: [] })
  guest.values('{"a":1}', '{"a":1', '{"a":tru}')
  assert.equal(guest.texts(), ['{"a":1}'])
  assert.equal(
    guest.rejected.map((r) => r.index),
    [1, 2],
  )
})

filter('settings that make no sense are refused with a sentence', () => {
  const wrong = [
    [{ path: 'a' }],
    [{ equals: 1 }],
    [{ path: 1, equals: 1 }],
    [{ path: 'a', like: 1 }],
    [{ path: 'a', in: 1 }],
    'a',
    [1],
    [{ path: 'a', between: [1] }],
    [{ path: 'a', gt: null }],
    [{ path: 'a', startsWith: 1 }],
    [{ path: 'a', exists: 1 }],
    [{ path: 'a', matches: '(' }],
    [{ path: 'a..b', equals: 1 }],
  ]
  for (const one of wrong) {
    const fresh = new Guest(shipped('json-filter'))
    assert.throws(() => fresh.configure({ where: one }), /\w+ .*\(line/, JSON.stringify(one))
  }
})

filter('new settings hold from the next record, again and again', () => {
  const fresh = new Guest(shipped('json-filter'))
  for (let i = 0; i < 2000; i++) {
    assert.is(
      fresh.configure({
        where: [
          { path: 'a', equals: i },
          { path: 'b.c', in: ['x', 'y', i] },
        ],
      }),
      0,
    )
    fresh.values(`{"a":${i},"b":{"c":"y"}}`)
    assert.is(fresh.texts(0).length, 1)
  }
  assert.ok(fresh.exports.memory.buffer.byteLength <= 1 << 20)
})

filter.run()
