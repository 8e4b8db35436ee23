// Fetch, Produce and ListOffsets: the requests that go to the leader of a partition.
// Runs on: bridge.

import type { AbortedTransaction } from './record-set-reader.ts'
import { byTopic, type KafkaRequest, type TopicPartition } from './request.ts'
import { WireWriter } from './wire.ts'

export type Isolation = 'committed' | 'uncommitted'
const isolationNumber = (isolation: Isolation): number => (isolation === 'committed' ? 1 : 0)

export interface FetchPlace extends TopicPartition {
  offset: number
  bytesMax: number
}

export interface FetchOptions {
  /** How long the broker may wait for `bytesMin`. */
  waitMs: number
  bytesMin: number
  bytesMax: number
  isolation: Isolation
}

export interface FetchedPartition extends TopicPartition {
  /** A fault's code, or 0. */
  error: number
  highWatermark: number
  /** Where committed reading ends. */
  lastStable: number
  logStart: number
  aborted: AbortedTransaction[]
  /** A view of the response. */
  records: Uint8Array
}

export function fetchRequest(places: readonly FetchPlace[], options: FetchOptions): KafkaRequest<FetchedPartition[]> {
  const { waitMs, bytesMin, bytesMax, isolation } = options
  const out = new WireWriter(64 + places.length * 64)
  out.i32(-1).i32(waitMs).i32(bytesMin).i32(bytesMax).i8(isolationNumber(isolation))
  // No fetch session: which partitions are asked for changes with each read.
  out.i32(0).i32(-1)
  out.array(byTopic(places), ({ topic, items }) => {
    out.string(topic).array(items, (place) => {
      out.i32(place.partition).i32(-1).i64(place.offset).i64(-1).i32(place.bytesMax)
    })
  })
  out.i32(0).string('')
  return {
    apiKey: 1,
    apiVersion: 11,
    apiName: 'Fetch',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      const error = from.i16()
      from.i32()
      const all: FetchedPartition[] = []
      from.array(() => {
        const topic = from.string()
        from.array(() => {
          const partition = from.i32()
          const partitionError = from.i16()
          const highWatermark = from.i64()
          const lastStable = from.i64()
          const logStart = from.i64()
          const aborted = from.array(() => ({ producerId: from.i64(), firstOffset: from.i64() }))
          from.i32()
          const records = from.bytes32()
          all.push({
            topic,
            partition,
            error: error === 0 ? partitionError : error,
            highWatermark,
            lastStable,
            logStart,
            aborted,
            records,
          })
        })
      })
      return all
    },
  }
}

export interface ProduceAnswer {
  error: number
  baseOffset: number
}

/** One batch to one partition: what is not accounted for in the answer does not exist. */
export function produceRequest(
  place: TopicPartition,
  batch: Uint8Array,
  transactionalId: string | null,
  timeoutMs: number,
): KafkaRequest<ProduceAnswer | undefined> {
  const out = new WireWriter()
  out.string(transactionalId).i16(-1).i32(timeoutMs)
  out.i32(1).string(place.topic).i32(1).i32(place.partition).i32(batch.length)
  return {
    apiKey: 0,
    apiVersion: 7,
    apiName: 'Produce',
    body: out.bytes,
    tail: batch,
    read: (from) => {
      let answer: ProduceAnswer | undefined
      from.array(() => {
        const topic = from.string()
        from.array(() => {
          const partition = from.i32()
          const error = from.i16()
          const baseOffset = from.i64()
          from.i64()
          from.i64()
          if (topic === place.topic && partition === place.partition) answer = { error, baseOffset }
        })
      })
      from.throttle()
      return answer
    },
  }
}

export const EARLIEST = -2
export const LATEST = -1

export interface ListedOffset extends TopicPartition {
  error: number
  /** -1: none has this time or a later one. */
  offset: number
}

/** @param places timestamps in ms since 1970, or EARLIEST, LATEST */
export function listOffsetsRequest(
  places: readonly (TopicPartition & { timestamp: number })[],
  isolation: Isolation,
): KafkaRequest<ListedOffset[]> {
  const out = new WireWriter()
  out.i32(-1).i8(isolationNumber(isolation))
  out.array(byTopic(places), ({ topic, items }) => {
    out.string(topic).array(items, (place) => {
      out.i32(place.partition).i64(place.timestamp)
    })
  })
  return {
    apiKey: 2,
    apiVersion: 2,
    apiName: 'ListOffsets',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      const all: ListedOffset[] = []
      from.array(() => {
        const topic = from.string()
        from.array(() => {
          const partition = from.i32()
          const error = from.i16()
          from.i64()
          all.push({ topic, partition, error, offset: from.i64() })
        })
      })
      return all
    },
  }
}
