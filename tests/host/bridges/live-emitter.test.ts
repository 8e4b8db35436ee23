import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ConsoleEmitter } from '../../../host/bridges/console-emitter.ts'
import { LiveEmitter } from '../../../host/bridges/live-emitter.ts'
import { RecordBuffer } from '../../../host/record/record.ts'
import { BridgeDriver } from '../../support/bridge-driver.ts'
import { until } from '../../support/client.ts'

const live = suite('sse and websocket emitter')
const console = suite('console emitter')
const encoder = new TextEncoder()
const decoder = new TextDecoder()

function runOf(values: (string | undefined)[]): RecordBuffer {
  const buffer = new RecordBuffer()
  for (const value of values)
    buffer.add({ timestamp: 1, ...(value === undefined ? {} : { value: encoder.encode(value) }) })
  return buffer
}

function give(emitter: LiveEmitter, from: number, to: number): void {
  const run = runOf(Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`))
  assert.is(emitter.write(run.bytes, 0, run.length), run.length)
  run.bytes.fill(0)
}

interface Seen {
  id: string
  text: string
  gap: boolean
}

function reader(
  takes = Number.POSITIVE_INFINITY,
  lastEventId?: string,
): {
  seen: Seen[]
  pieces: Uint8Array[]
  ended: boolean
  takes: number
  subscriber: Parameters<LiveEmitter['subscribe']>[0]
} {
  const state = {
    seen: [] as Seen[],
    pieces: [] as Uint8Array[],
    ended: false,
    takes,
    subscriber: {
      lastEventId,
      form: 'events' as const,
      push: (piece: Uint8Array): boolean => {
        if (state.takes <= 0) return false
        state.takes--
        state.pieces.push(piece)
        let gap = false
        for (const event of decoder.decode(piece).split('\n\n').slice(0, -1)) {
          const [, id, text] = /^id: (.*)\ndata: (.*)$/.exec(event) ?? []
          if (id !== undefined) state.seen.push({ id, text: text!, gap })
          gap = id === undefined
        }
        return true
      },
      end: () => {
        state.ended = true
      },
    },
  }
  return state
}

/** Once that many were seen: what comes in quick succession is held together for a moment. */
async function saw(reader: { seen: Seen[] }, records: number): Promise<void> {
  await until(
    () => (reader.seen.length >= records ? true : undefined),
    () => `${reader.seen.length} of ${records} records were seen`,
  )
  assert.is(reader.seen.length, records)
}

const texts = (seen: Seen[]): string[] => seen.map((s) => s.text)

live('a late reader gets the last ones, then each new one', async () => {
  const emitter = new LiveEmitter({ lastRecords: 3 })
  give(emitter, 1, 10)
  const a = reader()
  const subscription = emitter.subscribe(a.subscriber)
  give(emitter, 11, 12)
  await saw(a, 5)
  assert.equal(texts(a.seen), ['8', '9', '10', '11', '12'])
  assert.not.ok(a.seen.some((s) => s.gap))
  subscription.stop()
  give(emitter, 13, 13)
  assert.is(a.seen.length, 5)
})

live('goes on after an id; what is no longer kept is a gap', async () => {
  const emitter = new LiveEmitter({ lastRecords: 5 })
  give(emitter, 1, 5)
  const a = reader()
  emitter.subscribe(a.subscriber).stop()
  const after = (id: string): Seen[] => {
    const b = reader(undefined, id)
    emitter.subscribe(b.subscriber).stop()
    return b.seen
  }
  assert.equal(texts(after(a.seen[2]!.id)), ['4', '5'])
  assert.equal(after(a.seen[4]!.id), [])
  give(emitter, 6, 9)
  assert.equal(
    after(a.seen[4]!.id).map((s) => [s.text, s.gap]),
    [
      ['6', false],
      ['7', false],
      ['8', false],
      ['9', false],
    ],
  )
  give(emitter, 10, 12)
  assert.equal(
    after(a.seen[4]!.id).map((s) => [s.text, s.gap]),
    [
      ['8', true],
      ['9', false],
      ['10', false],
      ['11', false],
      ['12', false],
    ],
  )
  for (const odd of ['', 'x', 'other.3', `${a.seen[0]!.id}9`, '../etc']) assert.ok(after(odd)[0]!.gap, odd)
  await emitter.stop()
})

live('a slow reader holds nobody, misses some and is told', async () => {
  const emitter = new LiveEmitter({ lastRecords: 2 })
  const slow = reader(1)
  const quick = reader()
  const subscription = emitter.subscribe(slow.subscriber)
  emitter.subscribe(quick.subscriber)
  give(emitter, 1, 2)
  await saw(slow, 2)
  give(emitter, 3, 10)
  await saw(quick, 10)
  slow.takes = 100
  give(emitter, 11, 12)
  await saw(quick, 12)
  assert.is(slow.seen.length, 2, 'nothing before it is ready')
  subscription.ready()
  assert.equal(texts(slow.seen), texts(quick.seen), 'what is kept comes later')
  slow.takes = 0
  give(emitter, 13, 1000)
  await saw(quick, 1000)
  give(emitter, 1001, 1001)
  await saw(quick, 1001)
  slow.takes = 10_000
  subscription.ready()
  const later = slow.seen.slice(12)
  assert.ok(later[0]!.gap)
  assert.not.ok(later[1]!.gap)
  assert.is(later.at(-1)!.text, '1001')
  assert.not.ok(quick.seen.some((s) => s.gap))
})

live('many readers get few pieces, and all the same memory', async () => {
  const emitter = new LiveEmitter({ lastRecords: 0 })
  const readers = Array.from({ length: 200 }, () => reader())
  for (const { subscriber } of readers) emitter.subscribe(subscriber)
  // More than is kept for whoever is late, in more pieces than one at a time.
  for (let n = 1; n <= 5000; n++) give(emitter, n, n)
  for (const one of readers) await saw(one, 5000)
  const [first, ...others] = readers
  assert.not.ok(readers.some(({ seen }) => seen.some((s) => s.gap)))
  for (const { pieces } of others) assert.ok(pieces.every((piece, i) => piece === first!.pieces[i]))
  await emitter.stop()
})

live('what is held together still goes out when it ends', async () => {
  const emitter = new LiveEmitter({ lastRecords: 0 })
  const a = reader()
  emitter.subscribe(a.subscriber)
  for (let n = 1; n <= 100; n++) give(emitter, n, n)
  await emitter.stop()
  assert.is(a.seen.length, 100)
  assert.ok(a.ended)
})

live('keeps a bounded number of bytes', () => {
  const emitter = new LiveEmitter({ lastRecords: 100_000 })
  const run = new RecordBuffer()
  run.add({ value: new Uint8Array(1 << 20), timestamp: 1 })
  for (let i = 0; i < 40; i++) emitter.write(run.bytes, 0, run.length)
  const late = reader()
  emitter.subscribe(late.subscriber)
  assert.is(late.seen.length, 16)
})

live('tells its readers when it ends; takes another number to keep', async () => {
  const emitter = new LiveEmitter({ lastRecords: 0 })
  give(emitter, 1, 3)
  const a = reader()
  emitter.subscribe(a.subscriber)
  assert.equal(a.seen, [])
  emitter.configure({ lastRecords: 2 })
  give(emitter, 4, 5)
  const b = reader()
  emitter.subscribe(b.subscriber)
  assert.equal(texts(b.seen), ['4', '5'])
  await emitter.stop()
  assert.ok(a.ended && b.ended)
})

console('prints a line per record, nothing that steers a terminal, and waits for a slow one', async () => {
  const driver = new BridgeDriver()
  let printed = ''
  let drain = (): void => {}
  const output = {
    write: (text: string, done?: () => void): boolean => {
      printed += text
      done?.()
      return text === ''
    },
    once: (_event: 'drain', listener: () => void) => {
      drain = listener
    },
  }
  const emitter = new ConsoleEmitter(driver.context, output, false)
  const run = runOf(['{"a":1}', 'x\r\ny\u001b[31m', undefined, 'z'.repeat(70_000)])
  assert.is(emitter.write(run.bytes, 0, run.length), run.length)
  assert.is(emitter.write(run.bytes, 0, run.length), 0)
  drain()
  const more = runOf(['1'])
  await driver.write(emitter, more.bytes, 0, more.length)
  await emitter.flush()
  const lines = printed.split('\n')
  assert.equal(lines.slice(0, 3), ['p/c {"a":1}', 'p/c x y\\u001b[31m', 'p/c null'])
  assert.match(lines[3]!, /z … \(70000 bytes\)$/)
  assert.is(lines[4], 'p/c 1')
  const coloured: string[] = []
  new ConsoleEmitter(driver.context, { ...output, write: (t) => coloured.push(t) > 0 }, true).write(
    more.bytes,
    0,
    more.length,
  )
  assert.match(coloured[0]!, '\u001b[36mp/c\u001b[39m 1')
})

live.run()
console.run()
