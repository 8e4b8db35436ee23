// The ring between two real threads: one writes records with checksums as fast as it can, the other reads, both sleep on
// doorbells when there is nothing to do. What a lost wake-up would stop, ends here.

import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KIND_DATA, KIND_END, KIND_MOVED, RECORD_KIND, RECORD_SOURCE_OFFSET } from '../../../host/record/record.ts'
import { ChannelReader } from '../../../host/ring/channel.ts'
import { Doorbell, DoorbellOwner, makeDoorbell } from '../../../host/ring/doorbell.ts'
import type { Run } from '../../../host/ring/ring.ts'
import type { WriterOrder } from './writer.worker.ts'

const TIME_LIMIT_MS = 20_000
const test = suite('a ring between two threads')

/** Reads all that another thread writes. @returns how often this side slept */
async function readAll(order: Omit<WriterOrder, 'port' | 'mine' | 'yours'>, slow: boolean): Promise<number> {
  const mine = makeDoorbell()
  const yours = makeDoorbell()
  const { port1, port2 } = new MessageChannel()
  const workerData: WriterOrder = { ...order, port: port2, mine: yours, yours: mine }
  const worker = new Worker(new URL('./writer.worker.js', import.meta.url), { workerData, transferList: [port2] })
  const bell = new DoorbellOwner(mine)
  const producer = new Doorbell(yours)
  bell.watchUpTo(0)
  const reader = new ChannelReader()
  const run: Run = { from: 0, to: 0 }
  const end = Date.now() + TIME_LIMIT_MS
  let position = 0
  let expected = 0
  let slept = 0
  try {
    for (let ended = false; !ended; ) {
      if (bell.takeMessages()) {
        for (let m = receiveMessageOnPort(port1); m; m = receiveMessageOnPort(port1)) reader.announced(m.message)
      }
      bell.takeSignals(() => undefined)
      let moved = false
      for (let ring = reader.ring; ring !== null; ring = reader.ring) {
        position = ring.peek(position, run)
        if (run.from >= run.to) break
        const kind = ring.bytes[run.from + RECORD_KIND]!
        if (kind === KIND_MOVED) {
          if (!reader.moveOn()) break
          position = reader.ring!.released
          moved = true
          continue
        }
        if (kind === KIND_END) {
          ended = true
          break
        }
        assert.is(kind, KIND_DATA)
        const number = ring.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]!
        if (number !== expected) throw new Error(`record ${number} came, not ${expected}`)
        const values = ring.words[(run.from + 44) >> 2]! >> 2
        for (let i = 0; i < values; i++) {
          if (ring.words[((run.from + 48) >> 2) + i] !== (Math.imul(number, 31) ^ i))
            throw new Error(`${number} is damaged`)
        }
        expected++
        moved = true
        position = (position + ring.words[run.from >> 2]!) | 0
        if (ring.release(position)) producer.signal(0)
        if (slow && expected % 257 === 0) bell.sleep(1)
      }
      if (moved || ended) continue
      if (Date.now() > end) throw new Error(`stuck at record ${expected}`)
      slept++
      // The bound is this test's alone: a lost wake-up fails by it.
      bell.sleep(2000)
    }
  } finally {
    await worker.terminate()
    port1.close()
  }
  assert.is(expected, order.records)
  return slept
}

test('small records, both as fast as they can', async () => {
  await readAll(
    { seed: 1, records: 400_000, valueWordsMax: 8, batchMax: 40, limitBytes: 16 << 10, pauseEvery: 0 },
    false,
  )
})

test('records up to a fifth of the ring, which is full most of the time', async () => {
  await readAll(
    { seed: 2, records: 20_000, valueWordsMax: 800, batchMax: 6, limitBytes: 16 << 10, pauseEvery: 0 },
    true,
  )
})

test('a ring that grows while it is read', async () => {
  await readAll(
    { seed: 3, records: 40_000, valueWordsMax: 300, batchMax: 90, limitBytes: 1 << 20, pauseEvery: 0 },
    true,
  )
})

test('a producer that pauses: the reader sleeps, and is woken each time', async () => {
  const slept = await readAll(
    { seed: 4, records: 3000, valueWordsMax: 20, batchMax: 5, limitBytes: 16 << 10, pauseEvery: 40 },
    false,
  )
  assert.ok(slept > 5, `it slept ${slept} times`)
})

test.run()
