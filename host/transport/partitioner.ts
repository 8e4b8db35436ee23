// Which partition a record goes to: murmur2 of its key, as Kafka's Java client does it, so that the same key meets the
// same partition whoever wrote it; keyless records stick to one partition per batch.
// Runs on: every thread.

import type { Partitioner } from './transport.ts'

const SEED = 0x9747b28c
const M = 0x5bd1e995

/** MurmurHash2, 32 bits, as in org.apache.kafka.common.utils.Utils. @returns a signed 32-bit number */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  let h = SEED ^ length
  const whole = length & ~3
  for (let at = 0; at < whole; at += 4) {
    let k = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    k = Math.imul(k, M)
    k = Math.imul(k ^ (k >>> 24), M)
    h = Math.imul(h, M) ^ k
  }
  const rest = length - whole
  if (rest >= 3) h ^= bytes[whole + 2]! << 16
  if (rest >= 2) h ^= bytes[whole + 1]! << 8
  if (rest >= 1) h = Math.imul(h ^ bytes[whole]!, M)
  h = Math.imul(h ^ (h >>> 13), M)
  return h ^ (h >>> 15)
}

/** The partition of a record with this key, 0 … partitions - 1. */
export const partitionOf: Partitioner = (key, partitions) => (murmur2(key) & 0x7fffffff) % partitions

/** Chooses partitions for one producer in one topic: by key; without a key one partition until enough went there. */
export class StickyPartitioner {
  readonly partitions: number
  readonly #stickBytes: number
  #current: number
  #bytes = 0

  /** @param stickBytes bytes of keyless records before the next partition has its turn */
  constructor(partitions: number, stickBytes = 64 << 10, first = Math.floor(Math.random() * partitions)) {
    if (!Number.isInteger(partitions) || partitions < 1)
      throw new RangeError(`partitions must be ≥ 1, not ${partitions}`)
    this.partitions = partitions
    this.#stickBytes = stickBytes
    this.#current = first % partitions
  }

  /** @param key undefined: the record has none. An empty key is a key. */
  choose(key: Uint8Array | undefined, recordBytes: number): number {
    if (this.partitions === 1) return 0
    if (key !== undefined) return partitionOf(key, this.partitions)
    if (this.#bytes >= this.#stickBytes) this.next()
    this.#bytes += recordBytes
    return this.#current
  }

  /** The next keyless record goes to another partition: call it when a batch was sent. */
  next(): void {
    this.#bytes = 0
    this.#current = (this.#current + 1) % this.partitions
  }
}
