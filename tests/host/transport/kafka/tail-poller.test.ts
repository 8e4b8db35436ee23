// Who watches a partition while its end is being found, against a real broker.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Cluster } from '../../../../host/transport/kafka/cluster.ts'
import { LATEST } from '../../../../host/transport/kafka/data-requests.ts'
import { KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { LogReader } from '../../../../host/transport/kafka/log-reader.ts'
import { SegmentCache } from '../../../../host/transport/kafka/segment-cache.ts'
import { TailPoller } from '../../../../host/transport/kafka/tail-poller.ts'
import { until } from '../../../support/client.ts'
import { skipWithoutKafka, startKafka } from '../../../support/kafka.ts'
import { append, topicName, values } from '../suite.ts'

const isSkipped = skipWithoutKafka('tail poller')
const test = suite('TailPoller')
const kafkaTest: typeof test = isSkipped ? (test.skip as typeof test) : test

kafkaTest('tells of what came between a first read and the end that it found', async () => {
  const kafka = await startKafka()
  const brokers = kafka.brokers
  const transport = await KafkaTransport.start({ brokers })
  const cluster = new Cluster({
    brokers,
    clientId: 'watcher',
    patienceMs: 15_000,
    requestTimeoutMs: 30_000,
    connectTimeoutMs: 3_000,
  })
  const topic = topicName()
  await transport.createTopic({ name: topic, partitions: 1 })
  await append(transport, topic, values(0, 10))
  const cache = new SegmentCache(1 << 20)
  /** Finds an end only after somebody has read, and something has come behind that. */
  class Late extends LogReader {
    override async list(name: string, partition: number, timestamp: number): Promise<number> {
      if (timestamp === LATEST) {
        await until(() => (this.readTo(`${name} ${partition}`) === 10 ? true : undefined))
        await append(transport, name, values(10, 5))
      }
      return super.list(name, partition, timestamp)
    }
  }
  const poller = new TailPoller(cluster, cache, () => reader)
  const reader: LogReader = new Late(cluster, cache, poller)
  try {
    let told = 0
    const unwatch = poller.watch(topic, () => told++)
    const first = await reader.read(topic, 0, 0, 1 << 20)
    assert.equal([first.records, first.next, first.latest], [10, 10n, 10n])
    await until(
      () => (told > 0 ? true : undefined),
      () => 'nobody says that there is more',
    )
    const second = await reader.read(topic, 0, 10, 1 << 20)
    assert.equal([second.records, second.next], [5, 15n])
    unwatch()
  } finally {
    poller.stop()
    await cluster.stop()
    await transport.stop()
    await kafka.stop()
  }
})

test.run()
