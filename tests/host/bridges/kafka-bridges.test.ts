// The source and the emitter `kafka` against a real broker: permission first, then records, and a place that outlives a stop.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RecordBuffer } from '../../../host/record/record.ts'
import { KafkaTransport } from '../../../host/transport/kafka/kafka-transport.ts'
import type { Transport } from '../../../host/transport/transport.ts'
import { Product } from '../../support/delivery.ts'
import { skipWithoutKafka, startKafka, type TestKafka } from '../../support/kafka.ts'

const isSkipped = skipWithoutKafka('kafka bridges')
const test = suite<{ kafka: TestKafka; far: KafkaTransport }>('kafka bridges')
const bridges: typeof test = isSkipped ? (test.skip as typeof test) : test

const encoder = new TextEncoder()

async function numbers(far: Transport, topic: string, from: number, count: number): Promise<void> {
  const buffer = new RecordBuffer()
  for (let n = from; n < from + count; n++) buffer.add({ value: encoder.encode(`{"n":${n}}`), timestamp: n })
  await far.append(topic, 0, buffer.bytes.slice(0, buffer.length), count)
}

async function recordsIn(far: Transport, topic: string, wanted: number): Promise<number> {
  for (const until = Date.now() + 30_000; ; ) {
    const latest = (await far.offsets(topic))[0]!.latest
    if (Number(latest) >= wanted || Date.now() > until) return Number(latest)
    await new Promise((again) => setTimeout(again, 50))
  }
}

const document = (brokers: readonly string[], tag: string): object => ({
  id: 'across',
  checkpointEveryMs: 50,
  components: [
    { id: 'in', source: 'kafka', settings: { brokers, topic: `in-${tag}` } },
    { id: 'late', operator: 'json-filter', from: 'in', settings: { where: [{ path: 'n', gte: 500 }] } },
    { id: 'out', emitter: 'kafka', from: 'late', settings: { brokers, topic: `out-${tag}`, compression: 'lz4' } },
  ],
})

test.before.each(async (context) => {
  if (isSkipped) return
  context.kafka = await startKafka()
  context.far = await KafkaTransport.start({ brokers: context.kafka.brokers })
})

test.after.each(async ({ kafka, far }) => {
  await far?.stop()
  await kafka?.stop()
})

bridges(
  'records pass from one topic of another cluster to the next, once permitted, and go on after a stop',
  async (c) => {
    const { kafka, far } = c
    const tag = `bridges-${process.pid}`
    for (const topic of [`in-${tag}`, `out-${tag}`]) await far.createTopic({ name: topic })
    await numbers(far, `in-${tag}`, 0, 1000)
    const brokers = kafka.brokers
    const denied = await Product.start()
    const refused = await denied.client.ask('POST', '/v1/pipelines', document(brokers, tag))
    assert.is(refused.status, 403)
    assert.match(JSON.stringify(refused.body), '--allow-net=')
    await denied.remove()

    const product = await Product.start({ flags: ['--allow-net=127.0.0.1,localhost'] })
    await product.client.ok('POST', '/v1/pipelines', document(brokers, tag))
    assert.is(await recordsIn(far, `out-${tag}`, 500), 500)
    await product.stop()
    await numbers(far, `in-${tag}`, 1000, 10)
    const again = await Product.start({ folder: product.folder, flags: ['--allow-net=127.0.0.1,localhost'] })
    assert.is(await recordsIn(far, `out-${tag}`, 510), 510)
    await again.remove()
  },
)

test.run()
