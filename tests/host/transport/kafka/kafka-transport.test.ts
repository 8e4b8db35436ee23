// The Kafka transport against a real broker: the common suite.

import { suite } from 'uvu'
import { KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { skipWithoutKafka, startKafka } from '../../../support/kafka.ts'
import { transportSuite } from '../suite.ts'

if (skipWithoutKafka('kafka transport')) {
  const skipped = suite('kafka transport')
  skipped.skip('needs a broker', () => {})
  skipped.run()
} else {
  const { brokers } = await startKafka()
  transportSuite(
    'kafka transport',
    async () => {
      const [transport, second] = await Promise.all([
        KafkaTransport.start({ brokers }),
        KafkaTransport.start({ brokers }),
      ])
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
