// Reads chunks of checkpoints by their offsets.
// Runs on: bridge.

import {
  RECORD_HEADER_BYTES,
  RECORD_KEY_BYTES,
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
  RECORD_VALUE_BYTES,
  readI64,
} from '../../record/record.ts'
import { unpack } from '../pack.ts'
import type { Cluster } from './cluster.ts'
import { type FetchedPartition, fetchRequest } from './data-requests.ts'
import { ConnectionLost, check } from './kafka-fault.ts'
import { DamagedBatch, RecordSetReader } from './record-set-reader.ts'
import type { TopicPartition } from './request.ts'

const FETCH_BYTES = 4 << 20

/** @returns by offset the values that are there, as they were stored; what compaction took, or is damaged, is missing */
export async function readValues(
  cluster: Cluster,
  place: TopicPartition,
  offsets: readonly number[],
): Promise<Map<number, Uint8Array>> {
  const wanted = [...new Set(offsets)].sort((a, b) => a - b)
  const values = new Map<number, Uint8Array>()
  for (let i = 0; i < wanted.length; ) {
    const offset = wanted[i]!
    const fetched = await fetchAt(cluster, place, offset)
    const read = fetched === undefined ? offset : take(fetched.records, offset, wanted, values)
    // At least this one is dealt with, there or not.
    i++
    while (i < wanted.length && wanted[i]! < read) i++
  }
  return values
}

/** @throws Error where the value is none that `packed` made */
export function unpackValue(value: Uint8Array): Uint8Array {
  return unpack(value[0]!, value.subarray(1))
}

function fetchAt(cluster: Cluster, place: TopicPartition, offset: number): Promise<FetchedPartition | undefined> {
  const request = fetchRequest([{ ...place, offset, bytesMax: FETCH_BYTES }], {
    waitMs: 0,
    bytesMin: 0,
    bytesMax: FETCH_BYTES * 2,
    // What names a chunk is committed; whether the chunk's own transaction shows yet does not matter.
    isolation: 'uncommitted',
  })
  return cluster.attempt('read pages of a checkpoint', async () => {
    const fetched = (await cluster.sendToLeader(place.topic, place.partition, request, 'fetch'))[0]
    if (!fetched) throw new ConnectionLost(cluster.names, 'the answer does not name the partition')
    if (fetched.error === 1) return undefined
    if (fetched.error !== 0) cluster.forgetTopic(place.topic)
    check(fetched.error)
    return fetched
  })
}

/** @returns the offset up to which everything was seen */
function take(bytes: Uint8Array, from: number, wanted: readonly number[], values: Map<number, Uint8Array>): number {
  const isWanted = new Set(wanted)
  const reader = new RecordSetReader(bytes, from)
  try {
    for (;;) {
      const { frames, records } = reader.read(FETCH_BYTES)
      if (records === 0) break
      const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
      for (let at = 0; at < frames.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
        const offset = readI64(view, at + RECORD_SOURCE_OFFSET)
        if (!isWanted.has(offset)) continue
        const valueAt = at + RECORD_HEADER_BYTES + view.getUint32(at + RECORD_KEY_BYTES, true)
        values.set(offset, frames.subarray(valueAt, valueAt + view.getUint32(at + RECORD_VALUE_BYTES, true)))
      }
    }
  } catch (thrown) {
    if (!(thrown instanceof DamagedBatch)) throw thrown
  }
  return reader.nextOffset
}
