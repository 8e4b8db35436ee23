// A request to a broker and how its answer is read: what all requests have in common.
// Runs on: bridge.

import type { WireReader } from './wire.ts'

export interface KafkaRequest<T> {
  readonly apiKey: number
  readonly apiVersion: number
  readonly apiName: string
  /** Without the header. */
  readonly body: Uint8Array
  /** Sent behind the body as it is: a batch need not be copied into a request. */
  readonly tail?: Uint8Array
  /** @throws KafkaFault where the answer as a whole is one */
  read(response: WireReader): T
}

export interface TopicPartition {
  topic: string
  partition: number
}

/** The same items by topic, in the form that every request has. */
export function byTopic<T extends TopicPartition>(items: readonly T[]): { topic: string; items: T[] }[] {
  const topics = new Map<string, T[]>()
  for (const item of items) {
    const list = topics.get(item.topic)
    if (list) list.push(item)
    else topics.set(item.topic, [item])
  }
  return [...topics].map(([topic, list]) => ({ topic, items: list }))
}

export const keyOf = (topic: string, partition: number): string => `${topic} ${partition}`
