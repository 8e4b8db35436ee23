// What is in topics of Kafka, read with nothing of the product: kafkajs, committed records only, on from where the last reading
// ended.

import { Kafka, logLevel } from 'kafkajs'

const LIMIT_MS = 60_000
/** Of one consumer: another may do better where topics were made, or leaders moved. */
const READING_MS = 15_000

export class KafkaReader {
  readonly #kafka: Kafka
  readonly #values = new Map<string, unknown[]>()
  readonly #next = new Map<string, bigint>()
  #readings = 0

  /** @param topics of one partition each */
  constructor(brokers: string[], topics: readonly string[]) {
    this.#kafka = new Kafka({ clientId: 'judge', brokers, logLevel: logLevel.NOTHING })
    for (const topic of topics) this.#values.set(topic, [])
  }

  /** All values of a topic that were read so far, as JSON, in order. */
  values(topic: string): unknown[] {
    return this.#values.get(topic)!
  }

  /** Topics that exist now. */
  async #topics(): Promise<string[]> {
    const admin = this.#kafka.admin()
    await admin.connect()
    try {
      const there = new Set(await admin.listTopics())
      return [...this.#values.keys()].filter((topic) => there.has(topic))
    } finally {
      await admin.disconnect()
    }
  }

  /** Reads on until this holds. @throws Error, in `what`'s words, where it does not in time */
  async readUntil(holds: () => boolean, what: () => string): Promise<void> {
    const end = Date.now() + LIMIT_MS
    let trouble = ''
    while (!holds()) {
      if (Date.now() > end) throw new Error(`In ${LIMIT_MS / 1000} s: ${what()}${trouble}`)
      // Brokers have just died and come back, and kafkajs may stumble over that: it says nothing of what is there.
      await this.#readOn(holds, end).catch((error: Error) => {
        trouble = ` (kafkajs: ${error.message})`
      })
    }
  }

  async #readOn(holds: () => boolean, end: number): Promise<void> {
    // Its end waits for a fetch under way.
    const waits = { maxWaitTimeInMs: 100 }
    const consumer = this.#kafka.consumer({ groupId: `judge-${process.pid}-${this.#readings++}`, ...waits })
    try {
      await consumer.connect()
      const topics = await this.#topics()
      await consumer.subscribe({ topics, fromBeginning: true })
      await consumer.run({
        autoCommit: false,
        eachBatch: ({ batch }) => {
          for (const { offset, value } of batch.messages) this.#take(batch.topic, BigInt(offset), value)
          return Promise.resolve()
        },
      })
      for (const topic of topics) {
        consumer.seek({ topic, partition: 0, offset: String(this.#next.get(topic) ?? 0n) })
      }
      const pause = Math.min(end, Date.now() + READING_MS)
      while (!holds() && Date.now() < pause) await new Promise((done) => setTimeout(done, 10))
    } finally {
      await consumer.disconnect()
    }
  }

  #take(topic: string, offset: bigint, value: Buffer | null): void {
    // What was on its way before the seek.
    if (offset < (this.#next.get(topic) ?? 0n)) return
    this.#next.set(topic, offset + 1n)
    this.#values.get(topic)!.push(JSON.parse(String(value)))
  }
}
