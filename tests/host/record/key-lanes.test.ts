// What goes to the same lane, and that the choice never changes.

import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KeyLanes } from '../../../host/record/key-lanes.ts'
import { laneOf } from '../../support/split-driver.ts'

const lanes = suite('KeyLanes')
const MANY = 1 << 20

/** Of a value at `k`, among very many: the same lane is the same hash. */
const hashed = (text: string, by = 'k'): number => laneOf(new KeyLanes(by, MANY), { value: Buffer.from(text) })
const keyed = (key: string): number => laneOf(new KeyLanes('key', MANY), { key: Buffer.from(key) })

lanes('are those that checkpoints were made with', () => {
  const known = [
    '{"k":"a"}',
    '{"k":"anna@example.org"}',
    '{"k":17}',
    '{"k":-3.25}',
    '{"k":true}',
    '{"k":{"b":1,"a":[]}}',
  ]
  assert.equal(
    known.map((text) => hashed(text)),
    [45_491, 23_414, 702_788, 722_038, 885_857, 356_993],
  )
  assert.equal(['', 'a', '17'].map(keyed), [949_259, 45_491, 702_788])
})

lanes('are the same for what is the same value, however it is written', () => {
  for (const same of [
    ['1', '1.0', '1e0', '10e-1', ' 1 '],
    ['0', '-0', '0.0', '-0e5'],
    ['12345678901234567890', '12345678901234567890.0', '1.234567890123456789e19'],
    ['"a"', '"\\u0061"'],
    ['"é/"', '"\\u00e9\\/"'],
    ['"\\ud83d\\ude00"', '"😀"'],
    ['{"x":1,"y":"z"}', '{ "y" : "\\u007a", "x": 1.0 }', '{"x":2,"y":"z","x":1}'],
    ['[1,[2,{}]]', '[ 1.0, [2,{ }] ]'],
  ]) {
    const found = same.map((text) => hashed(`{"k":${text}}`))
    assert.is(new Set(found).size, 1, same.join(' '))
  }
  assert.is.not(hashed('{"k":1}'), hashed('{"k":2}'))
})

lanes('of duplicate fields the last counts', () => {
  assert.is(hashed('{"k":"a","k":"b"}'), hashed('{"k":"b"}'))
})

lanes('records without the value, null, what is no JSON and what is too long go to the first', () => {
  for (const text of [
    '{}',
    '{"j":1}',
    '{"k":null}',
    '',
    'text',
    '[1]',
    '{"k"',
    '{"k":"a',
    '{"k":"\\u00zz"}',
    '{"k":nonsense}',
  ]) {
    assert.is(hashed(text), 0, text)
  }
  assert.is(laneOf(new KeyLanes('k', MANY), {}), 0)
  assert.is(laneOf(new KeyLanes('key', MANY), { value: Buffer.from('{"key":"a"}') }), 0)
  assert.is.not(keyed(''), 0)
  const list = (n: number): string => `{"k":[${'1,'.repeat(n)}1]}`
  assert.is.not(hashed(list(30_000)), 0)
  assert.is(hashed(list(40_000)), 0)
  assert.is.not(hashed(`{"k":"${'a'.repeat(100_000)}"}`), 0)
})

lanes('a path into lists, and a field that is called key', () => {
  assert.is(hashed('{"a":[{"b":"x"},{"b":"y"}]}', 'a[1].b'), hashed('{"k":"y"}'))
  assert.is(hashed('{"key":"y"}', '["key"]'), hashed('{"k":"y"}'))
  assert.throws(() => new KeyLanes('a[', 2), /partitionBy/)
})

lanes('any value goes to the same lane as its copy with other spaces, order and escapes', () => {
  const shuffled = (value: unknown): string => {
    if (Array.isArray(value)) return `[ ${value.map(shuffled).join(' , ')} ]`
    if (typeof value === 'object' && value !== null) {
      const fields = Object.entries(value).reverse()
      return `{ ${fields.map(([name, inner]) => `${shuffled(name)} : ${shuffled(inner)}`).join(' , ')} }`
    }
    if (typeof value !== 'string') return JSON.stringify(value)
    return `"${[...value].map((c) => [...Array(c.length).keys()].map((i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')).join('')}"`
  }
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.is(hashed(`{"k":${JSON.stringify(value)}}`), hashed(`{"k":${shuffled(value)}}`))
    }),
    { numRuns: 500 },
  )
})

lanes('get about as many keys each', () => {
  const counts = new Array<number>(8).fill(0)
  const eight = new KeyLanes('k', 8)
  for (let n = 0; n < 8000; n++) counts[laneOf(eight, { value: Buffer.from(`{"k":${n}}`) })]!++
  for (const count of counts) assert.ok(count > 800 && count < 1200, String(counts))
})

lanes.run()
