// The record layout: what is written is read, and what stands between is zero.

import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  countRecords,
  decodeHeaders,
  decodeRecord,
  encodeHeaders,
  type PlainRecord,
  RECORD_ALIGNMENT,
  RECORD_HEADER_BYTES,
  RECORD_LENGTH,
  RecordBuffer,
  readI64,
  readU64,
  recordBytes,
  writeI64,
  writeU64,
} from '../../../host/record/record.ts'

const bytes = (max = 40) => fc.uint8Array({ maxLength: max })
const headers = fc.array(fc.tuple(fc.string({ unit: 'grapheme', maxLength: 10 }), fc.option(bytes(), { nil: null })), {
  maxLength: 5,
})
const exact = fc.maxSafeInteger()
const plain: fc.Arbitrary<PlainRecord> = fc.record(
  {
    key: bytes(),
    value: bytes(300),
    headers: headers.filter((list) => list.length > 0) as fc.Arbitrary<[string, Uint8Array | null][]>,
    timestamp: exact,
    sequence: fc.maxSafeNat(),
    sourceOffset: exact,
    source: fc.integer({ min: 0, max: 0xffffffff }),
    port: fc.integer({ min: 0, max: 63 }),
  },
  { requiredKeys: ['timestamp'] },
)
const absent = { sequence: 0, sourceOffset: 0, source: 0, port: 0 }

const layout = suite('a record')

layout('is read as it was written, whatever of it is absent', () => {
  fc.assert(
    fc.property(fc.array(plain, { maxLength: 8 }), (records) => {
      const buffer = new RecordBuffer(64)
      for (const record of records) buffer.add(record)
      assert.is(buffer.records, records.length)
      assert.is(countRecords(buffer.bytes, 0, buffer.length), records.length)
      let at = 0
      for (const record of records) {
        assert.equal(decodeRecord(buffer.bytes, at), { ...absent, ...record })
        at += buffer.view.getUint32(at + RECORD_LENGTH, true)
      }
      assert.is(at, buffer.length)
    }),
    { numRuns: 300 },
  )
})

layout('stands at a multiple of 8 and is padded with zeros, in memory that was used before too', () => {
  fc.assert(
    fc.property(bytes(20), bytes(20), (key, value) => {
      const buffer = new RecordBuffer(256)
      buffer.bytes.fill(255)
      buffer.add({ key, value, timestamp: 1 })
      const length = recordBytes(key.length, 0, value.length)
      assert.is(buffer.length, length)
      assert.is(length % RECORD_ALIGNMENT, 0)
      const used = RECORD_HEADER_BYTES + key.length + value.length
      assert.ok(length - used < RECORD_ALIGNMENT)
      assert.ok(buffer.bytes.subarray(used, length).every((byte) => byte === 0))
    }),
  )
})

layout('tells no key from an empty one, and a tombstone from an empty value', () => {
  const buffer = new RecordBuffer()
  buffer.add({ timestamp: 0 })
  buffer.add({ timestamp: 0, key: new Uint8Array(0), value: new Uint8Array(0) })
  assert.equal(decodeRecord(buffer.bytes, 0), { ...absent, timestamp: 0 })
  const second = decodeRecord(buffer.bytes, RECORD_HEADER_BYTES)
  assert.equal([second.key?.length, second.value?.length], [0, 0])
})

layout('numbers are exact to 53 bits, negative ones too', () => {
  const view = new DataView(new ArrayBuffer(8))
  for (const n of [
    0,
    1,
    -1,
    2 ** 31,
    -(2 ** 31),
    2 ** 32,
    -(2 ** 32) - 1,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
  ]) {
    writeI64(view, 0, n)
    assert.is(readI64(view, 0), n)
    assert.is(view.getBigInt64(0, true), BigInt(n))
    if (n < 0) continue
    writeU64(view, 0, n)
    assert.is(readU64(view, 0), n)
    assert.is(view.getBigUint64(0, true), BigInt(n))
  }
})

layout.run()

const header = suite('headers')

header('are read as they were written: in order, names that repeat, null values', () => {
  fc.assert(
    fc.property(headers, (list) => {
      assert.equal(decodeHeaders(encodeHeaders(list as [string, Uint8Array | null][])), list)
    }),
  )
})

header('that are none end in an error, never in a loop', () => {
  fc.assert(
    fc.property(bytes(60), (junk) => {
      try {
        decodeHeaders(junk)
      } catch (error) {
        assert.instance(error, RangeError)
      }
    }),
  )
})

header.run()

const buffer = suite('RecordBuffer')

buffer('keeps what it has when it grows, and is empty after clear', () => {
  const records = new RecordBuffer(64)
  for (let i = 0; i < 500; i++) records.add({ value: new Uint8Array(i).fill(i), timestamp: i })
  let at = 0
  for (let i = 0; i < 500; i++) {
    const record = decodeRecord(records.bytes, at)
    assert.is(record.timestamp, i)
    assert.ok(record.value!.length === i && record.value!.every((byte) => byte === (i & 255)))
    at += records.view.getUint32(at, true)
  }
  const memory = records.bytes
  records.clear()
  assert.equal([records.length, records.records], [0, 0])
  records.add({ value: new Uint8Array(3), timestamp: 1 })
  assert.is(records.bytes, memory, 'memory is used again')
})

buffer('appends runs of whole records', () => {
  const one = new RecordBuffer()
  for (let i = 0; i < 9; i++) one.add({ value: new Uint8Array(i), timestamp: i })
  const from = one.view.getUint32(0, true)
  const two = new RecordBuffer(64)
  two.append(one.bytes, from, one.length, 8)
  two.append(one.bytes.slice(0, one.length), 0, one.length, 9)
  assert.is(two.records, 17)
  assert.is(countRecords(two.bytes, 0, two.length), 17)
  assert.is(decodeRecord(two.bytes, 0).timestamp, 1)
})

buffer.run()
