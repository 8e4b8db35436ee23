// What one would write with kafkajs in place of a pipeline: `eachBatch`, JSON.parse, `send`. A process of its own, which says when it
// has its partitions: `node kafkajs-loop.js BROKERS INPUT OUTPUT`.

import { Kafka, logLevel } from 'kafkajs'

const [brokers, input, output] = process.argv.slice(2) as [string, string, string]
const client = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING })
const producer = client.producer()
const consumer = client.consumer({ groupId: input, maxWaitTimeInMs: 250 })
await Promise.all([producer.connect(), consumer.connect()])
await consumer.subscribe({ topic: input, fromBeginning: true })
consumer.on('consumer.group_join', () => process.send!('joined'))
await consumer.run({
  autoCommitInterval: 1000,
  eachBatch: async ({ batch }) => {
    const messages = batch.messages
      .filter(({ value }) => (JSON.parse(value!.toString()) as { action: string }).action === 'purchase')
      .map(({ key, value, headers }) => ({ key, value, headers }))
    if (messages.length > 0) await producer.send({ topic: output, acks: -1, messages })
  },
})
