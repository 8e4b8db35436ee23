// The Kafka transport against a real broker: the common suite, and what only Kafka asks of it.

import kafkajs, { type CompressionTypes, Kafka, logLevel } from 'kafkajs'
import { compressFrameSync, decompressFrameSync } from 'lz4-napi'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RecordBuffer } from '../../../../host/record/record.ts'
import {
  CODEC_NAMES,
  CODEC_NUMBERS,
  type CodecName,
  compress,
  decompress,
  loadCodecs,
} from '../../../../host/transport/kafka/codecs.ts'
import { KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { until } from '../../../support/client.ts'
import { skipWithoutKafka, startKafka, type TestKafka } from '../../../support/kafka.ts'
import {
  append,
  commit,
  decode,
  frames,
  readAll,
  rejects,
  slotId,
  snapshot,
  texts,
  topicName,
  transportSuite,
  values,
} from '../suite.ts'

const isSkipped = skipWithoutKafka('kafka transport')
const kafka: TestKafka | undefined = isSkipped ? undefined : await startKafka()
const brokers = kafka?.brokers ?? []

function start(more: { compression?: CodecName; cacheBytes?: number } = {}): Promise<KafkaTransport> {
  return KafkaTransport.start({ brokers, ...more })
}

const test = suite<{ transport: KafkaTransport; topic: string }>('kafka')
const kafkaTest: typeof test = isSkipped ? (test.skip as typeof test) : test

test.before.each(async (context) => {
  context.topic = topicName()
  if (!isSkipped) context.transport = await start()
})

test.after.each(async ({ transport }) => {
  await transport?.stop()
})

// kafkajs has gzip alone.
await loadCodecs()
for (const codec of ['snappy', 'lz4', 'zstd'] as const) {
  const type: 2 | 3 | 4 = CODEC_NUMBERS[codec]
  kafkajs.CompressionCodecs[type] = () => ({
    compress: (encoder: { buffer: Buffer }) => Promise.resolve(Buffer.from(compress(codec, encoder.buffer))),
    decompress: (bytes: Buffer) => Promise.resolve(Buffer.from(decompress(type, bytes))),
  })
}

kafkaTest('memory of what was read and sent is used again, and no record shows it', async ({ topic }) => {
  // Hardly anything is kept: frames of one partition become those of the other, and of what is sent meanwhile.
  const transport = await start({ cacheBytes: 1 << 20 })
  await transport.createTopic({ name: topic, partitions: 2 })
  const batches = 12
  const records = 2_000
  const textOf = (partition: number, n: number): string => `${partition} ${n} ${'x'.repeat(80 + (n % 50))}`
  const write = async (partition: number): Promise<void> => {
    for (let batch = 0; batch < batches; batch++) {
      const all = Array.from({ length: records }, (_, i) => {
        return { value: Buffer.from(textOf(partition, batch * records + i)), timestamp: 1 }
      })
      await append(transport, topic, all, {}, partition)
    }
  }
  const read = async (partition: number): Promise<number> => {
    const into = new RecordBuffer(0)
    let seen = 0
    for (let offset = 0n; seen < batches * records; ) {
      const result = await transport.read(topic, partition, offset, 200_000, into)
      for (const text of texts(decode(result.frames))) assert.is(text, textOf(partition, seen++))
      offset = result.next
      if (result.records === 0) await new Promise((later) => setTimeout(later, 5))
    }
    return seen
  }
  const unwatch = transport.watch(topic, () => {})
  const [, , ...seen] = await Promise.all([write(0), write(1), read(0), read(1), read(0), read(1)])
  assert.equal(seen, [24_000, 24_000, 24_000, 24_000])
  unwatch()
  await transport.stop()
})

kafkaTest('what kafkajs writes is read, what we write kafkajs reads, by every codec', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic })
  const client = new Kafka({ brokers, logLevel: logLevel.NOTHING })
  const producer = client.producer()
  await producer.connect()
  const long = 'all work and no play '.repeat(100)
  for (const codec of CODEC_NAMES) {
    const compression = CODEC_NUMBERS[codec] as CompressionTypes
    const messages = [
      { key: 'k', value: `${codec} ${long}`, headers: { h: 'x' }, timestamp: '1700000000123' },
      { key: null, value: null, timestamp: '1700000000124' },
    ]
    await producer.send({ topic, messages, compression })
    const own = await start({ compression: codec })
    await append(own, topic, [
      {
        key: Buffer.from('own'),
        value: Buffer.from(`${codec} ${long}`),
        headers: [['h', Buffer.from('y')]],
        timestamp: 7,
      },
      { timestamp: 8 },
    ])
    await own.stop()
  }
  await producer.disconnect()
  const records = await readAll(transport, topic)
  assert.is(records.length, CODEC_NAMES.length * 4)
  CODEC_NAMES.forEach((codec, i) => {
    const [theirs, none, ours, tomb] = records.slice(i * 4, i * 4 + 4)
    assert.is(Buffer.from(theirs!.value!).toString(), `${codec} ${long}`)
    assert.equal(theirs!.headers, [['h', new Uint8Array(Buffer.from('x'))]])
    assert.is(theirs!.timestamp, 1700000000123)
    assert.equal([none!.key, none!.value, none!.timestamp], [undefined, undefined, 1700000000124])
    assert.is(Buffer.from(ours!.value!).toString(), `${codec} ${long}`)
    assert.equal([tomb!.value, tomb!.timestamp], [undefined, 8])
  })
  const consumer = client.consumer({ groupId: topic })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const seen: string[] = []
  await new Promise<void>((done) => {
    consumer.run({
      eachMessage: ({ message }) => {
        const { key, value, headers, timestamp, offset } = message
        seen.push(`${offset} ${key} ${value?.toString().split(' ')[0]} ${headers?.h} ${timestamp}`)
        if (seen.length === records.length) done()
        return Promise.resolve()
      },
    })
  })
  await consumer.disconnect()
  CODEC_NAMES.forEach((codec, i) => {
    assert.is(seen[i * 4 + 2], `${i * 4 + 2} own ${codec} y 7`)
    assert.is(seen[i * 4 + 3], `${i * 4 + 3} null undefined undefined 8`)
  })
})

kafkaTest('lz4 frames of others, with checksums, are read', () => {
  const text = Buffer.from('all work and no play '.repeat(100))
  const framed = compressFrameSync(text, { contentChecksum: true, blockChecksums: true })
  assert.is(Buffer.compare(decompress(3, framed), text), 0)
  assert.is(Buffer.compare(decompressFrameSync(Buffer.from(compress('lz4', text))), text), 0)
})

kafkaTest('settings of a topic are Kafka’s own', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic, partitions: 3, retentionMs: 3_600_000, retentionBytes: 1 << 20 })
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic }] })
  const settings = new Map(resources[0]!.configEntries.map((entry) => [entry.configName, entry.configValue]))
  assert.is(settings.get('retention.ms'), '3600000')
  assert.is(settings.get('retention.bytes'), String(1 << 20))
  assert.is(settings.get('cleanup.policy'), 'delete')
  await admin.createTopics({
    topics: [
      { topic: `${topic}.theirs`, numPartitions: 2, configEntries: [{ name: 'cleanup.policy', value: 'compact' }] },
    ],
  })
  await admin.disconnect()
  const theirs = await transport.topic(`${topic}.theirs`)
  assert.equal([theirs?.partitions, theirs?.compact], [2, true])
  assert.is((await transport.topic(topic))?.retentionBytes, 1 << 20)
})

kafkaTest('topics of the product’s own are not there for others', async ({ transport }) => {
  await commit(transport, slotId(), 1)
  assert.equal(await transport.listTopics('spqr.'), [])
  assert.is(await transport.topic('spqr.checkpoints'), undefined)
  await rejects(append(transport, 'spqr.checkpoints', values(0, 1)), 'NOT_FOUND')
  await rejects(transport.read('spqr.checkpoints', 0, 0n, 1000), 'NOT_FOUND')
})

kafkaTest('more than a batch holds is cut, and read back in order', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic })
  const records = values(0, 3_000).map((one, i) => ({ ...one, value: Buffer.from(`value ${i} ${'x'.repeat(2_000)}`) }))
  assert.is(await append(transport, topic, records), 0n)
  assert.is(await append(transport, topic, values(3_000, 1)), 3_000n)
  const read = await readAll(transport, topic)
  assert.equal(
    read.map((record) => record.sourceOffset),
    Array.from({ length: 3_001 }, (_, i) => i),
  )
})

kafkaTest('a record larger than the topic takes is refused, and nothing beside it is written', async (context) => {
  const { transport, topic } = context
  await transport.createTopic({ name: topic })
  const large = { value: Buffer.alloc(1_100_000, 1), timestamp: 1 }
  const error = await rejects(append(transport, topic, [...values(0, 5), large, ...values(5, 5)]), 'RECORD_TOO_LARGE')
  assert.match(error.message, /max.message.bytes is 1048588/)
  assert.equal(await readAll(transport, topic), [])
  // One that others waited with does not harm them.
  const answers = await Promise.allSettled([
    append(transport, topic, values(0, 1)),
    append(transport, topic, [large]),
    append(transport, topic, values(1, 1)),
  ])
  assert.equal(
    answers.map((answer) => answer.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  assert.equal(texts(await readAll(transport, topic)), texts(values(0, 2)))
})

kafkaTest('a slot’s next epoch is written while the one before commits', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic })
  const slot = slotId()
  const name = (epoch: number): string => `${slot.tenant}/${slot.pipeline}/${epoch}`
  const done: Promise<void>[] = []
  for (let epoch = 1; epoch <= 6; epoch++) {
    await append(transport, topic, values(epoch * 10, 2), { transaction: name(epoch) })
    if (epoch > 1) await done.at(-1)
    if (epoch < 6) await append(transport, topic, values(epoch * 10 + 10, 1), { transaction: name(epoch + 1) })
    done.push(commit(transport, slot, epoch, { transaction: name(epoch) }))
  }
  await Promise.all(done)
  const read = texts(await readAll(transport, topic)).sort()
  const wanted = [1, 2, 3, 4, 5, 6].flatMap((epoch) => values(epoch * 10, 2))
  assert.equal(read, [...texts(wanted), ...texts([20, 30, 40, 50, 60].flatMap((from) => values(from, 1)))].sort())
  // An epoch without a record, with the next one open already.
  await append(transport, topic, values(80, 1), { transaction: name(8) })
  await commit(transport, slot, 7, { transaction: name(7) })
  assert.is((await transport.checkpoint(slot))?.epoch, 7)
  await transport.abort(name(8))
})

kafkaTest('what was written two epochs ahead does not hold up who begins again', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic })
  const slot = slotId()
  const name = (epoch: number): string => `${slot.tenant}/${slot.pipeline}/${epoch}`
  for (const epoch of [2, 3, 4]) {
    if (epoch === 4) await transport.abort(name(2))
    await append(transport, topic, values(epoch, 1), { transaction: name(epoch) })
  }
  for (const epoch of [2, 3]) await transport.abort(name(epoch))
  await append(transport, topic, values(20, 1), { transaction: name(2) })
  await commit(transport, slot, 2, { transaction: name(2) })
  assert.equal(texts(await readAll(transport, topic)), texts(values(20, 1)))
})

kafkaTest('who takes a slot over fences who had it, whatever it still has open', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic })
  const slot = slotId()
  const name = (epoch: number): string => `${slot.tenant}/${slot.pipeline}/${epoch}`
  await append(transport, topic, values(0, 2), { transaction: name(1) })
  await commit(transport, slot, 1, { transaction: name(1) })
  await append(transport, topic, values(2, 2), { transaction: name(2) })
  await append(transport, topic, values(4, 2), { transaction: name(3) })
  const successor = await start()
  await successor.abort(name(2))
  assert.is((await successor.checkpoint(slot))?.epoch, 1)
  assert.equal(texts(await readAll(successor, topic)), texts(values(0, 2)))
  const error = await rejects(commit(transport, slot, 2, { transaction: name(2) }), 'INVALID_STATE')
  assert.is(error.extra?.fenced, true)
  await rejects(append(transport, topic, values(6, 1), { transaction: name(3) }), 'INVALID_STATE')
  await append(successor, topic, values(2, 2), { transaction: name(2) })
  await commit(successor, slot, 2, { transaction: name(2) })
  assert.equal(texts(await readAll(successor, topic)), texts(values(0, 4)))
  assert.is((await transport.checkpoint(slot))?.epoch, 2)
  await successor.stop()
})

kafkaTest('a slot that is taken over and back again goes on at once, however often', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic })
  const slot = slotId()
  const name = (epoch: number): string => `${slot.tenant}/${slot.pipeline}/${epoch}`
  const other = await start()
  for (let epoch = 1; epoch <= 4; epoch++) {
    const [has, had] = epoch % 2 ? [transport, other] : [other, transport]
    await has.fence(slot)
    await append(has, topic, values(epoch, 1), { transaction: name(epoch) })
    await commit(has, slot, epoch, { transaction: name(epoch) })
    if (epoch < 4) continue
    const error = await rejects(append(had, topic, values(99, 1), { transaction: name(epoch + 1) }), 'INVALID_STATE')
    assert.is(error.extra?.fenced, true)
  }
  assert.equal(texts(await readAll(transport, topic)), texts(values(1, 4)))
  await other.stop()
})

kafkaTest(
  'a slot that comes back after it ran elsewhere goes on from what it stored last',
  async ({ transport, topic }) => {
    await transport.createTopic({ name: topic })
    const slot = slotId()
    const other = await start()
    for (let epoch = 1; epoch <= 2; epoch++) await commit(transport, slot, epoch, { run: 1 })
    for (let epoch = 3; epoch <= 9; epoch++) await commit(other, slot, epoch, { run: 1 })
    // By others than runs too: where a pipeline is to begin again is stored as its newest.
    await commit(transport, slot, 10)
    for (let epoch = 11; epoch <= 20; epoch++) await commit(other, slot, epoch, { run: 2 })
    await commit(transport, slot, 21, { run: 2 })
    await commit(transport, slot, 22, { run: 2 })
    const third = await start()
    assert.is((await third.checkpoint(slot))?.epoch, 22)
    assert.equal(
      (await third.checkpoints(slot)).map(({ epoch }) => epoch),
      [22, 21, 20],
    )
    await Promise.all([other.stop(), third.stop()])
  },
)

kafkaTest('a checkpoint is found though another slot’s transaction is open before it', async (context) => {
  const { transport, topic } = context
  await transport.createTopic({ name: topic })
  const [open, slot] = [slotId(), slotId()]
  // Kept open on the checkpoints' own topic, as a host does that died in its commit.
  const producer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).producer({
    transactionalId: `open-${topic}`,
    maxInFlightRequests: 1,
    idempotent: true,
  })
  await commit(transport, open, 1)
  await producer.connect()
  const dead = await producer.transaction()
  const messages = [{ key: `${open.tenant}/${open.pipeline}/0 dead`, value: '{}' }]
  for (let partition = 0; partition < 4; partition++) {
    await dead.send({ topic: 'spqr.checkpoints', messages: messages.map((one) => ({ ...one, partition })) })
  }
  const name = `${slot.tenant}/${slot.pipeline}/1`
  await append(transport, topic, values(0, 1), { transaction: name })
  await commit(transport, slot, 1, { transaction: name, meta: { behind: true } })
  const other = await start()
  assert.equal((await other.checkpoint(slot))?.meta, { behind: true })
  await other.stop()
  await dead.abort()
  await producer.disconnect()
})

kafkaTest('what topics hold is told, without what is another’s or the product’s own', async ({ transport, topic }) => {
  const bytesOf = async (prefix: string): Promise<Map<string, number>> => transport.topicBytes(prefix)
  await transport.createTopic({ name: topic, partitions: 2 })
  for (const partition of [0, 1])
    await append(transport, topic, [{ value: Buffer.alloc(100_000, 'x'), timestamp: 1 }], {}, partition)
  await commit(transport, slotId(), 1)
  const grown = await until(async () => {
    const bytes = (await bytesOf(topic)).get(topic) ?? 0
    return bytes >= 200_000 ? bytes : undefined
  })
  assert.ok(grown < 300_000, String(grown))
  assert.equal([...(await bytesOf(`${topic}-`)).keys()], [])
  assert.equal([...(await bytesOf('spqr.checkpoints')).keys()], [])
  await transport.deleteTopic(topic)
  await until(async () => !(await bytesOf(topic)).has(topic) || undefined)
})

kafkaTest('a state of 16 MiB is stored, changed in little, and restored by another process’s eyes', async (context) => {
  const { transport } = context
  const slot = slotId()
  const fill = (memory: Uint8Array): void => {
    // Does not compress: chunks are as large as they get.
    for (let at = 0, x = 7; at < memory.length; at++) {
      x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff
      memory[at] = x >>> 16
    }
  }
  await transport.commit({ slot, epoch: 1, revision: 1, meta: null, snapshots: [snapshot(256, fill)] })
  const changed = snapshot(256, (memory) => {
    fill(memory)
    memory.fill(1, 5_000_000, 5_000_100)
  })
  const expected = changed.memory.slice()
  const summary = await transport.commit({ slot, epoch: 2, revision: 1, meta: null, snapshots: [changed] })
  assert.ok(summary.bytes < 64 << 10, `${summary.bytes} bytes for one changed page`)
  const other = await start()
  const found = await other.checkpoint(slot)
  assert.is(Buffer.compare(found!.snapshots[0]!.memory, expected), 0)
  const named = await other.copyCheckpoint(slot, slot, undefined, 'named')
  assert.ok(named.bytes < 64 << 10, `${named.bytes} bytes for a name`)
  // Whoever named it goes on from its pages.
  expected.fill(2, 0, 10)
  const next = { ...found!.snapshots[0]!, memory: expected.slice() }
  assert.ok((await other.commit({ slot, epoch: 3, revision: 1, meta: null, snapshots: [next] })).bytes < 64 << 10)
  await other.stop()
  const again = await transport.checkpoint(slot)
  assert.is(again?.epoch, 3)
  assert.is(Buffer.compare(again!.snapshots[0]!.memory, expected), 0)
})

kafkaTest('a checkpoint whose pages are gone is refused, and the one before is offered', async ({ transport }) => {
  const slot = slotId()
  for (const epoch of [1, 2]) {
    const state = snapshot(1, (memory) => memory.fill(epoch, 0, 60_000))
    await transport.commit({ slot, epoch, revision: 1, meta: null, snapshots: [state] })
  }
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const topic = 'spqr.checkpoints.pages'
  const setPolicy = (value: string): Promise<unknown> => {
    const configEntries = [{ name: 'cleanup.policy', value }]
    return admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries }] })
  }
  try {
    // Of a compacted topic nobody may delete a beginning.
    await setPolicy('delete')
    const ends = await admin.fetchTopicOffsets(topic)
    const partitions = ends.filter(({ high }) => high !== '0').map(({ partition }) => ({ partition, offset: '-1' }))
    await admin.deleteTopicRecords({ topic, partitions })
    await setPolicy('compact')
  } finally {
    await admin.disconnect()
  }
  const other = await start()
  const error = await rejects(other.checkpoint(slot), 'INVALID_STATE')
  assert.match(error.message, /epoch 2 .* damaged; none before it is whole/)
  await other.stop()
})

kafkaTest('offsets published at least once are there for Kafka’s own tools', async ({ transport, topic }) => {
  await transport.createTopic({ name: topic, partitions: 2 })
  await commit(transport, slotId(), 1, {
    offsets: [
      { group: `g-${topic}`, topic, partition: 0, offset: 5n },
      { group: `g-${topic}`, topic, partition: 1, offset: 6n },
    ],
  })
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const [found] = await admin.fetchOffsets({ groupId: `g-${topic}`, topics: [topic] })
  await admin.disconnect()
  assert.equal(
    found?.partitions.map(({ offset }) => offset),
    ['5', '6'],
  )
})

kafkaTest('a topic made anew elsewhere is not taken for the one before', async ({ transport, topic }) => {
  const other = await start()
  await transport.createTopic({ name: topic })
  await append(transport, topic, values(0, 50))
  const seen: number[] = []
  const unwatch = other.watch(topic, (partition) => seen.push(partition))
  assert.is((await readAll(other, topic)).length, 50)
  await transport.deleteTopic(topic)
  await transport.createTopic({ name: topic })
  await append(transport, topic, values(100, 3))
  while (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(texts(await readAll(other, topic)), texts(values(100, 3)))
  unwatch()
  await append(other, topic, values(103, 1))
  assert.equal(texts(await readAll(other, topic)), texts(values(100, 4)))
  // Nobody watches now.
  await transport.deleteTopic(topic)
  await transport.createTopic({ name: topic })
  await append(transport, topic, values(200, 2))
  await new Promise((resolve) => setTimeout(resolve, 2_100))
  assert.equal(texts(await readAll(other, topic)), texts(values(200, 2)))
  await other.stop()
})

kafkaTest('a topic far longer than the cache is read whole, by two at once', async ({ topic }) => {
  const small = await KafkaTransport.start({ brokers, cacheBytes: 2 << 20 })
  await small.createTopic({ name: topic })
  const { bytes, records } = frames(
    values(0, 1_000).map((one, i) => ({ ...one, value: Buffer.alloc(1_000 + (i % 100), i) })),
  )
  for (let i = 0; i < 8; i++) await small.append(topic, 0, bytes, records)
  const count = async (from: bigint): Promise<number> => {
    let seen = 0
    for (let offset = from; ; ) {
      const result = await small.read(topic, 0, offset, 200_000)
      const found = decode(result.frames)
      assert.is(BigInt(found[0]!.sourceOffset!), offset)
      seen += result.records
      offset = result.next
      if (offset === result.latest) return seen
    }
  }
  assert.equal(await Promise.all([count(0n), count(3_333n)]), [8_000, 4_667])
  await small.stop()
})

// One after the other: both in one breath.
if (!isSkipped) {
  transportSuite(
    'kafka transport',
    async () => {
      const [transport, second] = await Promise.all([start(), start()])
      return {
        transport,
        second,
        close: async () => {
          await Promise.all([transport.stop(), second.stop()])
        },
      }
    },
    { stagedHoldsReaders: true },
  )
}

test.run()
