import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parsePath } from '../../schemas/json-path.ts'

test('fields, indices and quoted fields are cut apart', () => {
  const good: [string, (string | number)[]][] = [
    ['a', ['a']],
    ['a.b[0].c', ['a', 'b', 0, 'c']],
    ['["a.b"].c', ['a.b', 'c']],
    ['a["b"]["c"][12]', ['a', 'b', 'c', 12]],
    ['[0].x', [0, 'x']],
    ['user-id', ['user-id']],
    ['größe.x y', ['größe', 'x y']],
    ['["quote\\"d"]', ['quote"d']],
    ['["\\u0061"]', ['a']],
    ['$.a', ['$', 'a']],
  ]
  for (const [path, segments] of good) assert.equal(parsePath(path), { segments }, path)
})

test('what is no path is told with the character where it fails', () => {
  const bad: [string, RegExp][] = [
    ['', /empty/],
    ['.a', /character 1/],
    ['a.', /character 3/],
    ['a..b', /character 3/],
    ['a[', /character 2/],
    ['a[x]', /character 2/],
    ['a[01]', /character 2/],
    ['a[-1]', /character 2/],
    ['a.["b"]', /character 3/],
    ['a]', /character 2/],
    ['a"b', /character 2/],
    ['["a]', /character 1/],
    ['["\\x"]', /character 1/],
    ['a[0]b', /character 5/],
    ['a\nb', /character 2/],
    ['x'.repeat(1025), /at most/],
    [Array(65).fill('a').join('.'), /at most/],
  ]
  for (const [path, problem] of bad) {
    const parsed = parsePath(path)
    assert.ok('problem' in parsed, path)
    assert.match(parsed.problem, problem)
  }
})

test('a path that is written from segments reads as them, whatever the names', () => {
  const segment = fc.oneof(fc.string({ maxLength: 12 }), fc.nat(999_999_999))
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 10 }), (segments) => {
      const path = segments.map((s) => (typeof s === 'number' ? `[${s}]` : `[${JSON.stringify(s)}]`)).join('')
      assert.equal(parsePath(path), { segments })
    }),
  )
})

test('no text makes it throw', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', '.', '[', ']', '"', '\\', '0', '1'), maxLength: 20 }),
      (path) => {
        const parsed = parsePath(path)
        assert.ok('problem' in parsed || parsed.segments.length > 0)
      },
    ),
    { numRuns: 1000 },
  )
})

test.run()
