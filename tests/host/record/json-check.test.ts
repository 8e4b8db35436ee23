import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isJsonText } from '../../../host/record/json-check.ts'
import { findMember, SpanPath, skipValue } from '../../../host/record/json-span.ts'
import { parsePath } from '../../../schemas/json-path.ts'

const checking = suite('isJsonText')
const finding = suite('SpanPath')
const encoder = new TextEncoder()
const decoder = new TextDecoder()

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** As it is, and with other bytes around it that are not part of it. */
function isJson(text: string): boolean {
  const bytes = encoder.encode(text)
  const inside = encoder.encode(`"1${text}1"`)
  const is = isJsonText(bytes, 0, bytes.length)
  assert.is(isJsonText(inside, 2, inside.length - 2), is, text)
  return is
}

checking('agrees with JSON.parse on what is JSON and what just fails to be', () => {
  const texts = [
    '',
    ' ',
    '1',
    ' 1 ',
    '-0',
    '-',
    '01',
    '1.',
    '.1',
    '1e',
    '1e+',
    '1E-05',
    '1.5e10',
    '+1',
    '0x1',
    'NaN',
    'true',
    'tru',
    'truex',
    'false',
    'null',
    'nul',
    '""',
    '"',
    '"\\',
    '"\\"',
    '"\\x"',
    '"\\u12"',
    '"\\u12zz"',
    '"\\uABcd"',
    '"a\nb"',
    '"\t"',
    '\ufeff1',
    '\u00a01',
    '[]',
    '[ ]',
    '[1,]',
    '[,]',
    '[1 2]',
    '[1]]',
    '[[',
    '{}',
    '{ }',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{"a":1 "b":2}',
    '{a:1}',
    '{"a":1}}',
    '{]',
    '[}',
    '{"a":[{"b":[]},{}]}',
    '1 2',
    '{}{}',
    '[1]x',
    '\u0000',
  ]
  for (const text of texts) assert.is(isJson(text), parses(text), JSON.stringify(text))
  const deep = '['.repeat(100_000) + ']'.repeat(100_000)
  assert.ok(isJson(deep))
  assert.not.ok(isJson(deep.slice(1)))
})

checking('agrees on any JSON, and on any JSON with a few bytes changed', () => {
  const text = fc.oneof(
    fc.json(),
    fc.jsonValue().map((v) => JSON.stringify(v, null, 2)),
  )
  fc.assert(
    fc.property(text, (json) => assert.ok(isJson(json))),
    { numRuns: 500 },
  )
  const change = fc.tuple(
    fc.nat(),
    fc.constantFrom('', '"', '\\', '{', '}', '[', ']', ',', ':', '0', '-', '.', 'e', 'u', ' ', '\n', 'é'),
  )
  fc.assert(
    fc.property(text, fc.array(change, { minLength: 1, maxLength: 3 }), (json, changes) => {
      let changed = json
      for (const [at, c] of changes) {
        const i = at % (changed.length + 1)
        changed = changed.slice(0, i) + c + changed.slice(i + 1)
      }
      assert.is(isJson(changed), parses(changed), changed)
    }),
    { numRuns: 3000 },
  )
})

finding('finds what a path names, as a plain look-up does', () => {
  const key = fc.constantFrom('a', 'b', 'a.b', 'ü', '0', '"', '\n')
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(1, -2.5, 'x', '}"]', null, true),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(key, tie('any'), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).any
  const steps = fc.array(fc.oneof(key, fc.nat(3)), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(value, steps, fc.boolean(), (given, path, spaced) => {
      const bytes = encoder.encode(JSON.stringify(given, null, spaced ? 1 : 0))
      let wanted: unknown = given
      for (const step of path) {
        const isThere =
          typeof step === 'number'
            ? Array.isArray(wanted)
            : typeof wanted === 'object' && wanted !== null && !Array.isArray(wanted)
        wanted =
          isThere && Object.hasOwn(wanted as object, step) ? (wanted as Record<string, unknown>)[step] : undefined
      }
      const span = new SpanPath(path)
      const at = span.find(bytes, 0, bytes.length)
      assert.equal(at < 0 ? undefined : JSON.parse(decoder.decode(bytes.subarray(at, span.end))), wanted)
    }),
    { numRuns: 2000 },
  )
})

finding('never leaves its bounds, whatever the bytes', () => {
  const parsed = parsePath('a[1].b')
  assert.ok('segments' in parsed)
  const path = new SpanPath((parsed as { segments: (string | number)[] }).segments)
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', ':', ',', 'a', 'b', '1', '\\', ' ') }),
      (text) => {
        const bytes = encoder.encode(text)
        const at = path.find(bytes, 0, bytes.length)
        assert.ok(at < bytes.length && path.end <= bytes.length)
        assert.ok(skipValue(bytes, 0, bytes.length) <= bytes.length)
      },
    ),
    { numRuns: 3000 },
  )
})

finding('of duplicate keys the last counts, escaped ones included', () => {
  const bytes = encoder.encode('{"a":1,"\\u0061":2}')
  assert.is(decoder.decode(bytes.subarray(findMember(bytes, 0, bytes.length, encoder.encode('a'), 'a'))), '2}')
})

checking.run()
finding.run()
