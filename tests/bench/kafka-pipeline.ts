// A whole pipeline on Kafka: topic → json-filter → topic, broker and host on the same machine, beside the loop that one would
// write with kafkajs: `eachBatch`, JSON.parse, `sendBatch`; for exactly-once in a transaction per batch.

import { Kafka, logLevel } from 'kafkajs'
import { KafkaTransport } from '../../host/transport/kafka/kafka-transport.ts'
import { skipWithoutKafka, startKafka } from '../support/kafka.ts'
import { shopEvents } from './events.ts'
import { fillTopic } from './kafka.ts'
import { median, type Row, spread } from './row.ts'
import { Server } from './server.ts'

const PARTITIONS = 2
/** Records of one fill; a round of ours moves several, for it is over too soon to be measured else. */
const FILL = 400_000
const FILLS_OF_OURS = 3
/** The first, in which broker and clients warm up, is not counted. */
const ROUNDS = process.env.BENCH_SHORT ? 2 : 4
/** Each look costs the host, whose cores are the broker's too, about a millisecond. */
const POLL_MS = 25
const DELIVERIES = [
  { delivery: 'at-least-once', bar: 5 },
  { delivery: 'exactly-once', bar: 4 },
] as const

export async function run(): Promise<Row[]> {
  if (skipWithoutKafka('bench kafka-pipeline')) return []
  const kafka = await startKafka(1, true)
  const transport = await KafkaTransport.start({ brokers: kafka.brokers })
  const client = new Kafka({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
  const server = await Server.start(['--kafka', kafka.brokers.join(',')])
  const events = shopEvents(4000)
  const share = events.filter((event) => event.action === 'purchase').length / events.length
  const texts = events.map((event) => JSON.stringify(event))
  const rows: Row[] = []
  try {
    const measured = DELIVERIES.map(() => ({ ours: [] as number[], theirs: [] as number[] }))
    // By turns: broker and clients are as warm for one as for the other.
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, { delivery }] of DELIVERIES.entries()) {
        const tag = `${i}-${round}`
        for (const name of [`in-${tag}`, `out-${tag}`, `in-js-${tag}`, `out-js-${tag}`]) {
          await transport.createTopic({ name, partitions: PARTITIONS })
        }
        for (let fill = 0; fill < FILLS_OF_OURS; fill++) await fillTopic(transport, `in-${tag}`, texts)
        await fillTopic(transport, `in-js-${tag}`, texts)
        const rate = await byPipeline(server, tag, delivery, Math.round(FILL * FILLS_OF_OURS * share))
        const rateThere = await byKafkajs(client, tag, delivery === 'exactly-once')
        if (round === 0) continue
        measured[i]!.ours.push(rate)
        measured[i]!.theirs.push(rateThere)
      }
    }
    for (const [i, { delivery, bar }] of DELIVERIES.entries()) {
      const { ours, theirs } = measured[i]!
      const ratio = median(ours) / median(theirs)
      rows.push({
        name: `Kafka → json-filter → Kafka, ${delivery}, ${PARTITIONS} partitions, broker on the same cores`,
        value: Math.round(median(ours) / 1000),
        unit: 'k records/s',
        baseline: { name: 'kafkajs eachBatch → JSON.parse → sendBatch', value: Math.round(median(theirs) / 1000) },
        ratio,
        bar: `≥ ${bar} × kafkajs`,
        met: ratio >= bar,
        note: spread(
          ours.map((rate) => rate / 1000),
          0,
        ),
      })
    }
    return rows
  } finally {
    await server.stop()
    await transport.stop()
    await kafka.stop()
  }
}

/** From the pipeline's creation until all that passes the filter has been written. */
async function byPipeline(server: Server, tag: string, delivery: string, wanted: number): Promise<number> {
  const components = [
    { id: 'in', source: 'topic', settings: { topic: `in-${tag}`, from: 'earliest' } },
    { id: 'keep', operator: 'json-filter', from: 'in', settings: { where: [{ path: 'action', equals: 'purchase' }] } },
    { id: 'out', emitter: 'topic', from: 'keep', settings: { topic: `out-${tag}` } },
  ]
  const started = performance.now()
  await server.api('POST', '/v1/pipelines', { id: `p-${tag}`, delivery, components })
  for (;;) {
    const stats = await server.stats(`p-${tag}`)
    if (stats.out!.recordsOut >= wanted) break
    if (performance.now() - started > 60_000) throw new Error(`${stats.out!.recordsOut} of ${wanted} records came`)
    await new Promise((again) => setTimeout(again, POLL_MS))
  }
  // What is written counts once it is stored: at least once by an append, exactly once by the commit of its epoch.
  await server.api('POST', `/v1/pipelines/p-${tag}/savepoints`, { name: 'end' })
  const took = performance.now() - started
  await server.api('DELETE', `/v1/pipelines/p-${tag}`)
  return (FILL * FILLS_OF_OURS * 1000) / took
}

/** From its first batch on: joining its group is not counted. */
async function byKafkajs(client: Kafka, tag: string, isExactlyOnce: boolean): Promise<number> {
  const topic = `out-js-${tag}`
  const groupId = `js-${tag}`
  const producer = client.producer(
    isExactlyOnce
      ? { idempotent: true, maxInFlightRequests: 1, transactionalId: groupId, retry: { initialRetryTime: 2 } }
      : {},
  )
  const consumer = client.consumer({ groupId, maxBytesPerPartition: 1 << 20 })
  await Promise.all([producer.connect(), consumer.connect()])
  await consumer.subscribe({ topic: `in-js-${tag}`, fromBeginning: true })
  let seen = 0
  let started = 0
  let first = 0
  const rate = await new Promise<number>((done, failed) => {
    consumer
      .run({
        autoCommit: !isExactlyOnce,
        eachBatch: async ({ batch, resolveOffset }) => {
          if (started === 0) {
            started = performance.now()
            first = batch.messages.length
          }
          const kept = batch.messages
            .filter((message) => (JSON.parse(message.value!.toString()) as { action: string }).action === 'purchase')
            .map(({ key, value, headers }) => ({ key, value, headers }))
          const topicMessages = [{ topic, messages: kept }]
          if (isExactlyOnce) {
            const transaction = await producer.transaction()
            await transaction.sendBatch({ topicMessages })
            const offset = String(BigInt(batch.lastOffset()) + 1n)
            const topics = [{ topic: batch.topic, partitions: [{ partition: batch.partition, offset }] }]
            await transaction.sendOffsets({ consumerGroupId: groupId, topics })
            await transaction.commit()
          } else await producer.sendBatch({ topicMessages })
          resolveOffset(batch.lastOffset())
          seen += batch.messages.length
          if (seen >= FILL) done(((seen - first) * 1000) / (performance.now() - started))
        },
      })
      .catch(failed)
  })
  await consumer.disconnect()
  await producer.disconnect()
  return rate
}
