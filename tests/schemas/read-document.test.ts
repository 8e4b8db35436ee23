import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { stringify } from 'yaml'
import { documentFormat, readDocument } from '../../schemas/read-document.ts'

const JSON_TYPE = 'application/json'
const YAML_TYPE = 'application/yaml'

function good(text: string | Uint8Array, type: string) {
  const read = readDocument(text, type)
  assert.ok(!read.issues, JSON.stringify(read.issues))
  return read
}

function problems(text: string | Uint8Array, type: string) {
  const read = readDocument(text, type)
  assert.ok(read.issues, `${String(text).slice(0, 60)} was read`)
  return read.issues
}

test('the media type says the format', () => {
  assert.is(documentFormat('application/json; charset=utf-8'), 'json')
  assert.is(documentFormat('Application/JSON'), 'json')
  for (const type of ['application/yaml', 'text/yaml', 'application/x-yaml', 'text/x-yaml']) {
    assert.is(documentFormat(type), 'yaml')
  }
  assert.is(documentFormat('text/plain'), undefined)
  assert.is(documentFormat(''), undefined)
})

test('bytes are UTF-8, a byte order mark is no part of the text', () => {
  const bytes = new TextEncoder().encode('\ufeff{"a":"ü"}')
  assert.equal(good(bytes, JSON_TYPE).value, { a: 'ü' })
  assert.equal(good('\ufeffa: ü', YAML_TYPE).value, { a: 'ü' })
  assert.match(problems(Uint8Array.of(0x22, 0xff, 0x22), JSON_TYPE)[0]!.message, /UTF-8/)
})

test('a text has at most 1 MiB, of YAML 256 KiB', () => {
  assert.match(problems(`"${'x'.repeat(1024 * 1024)}"`, JSON_TYPE)[0]!.message, /1024 KiB/)
  assert.match(problems(`a: ${'x'.repeat(256 * 1024)}`, YAML_TYPE)[0]!.message, /256 KiB/)
})

test('a pointer has its line and column in JSON and YAML alike', () => {
  const json = good('{\n  "id": "a",\n  "list": [\n    { "x": 1 }\n  ]\n}', JSON_TYPE)
  const yaml = good('id: a\nlist:\n  - x: 1\n    # a word\n  - y:\n      z: 2\n', YAML_TYPE)
  assert.equal(json.locate('/id'), { line: 2, column: 9 })
  assert.equal(json.locate('/id', 'key'), { line: 2, column: 3 })
  assert.equal(json.locate('/list/0/x'), { line: 4, column: 12 })
  assert.equal(json.locate('/list/0/missing/more'), { line: 4, column: 5 }, 'the nearest place above')
  assert.equal(json.locate(''), { line: 1, column: 1 })
  assert.equal(yaml.locate('/id'), { line: 1, column: 5 })
  assert.equal(yaml.locate('/list/1/y/z'), { line: 6, column: 10 })
  assert.equal(yaml.locate('/list/1/y', 'key'), { line: 5, column: 5 })
})

test('YAML is read as JSON would be', () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'small' }), (value) => {
      const plain = JSON.parse(JSON.stringify(value))
      if (JSON.stringify(plain).includes('__proto__')) return
      assert.equal(good(stringify(plain), YAML_TYPE).value, plain)
    }),
  )
  const text = 'a: yes\nb: 0x1F\nc: 1_000\nd: ~\ne: "1"\nf: 2020-01-01\n1: x\n<<: {k: v}\n'
  assert.equal(good(text, YAML_TYPE).value, {
    a: 'yes',
    b: 31,
    c: '1_000',
    d: null,
    e: '1',
    f: '2020-01-01',
    '1': 'x',
    '<<': { k: 'v' },
  })
  assert.equal(good('a: &x [1, 2]\nb: *x\n', YAML_TYPE).value, { a: [1, 2], b: [1, 2] })
  assert.is(good('', YAML_TYPE).value, null)
})

test('what is no JSON value in YAML is a problem with line and column', () => {
  const cases: [string, RegExp, number][] = [
    ['a: 1\n\t- b', /[Tt]ab|YAML/, 2],
    ['!!js/function "x"', /tag/, 1],
    ['a: !mine 1', /tag/, 1],
    ['a: !!binary aGk=', /tag/, 1],
    ['? {a: b}\n: c', /plain text/, 1],
    ['? [a]\n: c', /plain text/, 1],
    ['a: 1\nb: .inf', /not a number/, 2],
    ['a: 1\na: 2', /twice/, 2],
    ['a: 1\n---\nb: 2', /several/, 2],
    ['a: *nope', /[Aa]lias/, 1],
    ['a: "x', /YAML/, 1],
    ['a: [1', /YAML/, 1],
    ['__proto__: 1', /permitted/, 1],
  ]
  for (const [text, message, line] of cases) {
    const [first] = problems(text, YAML_TYPE)
    assert.match(first!.message, message, text)
    assert.is(first!.line, line, text)
    assert.ok(first!.column! >= 1)
  }
})

test('aliases cannot be made to explode, nor nesting to overflow', () => {
  const levels = ['a: &a [x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 8; i++) {
    const [name, before] = ['abcdefgh'[i], 'abcdefgh'[i - 1]]
    levels.push(`${name}: &${name} [${Array(8).fill(`*${before}`).join(', ')}]`)
  }
  assert.match(problems(levels.join('\n'), YAML_TYPE)[0]!.message, /aliases/)
  assert.match(problems('a: &a [*a]', YAML_TYPE)[0]!.message, /deep/)
  for (const open of ['[', '{a: ', '- ', '? ', 'a: ']) {
    assert.ok(problems(open.repeat(50_000), YAML_TYPE).length > 0, open)
  }
  const wide = `a: &a [${'1,'.repeat(600)}1]\nb: [${'*a,'.repeat(90)}*a]`
  assert.match(problems(wide, YAML_TYPE)[0]!.message, /values/)
})

test('no text makes it throw', () => {
  const piece = fc.constantFrom(
    ...['a', ':', ' ', '\n', '-', '[', ']', '{', '}', ',', '&x', '*x', '!t', '|', '>', '"', "'"],
  )
  const more = fc.constantFrom(
    ...['#', '?', '%', '@', '`', '\t', '---', '...', '<<', '1', '~', '\\', '\u0000', '\ud800'],
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, more), { maxLength: 30 }), (pieces) => {
      for (const type of [JSON_TYPE, YAML_TYPE]) {
        const read = readDocument(pieces.join(''), type)
        if (read.issues) assert.ok(read.issues.length > 0 && read.issues.every((issue) => issue.message !== ''))
        else assert.ok(read.locate('/a/b').line >= 1)
      }
    }),
    { numRuns: 1000 },
  )
})

test.run()
