import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mergePatch } from '../../schemas/merge-patch.ts'

// RFC 7396, appendix A.
const EXAMPLES: [unknown, unknown, unknown][] = [
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [
    ['a', 'b'],
    ['c', 'd'],
    ['c', 'd'],
  ],
  [{ a: 'b' }, ['c'], ['c']],
  [{ a: 'foo' }, null, null],
  [{ a: 'foo' }, 'bar', 'bar'],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: 'b', c: null }, { a: 'b' }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
]

test('the examples of RFC 7396 hold', () => {
  for (const [target, patch, result] of EXAMPLES) assert.equal(mergePatch(target, patch), result)
})

test('neither side is changed, and a second time changes nothing', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (target, patch) => {
      const before = [JSON.stringify(target), JSON.stringify(patch)]
      const once = mergePatch(target, patch)
      assert.equal(JSON.parse(JSON.stringify(mergePatch(once, patch))), JSON.parse(JSON.stringify(once)))
      assert.equal([JSON.stringify(target), JSON.stringify(patch)], before)
    }),
  )
})

test('a patch does not reach a prototype', () => {
  const merged = mergePatch({ a: 1 }, JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"b": 1}}'))
  assert.is(({} as { polluted?: boolean }).polluted, undefined)
  assert.is((merged as { polluted?: boolean }).polluted, undefined)
  assert.equal((merged as { constructor: unknown }).constructor, { b: 1 })
})

test.run()
