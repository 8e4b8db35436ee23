// The writing thread of two-threads.test.ts.

import { type MessagePort, workerData } from 'node:worker_threads'
import { KIND_END, RecordBuffer } from '../../../host/record/record.ts'
import { ChannelWriter } from '../../../host/ring/channel.ts'
import { Doorbell, DoorbellOwner } from '../../../host/ring/doorbell.ts'

export interface WriterOrder {
  seed: number
  records: number
  valueWordsMax: number
  /** Records published at once. */
  batchMax: number
  limitBytes: number
  /** Sleeps a moment after so many records; 0: never. */
  pauseEvery: number
  port: MessagePort
  mine: SharedArrayBuffer
  yours: SharedArrayBuffer
}

const order = workerData as WriterOrder
const bell = new DoorbellOwner(order.mine)
const reader = new Doorbell(order.yours)
bell.watchUpTo(0)
const writer = new ChannelWriter(order.limitBytes, (memory) => {
  order.port.postMessage(memory)
  reader.message()
})
let state = order.seed
const random = (n: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 4294967296) * n)
}

/** Waits as the product does: only where the ring says that a signal will come. */
function waitForRoom(bytes: number): void {
  if (!writer.wantRoom(bytes)) return
  bell.sleep(5000)
  bell.takeSignals(() => undefined)
}

const buffer = new RecordBuffer()
const pause = new Int32Array(new SharedArrayBuffer(4))
for (let number = 0; number < order.records; ) {
  buffer.clear()
  const count = Math.min(1 + random(order.batchMax), order.records - number)
  for (let i = 0; i < count; i++, number++) {
    const words = random(order.valueWordsMax)
    const at = buffer.begin(-1, 0, words * 4, number)
    for (let w = 0; w < words; w++) buffer.view.setInt32(at + w * 4, Math.imul(number, 31) ^ w, true)
    buffer.view.setInt32(at - 48 + 24, number, true)
  }
  const words = new Int32Array(buffer.bytes.buffer)
  for (let at = 0; at < buffer.length; ) {
    const taken = writer.push(buffer.bytes, words, at, buffer.length)
    at += taken
    if (taken > 0) reader.signal(0)
    if (at < buffer.length) waitForRoom(64 << 10)
  }
  if (order.pauseEvery > 0 && random(order.pauseEvery) < count) Atomics.wait(pause, 0, 0, 2)
}
while (!writer.pushControl(KIND_END, 0)) waitForRoom(48)
reader.signal(0)
