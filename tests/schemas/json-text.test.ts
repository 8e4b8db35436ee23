import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Place, readJson } from '../../schemas/json-text.ts'

const accepts = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

test('any JSON text is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'small' }), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
      const text = JSON.stringify(value, null, space)
      if (text.includes('__proto__')) return
      // -0 and what JSON.stringify cannot write are told by the text alone.
      assert.equal(readJson(text), { value: JSON.parse(text), issues: [] })
    }),
  )
})

test('what JSON.parse refuses is refused, what it takes is taken', () => {
  const piece = fc.constantFrom(
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '1',
      '-',
      '0',
      '.',
      'e',
      'true',
      'null',
      ' ',
      '\n',
      '\\',
      '\\u00e9',
      '\u0001',
    ],
    ...['\u007f', '\u0085', '\ud800', '01', '1.', '"\\n"', '"\\x"', 'nul', '/', "'"],
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
      const text = pieces.join('')
      const { issues } = readJson(text)
      // Duplicate keys are taken by JSON.parse, and a problem here.
      if (issues.some((issue) => issue.message.includes('twice'))) return
      assert.is(issues.length === 0, accepts(text), JSON.stringify(text))
      for (const { line, column } of issues) assert.ok(line! >= 1 && column! >= 1)
    }),
    { numRuns: 3000 },
  )
})

test('a problem has its line and column', () => {
  const cases: [string, RegExp, number, number][] = [
    ['{"id": "a",,}', /field name/, 1, 12],
    ['{\n  "a": 1\n  "b": 2\n}', /"," or "}"/, 3, 3],
    ['', /empty/, 1, 1],
    ['[1, 2', /ends here/, 1, 6],
    ['[1] 2', /end of the text/, 1, 5],
    ['"abc', /does not end/, 1, 1],
    ['"abc\\', /does not end/, 1, 1],
    ['["\n"]', /control character/, 1, 3],
    ['["\\x"]', /escape/, 1, 2],
    ['[01]', /number/, 1, 2],
  ]
  for (const [text, message, line, column] of cases) {
    const { issues } = readJson(text)
    assert.is(issues.length, 1, text)
    assert.match(issues[0]!.message, message)
    assert.equal([issues[0]!.line, issues[0]!.column], [line, column], text)
  }
})

test('duplicate keys, numbers out of range and __proto__ are problems at their pointers, all at once', () => {
  const { issues } = readJson('{"a": {"b": 1,\n "b": 2}, "list": [1e999], "__proto__": {"x": 1}}')
  assert.equal(
    issues.map(({ pointer, line, column }) => [pointer, line, column]),
    [
      ['/a/b', 2, 2],
      ['/list/0', 2, 20],
      ['/__proto__', 2, 28],
    ],
  )
  assert.is(({} as { x?: number }).x, undefined)
})

test('nesting is bounded, so nothing overflows', () => {
  for (const open of ['[', '{"a":', '[{"a":[']) {
    const { issues } = readJson(open.repeat(50_000))
    assert.match(issues[0]!.message, /deep/)
  }
  assert.equal(readJson(`${'['.repeat(60)}${']'.repeat(60)}`).issues, [])
})

test('places are those of the values and their keys', () => {
  const text = '{"a": [1,\n  {"b/c": true}]}'
  const places = new Map<string, Place>()
  readJson(text, places)
  assert.equal(Object.fromEntries(places), {
    '': { key: undefined, value: 0 },
    '/a': { key: 1, value: 6 },
    '/a/0': { key: undefined, value: 7 },
    '/a/1': { key: undefined, value: 12 },
    '/a/1/b~1c': { key: 13, value: 20 },
  })
})

test.run()
