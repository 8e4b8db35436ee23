import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type PostedRecords, readPostedRecords } from '../../../host/bridges/posted-records.ts'
import { RecordRun, recordsJson, tappedRecordJson } from '../../../host/record/json-records.ts'
import { type PlainRecord, RecordBuffer } from '../../../host/record/record.ts'
import { partitionOf, StickyPartitioner } from '../../../host/transport/partitioner.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { decodeRun } from '../../support/bridge-driver.ts'

const writing = suite('recordsJson')
const reading = suite('readPostedRecords')

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const bytes = (text: string): Uint8Array => encoder.encode(text)
const limits = { recordBytesMax: 1 << 20 }

function framesOf(records: PlainRecord[]): Uint8Array {
  const buffer = new RecordBuffer()
  for (const record of records) buffer.add(record)
  return buffer.bytes.slice(0, buffer.length)
}

const post = (
  body: string | Uint8Array,
  type?: string,
  partitions = 1,
  recordBytesMax = limits.recordBytesMax,
): PostedRecords =>
  readPostedRecords(typeof body === 'string' ? bytes(body) : body, type, new StickyPartitioner(partitions), {
    recordBytesMax,
  })

const recordsOf = (posted: PostedRecords, partition = 0): PlainRecord[] => {
  const buffer = posted.partitions.get(partition)
  return buffer ? decodeRun(buffer.bytes, 0, buffer.length) : []
}

function refusal(act: () => unknown): SpqrError {
  try {
    act()
  } catch (error) {
    assert.instance(error, SpqrError)
    return error as SpqrError
  }
  throw new Error('was not refused')
}

writing('a value is itself where it is JSON, a string where it is text, else base64', () => {
  const values: [Uint8Array | undefined, string][] = [
    [bytes('{"a": 1.50}'), '{"a": 1.50}'],
    [bytes(' [1,\n2] '), ' [1,\n2] '],
    [bytes('12345678901234567890'), '12345678901234567890'],
    [bytes('"x"'), '"x"'],
    [bytes('null'), 'null'],
    [undefined, 'null'],
    [bytes(''), '""'],
    [bytes('{"a":1'), '"{\\"a\\":1"'],
    [bytes('{"a":01}'), '"{\\"a\\":01}"'],
    [bytes('1 2'), '"1 2"'],
    [bytes('hello'), '"hello"'],
    [bytes('\ufeff1'), '"\ufeff1"'],
    [new Uint8Array([34, 255, 34]), '{"base64":"Iv8i"}'],
  ]
  const frames = framesOf(values.map(([value], i) => ({ value, timestamp: 5, sourceOffset: i })))
  const text = decoder.decode(recordsJson([{ partition: 3, frames }], { 3: 17n }))
  const wanted = values.map(
    ([, json], i) => `{"partition":3,"offset":"${i}","timestamp":5,"key":null,"value":${json},"headers":{}}`,
  )
  assert.is(text, `{"records":[${wanted.join(',')}],"next":{"3":"17"}}`)
  JSON.parse(text)
})

writing('keys and header values are strings, never JSON; a name that comes twice is a list', () => {
  const frames = framesOf([
    {
      key: bytes('{"a":1}'),
      value: bytes('1'),
      headers: [
        ['h', bytes('7')],
        ['n', null],
        ['h', new Uint8Array([255])],
      ],
      timestamp: 1,
    },
    { key: new Uint8Array([254]), value: bytes('1'), timestamp: 1 },
    { key: new Uint8Array(0), value: bytes('1'), timestamp: 1, sequence: 2 ** 40 },
  ])
  const { records } = JSON.parse(decoder.decode(recordsJson([{ partition: 0, frames }], {})))
  assert.is(records[0].key, '{"a":1}')
  assert.equal(records[0].headers, { h: ['7', { base64: '/w==' }], n: null })
  assert.equal(records[1].key, { base64: '/g==' })
  assert.is(records[2].key, '')
  const run = new RecordRun(frames)
  const tapped = JSON.parse(tappedRecordJson(run, run.next(run.next(0))))
  assert.equal(tapped, { sequence: 2 ** 40, timestamp: 1, key: '', value: 1, headers: {} })
  const lines = framesOf([{ value: bytes('{"a":\r\n"x\\ny"}'), timestamp: 1 }])
  assert.match(tappedRecordJson(new RecordRun(lines), 0), '{"a": "x\\ny"}')
})

writing('any record is valid JSON and can be posted again as it was', () => {
  const part = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.json().map(bytes), fc.string().map(bytes))
  const name = fc.string({ maxLength: 5 }).filter((n) => n !== '__proto__')
  const headers = fc.uniqueArray(fc.tuple(name, fc.oneof(part, fc.constant(null))), {
    maxLength: 3,
    selector: ([n]) => n,
  })
  fc.assert(
    fc.property(part, fc.option(part), headers, fc.nat(), (value, key, given, timestamp) => {
      const names = given.filter(([n]) => !/^\d+$/.test(n)) as [string, Uint8Array | null][]
      const record: PlainRecord = {
        value: new Uint8Array(value),
        headers: names.map(([n, v]) => [n, v && new Uint8Array(v)]),
        timestamp,
        ...(key ? { key: new Uint8Array(key) } : {}),
      }
      const text = decoder.decode(recordsJson([{ partition: 0, frames: framesOf([record]) }], {}))
      const body = text.replace('"offset":"0",', '').replace(/,"next":\{\}\}$/, '}')
      const [again] = recordsOf(post(body))
      const shown = (r: PlainRecord): unknown => [r.key, r.timestamp, r.headers?.length ? r.headers : undefined]
      assert.equal(shown(again!), shown(record))
      assert.equal(again!.value, postedValue(new Uint8Array(value)))
    }),
    { numRuns: 500 },
  )
})

/** What a value becomes that was shown and then posted: JSON stays JSON, a text becomes the JSON string it was shown as. */
function postedValue(value: Uint8Array): Uint8Array | undefined {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
  } catch {
    return value
  }
  try {
    return JSON.parse(text) === null ? undefined : bytes(text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ''))
  } catch {
    return bytes(JSON.stringify(text))
  }
}

reading('a value is kept as its text was sent', () => {
  const values = [
    '1.50',
    '{"b" : [1, 2,{"value":3}],"a":"}\\"]"}',
    '"x\\u0041"',
    '[ ]',
    'true',
    '12345678901234567890',
    '{"base64":"aGk=","x":1}',
  ]
  const body = `{ "records" : [ ${values.map((v, i) => `{"timestamp":${i}, "value" : ${v} }`).join(' , ')} ] }`
  const records = recordsOf(post(`\ufeff${body}`, 'application/json; charset=utf-8'))
  assert.equal(
    records.map((r) => decoder.decode(r.value)),
    values,
  )
  assert.equal(
    records.map((r) => r.timestamp),
    values.map((_, i) => i),
  )
  // Of duplicate keys the last counts.
  assert.equal(
    recordsOf(post('{"records":[{"value":0}],"records":[{"value":1,"v\\u0061lue":2}]}')).map((r) =>
      decoder.decode(r.value),
    ),
    ['2'],
  )
})

reading('base64, tombstones, keys, headers and partitions', () => {
  const body = JSON.stringify({
    records: [
      { value: { base64: '/w==' }, key: { base64: '/g==' }, partition: 2 },
      {
        value: null,
        key: 'k',
        headers: { a: 'x', b: null, c: { base64: '' }, d: ['1', '2'] },
        timestamp: 1_700_000_000_000,
      },
      { value: 'text', key: null },
    ],
  })
  const posted = post(body, undefined, 3)
  assert.is(posted.order[0], 2)
  assert.is(posted.order[1], partitionOf(bytes('k'), 3))
  assert.is(posted.order.length, 3)
  const [first] = recordsOf(posted, 2)
  assert.equal([first!.value, first!.key], [new Uint8Array([255]), new Uint8Array([254])])
  const second = recordsOf(posted, posted.order[1]).find((r) => r.timestamp === 1_700_000_000_000)!
  assert.is(second.value, undefined)
  assert.equal(
    second.headers!.map(([n, v]) => [n, v && decoder.decode(v)]),
    [
      ['a', 'x'],
      ['b', null],
      ['c', ''],
      ['d', '1'],
      ['d', '2'],
    ],
  )
  const third = recordsOf(posted, posted.order[2]).find(
    (r) => r.value !== undefined && decoder.decode(r.value) === '"text"',
  )!
  assert.is(third.key, undefined)
})

reading('every problem at once, each at its pointer', () => {
  const body = {
    records: [
      { value: 1 },
      3,
      { key: 1 },
      { value: 1, partition: 5, timestamp: -1, headers: { 'a/b': 1 }, kay: 2 },
      { value: { base64: '*' } },
    ],
    more: 1,
  }
  const error = refusal(() => post(JSON.stringify(body), undefined, 2))
  assert.is(error.code, 'INVALID_BODY')
  assert.equal(
    error.issues!.map((i) => i.pointer),
    [
      '/more',
      '/records/1',
      '/records/2/key',
      '/records/2',
      '/records/3/kay',
      '/records/3/headers/a~1b',
      '/records/3/timestamp',
      '/records/3/partition',
      '/records/4/value/base64',
    ],
  )
  for (const odd of [
    '',
    '{',
    '[]',
    'null',
    '"x"',
    '1e999',
    '{}',
    '{"records":{}}',
    '['.repeat(50_000),
    '{"records":[1,]}',
    '{"records":[{"value":1}]} x',
    '{"id":{}}',
    '{"__proto__":{"a":1},"records":[]}',
  ]) {
    assert.is(refusal(() => post(odd)).code, 'INVALID_BODY', odd.slice(0, 30))
  }
  assert.is(refusal(() => post(new Uint8Array([123, 255]))).code, 'INVALID_BODY')
  assert.match(refusal(() => post('{"records":\n[1,]}')).message, 'line 2')
  assert.is(refusal(() => post('a: b', 'application/yaml')).code, 'UNSUPPORTED_MEDIA_TYPE')
  assert.is(post('{"records":[]}').order.length, 0)
})

reading('limits: records, bytes of one, bytes of all', () => {
  const error = refusal(() =>
    post(JSON.stringify({ records: [{ value: 1 }, { value: 'x'.repeat(2000) }] }), undefined, 1, 1000),
  )
  assert.is(error.code, 'TOO_LARGE')
  assert.is(error.issues![0]!.pointer, '/records/1')
  assert.is(refusal(() => post(`{"records":[${'{"value":1},'.repeat(100_000)}{"value":1}]}`)).code, 'TOO_LARGE')
  assert.is(refusal(() => post(new Uint8Array((16 << 20) + 1))).code, 'TOO_LARGE')
})

reading('NDJSON lines are values as their bytes', () => {
  const posted = post('{"a":1}\nnot json\n', 'application/x-ndjson', 3)
  assert.equal(posted.order, [posted.order[0], posted.order[0]])
  assert.equal(
    recordsOf(posted, posted.order[0]).map((r) => decoder.decode(r.value)),
    ['{"a":1}', 'not json'],
  )
})

writing.run()
reading.run()
