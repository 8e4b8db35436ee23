import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { didYouMean, distance, nearestName } from '../../schemas/nearest-name.ts'

test('a slip of the hand finds the name that was meant', () => {
  const known = ['http', 'file', 'generator', 'timer', 'topic']
  for (const [slip, meant] of [
    ['htpt', 'http'],
    ['htp', 'http'],
    ['HTTP', 'http'],
    ['generatr', 'generator'],
    ['tpoic', 'topic'],
  ] as const) {
    assert.is(nearestName(slip, known), meant)
  }
  assert.is(nearestName('inn', ['in', 'x']), 'in')
  assert.is(nearestName('kafka', known), undefined)
  assert.is(nearestName('x'.repeat(10_000), known), undefined)
})

test('where no name is near, the known ones are told, a dozen at most', () => {
  assert.is(didYouMean('qqqqq', ['a', 'b']), '; known: "a", "b"')
  assert.is(didYouMean('qqqqq', []), '')
  const many = Array.from({ length: 40 }, (_, i) => `name-${i}`)
  assert.is(didYouMean('qqqqq', many).split(',').length, 13)
})

test('the distance is a metric up to its bound', () => {
  const word = fc.string({ maxLength: 8 })
  fc.assert(
    fc.property(word, word, (a, b) => {
      const steps = distance(a, b, 100)
      assert.is(steps, distance(b, a, 100))
      assert.is(steps === 0, a === b)
      assert.ok(steps <= Math.max(a.length, b.length))
      for (const max of [0, 1, 2]) assert.is(distance(a, b, max), Math.min(steps, max + 1))
    }),
  )
})

test.run()
