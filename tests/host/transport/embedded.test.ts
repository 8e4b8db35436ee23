// The embedded transport: the common suite, and what only it promises.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EmbeddedLog, type LogOptions } from '../../../host/transport/embedded/embedded-log.ts'
import { EmbeddedTransport } from '../../../host/transport/embedded/embedded-transport.ts'
import {
  append,
  commit,
  readAll,
  rejects,
  slotId,
  snapshot,
  texts,
  topicName,
  transportSuite,
  values,
} from './suite.ts'

transportSuite('embedded transport', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'spqr-log-'))
  const log = await EmbeddedLog.start({ dataDir })
  return {
    transport: new EmbeddedTransport(log.connect()),
    second: new EmbeddedTransport(log.connect()),
    close: async () => {
      await log.stop()
      rmSync(dataDir, { recursive: true })
    },
  }
})

interface Context {
  dataDir: string
  log: EmbeddedLog
  transport: EmbeddedTransport
  open(options?: Partial<LogOptions>): Promise<void>
}

const log = suite<Context>('embedded log')

log.before.each((context) => {
  context.dataDir = mkdtempSync(join(tmpdir(), 'spqr-log-'))
  context.open = async (options = {}) => {
    context.log = await EmbeddedLog.start({ dataDir: context.dataDir, ...options })
    context.transport = new EmbeddedTransport(context.log.connect())
  }
})

log.after.each(async ({ log, dataDir }) => {
  await log.stop().catch(() => {})
  rmSync(dataDir, { recursive: true, force: true })
})

/** Rows in a log that is not open. */
function rowsOf(dataDir: string): number {
  const script = fileURLToPath(new URL('./log-child.js', import.meta.url))
  return Number(execFileSync(process.execPath, [script, 'rows', dataDir]))
}

/** Waits until something in the background is done; the runner bounds the time. */
async function until(done: () => Promise<boolean>): Promise<void> {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 5))
}

log('topics, records, offsets and checkpoints are there after a restart; staged records are not', async (context) => {
  await context.open()
  const [topic, slot] = [topicName(), slotId()]
  await context.transport.createTopic({ name: topic, retentionBytes: 1 << 30 })
  await append(context.transport, topic, values(0, 5_000))
  await append(context.transport, topic, values(9, 9), { transaction: 'open' })
  await commit(context.transport, slot, 7, {
    snapshots: [snapshot(1, (memory) => memory.fill(3, 9, 99))],
    offsets: [{ group: 'g', topic, partition: 0, offset: 12n }],
  })
  await context.log.stop()
  await context.open()
  assert.equal(texts(await readAll(context.transport, topic)), texts(values(0, 5_000)))
  assert.is((await context.transport.topic(topic))?.retentionBytes, 1 << 30)
  assert.is((await context.transport.checkpoint(slot))?.epoch, 7)
  assert.equal(await context.transport.groupOffsets('g', topic), new Map([[0, 12n]]))
  await commit(context.transport, slot, 8, { transaction: 'open' })
  assert.is(await append(context.transport, topic, values(5_000, 1)), 5_000n)
})

log(
  'a transaction larger than its share of memory goes to the table, and is published whole and in order',
  async (context) => {
    await context.open({ stagedBytesMax: 40_000 })
    const { transport } = context
    const [topic, other] = [topicName(), topicName()]
    await transport.createTopic({ name: topic })
    for (let i = 0; i < 40; i++) {
      await append(transport, topic, values(i * 100, 100), { transaction: 'large' })
      await append(transport, topic, values(0, 50), { transaction: 'aborted' })
      await append(transport, other, values(i, 1), { transaction: 'large', create: true })
    }
    assert.equal(await readAll(transport, topic), [])
    await transport.abort('aborted')
    await commit(transport, slotId(), 1, { transaction: 'large' })
    assert.equal(texts(await readAll(transport, topic)), texts(values(0, 4_000)))
    assert.equal(texts(await readAll(transport, other)), texts(values(0, 40)))
  },
)

log('retention by bytes drops the oldest rows and keeps the offsets', async (context) => {
  await context.open()
  const { transport } = context
  const topic = topicName()
  await transport.createTopic({ name: topic, retentionBytes: 200_000 })
  let next = 0
  for (; next < 20_000; next += 1_000) await append(transport, topic, values(next, 1_000))
  const kept = async (): Promise<bigint> => {
    const [partition] = await transport.offsets(topic)
    return partition!.latest - partition!.earliest
  }
  await until(async () => (await kept()) * 64n <= 200_000n)
  assert.ok((await kept()) * 64n >= 150_000n, 'no more than needed is dropped')
  const { earliest, latest } = (await transport.offsets(topic))[0]!
  assert.is(latest, 20_000n)
  const records = await readAll(transport, topic, 0n)
  assert.is(records[0]!.sourceOffset, Number(earliest))
  assert.equal(texts(records), texts(values(Number(earliest), 20_000 - Number(earliest))))
})

log('retention by time may empty a partition; its offsets go on after a restart', async (context) => {
  await context.open({ housekeepingEveryMs: 20 })
  const topic = topicName()
  await context.transport.createTopic({ name: topic, retentionMs: 1 })
  await append(context.transport, topic, values(0, 10))
  await until(async () => (await context.transport.offsets(topic))[0]!.earliest === 10n)
  await context.log.stop()
  await context.open()
  assert.equal(await context.transport.offsets(topic), [{ partition: 0, earliest: 10n, latest: 10n }])
  assert.is(await append(context.transport, topic, values(10, 1)), 10n)
})

log('compaction keeps the last value of every key, with its offset', async (context) => {
  await context.open({ housekeepingEveryMs: 20 })
  const { transport } = context
  const topic = topicName()
  await transport.createTopic({ name: topic, compact: true })
  const text = new TextEncoder()
  const last = new Map<string, number>()
  for (let i = 0; i < 60; i++) {
    const records = Array.from({ length: 50 }, (_, j) => {
      const key = `key ${(i * 7 + j * 3) % 40}`
      last.set(key, i * 50 + j)
      return { key: text.encode(key), value: text.encode(`value ${i * 50 + j}`), timestamp: i }
    })
    await append(transport, topic, records)
  }
  await until(async () => (await readAll(transport, topic)).length === 40)
  const records = await readAll(transport, topic)
  const found = records.map((record): [string, number] => [new TextDecoder().decode(record.key), record.sourceOffset!])
  assert.equal(new Map(found), last)
  assert.equal(
    texts(records),
    records.map((record) => `value ${record.sourceOffset}`),
  )
  const [middle] = await readAll(transport, topic, 2_970n)
  assert.ok(middle!.sourceOffset! >= 2_970)
  assert.is(await transport.offsetOf(topic, 0, { at: 'latest' }), 3_000n)
  await context.log.stop()
  await context.open()
  assert.is((await readAll(context.transport, topic)).length, 40)
})

log('small rows are put together, and every record stays where it was', async (context) => {
  await context.open()
  const { transport } = context
  const topic = topicName()
  await transport.createTopic({ name: topic })
  for (let i = 0; i < 600; i++) await append(transport, topic, values(i, 1))
  await context.log.stop()
  assert.ok(rowsOf(context.dataDir) < 500, 'of 600 rows, the first 128 at least have become few')
  await context.open()
  const records = await readAll(context.transport, topic)
  assert.equal(texts(records), texts(values(0, 600)))
  assert.equal(
    records.map((record) => record.sourceOffset),
    Array.from({ length: 600 }, (_, i) => i),
  )
})

log('a deleted topic is gone at once, and one of the same name begins at 0', async (context) => {
  await context.open()
  const { transport } = context
  const topic = topicName()
  await transport.createTopic({ name: topic })
  for (let i = 0; i < 30; i++) await append(transport, topic, values(i * 1_000, 1_000))
  await transport.deleteTopic(topic)
  await rejects(transport.read(topic, 0, 0n, 1), 'NOT_FOUND')
  await transport.createTopic({ name: topic })
  assert.is(await append(transport, topic, values(0, 1)), 0n)
  assert.equal(texts(await readAll(transport, topic)), ['value 0'])
  // Its rows go in the background, also after a restart.
  do {
    await context.log.stop()
    await context.open()
    await new Promise((resolve) => setTimeout(resolve, 30))
    await context.log.stop()
  } while (rowsOf(context.dataDir) > 1)
})

log('an unchanged state costs next to nothing to store again', async (context) => {
  await context.open()
  const { transport } = context
  const slot = slotId()
  const state = (changed: number) =>
    snapshot(64, (memory) => {
      const words = new Uint32Array(memory.buffer)
      for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2654435761)
      words[changed] = 1
    })
  const sizes: number[] = []
  for (let epoch = 1; epoch <= 3; epoch++) {
    const { bytes } = await transport.commit({ slot, epoch, revision: 1, meta: null, snapshots: [state(5_000)] })
    sizes.push(bytes)
  }
  const { bytes } = await transport.commit({ slot, epoch: 4, revision: 1, meta: null, snapshots: [state(900_000)] })
  assert.ok(sizes[0]! > 1 << 20)
  assert.ok(sizes[1]! < 20_000 && sizes[2]! < 20_000, `stored ${sizes}`)
  assert.ok(bytes < 30_000, `stored ${bytes} for two changed pieces`)
  await context.log.stop()
  await context.open()
  const found = await context.transport.checkpoint(slot)
  assert.is(Buffer.compare(found!.snapshots[0]!.memory, state(900_000).memory), 0)
  const again = await context.transport.commit({ slot, epoch: 5, revision: 1, meta: null, snapshots: [state(900_000)] })
  assert.ok(again.bytes < 20_000, 'also after a restart, once it was loaded')
})

log('when the thread is killed every transport hears of it', async (context) => {
  await context.open()
  const { transport } = context
  const topic = topicName()
  await transport.createTopic({ name: topic })
  const waiting = Promise.allSettled(Array.from({ length: 20 }, () => append(transport, topic, values(0, 1_000))))
  await context.log.kill()
  for (const result of await waiting) {
    if (result.status === 'rejected') assert.is(result.reason.code, 'TRANSPORT_UNAVAILABLE')
  }
  await rejects(transport.topic(topic), 'TRANSPORT_UNAVAILABLE')
})

log.run()
