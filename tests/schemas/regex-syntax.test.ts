import fc from 'fast-check'
import { RE2 } from 're2-wasm'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { regexProblem } from '../../schemas/regex-syntax.ts'

test('patterns in the syntax of RE2 are taken', () => {
  for (const good of [
    '',
    '^a+$',
    '(?i)shop|cart',
    '(?:a|b)*?',
    '(?P<year>\\d{4})-\\d{1,2}',
    '[^a-z\\]\\d]',
    '[]a]',
    '[[:alpha:]]+',
    '\\p{Greek}\\PL',
    '\\x41\\x{1F600}',
    '\\Q(?=\\E.',
    'a{,3}',
    '{',
    '(?i-s:a)',
    '\\.\\-\\/',
  ]) {
    assert.is(regexProblem(good), undefined, good)
  }
})

test('look-around, back-references and broken patterns are refused with a reason', () => {
  for (const [bad, reason] of [
    ['(?=a)', /look-around/],
    ['(?!a)', /look-around/],
    ['(?<=a)', /look-around/],
    ['(?<!a)', /look-around/],
    ['(a)\\1', /back-references/],
    ['\\k<a>', /back-references/],
    ['(?>a)', /atomic/],
    ['a++', /repeats nothing/],
    ['*', /repeats nothing/],
    ['a|*', /repeats nothing/],
    ['(+)', /repeats nothing/],
    ['(', /missing/],
    [')', /without/],
    ['[a', /missing/],
    ['a{2,1}', /counts down/],
    ['a{1001}', /at most 1000/],
    ['\\', /single/],
    ['\\y', /not part/],
    ['\\p', /Unicode class/],
    ['x'.repeat(1001), /at most 1000 characters/],
    ['('.repeat(101), /deep/],
  ] as const) {
    assert.match(regexProblem(bad) ?? '', reason, bad)
  }
})

test('what RE2 refuses is refused, what RE2 takes is taken', () => {
  const piece = fc.constantFrom(
    ...[
      'a',
      'b',
      '.',
      '\\d',
      '\\b',
      '^',
      '$',
      '|',
      '(',
      '(?:',
      '(?i)',
      ')',
      '*',
      '+',
      '?',
      '*?',
      '{2}',
      '{1,3}',
      '[a-c]',
    ],
    ...['[^x]', '\\.', '(?=', '\\1', '[', ']', '{', '}', '\\s', 'é'],
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const pattern = pieces.join('')
      let taken = true
      try {
        new RE2(pattern, 'u')
      } catch {
        taken = false
      }
      assert.is(regexProblem(pattern) === undefined, taken, pattern)
    }),
    { numRuns: 1000 },
  )
})

test.run()
