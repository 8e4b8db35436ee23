// What a relay makes of a process that is in the hands of its tenant: a real child that writes whatever it likes.

import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeSlab } from '../../../host/compute/counters.ts'
import type { FromCompute, GraphSpec } from '../../../host/compute/messages.ts'
import { makeStatus, Status } from '../../../host/compute/status.ts'
import { decodeFromProcess } from '../../../host/isolation/check-message.ts'
import { checkRecords } from '../../../host/isolation/check-records.ts'
import {
  FRAME_COUNTERS,
  FRAME_CREDIT,
  FRAME_FUEL,
  FRAME_MESSAGE,
  FRAME_PART,
  FRAME_RECORDS,
  FrameReader,
  MalformedFrame,
  padded,
} from '../../../host/isolation/frames.ts'
import { encodeFromProcess } from '../../../host/isolation/messages.ts'
import { RelayLoop } from '../../../host/isolation/relay-loop.ts'
import { makeQuotaCells, QuotaCells } from '../../../host/quota/quota-cells.ts'
import { KIND_BARRIER, KIND_END, KIND_MOVED, RECORD_KIND, RecordBuffer } from '../../../host/record/record.ts'
import { makeDoorbell } from '../../../host/ring/doorbell.ts'

function frame(type: number, channel = 0, extra = 0, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const bytes = Buffer.alloc(16 + padded(payload.length))
  bytes.writeUInt32LE(payload.length, 0)
  bytes.writeUInt32LE(type, 4)
  bytes.writeUInt32LE(channel, 8)
  bytes.writeInt32LE(extra, 12)
  bytes.set(payload, 16)
  return bytes
}

function records(count: number, change: (buffer: RecordBuffer) => void = () => undefined): Uint8Array {
  const buffer = new RecordBuffer(1024)
  for (let i = 0; i < count; i++) buffer.add({ key: Buffer.from('k'), value: Buffer.from(`{"n":${i}}`), timestamp: i })
  change(buffer)
  return buffer.bytes.slice(0, buffer.length)
}

const graph: GraphSpec = {
  tenant: 't',
  tenantIndex: 0,
  id: 'p',
  delivery: 'at-least-once',
  sources: [{ topic: null, component: 'in', channel: 1, counters: 1 }],
  operators: [],
  splits: [],
  emitters: [
    {
      component: 'out',
      channel: 2,
      edges: [{ from: 'in', portsLow: 1, portsHigh: 0 }],
      capacityBytes: 1 << 20,
      counters: 2,
    },
  ],
  deadLetters: { channel: 3, counters: 3 },
}

// Cutting frames

const cutting = suite('FrameReader')

cutting('gives the same frames however the bytes come', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 5000 }), (lengths, step) => {
      const stream = Buffer.concat(lengths.map((n, i) => frame(1, i, n, new Uint8Array(n).fill(i))))
      const seen: number[] = []
      const reader = new FrameReader({
        frame: (_type, channel, extra, bytes, _words, from, to) => {
          assert.is(to - from, extra)
          assert.is(from % 8, 0)
          for (let at = from; at < to; at++) if (bytes[at] !== (channel & 255)) assert.unreachable()
          seen.push(to - from)
        },
      })
      for (let at = 0; at < stream.length; at += step) reader.take(stream.subarray(at, at + step))
      assert.equal(seen, lengths)
    }),
    { numRuns: 50 },
  )
})

cutting('takes a frame larger than its window, and gives the memory back', () => {
  const long = new Uint8Array(5 << 20).fill(7)
  let frames = 0
  const reader = new FrameReader({
    frame: (_type, _channel, _extra, bytes, _words, from, to) => {
      frames++
      assert.is(to - from, long.length)
      assert.is(bytes[to - 1], 7)
    },
  })
  for (let i = 0; i < 3; i++) reader.take(frame(1, 0, 0, long))
  assert.is(frames, 3)
  assert.ok(reader.room().length <= 1 << 20)
})

cutting('refuses a length that no frame has', () => {
  const reader = new FrameReader({ frame: () => assert.unreachable() })
  assert.throws(
    () => reader.take(Buffer.from([0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
    (error: unknown) => error instanceof MalformedFrame,
  )
})

cutting.run()

// Checking records

const checking = suite('checkRecords')

function check(bytes: Uint8Array, epoch = 0, epochMax = 10): void {
  const words = new Int32Array(bytes.buffer, 0, bytes.length >> 2)
  checkRecords(bytes, words, 0, bytes.length, { ports: 1, epoch, ended: false }, epochMax)
}

const isMalformed = (error: unknown): boolean => error instanceof MalformedFrame

function mark(kind: number, epoch: number): (buffer: RecordBuffer) => void {
  return (buffer) => {
    const at = buffer.length
    buffer.reserve(48)
    buffer.bytes.fill(0, at, at + 48)
    buffer.view.setUint32(at, 48, true)
    buffer.bytes[at + RECORD_KIND] = kind
    buffer.view.setUint32(at + 24, epoch, true)
    buffer.length += 48
  }
}

function lengthsOf(bytes: number): (buffer: RecordBuffer) => void {
  return ({ view }) => {
    for (const at of [36, 40, 44]) view.setUint32(at, bytes, true)
  }
}

checking('lets whole records and marks that were asked for pass', () => {
  check(records(100))
  check(records(3, mark(KIND_BARRIER, 5)))
  check(records(3, mark(KIND_END, 0)))
})

checking('refuses what a reader of the ring would stumble over', () => {
  const cases: [string, Uint8Array][] = [
    ['a length of 0', records(1, (b) => b.view.setUint32(0, 0, true))],
    ['a length that leads beyond the run', records(2, (b) => b.view.setUint32(0, 1 << 20, true))],
    ['a length that is odd', records(1, (b) => b.view.setUint32(0, b.length - 1, true))],
    ['a value longer than the record', records(1, (b) => b.view.setUint32(44, 1 << 30, true))],
    ['a key of a negative length', records(1, (b) => b.view.setInt32(36, -8, true))],
    ['lengths whose sum wraps', records(1, lengthsOf(0x7fffffff))],
    ['another port', records(1, (b) => b.view.setUint16(6, 1, true))],
    ['unknown flags', records(1, (b) => b.view.setUint8(5, 4))],
    ['an unknown kind', records(1, (b) => b.view.setUint8(4, 9))],
    ['padding', records(1, (b) => b.view.setUint8(4, 0))],
    ['the mark of a larger ring', records(1, mark(KIND_MOVED, 0))],
    ['a barrier that was not sent', records(1, mark(KIND_BARRIER, 11))],
    ['a barrier again', Buffer.concat([records(1, mark(KIND_BARRIER, 5)), records(1, mark(KIND_BARRIER, 5))])],
    ['a record after the end', Buffer.concat([records(1, mark(KIND_END, 0)), records(1)])],
    ['half a header', records(1).subarray(0, 40)],
  ]
  for (const [what, bytes] of cases) {
    const own = new Uint8Array(padded(bytes.length))
    own.set(bytes)
    assert.throws(() => check(own.subarray(0, bytes.length)), isMalformed, what)
  }
})

checking('refuses headers that do not fill their place', () => {
  const buffer = new RecordBuffer(1024)
  buffer.add({ value: Buffer.from('v'), headers: [['name', Buffer.from('x')]], timestamp: 1 })
  check(buffer.bytes.slice(0, buffer.length))
  buffer.view.setUint32(48, 1000, true)
  assert.throws(() => check(buffer.bytes.slice(0, buffer.length)), isMalformed)
})

checking('any bytes: it passes or refuses, and what passes can be walked', () => {
  const good = records(20)
  const flips = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 10 })
  fc.assert(
    fc.property(flips, (changes) => {
      const bytes = good.slice()
      for (const [at, value] of changes) bytes[at] = value
      try {
        check(bytes)
      } catch (error) {
        assert.ok(isMalformed(error), String(error))
        return
      }
      const view = new DataView(bytes.buffer)
      let at = 0
      while (at < bytes.length) at += view.getUint32(at, true)
      assert.is(at, bytes.length)
    }),
    { numRuns: 2000 },
  )
})

checking('any message: it is one, or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeFromProcess(bytes)
      } catch (error) {
        assert.ok(isMalformed(error), String(error))
      }
    }),
  )
  const deep = Buffer.from(`    ${'['.repeat(100_000)}`)
  deep.writeUInt32LE(deep.length - 4, 0)
  assert.throws(() => decodeFromProcess(deep), isMalformed)
})

checking.run()

// A process that does not keep to the protocol

interface Context {
  control: MessagePort
  said: FromCompute[]
  ended: Promise<string>
  say: (bytes: Uint8Array) => void
}

const relay = suite<Context>('RelayLoop')

// It sends on what the test writes to it.
const MOUTHPIECE = `
const out = new (require('node:net').Socket)({ fd: 3, readable: true, writable: true })
out.on('end', () => process.exit()); out.resume()
process.stdin.on('data', (chunk) => out.write(chunk))
`

relay.before.each(async (context) => {
  const child = spawn(process.execPath, ['-e', MOUTHPIECE], { env: {}, stdio: ['pipe', 'ignore', 'ignore', 'pipe'] })
  child.stdin!.on('error', () => undefined)
  const socket = child.stdio[3] as Socket
  const { port1, port2 } = new MessageChannel()
  const said: FromCompute[] = []
  port1.on('message', (message: FromCompute) => said.push(message))
  const quota = new QuotaCells(makeQuotaCells())
  quota.free(0)
  context.ended = new Promise((onEnd) => {
    new RelayLoop({
      index: 0,
      control: port2,
      doorbell: makeDoorbell(),
      status: new Status(makeStatus()),
      quota,
      cores: 1,
      process: { pid: child.pid!, child, socket, lastWords: () => '' },
      onEnd,
    }).run()
  })
  void context.ended.then(() => {
    port1.close()
    port2.close()
  })
  context.control = port1
  context.said = said
  context.say = (bytes) => child.stdin!.write(bytes)
  port1.postMessage({ type: 'slab', index: 0, memory: makeSlab() })
  port1.postMessage({ type: 'create', request: 1, pipeline: 5, bridge: 0, graph, images: [], paused: false })
})

const message = (text: object, attachment?: Uint8Array): Buffer =>
  frame(FRAME_MESSAGE, 0, 0, encodeFromProcess(text as Parameters<typeof encodeFromProcess>[0], attachment))

const CASES: [what: string, says: RegExp, bytes: () => Uint8Array][] = [
  ['nonsense', /a frame of/, () => Buffer.from('x'.repeat(64))],
  ['a frame of an unknown type', /type 77/, () => frame(77)],
  ['records for a channel of somebody else', /channel 9/, () => frame(FRAME_RECORDS, 9, 0, records(1))],
  ['records for a source', /channel 1/, () => frame(FRAME_RECORDS, 1, 0, records(1))],
  ['half a record', /byte 0/, () => frame(FRAME_RECORDS, 2, 0, records(1).subarray(0, 52))],
  ['credit for what was never sent', /credit/, () => frame(FRAME_CREDIT, 1, 1000)],
  ['counters of another pipeline', /block 0/, () => frame(FRAME_COUNTERS, 0, 0, new Uint8Array(472))],
  ['half a counter report', /report of 100/, () => frame(FRAME_COUNTERS, 0, 0, new Uint8Array(100))],
  ['fuel that was not asked for', /units of fuel/, () => Buffer.concat([frame(FRAME_FUEL), frame(FRAME_FUEL)])],
  ['an answer to nothing', /answer to 99/, () => message({ type: 'done', request: 99 })],
  ['a word of another pipeline', /pipeline 6/, () => message({ type: 'dirty', pipeline: 6 })],
  ['a message that is none', /a message/, () => message({ type: 'done', request: 1, admin: true })],
  ['the end of what has a ring', /the end of "out"/, () => message(sunkOf('out', 0, true))],
  ['an epoch that was not begun', /epoch 4/, () => message(sunkOf('', 4, false))],
  ['an image of what is no operator', /an image/, () => message(imageOf('in'), new Uint8Array(65536))],
  ['an image of what is not split', /an image of "in"/, () => message(imageOf('in', { by: 'key', instances: 2 }))],
  ['parts of nothing', /a message of 0 bytes/, () => frame(FRAME_PART)],
]

const sunkOf = (component: string, epoch: number, end: boolean): object => ({
  type: 'sunk',
  pipeline: 5,
  component,
  epoch,
  end,
})

const imageOf = (component: string, split?: { by: string; instances: number }): object => ({
  type: 'image',
  pipeline: 5,
  epoch: 1,
  image: { component, digest: '0'.repeat(64), globals: {}, sequence: 1, sinceFlush: 0, ended: false, split },
})

for (const [what, says, bytes] of CASES) {
  relay(`ends a process that sends ${what}`, async ({ ended, say }) => {
    say(bytes())
    assert.match(await ended, says)
  })
}

relay('ends a process that sends more than its credit, and more parts than a message has', async ({ ended, say }) => {
  // Nobody takes anything out of the emitter's ring: it fills, then the credit is used up.
  const run = records(1000)
  for (let sent = 0; sent < 8 << 20; sent += run.length) say(frame(FRAME_RECORDS, 2, 0, run))
  assert.match(await ended, /credit on channel 2/)
})

relay('ends a process that goes on with a message for ever', async ({ ended, say }) => {
  const part = frame(FRAME_PART, 0, 0, new Uint8Array(1 << 20))
  for (let i = 0; i < 16; i++) say(part)
  assert.match(await ended, /a message of/)
})

relay('ends a process that says without end that a pipeline failed', async ({ said, say, ended }) => {
  const error = { code: 'OPERATOR_TRAP', message: 'so it says' }
  const failed = message({ type: 'failed', pipeline: 5, component: 'out', error })
  for (let i = 0; i < 5000; i++) say(failed)
  assert.match(await ended, /again and again/)
  assert.ok(said.length <= 100, `${said.length} reached the control thread`)
})

relay('ends a process that fills a tap with nothing', async ({ said, say, control, ended }) => {
  control.postMessage({ type: 'tap', tap: 1, pipeline: 5, component: 'out', port: 0, every: 1 })
  // A word that comes before the tap is known means nothing: it is said until it is.
  const timer = setInterval(() => say(message({ type: 'tapped', tap: 1, skipped: 0 })), 5)
  assert.match(await ended, /a tap of nothing/)
  clearInterval(timer)
  assert.equal(said, [])
})

relay('passes on what is said well', async ({ said, say, control, ended }) => {
  say(message({ type: 'done', request: 1, changes: [] }))
  say(message({ type: 'event', pipeline: 5, component: 'out', kind: 'log', level: 1, text: 'hello' }))
  while (said.length < 2) await new Promise((done) => setTimeout(done, 5))
  assert.equal(
    said.map((one) => one.type),
    ['done', 'event'],
  )
  control.postMessage({ type: 'stop' })
  assert.match(await ended, /not needed/)
})

relay.run()
