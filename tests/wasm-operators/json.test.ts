// The SDK's walks over JSON, its numbers and strings, against JSON.parse and JSON.stringify.
// Up to two names of the root are found by blocks, where unused values need only close; more, byte by byte.

import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { compiled, Guest } from '../support/guest.ts'

const probe = await compiled(`
import { Operator, Record, Emitter, Settings, Change, register } from 'spqr'
import { Paths, Slot, slotNumber, slotText, slotRaw } from 'spqr/json/paths'
import { Writer } from 'spqr/json/writer'
import { printNumber } from 'spqr/json/print-number'
import { encodeString } from 'spqr/json/text'

class Probe extends Operator {
  paths: Paths = new Paths()
  slots: Slot[] = []
  text: Writer = new Writer()
  json: Writer = new Writer()
  configure(settings: Settings): Change {
    this.paths = new Paths()
    this.slots = []
    const list = settings.get('paths')
    for (let i = 0; i < list.length; i++) this.slots.push(this.paths.add(list.at(i).string))
    return Change.Reset
  }
  process(record: Record, out: Emitter): void {
    const at = record.valuePointer
    if (!this.paths.read(at, at + record.valueBytes)) { record.reject('no'); return }
    for (let i = 0; i < this.slots.length; i++) {
      const slot = this.slots[i]
      const kind = this.paths.kind(slot)
      this.json.clear()
      if (kind == 0) this.json.text('missing')
      else if (kind == 4) printNumber(slotNumber(slot), this.json)
      else if (kind == 5) { this.text.clear(); slotText(slot, this.text); encodeString(this.text.start, this.text.length, this.json) }
      else slotRaw(slot, this.json)
      out.write(this.json.toString())
    }
  }
}
register(new Probe())
`)

const guest = new Guest(probe)

/** What the guest finds at these paths, undefined where it says that the text is not JSON. */
function find(text: string | Uint8Array, ...paths: string[]): string[] | undefined {
  guest.configure({ paths })
  guest.values(text)
  return guest.rejected.length > 0 ? undefined : guest.texts()
}

/** Paths that no text of these tests has; with them a text is walked over byte by byte. */
const nowhere = ['none1', 'none2', 'none3']

/** Whether the guest takes the text for JSON, byte by byte. */
function accepts(text: string | Uint8Array): boolean {
  return find(text, ...nowhere) !== undefined
}

/** Whether it does so by blocks, where no value is used. */
function outlines(text: string): boolean {
  return find(text, '["no such field"].x') !== undefined
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** An object whose strings and brackets close, and nothing behind it; any other text is to be JSON. */
function closes(text: string): boolean {
  if (!/^[ \n\r\t]*\{/.test(text)) return parses(text)
  const open: string[] = []
  for (let at = text.indexOf('{'); at < text.length; at++) {
    const c = text[at]!
    if (c === '{' || c === '[') open.push(c)
    else if (c === '}' || c === ']') {
      if (open.pop() !== (c === '}' ? '{' : '[')) return false
      if (open.length === 0) return /^[ \n\r\t]*$/.test(text.slice(at + 1))
    } else if (c === '\\') return false
    else if (c === '"') {
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++
    }
  }
  return false
}

/** Asserts that the outcome for a text walked over by blocks is right: a name with escapes has the whole text be JSON. */
function rightByBlocks(accepted: boolean, text: string): void {
  const strictly = parses(text)
  if (text.includes('\\') && closes(text) && !strictly) return
  assert.is(accepted, strictly || closes(text), JSON.stringify(text))
}

const structure = suite('structure')

structure('takes what JSON.parse takes, whatever the value', () => {
  guest.configure({ paths: ['a.b', 'x[1]'] })
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(undefined, 0, 1, 2), (text, indent) => {
      const spaced = JSON.stringify(JSON.parse(text), null, indent)
      guest.values(text, spaced)
      assert.is(guest.rejected.length, 0, text)
    }),
    { numRuns: 500 },
  )
})

structure('refuses what JSON.parse refuses, and only that; by blocks what does not close', () => {
  const alphabet = [
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '"a"',
    '"x"',
    '\\',
    '\\u',
    '0',
    '1',
    '-',
    '.',
    'e',
    '+',
    'true',
    'null',
  ]
  const more = ['false', ' ', '\n', '\t', '\r', '\u0000', '\u001f', 'é', 'nul', '00', '\\"', '"\\u00e9"', 'a', '\u00a0']
  const pieces = fc.array(fc.constantFrom(...alphabet, ...more), { maxLength: 12 })
  let taken = 0
  fc.assert(
    fc.property(pieces, (list) => {
      for (const text of [list.join(''), `{"k":[${list.join('')}]}`]) {
        guest.configure({ paths: ['a.b', 'x[1]', ...nowhere] })
        guest.values(text)
        if (guest.rejected.length === 0) taken++
        assert.is(guest.rejected.length === 0, parses(text), JSON.stringify(text))
        rightByBlocks(outlines(text), text)
      }
    }),
    { numRuns: 10_000 },
  )
  assert.ok(taken > 100)
})

structure('refuses whatever is cut, doubled or changed in a valid text, as JSON.parse does', () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 4 }),
      fc.nat(),
      fc.constantFrom('', '"', '}', ',', '\\', '0', ' '),
      (text, at, put) => {
        const place = at % (text.length + 1)
        const changed = text.slice(0, place) + put + text.slice(place + 1)
        guest.configure({ paths: ['a.b', 'x[1]', ...nowhere] })
        guest.values(changed)
        assert.is(guest.rejected.length === 0, parses(changed), JSON.stringify(changed))
        rightByBlocks(outlines(changed), changed)
      },
    ),
    { numRuns: 5000 },
  )
})

structure('knows each odd text', () => {
  const odd = [
    '',
    ' ',
    '1',
    '"a"',
    'null',
    'nul',
    'nulls',
    'true ',
    ' [] ',
    '{}',
    '[,]',
    '[1,]',
    '{"a":1,}',
    '{"a"}',
    '{a:1}',
  ]
  odd.push(
    '{"a":1}}',
    '{}{}',
    '1 2',
    '"\t"',
    '"\\x"',
    '"\\u12"',
    '"\\ud800"',
    '-',
    '-0',
    '01',
    '1.',
    '.5',
    '1e',
    '1e+',
    '1E5',
  )
  odd.push(
    '\ufeff{}',
    '{"a":tru}',
    '{"a":.1}',
    '[1 2]',
    '{"a" "b"}',
    '{"a":1 "b":2}',
    '[1}',
    '{"a":[}',
    '"abc',
    '"abc\\',
  )
  odd.push(
    `"${'x'.repeat(100)}`,
    `"${'x'.repeat(100)}"`,
    `{"${'k'.repeat(40)}":1}`,
    '[[[[]]]]',
    '[{},[],{}]',
    '[\u0000]',
  )
  for (const text of odd) {
    assert.is(accepts(text), parses(text), JSON.stringify(text))
    rightByBlocks(outlines(text), text)
  }
})

structure('by blocks, has what is used be JSON, between a colon and a comma or brace', () => {
  const wrong = ['tru', '01', '"\\x"', '"\t"', '[1,]', '{"b":1,}', '1 2', '"a" "b"', '"a":1', '', ',', '{}[]', '-']
  for (const value of wrong) {
    for (const text of [`{"a":${value}}`, `{"z":1,"a":${value} ,"y":"${'.'.repeat(70)}"}`]) {
      assert.is(find(text, 'a'), undefined, text)
      assert.ok(outlines(text) || !closes(text), text)
    }
  }
  assert.is(find('{"z":1 "a":2}', 'a'), undefined)
  assert.is(find('{"z":"a":2}', 'a'), undefined)
  assert.equal(find('{"z":"a"}', 'a'), ['missing'])
})

structure('by blocks, finds what JSON.parse finds, wherever a block ends', () => {
  const name = fc.constantFrom('a', 'b', 'aa', '', '"', '\\', 'a\\', 'c'.repeat(16), 'c'.repeat(17), 'é')
  const letter = fc.constantFrom('"', '\\', 'a', '{', ']', ':', ',', ' ', 'é')
  const string = fc.array(letter, { maxLength: 90 }).map((letters) => letters.join(''))
  const value = fc.oneof(string, fc.jsonValue({ maxDepth: 3 }), fc.array(string, { maxLength: 4 }))
  const gap = fc.constantFrom('', '', ' ', '\n  ', ' '.repeat(61))
  const names = ['a', 'b', 'c'.repeat(16)]
  let found = 0
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value, gap), { maxLength: 12 }), (fields) => {
      const inner = fields.map(
        ([key, one, space]) => `${space}${JSON.stringify(key)}${space}:${space}${JSON.stringify(one)}`,
      )
      const text = `{${inner.join(',')}}`
      const expected = JSON.parse(text) as { [field: string]: unknown }
      for (const path of names) {
        const [first, second] = find(text, path, 'a')!
        for (const [had, key] of [
          [first!, path],
          [second!, 'a'],
        ] as const) {
          if (Object.hasOwn(expected, key)) {
            found++
            assert.equal(JSON.parse(had), expected[key], text)
          } else assert.is(had, 'missing', text)
        }
      }
      const short = find(text, '["a\\""]', 'a')
      assert.equal(short, find(text, '["a\\""]', 'a', ...nowhere)!.slice(0, 2))
    }),
    { numRuns: 1500 },
  )
  assert.ok(found > 1000)
})

structure('by blocks, knows a name with escapes wherever a block ends, and one value from two', () => {
  for (let bytes = 0; bytes < 140; bytes++) {
    const before = `{"a":2,"p":"${'.'.repeat(bytes)}"`
    assert.equal(find(`${before},"\\u0061":1}`, 'a'), ['1'])
    assert.equal(find(`${before},"\\u0061" \n:1,"q":{"a":3}}`, 'a'), ['1'])
    assert.equal(find(`${before},"q":["\\u0061"]} \n`, 'a'), ['2'])
    for (const wrong of ['', '}}', '}{}', '}"', '],', '},1', '} x', ',"q":"}', ',"q":"\\"}', ',"q":[}]}']) {
      assert.is(find(before + wrong, 'a'), undefined, before + wrong)
    }
  }
})

structure('does not take two strings for the one name that has quotes', () => {
  const path = '["a\\",\\"b"]'
  assert.equal(find('{"x":"a","b":1}', path), ['missing'])
  assert.equal(find('{"a\\",\\"b":1}', path), ['1'])
})

structure('nests 512 deep and no deeper, in what is used and in what is not', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  assert.ok(accepts(nested(512)))
  assert.not(accepts(nested(513)))
  assert.ok(find(`{"a":${nested(511)}}`, 'a[0][0]'))
  assert.is(find(`{"a":${nested(512)}}`, 'a[0][0]'), undefined)
  const path = 'a'.concat('[0]'.repeat(63))
  assert.ok(find(`{"a":${nested(511)}}`, path))
  assert.is(find(`{"a":${nested(512)}}`, path), undefined)
})

structure('what is used must be UTF-8; what is not is passed over', () => {
  const latin = Uint8Array.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xe9, 0x22, 0x7d])
  assert.is(find(latin, 'a'), undefined)
  assert.equal(find(latin, 'b'), ['missing'])
  for (const bytes of [
    [0xc0, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xe2, 0x82],
    [0x80],
    [0xf8, 0x88, 0x80, 0x80, 0x80],
  ]) {
    assert.is(find(Uint8Array.from([0x22, ...bytes, 0x22]), ''), undefined, bytes.join())
  }
})

const paths = suite('paths')

paths('find what JavaScript finds', () => {
  const cases: [string, string, string][] = [
    ['{"a":{"b":[1,{"c":"x"}]}}', 'a.b[1].c', '"x"'],
    ['{"a":{"b":[1,{"c":"x"}]}}', 'a.b', '[1,{"c":"x"}]'],
    ['{"a":{"b":1}}', 'a.c', 'missing'],
    ['{"a":null}', 'a', 'null'],
    ['{"a":null}', 'a.b', 'missing'],
    ['{"a.b":{"c":2}}', '["a.b"].c', '2'],
    ['{"a":[[1,2],[3]]}', 'a[1][0]', '3'],
    ['[5,6]', '[1]', '6'],
    ['[5,6]', '[2]', 'missing'],
    ['{"a":1,"a":2}', 'a', '2'],
    ['{"a":{"b":1},"a":5}', 'a.b', 'missing'],
    ['{"a":{"b":1},"a":{"c":5}}', 'a.b', 'missing'],
    ['{"a":{"b":1,"b":[7]},"a":{"b":[8,9],"c":5}}', 'a.b[1]', '9'],
    ['{"\\u0061":{"\\u0062":1}}', 'a.b', '1'],
    ['{"\\ud83d\\ude00":1}', '😀', '1'],
    ['{"":1}', '[""]', '1'],
    [`{"${'long'.repeat(30)}":1,"${'long'.repeat(20)}":2}`, 'long'.repeat(20), '2'],
    [' { "a" : [ 1 , 2 ] } ', 'a[1]', '2'],
    ['{"a":{"b":"c"}}', 'a[0]', 'missing'],
    ['"top"', '', '"top"'],
  ]
  for (const [text, path, expected] of cases) assert.equal(find(text, path), [expected], `${path} in ${text}`)
})

paths('are found together in one walk', () => {
  assert.equal(find('{"a":{"b":1,"c":2},"d":[0,3]}', 'd[1]', 'a.c', 'a', 'x', 'a.b'), [
    '3',
    '2',
    '{"b":1,"c":2}',
    'missing',
    '1',
  ])
})

paths('that are none are refused with a sentence', () => {
  for (const path of ['a..b', 'a.', '.a', 'a[', 'a[x]', 'a["b]', 'a[0]b', 'a.[0]']) {
    assert.throws(() => guest.configure({ paths: [path] }), /path/, path)
  }
})

const strings = suite('strings')

strings('come back as JSON.stringify writes them', () => {
  guest.configure({ paths: [''] })
  const unit = fc.oneof(
    fc.integer({ min: 0, max: 0xffff }),
    fc.integer({ min: 0, max: 0x7f }),
    fc.integer({ min: 0xd7f0, max: 0xe010 }),
  )
  fc.assert(
    fc.property(fc.array(unit, { maxLength: 60 }), (units) => {
      const text = String.fromCharCode(...units)
      const escaped = `"${units.map((u) => `\\u${u.toString(16).padStart(4, '0')}`).join('')}"`
      guest.values(JSON.stringify(text), escaped)
      assert.equal(guest.texts(), [JSON.stringify(text), JSON.stringify(text)])
    }),
    { numRuns: 2000 },
  )
})

const numbers = suite('numbers')

/** Each number text as the guest reads and prints it. */
function printed(texts: string[]): string[] {
  guest.configure({ paths: [''] })
  guest.values(...texts)
  assert.is(guest.rejected.length, 0, guest.rejected.map((r) => `${r.index} ${texts[r.index]}`).join())
  return guest.texts()
}

numbers('of every double are read and printed as JavaScript does', () => {
  const view = new DataView(new ArrayBuffer(8))
  const bits = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((value) => {
    view.setBigUint64(0, value)
    return view.getFloat64(0)
  })
  const common = fc
    .tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.integer({ min: 0, max: 8 }))
    .map(([n, p]) => n / 10 ** p)
  const edge = fc.constantFrom(
    0,
    -0,
    5e-324,
    1.7976931348623157e308,
    2 ** 53,
    2 ** 53 + 2,
    1e21,
    1e-7,
    123456789012345680000,
    2 ** -1022,
  )
  const powers = fc.integer({ min: -1074, max: 1023 }).map((e) => 2 ** e)
  const any = fc.oneof(
    bits,
    common,
    edge,
    powers,
    fc.double({ noNaN: true }),
    fc.double({ min: 0, max: 1000, noNaN: true }),
  )
  fc.assert(
    fc.property(fc.array(any, { minLength: 50, maxLength: 50 }), (list) => {
      const finite = list.filter((value) => Number.isFinite(value))
      const texts = finite.map((value) => JSON.stringify(value))
      assert.equal(printed(texts), texts)
      const long = finite.filter((value) => Math.abs(value) < 1e20).map((value) => value.toFixed(20))
      assert.equal(
        printed(long),
        long.map((text) => JSON.stringify(JSON.parse(text))),
      )
      const precise = finite.map((value) => value.toPrecision(25))
      assert.equal(
        printed(precise),
        precise.map((text) => JSON.stringify(JSON.parse(text))),
      )
    }),
    { numRuns: 200 },
  )
})

numbers('of any digits and exponent are read as JSON.parse does', () => {
  const digits = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 40 }).map((list) => list.join(''))
  const whole = digits.map((text) => text.replace(/^0+(?=.)/, ''))
  const text = fc
    .tuple(
      fc.constantFrom('', '-'),
      whole,
      fc.option(digits),
      fc.option(fc.integer({ min: -360, max: 330 })),
      fc.constantFrom('e', 'E', 'e+'),
    )
    .map(([sign, n, f, e, mark]) => {
      const exponent = e === null ? '' : e < 0 ? `e${e}` : `${mark}${e}`
      return `${sign}${n}${f === null ? '' : `.${f}`}${exponent}`
    })
  fc.assert(
    fc.property(fc.array(text, { minLength: 40, maxLength: 40 }), (texts) => {
      assert.equal(
        printed(texts),
        texts.map((t) => JSON.stringify(JSON.parse(t)).replace(/^-0$/, '0')),
      )
    }),
    { numRuns: 400 },
  )
})

numbers('half way between two doubles, a digit more, a digit less', () => {
  const halves: string[] = []
  for (const value of [1, 1.5, 2 ** 53 - 1, 3e-310, 5e-324, 1e22, 1e23, 123.456, 2 ** -1022, 8.98846567431158e307]) {
    const exact = exactMiddle(value)
    halves.push(exact, `${exact}1`, lowered(exact), `${exact}${'0'.repeat(900)}1`)
  }
  halves.push(
    '9007199254740993',
    '9007199254740993.0',
    '2.2250738585072011e-308',
    '1e400',
    '1e-400',
    '0e999999999999',
    '1e999999999999',
  )
  assert.equal(
    printed(halves),
    halves.map((t) => JSON.stringify(JSON.parse(t))),
  )
})

/** The decimal text exactly between a double and the next one. */
function exactMiddle(value: number): string {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value)
  const bits = view.getBigUint64(0)
  const biased = Number(bits >> 52n)
  const mantissa = (bits & 0xfffffffffffffn) + (biased ? 1n << 52n : 0n)
  const exponent = (biased || 1) - 1075 - 1
  const top = mantissa * 2n + 1n
  if (exponent >= 0) return `${top << BigInt(exponent)}.0`
  const text = (top * 5n ** BigInt(-exponent)).toString().padStart(-exponent + 1, '0')
  return `${text.slice(0, exponent)}.${text.slice(exponent)}`
}

/** A little less than a decimal text. */
function lowered(text: string): string {
  const digits = (BigInt(`${text.replace('.', '')}0`) - 1n).toString().padStart(text.length, '0')
  const point = digits.length - (text.length - text.indexOf('.'))
  return `${digits.slice(0, point).replace(/^0+(?=.)/, '')}.${digits.slice(point)}`
}

structure.run()
paths.run()
strings.run()
numbers.run()
