// json-aggregate against a plain model.

import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CHANGE_KEEP, CHANGE_RESET } from '../../wasm-operators/abi.ts'
import { Guest, shipped } from '../support/guest.ts'

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

const decoder = new TextDecoder()

function guestWith(settings: unknown): Guest {
  const guest = new Guest(shipped('json-aggregate'))
  assert.is(guest.configure(settings), CHANGE_KEEP)
  return guest
}

/** What a flush emits: key and value. */
function flushed(guest: Guest): [string | undefined, Record<string, Json>][] {
  return guest.flush().map(({ key, value }) => [key && decoder.decode(key), JSON.parse(decoder.decode(value))])
}

interface Group {
  keys: Json[]
  values: Json[]
  records: number
}

const functions = ['count', 'sum', 'min', 'max', 'mean', 'distinct', 'top'] as const

function aggregate(fn: (typeof functions)[number], group: Group): Json {
  const numbers = group.values.filter((v) => typeof v === 'number')
  const sum = numbers.reduce((a, b) => a + b, 0)
  const finite = (value: number): Json => (Number.isFinite(value) ? value : null)
  const counts = new Map<string, { value: Json; count: number }>()
  for (const value of group.values) {
    const name = canonical(value)
    const known = counts.get(name)
    if (known) known.count++
    else counts.set(name, { value, count: 1 })
  }
  switch (fn) {
    case 'count':
      return group.values.length
    case 'sum':
      return numbers.length ? finite(sum) : null
    case 'mean':
      return numbers.length ? finite(sum / numbers.length) : null
    case 'min':
      return numbers.length ? Math.min(...numbers) + 0 : null
    case 'max':
      return numbers.length ? Math.max(...numbers) + 0 : null
    case 'distinct':
      return counts.size
    case 'top':
      return [...counts.values()].sort((a, b) => b.count - a.count).slice(0, 3)
  }
}

function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value === 'object' && value !== null) {
    return `{${Object.keys(value)
      .sort()
      .map((name) => `${JSON.stringify(name)}:${canonical(value[name]!)}`)
      .join()}}`
  }
  return JSON.stringify(value)
}

const scalar: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>('a', 'b', 'é', '', '1', 'null', '"', null, true, false, 0, 1, 1.5, -3.25, 1e300, 0.1),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((v) => v + 0),
)
const value: fc.Arbitrary<Json> = fc.oneof(
  { weight: 8, arbitrary: scalar },
  { weight: 1, arbitrary: fc.array(scalar, { maxLength: 2 }) },
  { weight: 1, arbitrary: fc.dictionary(fc.constantFrom('x', 'y'), scalar, { maxKeys: 2, noNullPrototype: true }) },
)
const record = fc.record(
  { g: value, h: scalar, v: value },
  { requiredKeys: [], noNullPrototype: true },
) as fc.Arbitrary<Record<string, Json>>

const groups = suite('json-aggregate')

groups('agrees with the model for one, two and no group paths', () => {
  const fields = functions.map((fn) => ({ path: 'v', as: fn, fn, ...(fn === 'top' ? { k: 3 } : {}) }))
  for (const paths of [[], ['g'], ['g', 'h']]) {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 40 }), (records) => {
        const guest = guestWith({ groupBy: paths, fields: [...fields, { as: 'all', fn: 'count' }] })
        guest.values(...records.map((r) => JSON.stringify(r)))
        const model = new Map<string, Group>()
        for (const r of records) {
          const keys = paths.map((path) => r[path] ?? null)
          const name = keys.map(canonical).join()
          const group = model.get(name) ?? { keys, values: [], records: 0 }
          model.set(name, group)
          group.records++
          if (Object.hasOwn(r, 'v')) group.values.push(r.v!)
        }
        const expected = [...model.values()].map((group) => {
          const key = paths.length === 0 ? undefined : paths.length === 1 ? group.keys[0]! : group.keys
          return [
            typeof key === 'string' || key === undefined ? key : JSON.stringify(key),
            Object.fromEntries([
              ...paths.map((path, i) => [path, group.keys[i]]),
              ...functions.map((fn) => [fn, aggregate(fn, group)]),
              ['all', group.records],
            ]),
          ]
        })
        assert.equal(flushed(guest), expected)
      }),
      { numRuns: 300 },
    )
  }
})

groups('emits what changed, or all, in the order in which the groups came', () => {
  const settings = { groupBy: { path: 'g', as: 'group' }, fields: [{ as: 'n', fn: 'count' }] }
  const guest = guestWith(settings)
  guest.values('{"g":"b"}', '{"g":"a"}', '{"g":"b"}')
  assert.equal(flushed(guest), [
    ['b', { group: 'b', n: 2 }],
    ['a', { group: 'a', n: 1 }],
  ])
  assert.equal(flushed(guest), [])
  guest.values('{"g":"c"}', '{"g":"a"}')
  assert.equal(flushed(guest), [
    ['a', { group: 'a', n: 2 }],
    ['c', { group: 'c', n: 1 }],
  ])
  assert.is(guest.configure({ ...settings, emit: 'all' }), CHANGE_KEEP)
  assert.equal(
    flushed(guest).map(([key]) => key),
    ['b', 'a', 'c'],
  )
})

groups('begins anew after each emit where reset says so', () => {
  const guest = guestWith({
    groupBy: 'g',
    fields: [
      { path: 'v', as: 's', fn: 'sum' },
      { path: 'v', as: 'd', fn: 'distinct' },
    ],
    reset: 'onEmit',
  })
  for (let i = 0; i < 500; i++) {
    guest.values(`{"g":"a","v":${i}}`, `{"g":"${i}","v":1}`, `{"g":"a","v":1}`)
    assert.equal(flushed(guest)[0], ['a', { g: 'a', s: i + 1, d: i === 1 ? 1 : 2 }])
  }
  assert.ok(guest.exports.memory.buffer.byteLength <= 1 << 20)
})

groups('keeps the state through other settings, drops it with other groups or fields', () => {
  const settings = { groupBy: 'g', fields: [{ path: 'v', as: 's', fn: 'sum' }] }
  const guest = guestWith(settings)
  guest.values('{"g":"a","v":1}')
  assert.is(guest.configure({ fields: [{ fn: 'sum', as: 's', path: 'v' }], emit: 'all', groupBy: 'g' }), CHANGE_KEEP)
  guest.values('{"g":"a","v":2}')
  assert.equal(flushed(guest), [['a', { g: 'a', s: 3 }]])
  assert.is(guest.configure({ ...settings, groupBy: 'h' }), CHANGE_RESET)
  assert.equal(flushed(guest), [])
  guest.values('{"h":"a","v":5}')
  assert.equal(flushed(guest), [['a', { h: 'a', s: 5 }]])
  assert.is(guest.configure({ groupBy: 'h', fields: [{ as: 'n', fn: 'count' }] }), CHANGE_RESET)
})

groups('group values keep their digits; 1 and 1.0 are one group, whole numbers beyond 2^53 are told apart', () => {
  const guest = guestWith({ groupBy: 'g', fields: [{ as: 'n', fn: 'count' }] })
  guest.values(
    '{"g":1.0}',
    '{"g":1}',
    '{"g":"1"}',
    '{"g":9007199254740993}',
    '{"g":9007199254740992}',
    '{"g":1e0}',
    '{"g":null}',
    '{}',
  )
  guest.flush()
  assert.equal(guest.texts(), [
    '{"g":1.0,"n":3}',
    '{"g":"1","n":1}',
    '{"g":9007199254740993,"n":1}',
    '{"g":9007199254740992,"n":1}',
    '{"g":null,"n":2}',
  ])
})

groups('a hundred thousand groups', () => {
  const guest = guestWith({ groupBy: 'g', fields: [{ as: 'n', fn: 'count' }] })
  for (let from = 0; from < 100_000; from += 1000) {
    guest.values(...Array.from({ length: 1000 }, (_, i) => `{"g":"group ${(from + i) % 50_000}"}`))
  }
  const out = flushed(guest)
  assert.is(out.length, 50_000)
  assert.ok(out.every(([key, row], i) => key === `group ${i}` && row.n === 2))
})

groups('names what is not JSON, and goes on', () => {
  const guest = guestWith({ groupBy: 'g', fields: [{ as: 'n', fn: 'count' }] })
  guest.values('{"g":1}', '{"g":', '{"g":1}')
  assert.equal(
    guest.rejected.map((r) => r.index),
    [1],
  )
  assert.equal(flushed(guest), [['1', { g: 1, n: 2 }]])
})

groups('settings that make no sense are refused with a sentence', () => {
  for (const settings of [
    {},
    { fields: [{ fn: 'sum', as: 'x' }] },
    { fields: [{ fn: 'nope', as: 'x', path: 'a' }] },
    { fields: [{ fn: 'count' }] },
    { fields: [], emit: 'sometimes' },
    { fields: [], reset: 'x' },
    { fields: [], groupBy: 5 },
    { fields: [], groupBy: [{ as: 'x' }] },
  ]) {
    assert.throws(
      () => new Guest(shipped('json-aggregate')).configure(settings),
      /\w+ .*\(line/,
      JSON.stringify(settings),
    )
  }
})

groups.run()
