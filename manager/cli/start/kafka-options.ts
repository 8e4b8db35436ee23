// How `dev` and `host` are told of a Kafka cluster. Names and passwords come from the environment, never from the command
// line, where every process of the machine could read them.

import { type Command, InvalidArgumentError, Option } from 'commander'
import type { KafkaAddress } from '../../../host/transport/connect.ts'

const MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

export interface KafkaOptions {
  kafka?: string[]
  kafkaTls?: boolean
  kafkaSasl?: (typeof MECHANISMS)[number]
  kafkaCompression?: (typeof CODECS)[number]
}

export function addKafkaOptions(command: Command): Command {
  return command
    .option('--kafka <host:port,…>', 'Kafka in place of the embedded transport', brokersOf)
    .option('--kafka-tls', 'speak TLS to the brokers')
    .addOption(
      new Option('--kafka-sasl <mechanism>', 'with SPQR_KAFKA_USERNAME and SPQR_KAFKA_PASSWORD').choices(MECHANISMS),
    )
    .addOption(new Option('--kafka-compression <codec>', 'of what is written').choices(CODECS))
}

/** @returns undefined without --kafka */
export function kafkaOf(options: KafkaOptions): KafkaAddress | undefined {
  const { kafka, kafkaTls, kafkaSasl, kafkaCompression } = options
  if (!kafka) return undefined
  const { SPQR_KAFKA_USERNAME: username, SPQR_KAFKA_PASSWORD: password } = process.env
  if (kafkaSasl && (!username || !password)) {
    throw new InvalidArgumentError('--kafka-sasl needs SPQR_KAFKA_USERNAME and SPQR_KAFKA_PASSWORD in the environment.')
  }
  const sasl = kafkaSasl ? { mechanism: kafkaSasl, username: username!, password: password! } : undefined
  return { brokers: kafka, tls: kafkaTls, sasl, compression: kafkaCompression }
}

function brokersOf(list: string): string[] {
  const brokers = list.split(',').map((broker) => broker.trim())
  for (const broker of brokers) {
    if (!/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/.test(broker)) {
      throw new InvalidArgumentError(`"${broker}" is no broker: write host:port.`)
    }
  }
  return brokers
}
