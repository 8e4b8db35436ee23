// Latency of a pipeline on Kafka: 1,000 records a second, each stamped as it is appended, through json-filter, at least once, with
// a checkpoint every second, to a reader that follows the output by kafkajs. Beside it the loop that one would write with kafkajs,
// in a process of its own (kafkajs-loop.ts): writer, reader and broker are the same for both. And the pause of a checkpoint there.

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Consumer, Kafka, logLevel, type Producer } from 'kafkajs'
import { KafkaTransport } from '../../host/transport/kafka/kafka-transport.ts'
import { skipWithoutKafka, startKafka } from '../support/kafka.ts'
import { pauses } from './pause.ts'
import { isShort, percentile, type Row } from './row.ts'
import { Server } from './server.ts'

const RATE = 1000
const SECONDS = isShort ? 5 : 20
/** In the first ones everything warms up; then both take turns, so that what else the machine does meets both. */
const WARM_UP_SECONDS = 3
const ROUNDS = isShort ? 1 : 2
const PARTITIONS = 2
const CHECKPOINT_MS = 1000
const PADDING = 'x'.repeat(160)
const STALLED_MS = 30_000

interface Place {
  input: string
  output: string
}

export async function run(): Promise<Row[]> {
  if (skipWithoutKafka('bench kafka-latency')) return []
  const kafka = await startKafka(1, true)
  const transport = await KafkaTransport.start({ brokers: kafka.brokers })
  const client = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING })
  const producer = client.producer()
  const server = await Server.start(['--kafka', kafka.brokers.join(',')])
  try {
    await producer.connect()
    const ours: number[] = []
    const theirs: number[] = []
    const measure = async (round: number, seconds: number): Promise<[number[], number[]]> => {
      const place = async (who: string): Promise<Place> => {
        const both = { input: `${who}-in-${round}`, output: `${who}-out-${round}` }
        for (const name of Object.values(both)) await transport.createTopic({ name, partitions: PARTITIONS })
        return both
      }
      const pipeline = await place('ours')
      const loop = await place('theirs')
      const stopPipeline = await startPipeline(server, `p-${round}`, pipeline)
      const there = await latencies(client, producer, pipeline, seconds).finally(stopPipeline)
      const stopLoop = await startLoop(kafka.brokers, loop)
      return [there, await latencies(client, producer, loop, seconds).finally(stopLoop)]
    }
    await measure(0, WARM_UP_SECONDS)
    for (let round = 1; round <= ROUNDS; round++) {
      const [here, there] = await measure(round, SECONDS / ROUNDS)
      ours.push(...here)
      theirs.push(...there)
    }
    const note = `${ours.length} records of 250 B, a checkpoint every ${CHECKPOINT_MS} ms; longest ${Math.max(...ours).toFixed(1)} ms`
    const row = (name: string, share: number, bar: number): Row => {
      const [value, baseline] = [percentile(ours, share), percentile(theirs, share)]
      return {
        name: `Kafka → json-filter → Kafka at ${RATE / 1000} k records/s, at-least-once, append to reader: ${name}`,
        value,
        unit: 'ms',
        baseline: { name: 'kafkajs eachBatch → send', value: baseline },
        ratio: baseline / value,
        bar: `≤ ${bar} ms`,
        met: value <= bar,
        note,
      }
    }
    await server.stop()
    const pausing = await pauses(['--kafka', kafka.brokers.join(',')], 'Kafka')
    return [row('p50', 0.5, 10), row('p99', 0.99, 50), ...pausing]
  } finally {
    await server.stop()
    await producer.disconnect()
    await transport.stop()
    await kafka.stop()
  }
}

async function startPipeline(server: Server, id: string, { input, output }: Place): Promise<() => Promise<void>> {
  const where = [{ path: 'action', equals: 'purchase' }]
  await server.api('POST', '/v1/pipelines', {
    id,
    delivery: 'at-least-once',
    checkpointEveryMs: CHECKPOINT_MS,
    components: [
      { id: 'in', source: 'topic', settings: { topic: input, from: 'earliest' } },
      { id: 'keep', operator: 'json-filter', from: 'in', settings: { where } },
      { id: 'out', emitter: 'topic', from: 'keep', settings: { topic: output } },
    ],
  })
  return () => server.api('DELETE', `/v1/pipelines/${id}`)
}

function startLoop(brokers: string[], { input, output }: Place): Promise<() => Promise<void>> {
  const child = fork(fileURLToPath(new URL('kafkajs-loop.js', import.meta.url)), [brokers.join(','), input, output])
  const ended = new Promise<void>((done) => child.once('exit', () => done()))
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  return new Promise((done, failed) => {
    child.once('message', () => done(stop))
    child.once('exit', (code) => failed(new Error(`the kafkajs loop ended with ${code}`)))
  })
}

/** @returns of every record, ms from its append to its reader */
async function latencies(client: Kafka, producer: Producer, place: Place, seconds: number): Promise<number[]> {
  const consumer = client.consumer({ groupId: place.output, maxWaitTimeInMs: 250 })
  const times: number[] = []
  try {
    await follow(consumer, place.output, (text) => {
      times.push(performance.now() - (JSON.parse(text) as { at: number }).at)
    })
    const wanted = RATE * seconds
    const sends: Promise<unknown>[] = []
    const started = performance.now()
    for (let sent = 0; sent < wanted; ) {
      const due = Math.min(wanted, Math.floor(((performance.now() - started) * RATE) / 1000))
      for (; sent < due; sent++) sends.push(append(producer, place.input, sent))
      await new Promise((soon) => setTimeout(soon, 1))
    }
    await Promise.all(sends)
    const until = performance.now() + STALLED_MS
    while (times.length < wanted) {
      if (performance.now() > until) throw new Error(`${times.length} of ${wanted} records came`)
      await new Promise((soon) => setTimeout(soon, 10))
    }
    return times
  } finally {
    await consumer.disconnect()
  }
}

function append(producer: Producer, topic: string, n: number): Promise<unknown> {
  const value = JSON.stringify({ at: performance.now(), action: 'purchase', n, text: PADDING })
  return producer.send({ topic, acks: -1, messages: [{ value, partition: n % PARTITIONS }] })
}

/** Resolves when the reader has its partitions. */
async function follow(consumer: Consumer, topic: string, onRecord: (text: string) => void): Promise<void> {
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const joined = new Promise((done) => consumer.on('consumer.group_join', done))
  await consumer.run({
    autoCommit: false,
    eachBatch: ({ batch }) => {
      for (const { value } of batch.messages) onRecord(value!.toString())
      return Promise.resolve()
    },
  })
  await joined
}
