// Which transport a host has, and how a thread of it gets its own connection.
// Runs on: control and bridge threads.

import type { MessagePort } from 'node:worker_threads'
import { EmbeddedTransport } from './embedded/embedded-transport.ts'
import type { Transport } from './transport.ts'

/** How to reach a Kafka cluster; plain data, so that it crosses threads. */
export interface KafkaAddress {
  /** `host:port` of some of the brokers. */
  brokers: string[]
  tls?: boolean
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
  compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
}

export type TransportAddress = { kind: 'embedded'; port: MessagePort } | { kind: 'kafka'; kafka: KafkaAddress }

/**
 * Connects this thread.
 * @param onState is told when brokers go away and come back
 * @throws SpqrError TRANSPORT_UNAVAILABLE where no broker answered in 30 s; UNAUTHENTICATED
 */
export async function connectTransport(
  address: TransportAddress,
  onState?: (state: string, detail: string) => void,
): Promise<Transport> {
  if (address.kind === 'embedded') return new EmbeddedTransport(address.port)
  // Loaded when it is asked for: most development hosts never speak Kafka.
  const { KafkaTransport } = await import('./kafka/kafka-transport.ts')
  const { brokers, tls, sasl, compression } = address.kafka
  return KafkaTransport.start({
    brokers,
    tls: tls ? {} : undefined,
    sasl,
    compression,
    onState,
  })
}
