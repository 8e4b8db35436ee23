// The Kafka transport alone, beside kafkajs in the same run: consume, produce, and the way from one append to a reader that
// watches. One broker on the same machine.

import { performance } from 'node:perf_hooks'
import { Kafka, logLevel } from 'kafkajs'
import { RecordBuffer } from '../../host/record/record.ts'
import { KafkaTransport } from '../../host/transport/kafka/kafka-transport.ts'
import type { Transport } from '../../host/transport/transport.ts'
import { skipWithoutKafka, startKafka } from '../support/kafka.ts'
import { shopEvents } from './events.ts'
import { median, percentile, type Row, spread } from './row.ts'

const RECORDS = 400_000
const PARTITIONS = 2
const BATCH_RECORDS = 4_000
/** Appends that wait for their answers, in each partition. */
const AT_ONCE = 2
/** The first, in which broker and clients warm up, is not counted. */
const ROUNDS = 4
const LATENCY_RECORDS = 3_000

export async function run(): Promise<Row[]> {
  if (skipWithoutKafka('bench kafka')) return []
  const kafka = await startKafka(1, true)
  const transport = await KafkaTransport.start({ brokers: kafka.brokers })
  const client = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING })
  try {
    const events = shopEvents(BATCH_RECORDS).map((event) => JSON.stringify(event))
    const bytes = events.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    const note = `${Math.round(bytes / events.length)} B events, ${PARTITIONS} partitions, acks all, one broker beside it`
    const produced: number[] = []
    const consumed: number[] = []
    const producedThere: number[] = []
    const consumedThere: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const [ours, theirs] = [`ours-${round}`, `theirs-${round}`]
      await transport.createTopic({ name: ours, partitions: PARTITIONS })
      await transport.createTopic({ name: theirs, partitions: PARTITIONS })
      const rates = [
        await produce(transport, ours, events),
        await produceByKafkajs(client, theirs, events),
        await consume(transport, ours),
        await consumeByKafkajs(client, ours),
      ]
      if (round === 0) continue
      produced.push(rates[0]!)
      producedThere.push(rates[1]!)
      consumed.push(rates[2]!)
      consumedThere.push(rates[3]!)
    }
    return [
      against('produce alone', produced, producedThere, 8, note),
      against('consume alone', consumed, consumedThere, 3, note),
      ...(await latency(transport)),
    ]
  } finally {
    await transport.stop()
    await kafka.stop()
  }
}

/** Fills a topic with RECORDS of these events. */
export async function fillTopic(transport: Transport, topic: string, events: string[]): Promise<void> {
  await produce(transport, topic, events)
}

/** Records a second since this moment. */
function rateSince(started: number, records: number): number {
  return (records / (performance.now() - started)) * 1000
}

function against(name: string, values: number[], theirs: number[], bar: number, note: string): Row {
  const [value, baseline] = [Math.round(median(values)), Math.round(median(theirs))]
  const ratio = Math.round((value / baseline) * 10) / 10
  return {
    name,
    value,
    unit: 'records/s',
    baseline: { name: 'kafkajs', value: baseline },
    ratio,
    bar: `≥ ${bar} × kafkajs`,
    met: ratio >= bar,
    note: `${note}; ${spread(values, 0)}`,
  }
}

async function produce(transport: Transport, topic: string, events: string[]): Promise<number> {
  const buffer = new RecordBuffer(2 << 20)
  for (const text of events) buffer.add({ value: Buffer.from(text), timestamp: Date.now() })
  const frames = buffer.bytes.subarray(0, buffer.length)
  const batches = RECORDS / PARTITIONS / BATCH_RECORDS
  const started = performance.now()
  const producers = Array.from({ length: PARTITIONS * AT_ONCE }, async (_, producer) => {
    const partition = producer % PARTITIONS
    for (let i = 0; i < batches / AT_ONCE; i++) await transport.append(topic, partition, frames, BATCH_RECORDS)
  })
  await Promise.all(producers)
  return rateSince(started, RECORDS)
}

async function produceByKafkajs(client: Kafka, topic: string, events: string[]): Promise<number> {
  const producer = client.producer()
  await producer.connect()
  const started = performance.now()
  const batches = RECORDS / PARTITIONS / BATCH_RECORDS
  const producers = Array.from({ length: PARTITIONS * AT_ONCE }, async (_, producing) => {
    const partition = producing % PARTITIONS
    const messages = events.map((value) => ({ value, partition }))
    for (let i = 0; i < batches / AT_ONCE; i++) await producer.send({ topic, messages, acks: -1 })
  })
  await Promise.all(producers)
  const value = rateSince(started, RECORDS)
  await producer.disconnect()
  return value
}

async function consume(transport: Transport, topic: string): Promise<number> {
  const started = performance.now()
  const readers = Array.from({ length: PARTITIONS }, async (_, partition) => {
    let seen = 0
    for (let offset = 0n; seen < RECORDS / PARTITIONS; ) {
      const result = await transport.read(topic, partition, offset, 256 << 10)
      seen += result.records
      offset = result.next
    }
  })
  await Promise.all(readers)
  return rateSince(started, RECORDS)
}

/** From its first batch on: joining its group is not counted. */
async function consumeByKafkajs(client: Kafka, topic: string): Promise<number> {
  const consumer = client.consumer({ groupId: topic, maxBytesPerPartition: 1 << 20 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  let seen = 0
  let first = 0
  let started = 0
  const value = await new Promise<number>((done) => {
    consumer.run({
      eachBatch: ({ batch }) => {
        if (seen === 0) {
          first = batch.messages.length
          started = performance.now()
        }
        seen += batch.messages.length
        if (seen >= RECORDS) done(rateSince(started, seen - first))
        return Promise.resolve()
      },
    })
  })
  await consumer.disconnect()
  return value
}

/** 1,000 records a second, one by one: from the append to the reader that was told. */
async function latency(transport: Transport): Promise<Row[]> {
  const topic = 'latency'
  await transport.createTopic({ name: topic })
  const times: number[] = []
  let offset = 0n
  let isReading = false
  const ended = new Promise<void>((done) => {
    const read = async (): Promise<void> => {
      if (isReading) return
      isReading = true
      for (;;) {
        const { frames, next, latest } = await transport.read(topic, 0, offset, 256 << 10)
        const now = performance.now()
        const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
        for (let at = 0; at < frames.length; at += view.getUint32(at, true)) {
          times.push(now - view.getFloat64(at + 48))
        }
        offset = next
        if (times.length >= LATENCY_RECORDS) done()
        if (next === latest) break
      }
      isReading = false
    }
    transport.watch(topic, () => void read())
  })
  const buffer = new RecordBuffer(512)
  const started = performance.now()
  let sent = 0
  const appends: Promise<bigint>[] = []
  while (sent < LATENCY_RECORDS) {
    const due = Math.min(LATENCY_RECORDS, Math.floor(performance.now() - started))
    for (; sent < due; sent++) {
      const value = Buffer.alloc(250)
      value.writeDoubleBE(performance.now())
      buffer.clear()
      buffer.add({ value, timestamp: 1 })
      appends.push(transport.append(topic, 0, buffer.bytes.slice(0, buffer.length), 1))
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(appends)
  await ended
  const note = `${LATENCY_RECORDS} records of 250 B, 1,000/s, append to read in one process`
  const row = (name: string, share: number, bar: number): Row => {
    const value = Math.round(percentile(times, share) * 100) / 100
    return { name, value, unit: 'ms', bar: `≤ ${bar} ms`, met: value <= bar, note }
  }
  return [row('latency, p50', 0.5, 10), row('latency, p99', 0.99, 50)]
}
