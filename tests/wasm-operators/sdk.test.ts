// The SDK's half of the guest ABI: regions, frames byte for byte, hand-overs, ports, faults, garbage.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeRecord, type PlainRecord, RecordBuffer } from '../../host/record/record.ts'
import {
  ABI_VERSION,
  CHANGE_RESET,
  FAULT_INVALID_RECORD,
  MAILBOX_INPUT,
  MAILBOX_INPUT_CAPACITY,
  MAILBOX_OUTPUT,
  MAILBOX_OUTPUT_CAPACITY,
} from '../../wasm-operators/abi.ts'
import { bytesOf, compiled, Guest } from '../support/guest.ts'

const probe = await compiled(`
import { Operator, Record, Emitter, Settings, Change, register, log, clock } from 'spqr'

class Probe extends Operator {
  mode: string = ''
  seen: i64 = 0
  configure(settings: Settings): Change {
    this.mode = settings.str('mode')
    if (this.mode == 'refuse') throw new Error('mode: refused')
    this.seen = 0
    return Change.Reset
  }
  process(record: Record, out: Emitter): void {
    this.seen++
    if (this.mode == 'pass') out.emit(record)
    else if (this.mode == 'ports') { out.emitTo(1, record); out.emitTo(40, record); out.emitTo(63, record); out.emitTo(64, record) }
    else if (this.mode == 'echo') out.writeKeyed(record.key, record.value)
    else if (this.mode == 'fields') {
      const h = record.headers
      out.write(record.key.toString() + '|' + record.value.toString() + '|' + record.timestamp.toString() + '|' +
        h.length.toString() + '|' + h.get('a')! + '|' + (h.value(1) === null ? 'null' : 'text') + '|' +
        record.hasKey.toString() + record.isTombstone.toString() + '|' + (record.value.equals('v') ? 'same' : 'other'))
    }
    else if (this.mode == 'large') { const big = new Uint8Array(300000); big.fill(7); out.write('small'); out.write(big); out.write('after') }
    else if (this.mode == 'json') out.write(record.json('n').i64.toString() + ' ' + record.json('n').f64.toString() + ' ' +
      record.json('s').str + ' ' + record.json('b').bool.toString() + ' ' + record.json('o').raw + ' ' + record.json('x').exists.toString())
    else if (this.mode == 'garbage') { let s = ''; for (let i = 0; i < 50; i++) s += 'x' + i.toString(); out.write(s.length.toString()) }
    else if (this.mode == 'reject') { if (record.value.equals('bad')) record.reject('bad: é'); else out.emit(record) }
    else if (this.mode == 'log') { log.warn('warned é'); out.flushNow(); out.write(clock().toString()) }
    else if (this.mode == 'throw') throw new Error('thrown by ' + record.value.toString())
    else if (this.mode == 'tombstone') out.writeTombstone(record.key)
  }
  flush(out: Emitter): void { out.write(this.seen.toString()) }
  watermark(eventTimeMs: i64, out: Emitter): void { out.write('w' + eventTimeMs.toString()) }
}
register(new Probe())
`)

function guestIn(mode: string, inputBytes?: number, outputBytes?: number): Guest {
  const guest = new Guest(probe, inputBytes, outputBytes)
  assert.is(guest.configure({ mode }), CHANGE_RESET)
  return guest
}

const odd: PlainRecord[] = [
  { value: bytesOf(''), timestamp: 0 },
  { key: bytesOf(''), value: bytesOf('v'), timestamp: -1 },
  { key: bytesOf('é'), timestamp: 2 ** 53 - 1, sourceOffset: 2 ** 53 - 1, source: 0xffffffff },
  {
    key: bytesOf('k'),
    value: bytesOf('v'.repeat(1000)),
    timestamp: 1,
    headers: [
      ['a', bytesOf('b')],
      ['', null],
    ],
  },
  { value: Uint8Array.from({ length: 256 }, (_, i) => i), timestamp: -(2 ** 53 - 1), sourceOffset: -1 },
]

const abi = suite('abi')

abi('answers its version and makes both regions, aligned and large enough, the mailbox staying where it is', () => {
  const guest = new Guest(probe, 4096, 4096)
  assert.is(guest.exports.spqr_abi(), ABI_VERSION)
  for (const [input, output] of [
    [4096, 4096],
    [65536, 8192],
    [100, 262144],
  ] as const) {
    assert.is(guest.exports.allocate(input, output), guest.mailbox)
    assert.is(guest.word(MAILBOX_INPUT) % 8, 0)
    assert.is(guest.word(MAILBOX_OUTPUT) % 8, 0)
    assert.ok(guest.word(MAILBOX_INPUT_CAPACITY) >= input)
    assert.ok(guest.word(MAILBOX_OUTPUT_CAPACITY) >= output)
  }
  assert.ok(guest.word(MAILBOX_INPUT_CAPACITY) >= 65536, 'a region never shrinks')
})

abi('stays in one page until the first record', () => {
  const guest = new Guest(probe, 4096, 4096)
  guest.configure({ mode: 'pass' })
  assert.is(guest.exports.memory.buffer.byteLength, 65536)
})

abi('passes records on byte for byte', () => {
  const guest = guestIn('pass')
  assert.ok(guest.process(odd) > 0)
  const buffer = new RecordBuffer()
  for (const record of odd) buffer.add(record)
  let at = 0
  for (const record of guest.out) {
    assert.equal(record, decodeRecord(buffer.bytes, at))
    at += buffer.view.getUint32(at, true)
  }
  assert.is(guest.out.length, odd.length)
})

abi('writes keys and values as they were, with the time and place of the record they come from', () => {
  const guest = guestIn('echo')
  const given = odd.filter((record) => record.key && record.value)
  guest.process(given)
  assert.equal(
    guest.out.map(({ key, value, timestamp, sourceOffset }) => ({ key, value, timestamp, sourceOffset })),
    given.map(({ key, value, timestamp, sourceOffset }) => ({
      key,
      value,
      timestamp,
      sourceOffset: sourceOffset ?? 0,
    })),
  )
})

abi('shows key, value, headers and time of a record', () => {
  const guest = guestIn('fields')
  guest.process([
    {
      key: bytesOf('k'),
      value: bytesOf('v'),
      timestamp: 5,
      headers: [
        ['a', bytesOf('é')],
        ['b', null],
      ],
    },
  ])
  assert.equal(guest.texts(), ['k|v|5|2|é|null|truefalse|same'])
})

abi('hands over when the output region is full, and keeps the order', () => {
  const guest = guestIn('pass', 1 << 16, 4096)
  const records = Array.from({ length: 300 }, (_, i) => ({ value: bytesOf(`${i}`.repeat(20)), timestamp: i }))
  guest.process(records)
  assert.ok(guest.handOvers > 5)
  assert.equal(
    guest.out.map((record) => record.timestamp),
    records.map((record) => record.timestamp),
  )
})

abi('makes room for one record larger than the region', () => {
  const guest = guestIn('large', 4096, 4096)
  guest.values('x')
  assert.equal(
    guest.out.map((record) => record.value?.length),
    [5, 300000, 5],
  )
  assert.is(guest.out[1]!.value![299999], 7)
})

abi('leaves out what goes to a port that nothing listens at', () => {
  const guest = guestIn('ports')
  guest.values('x')
  assert.equal(
    guest.out.map((record) => record.port),
    [1, 40, 63],
  )
  guest.connect(0, 1 << 8)
  guest.values('x')
  assert.equal(
    guest.out.map((record) => record.port),
    [40],
  )
  guest.connect(0, 0)
  guest.values('x')
  assert.is(guest.out.length, 0)
})

abi('says that a record has no value', () => {
  const guest = guestIn('tombstone')
  guest.process([{ key: bytesOf('k'), value: bytesOf('v'), timestamp: 5 }])
  assert.is(guest.out[0]!.value, undefined)
  assert.equal(guest.out[0]!.key, bytesOf('k'))
})

abi('rejects a record with a message and goes on', () => {
  const guest = guestIn('reject')
  guest.values('good', 'bad', 'good')
  assert.equal(guest.rejected, [{ index: 1, message: 'bad: é' }])
  assert.is(guest.out.length, 2)
})

abi('logs, asks for a flush, reads the clock', () => {
  const guest = guestIn('log')
  guest.clock = 12345
  guest.values('x')
  assert.equal(guest.logs, [{ level: 2, text: 'warned é' }])
  assert.is(guest.flushRequests, 1)
  assert.equal(guest.texts(), ['12345.0'])
})

abi('flushes with the highest time seen, and gives watermarks', () => {
  const guest = guestIn('')
  guest.process([
    { value: bytesOf('a'), timestamp: 9 },
    { value: bytesOf('b'), timestamp: 4 },
  ])
  assert.equal(
    guest.flush().map((record) => record.timestamp),
    [9],
  )
  assert.equal(guest.texts(), ['2'])
  guest.watermark(77)
  assert.equal(guest.texts(), ['w77'])
})

abi('an error of the author aborts with its message', () => {
  assert.throws(() => guestIn('throw').values('me'), /thrown by me/)
  assert.throws(() => new Guest(probe).configure({ mode: 'refuse' }), /mode: refused/)
  assert.throws(() => new Guest(probe).configure('{'), /settings are not JSON/)
})

abi('reads JSON by path; what is not JSON is the fault INVALID_RECORD at its own offset', () => {
  const guest = guestIn('json')
  guest.values('{"n":-9007199254740993,"s":"\\u00e9","b":true,"o":{"a": 1}}', '{"n":1.5e1}')
  assert.equal(guest.texts(), ['-9007199254740993 -9007199254740992.0 é true {"a": 1} false', '15 15.0  false  false'])
  assert.is(guest.values('{"n":1}', '{"n":'), FAULT_INVALID_RECORD)
  assert.is(guest.progress, 56)
  assert.ok(guest.values('{"n":1}') > 0)
})

abi('whole numbers of 64 bits are exact, larger ones the nearest', () => {
  const guest = guestIn('json')
  const exact = ['1234567890123456789', '-1234567890123456789', '9223372036854775807', '-9223372036854775808']
  const beyond = ['9223372036854775808', '-9999999999999999999', '18446744073709551616', '1e30']
  guest.values(...[...exact, ...beyond].map((n) => `{"n":${n}}`))
  const [most, least] = exact.slice(2)
  assert.equal(
    guest.texts().map((text) => text.split(' ')[0]),
    [...exact, most, least, most, most],
  )
})

abi('collects garbage between records', () => {
  const guest = guestIn('garbage')
  const records = Array.from({ length: 500 }, () => ({ value: bytesOf('x'), timestamp: 0 }))
  for (let i = 0; i < 40; i++) guest.process(records)
  assert.ok(guest.exports.memory.buffer.byteLength <= 1 << 20, `${guest.exports.memory.buffer.byteLength}`)
})

abi.run()
