import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { framesOfBody } from '../../../host/bridges/ingest.ts'
import { RECORD_HEADER_BYTES, type RecordBuffer, recordBytes } from '../../../host/record/record.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { decodeRun, textsOf } from '../../support/bridge-driver.ts'

const bodies = suite('framesOfBody')
const encoder = new TextEncoder()
const limits = { recordBytesMax: 1 << 20 }
const texts = (records: RecordBuffer): (string | undefined)[] => textsOf(decodeRun(records.bytes, 0, records.length))

function refusal(act: () => unknown): SpqrError {
  try {
    act()
  } catch (error) {
    assert.instance(error, SpqrError)
    return error as SpqrError
  }
  throw new Error('was not refused')
}

bodies('lines come out byte for byte, blank ones do not', () => {
  assert.equal(texts(framesOfBody(encoder.encode('{"a":1}\r\n\n \t\n{"a":\nx'), 'application/x-ndjson', limits)), [
    '{"a":1}',
    '{"a":',
    'x',
  ])
  assert.is(framesOfBody(new Uint8Array(0), undefined, limits).records, 0)
  fc.assert(
    fc.property(fc.array(fc.string()), (given) => {
      const lines = given.map((line) => line.replace(/[\r\n]/g, '')).filter((line) => line.trim() !== '')
      // Neighbouring memory is not the body's.
      const whole = encoder.encode(`before\n${lines.join('\n')}`)
      assert.equal(texts(framesOfBody(whole.subarray(7), 'text/plain; charset=utf-8', limits)), lines)
    }),
  )
})

bodies('the mark of UTF-8 before the first line is none of it', () => {
  assert.equal(texts(framesOfBody(encoder.encode('\ufeff{"a":1}\n1\ufeff\n'), undefined, limits)), [
    '{"a":1}',
    '1\ufeff',
  ])
  const whole = encoder.encode('\ufeff1')
  assert.is(framesOfBody(whole, 'application/octet-stream', limits).length, recordBytes(0, 0, whole.length))
})

bodies('a record may have as many bytes as the limit leaves beside its header, and no more', () => {
  for (const most of [5, 8, 1 << 20]) {
    for (const type of ['application/x-ndjson', 'application/octet-stream']) {
      const taken = (bytes: number): number =>
        framesOfBody(new Uint8Array(bytes).fill(0x31), type, { recordBytesMax: most + RECORD_HEADER_BYTES }).records
      assert.is(taken(most), 1)
      assert.match(refusal(() => taken(most + 1)).message, `it has ${most + 1} bytes`)
    }
  }
})

bodies('octet-stream is one record, JSON too', () => {
  assert.equal(texts(framesOfBody(encoder.encode('a\nb'), 'application/octet-stream', limits)), ['a\nb'])
  assert.equal(texts(framesOfBody(encoder.encode('{\n"a":1}'), 'application/json', limits)), ['{\n"a":1}'])
  assert.equal(texts(framesOfBody(encoder.encode('{"a":1}\n{"a":2}'), 'application/json', limits)), [
    '{"a":1}',
    '{"a":2}',
  ])
})

bodies('every limit is answered with what it is', () => {
  const long = refusal(() =>
    framesOfBody(encoder.encode(`a\n${'x'.repeat(2000)}\nb\n${'y'.repeat(3000)}`), undefined, { recordBytesMax: 1000 }),
  )
  assert.is(long.code, 'TOO_LARGE')
  assert.equal(
    long.issues?.map((i) => i.line),
    [2, 4],
  )
  assert.match(long.message, 'line 2')
  assert.is(
    refusal(() => framesOfBody(new Uint8Array(2000), 'application/octet-stream', { recordBytesMax: 1000 })).code,
    'TOO_LARGE',
  )
  assert.is(refusal(() => framesOfBody(encoder.encode('1\n'.repeat(100_001)), undefined, limits)).code, 'TOO_LARGE')
  assert.is(framesOfBody(encoder.encode('1\n'.repeat(100_000)), undefined, limits).records, 100_000)
  assert.is(refusal(() => framesOfBody(new Uint8Array((16 << 20) + 1), undefined, limits)).code, 'TOO_LARGE')
  assert.is(refusal(() => framesOfBody(new Uint8Array(1), 'image/png', limits)).code, 'UNSUPPORTED_MEDIA_TYPE')
})

bodies.run()
