// route, throttle, sample and dedupe.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PlainRecord } from '../../host/record/record.ts'
import { CHANGE_KEEP, CHANGE_RESET } from '../../wasm-operators/abi.ts'
import { bytesOf, Guest, shipped } from '../support/guest.ts'

function guestOf(name: string, settings: unknown): Guest {
  const guest = new Guest(shipped(name))
  assert.is(guest.configure(settings), CHANGE_KEEP)
  return guest
}

const ports = (guest: Guest): (number | undefined)[] => guest.out.map((record) => record.port)

const route = suite('route')

route('takes the first route that holds, or every one; the last port is unmatched', () => {
  const routes = [
    { port: 'small', where: [{ path: 'n', lt: 10 }] },
    { port: 'even', where: { path: 'even', equals: true } },
  ]
  const guest = guestOf('route', { routes })
  guest.values('{"n":1,"even":true}', '{"n":20,"even":true}', '{"n":20}', '{"n":5}')
  assert.equal(ports(guest), [0, 1, 2, 0])
  assert.is(guest.configure({ routes, match: 'all' }), CHANGE_KEEP)
  guest.values('{"n":1,"even":true}', '{"n":20}', '{')
  assert.equal(ports(guest), [0, 1, 2])
  assert.equal(
    guest.rejected.map((r) => r.index),
    [2],
  )
})

const throttle = suite('throttle')

throttle('passes so many in each time, the rest is excess', () => {
  const guest = guestOf('throttle', { records: 2, perMs: 100 })
  const at = (clock: number): (number | undefined)[] => {
    guest.clock = clock
    guest.values('a', 'b', 'c')
    return ports(guest)
  }
  assert.equal(at(1000), [0, 0, 1])
  assert.equal(at(1099), [1, 1, 1])
  assert.equal(at(1100), [0, 0, 1])
  assert.equal(at(5000), [0, 0, 1])
  assert.equal(at(4000), [0, 0, 1], 'a clock that was set back')
  assert.is(guest.configure({ records: 3, perMs: 100 }), CHANGE_KEEP)
  assert.equal(at(4001), [0, 1, 1])
})

const sample = suite('sample')

sample('passes every n-th record, over batches', () => {
  const guest = guestOf('sample', { every: 3 })
  const seen: string[] = []
  for (let i = 1; i <= 20; i += 2) {
    guest.values(`${i}`, `${i + 1}`)
    seen.push(...guest.texts())
  }
  assert.equal(seen, ['3', '6', '9', '12', '15', '18'])
})

sample('passes a share, the same one with the same seed', () => {
  const values = Array.from({ length: 10_000 }, (_, i) => `${i}`)
  const choose = (settings: object): string[] => {
    const guest = guestOf('sample', settings)
    guest.values(...values)
    return guest.texts()
  }
  const first = choose({ ratio: 0.25, seed: 7 })
  assert.equal(choose({ ratio: 0.25, seed: 7 }), first)
  assert.not.equal(choose({ ratio: 0.25, seed: 8 }), first)
  assert.ok(Math.abs(first.length - 2500) < 250, `${first.length}`)
  assert.is(choose({ ratio: 0 }).length, 0)
  assert.is(choose({ ratio: 1 }).length, values.length)
  const guest = guestOf('sample', { ratio: 0.25, seed: 7 })
  assert.is(guest.configure({ ratio: 0.5, seed: 7 }), CHANGE_KEEP)
  assert.is(guest.configure({ ratio: 0.5, seed: 9 }), CHANGE_RESET)
})

const dedupe = suite('dedupe')

const timed = (timestamp: number, value: string, key?: string): PlainRecord => ({
  timestamp,
  value: bytesOf(value),
  ...(key === undefined ? {} : { key: bytesOf(key) }),
})

dedupe('by a path, within a time from the record that was passed on', () => {
  const guest = guestOf('dedupe', { by: 'id', withinMs: 100 })
  guest.process([
    timed(0, '{"id":1}'),
    timed(50, '{"id":1.0}'),
    timed(99, '{"id":"1"}'),
    timed(100, '{"id":1}'),
    timed(150, '{"id":1}'),
    timed(150, '{}'),
    timed(151, '{}'),
    timed(160, '{"id":null}'),
    timed(161, '{"id":null}'),
    timed(162, '{"id":{"a":1,"b":2}}'),
    timed(163, '{"id": {"b":2, "a":1}}'),
    timed(164, 'x'),
  ])
  assert.equal(ports(guest), [0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1])
  assert.equal(
    guest.rejected.map((r) => r.index),
    [11],
  )
})

dedupe('by the key, as many values as the capacity', () => {
  const guest = guestOf('dedupe', { by: 'key', capacity: 2 })
  guest.process(['a', 'b', 'a', 'c', 'a', 'b', 'b', undefined, undefined].map((key, i) => timed(i, 'any', key)))
  assert.equal(ports(guest), [0, 0, 1, 0, 0, 0, 1, 0, 0])
})

dedupe('agrees with a model over many values, and its memory stays bounded', () => {
  const guest = guestOf('dedupe', { by: 'id', capacity: 1000 })
  const remembered: number[] = []
  let state = 1
  for (let batch = 0; batch < 100; batch++) {
    const ids = Array.from({ length: 500 }, () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return (state >>> 8) % 1500
    })
    guest.values(...ids.map((id) => `{"id":${id}}`))
    const expected = ids.map((id) => {
      if (remembered.includes(id)) return 1
      remembered.push(id)
      if (remembered.length > 1000) remembered.shift()
      return 0
    })
    assert.equal(ports(guest), expected)
  }
  assert.ok(guest.exports.memory.buffer.byteLength <= 1 << 20)
})

dedupe('another path begins anew, another time does not', () => {
  const guest = guestOf('dedupe', { by: 'id', withinMs: 100 })
  guest.values('{"id":1}')
  assert.is(guest.configure({ by: 'id', withinMs: 1000 }), CHANGE_KEEP)
  guest.values('{"id":1}')
  assert.equal(ports(guest), [1])
  assert.is(guest.configure({ by: 'other', withinMs: 1000 }), CHANGE_RESET)
})

const refused = suite('settings')

refused('that make no sense are refused with a sentence', () => {
  const wrong: [string, unknown][] = [
    ['route', {}],
    ['route', { routes: [] }],
    ['throttle', {}],
    ['throttle', { records: 0, perMs: 1 }],
    ['sample', {}],
    ['sample', { every: 1, ratio: 1 }],
    ['sample', { ratio: 2 }],
    ['dedupe', { by: 'a' }],
    ['dedupe', { withinMs: 1 }],
    ['dedupe', { by: 'a', capacity: 0 }],
  ]
  for (const [name, settings] of wrong)
    assert.throws(() => new Guest(shipped(name)).configure(settings), /\w+ .*\(line/, name)
})

route.run()
throttle.run()
sample.run()
dedupe.run()
refused.run()
