// json-map against a plain model, and its expressions by example.

import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bytesOf, Guest, shipped } from '../support/guest.ts'

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
type Fields = { [name: string]: Json }

const guest = new Guest(shipped('json-map'))

function mapped(settings: unknown, ...values: string[]): string[] {
  guest.configure(settings)
  guest.values(...values)
  assert.equal(guest.rejected, [])
  return guest.texts()
}

const steps = (path: string): (string | number)[] =>
  [...path.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map((m) => (m[1] === undefined ? m[2]! : Number(m[1])))

const has = (value: Json | undefined, step: string | number): boolean =>
  typeof step === 'number' ? Array.isArray(value) && step < value.length : isFields(value) && Object.hasOwn(value, step)

const isFields = (value: Json | undefined): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function reaches(value: Json, path: (string | number)[]): boolean {
  return path.length === 0 || (has(value, path[0]!) && reaches((value as never)[path[0]!], path.slice(1)))
}

/** Only what lies on one of the paths. */
function picked(value: Json, paths: (string | number)[][]): Json {
  if (paths.some((path) => path.length === 0)) return value
  const inner = (step: string | number): (string | number)[][] =>
    paths.filter((p) => p[0] === step).map((p) => p.slice(1))
  if (Array.isArray(value)) return value.flatMap((v, i) => (inner(i).length ? [picked(v, inner(i))] : []))
  return Object.fromEntries(
    Object.entries(value as Fields).flatMap(([name, v]) =>
      inner(name).length ? [[name, picked(v, inner(name))]] : [],
    ),
  )
}

/** Without what the paths lead to. */
function dropped(value: Json, paths: (string | number)[][]): Json {
  const inner = (step: string | number): (string | number)[][] =>
    paths.filter((p) => p[0] === step).map((p) => p.slice(1))
  const keeps = (step: string | number): boolean => !inner(step).some((p) => p.length === 0)
  if (Array.isArray(value)) return value.flatMap((v, i) => (keeps(i) ? [dropped(v, inner(i))] : []))
  if (!isFields(value)) return value
  return Object.fromEntries(Object.entries(value).flatMap(([n, v]) => (keeps(n) ? [[n, dropped(v, inner(n))]] : [])))
}

function renamed(value: Json, path: (string | number)[], name: string): Json {
  const [step, ...rest] = path
  if (!has(value, step!)) return value
  if (Array.isArray(value)) return value.map((v, i) => (i === step ? renamed(v, rest, name) : v))
  const fields = value as Fields
  if (rest.length > 0)
    return Object.fromEntries(Object.entries(fields).map(([n, v]) => [n, n === step ? renamed(v, rest, name) : v]))
  return Object.fromEntries(
    Object.entries(fields).flatMap(([n, v]) => (n === step ? [[name, v]] : n === name ? [] : [[n, v]])),
  )
}

const leaf: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>('x', 'é"', null, true, 1, 1.5, -0.25),
  fc.string({ unit: 'binary', maxLength: 5 }),
)
const { value } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    leaf,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), tie('value'), { maxKeys: 4 }),
  ) as fc.Arbitrary<Json>,
}))
const object = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e"'), value, { maxKeys: 5 }) as fc.Arbitrary<Fields>
const path = fc.constantFrom('a', 'b', 'c', 'a.a', 'a.b', 'b.c.d', 'a[0]', 'a[1].b', 'b[2]', 'c.d[0]')
const fieldPath = fc.constantFrom('a', 'b', 'a.b', 'b.c.d', 'a[1].b', 'c.d')
const name = fc.constantFrom('a', 'b', 'new', 'q"\\')

const map = suite('json-map')

map('picks, drops, renames and sets as the model does, in this order', () => {
  const settings = fc.record(
    {
      pick: fc.array(path, { maxLength: 4 }),
      drop: fc.array(path, { maxLength: 3 }),
      rename: fc.dictionary(fieldPath, name, { maxKeys: 2 }),
      set: fc.dictionary(name, value, { maxKeys: 2 }),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(settings, fc.array(object, { minLength: 5, maxLength: 5 }), (given, records) => {
      const expected = records.map((record) => {
        let result: Json = record
        if (given.pick)
          result = picked(
            result,
            given.pick.map(steps).filter((p) => reaches(record, p)),
          )
        // A path of `drop` that leads nowhere must not hold another one up.
        if (given.drop) result = dropped(result, given.drop.map(steps))
        for (const [from, to] of Object.entries(given.rename ?? {})) result = renamed(result, steps(from), to)
        return { ...(result as Fields), ...given.set }
      })
      for (const indent of [0, 2]) {
        const out = mapped(given, ...records.map((r) => JSON.stringify(r, null, indent))).map(
          (t) => JSON.parse(t) as Json,
        )
        assert.equal(out, JSON.parse(JSON.stringify(expected)))
        assert.equal(
          out.map((o) => Object.keys(o as Fields)),
          expected.map((o) => Object.keys(o)),
        )
      }
    }),
    { numRuns: 2000 },
  )
})

map('leaves what it does not touch as it stood, to the digit', () => {
  assert.equal(mapped({ set: { v: 1 } }, '{"n": 12345678901234567890, "e":1.50E+2,"s":"\\u00e9"}'), [
    '{"n": 12345678901234567890, "e":1.50E+2,"s":"\\u00e9","v":1}',
  ])
  assert.equal(mapped({}, '[1.0]', '{"a":1.0}'), ['[1.0]', '{"a":1.0}'])
  assert.equal(mapped({ set: { n: 12345678901234567000 } }, '{}'), ['{"n":12345678901234567000}'])
  assert.equal(mapped('{"set":{"n":1.000}}', '{}'), ['{"n":1.000}'])
  assert.equal(mapped({ compute: { m: 'n' } }, '{"n":1.0}'), ['{"n":1.0,"m":1.0}'])
})

map('of duplicate fields the last counts', () => {
  const settings = [
    { pick: ['a'] },
    { drop: ['a'] },
    { rename: { a: 'b' } },
    { set: { a: 5 } },
    { compute: { c: 'a' } },
  ]
  const expected = [{ a: 2 }, {}, { b: 2 }, { a: 5 }, { a: 2, c: 2 }]
  const found = settings.map((one) => JSON.parse(mapped(one, '{"a":1,"a":2}')[0]!) as Json)
  assert.equal(found, expected)
})

map('of settings with many fields each has its own value, of duplicates the last', () => {
  for (const count of [15, 16, 17, 18, 1000]) {
    const fields = Array.from({ length: count }, (_, n) => `"f${n}":${n}`)
    const again = Array.from({ length: count }, (_, n) => n).filter((n) => n % 5 === 2 || n > count - 3)
    const all = [...fields, ...again.map((n) => `"f${n}":"again ${n}"`)].join()
    const expected = JSON.parse(`{${all}}`) as Record<string, unknown>
    guest.configure(`{"set":{${all}}}`)
    guest.values('{}')
    assert.equal(
      guest.texts().map((text) => JSON.parse(text)),
      [expected],
    )
  }
})

map('the key is taken from the result; where it is missing the record keeps its own', () => {
  guest.configure({ set: { k: 'né' }, key: 'k' })
  const given = {
    key: bytesOf('old'),
    value: bytesOf('{}'),
    timestamp: 7,
    headers: [['h', bytesOf('v')]] as [string, Uint8Array][],
  }
  guest.process([given])
  assert.equal(guest.out[0]!.key, bytesOf('né'))
  assert.equal(guest.out[0]!.headers, given.headers)
  assert.is(guest.out[0]!.timestamp, 7)
  guest.configure({ key: 'a.b' })
  guest.process([given, { ...given, value: bytesOf('{"a":{"b":{"c":1.0}}}') }, { value: bytesOf('{}'), timestamp: 0 }])
  assert.equal(
    guest.out.map((record) => record.key),
    [bytesOf('old'), bytesOf('{"c":1.0}'), undefined],
  )
})

map('what is not an object, not JSON or not UTF-8 is named', () => {
  guest.configure({ set: { a: 1 } })
  guest.values(
    '[1]',
    '{"a":1',
    '5',
    '{"a":tru}',
    Uint8Array.from([0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d]),
    '{"a":{"b":01}}',
    '{}}',
    '{"a":2}',
  )
  assert.equal(
    guest.rejected.map((r) => r.index),
    [0, 1, 2, 3, 4, 5, 6],
  )
  assert.match(guest.rejected[0]!.message, /not an object/)
  assert.equal(guest.texts(), ['{"a":1}'])
})

const expressions = suite('expressions')

expressions('calculate', () => {
  const record = JSON.stringify({
    n: 7,
    half: 0.5,
    neg: -3,
    s: 'héllo wörld',
    e: '',
    t: true,
    f: false,
    z: null,
    list: [1, 'a', { b: 2 }],
    o: { x: { y: 2 }, 'a b': 3 },
    'd.e': 9,
    num: ' 1.5e1 ',
  })
  const cases: [string, Json][] = [
    ['1 + 2 * 3', 7],
    ['(1 + 2) * 3', 9],
    ['7 - 2 - 1', 4],
    ['2 * 7 % 4', 2],
    ['-n + 1', -6],
    ['- - n', 7],
    ['n / 2', 3.5],
    ['0.1 + 0.2', 0.1 + 0.2],
    ['1e3', 1000],
    ['.5', 0.5],
    ['1 / 0', null],
    ['0 / 0', null],
    ['n % 0', null],
    ['5 - "a"', null],
    ['n + missing', null],
    ['"a" + missing', null],
    ['"a" + 1', 'a1'],
    ['n + "x"', '7x'],
    ['"a" + z', 'a'],
    ['n == 7', true],
    ['n == "7"', false],
    ['n != "7"', true],
    ['missing == null', false],
    ['missing != 1', false],
    ['z == null', true],
    ['list == list', true],
    ['o.x == list', false],
    ['"a" < "b"', true],
    ['"\u{1f600}" > "\uffff"', true],
    ['n >= 7 && n <= 7', true],
    ['n > 7 || half < 1', true],
    ['!n', false],
    ['!missing', true],
    ['!e', true],
    ['!list', false],
    ['1 < "2"', false],
    ['if(n > 5, "big", "small")', 'big'],
    ['if(missing, 1, if(t, 2, 3))', 2],
    ['coalesce(missing, z, s)', 'héllo wörld'],
    ['coalesce(missing)', null],
    ['concat(n, "-", s, z, t)', '7-héllo wörldtrue'],
    ['concat()', ''],
    ['lower("ÄB")', 'äb'],
    ['upper(s)', 'HÉLLO WÖRLD'],
    ['upper(n)', null],
    ['length(s)', 11],
    ['length(list)', 3],
    ['length(o)', 2],
    ['length(n)', null],
    ['length("\u{1f600}")', 1],
    ['substring(s, 1, 4)', 'éll'],
    ['substring(s, 6)', 'wörld'],
    ['substring(s, -5, 2)', 'hé'],
    ['substring(s, 4, 2)', ''],
    ['substring(s, 99)', ''],
    ['trim("  a b\\n")', 'a b'],
    ['replace(s, "l", "L")', 'héLLo wörLd'],
    ['replace(s, "", "x")', 'héllo wörld'],
    ['replace("aaa", "aa", "b")', 'ba'],
    ['contains(s, "lo")', true],
    ['startsWith(s, "hé")', true],
    ['endsWith(s, "x")', false],
    ['contains(n, "7")', false],
    ['abs(neg)', 3],
    ['round(2.5)', 3],
    ['round(-2.5)', -2],
    ['round(3.14159, 2)', 3.14],
    ['round(1234, -2)', 1200],
    ['floor(-0.5)', -1],
    ['ceil(0.2)', 1],
    ['min(3, n, 1)', 1],
    ['max(3, n, 1)', 7],
    ['max(1, "a")', null],
    ['number("12")', 12],
    ['number(num)', 15],
    ['number("0x10")', null],
    ['number("")', null],
    ['number(t)', 1],
    ['string(n)', '7'],
    ['string(0.1 + 0.2)', '0.30000000000000004'],
    ['string(list)', '[1,"a",{"b":2}]'],
    ['string(z)', 'null'],
    ['exists(z)', true],
    ['exists(missing)', false],
    ['list[2].b', 2],
    ['o["a b"] + 1', 4],
    ['["d.e"]', 9],
    ['list', [1, 'a', { b: 2 }]],
    ["'it''", null],
    ['"q\\"q"', 'q"q'],
    ["'a' + 'b'", 'ab'],
    ['true', true],
    ['null', null],
    ['-1e400', null],
    ['1.7976931348623157e308 * 10', null],
  ]
  for (const [expression, expected] of cases.filter(([e]) => e !== "'it''")) {
    const out = JSON.parse(mapped({ compute: { out: expression } }, record)[0]!) as Fields
    assert.equal(out.out, expected, expression)
  }
})

expressions('agree with JavaScript on arithmetic', () => {
  const number = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((v) => v + 0)
  fc.assert(
    fc.property(
      number,
      number,
      number,
      fc.constantFrom('+', '-', '*', '/', '%'),
      fc.constantFrom('+', '-', '*', '/', '%'),
      (a, b, c, x, y) => {
        const expected = Function('a', 'b', 'c', `return a ${x} b ${y} c`)(a, b, c) as number
        const out = JSON.parse(
          mapped({ compute: { out: `a ${x} b ${y} c` } }, JSON.stringify({ a, b, c }))[0]!,
        ) as Fields
        assert.is(out.out, Number.isFinite(expected) ? expected + 0 : null)
      },
    ),
    { numRuns: 500 },
  )
})

expressions('a later one sees the earlier', () => {
  assert.equal(mapped({ set: { rate: 2 }, compute: { a: 'x * rate', b: 'a + 1', a2: 'b' } }, '{"x":3}'), [
    '{"x":3,"rate":2,"a":6,"b":7,"a2":7}',
  ])
  assert.equal(mapped({ compute: { o: 'if(t, list, 0)', p: 'o[1]' } }, '{"t":true,"list":[1,2]}'), [
    '{"t":true,"list":[1,2],"o":[1,2],"p":2}',
  ])
})

expressions('that are none are refused at their character', () => {
  for (const wrong of [
    '',
    '1 +',
    '* 2',
    '(1',
    '1)',
    'a b',
    'f(',
    'nope(1)',
    'if(1)',
    '"abc',
    'a[',
    'a..b',
    '1.2.3',
    '1..2',
    '1e',
    '.',
    'a = b',
    '&& a',
    '('.repeat(200),
    '-'.repeat(200),
  ]) {
    assert.throws(
      () => new Guest(shipped('json-map')).configure({ compute: { x: wrong } }),
      /(compute|path).*\(line/,
      wrong,
    )
  }
  for (const settings of [
    { pick: 'a' },
    { drop: [1] },
    { rename: { a: 1 } },
    { rename: { 'a[0]': 'b' } },
    { compute: { a: 1 } },
  ]) {
    assert.throws(() => new Guest(shipped('json-map')).configure(settings), /\(line/, JSON.stringify(settings))
  }
})

map.run()
expressions.run()
