// Reads partitions from any offset: out of what was fetched already, else by a fetch, and one fetch ahead.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import type { RecordBuffer } from '../../record/record.ts'
import type { ReadResult } from '../transport.ts'
import type { Cluster } from './cluster.ts'
import { EARLIEST, type FetchedPartition, fetchRequest, LATEST, listOffsetsRequest } from './data-requests.ts'
import { ConnectionLost, check, FAULT, isFault } from './kafka-fault.ts'
import { DamagedBatch } from './record-set-reader.ts'
import { keyOf } from './request.ts'
import { readerAt, type Segment, type SegmentCache, segmentOf } from './segment-cache.ts'

/** Asked for by one fetch of one partition. */
export const FETCH_BYTES = 1 << 20

/** So long may what was fetched be served of a topic that nobody follows. */
const UNFOLLOWED_MS = 2_000

/** What is known of a partition that is read. */
interface Known {
  /** Where committed reading ends. */
  latest: number
  /** When that was heard, on the clock of `performance`. */
  latestAt: number
  /** Fetches under way, by offset. */
  fetches: Map<number, Promise<FetchedPartition>>
  /** The offset after what was last read: who reads in order is read ahead for. */
  readTo: number
}

/** Who follows the ends of partitions that are watched. */
export interface Follower {
  /** Somebody has read up to here. */
  read(key: string, readTo: number): void
  /** What is known of the partition's end is new. */
  isFollowing(key: string): boolean
}

export class LogReader {
  readonly #cluster: Cluster
  readonly #cache: SegmentCache
  readonly #partitions = new Map<string, Known>()
  readonly #follower: Follower

  constructor(cluster: Cluster, cache: SegmentCache, follower: Follower) {
    this.#cluster = cluster
    this.#cache = cache
    this.#follower = follower
  }

  async read(
    topic: string,
    partition: number,
    offset: number,
    bytesMax: number,
    into?: RecordBuffer,
  ): Promise<ReadResult> {
    const key = keyOf(topic, partition)
    const known = this.#known(key)
    let from = offset
    let hasFetched = false
    for (;;) {
      let segment = this.#find(key, from)
      if (!segment) {
        const fetched = await this.#fetch(topic, partition, from, known)
        hasFetched = true
        if (fetched.from > from) from = fetched.from
        segment = this.#find(key, from)
        // Nothing is there, or only what is not committed yet.
        if (!segment) return this.#result(key, known, { frames: new Uint8Array(0), records: 0 }, from)
      }
      const { frames, records, next } = await this.#readSegment(topic, partition, segment, from, bytesMax, into)
      const isInOrder = from === known.readTo || next >= segment.to
      if (isInOrder && segment.to < known.latest) this.#fetchAhead(topic, partition, segment.to, known)
      // Out of memory alone nobody sees that more has come.
      if (next >= known.latest && !hasFetched && !this.#follower.isFollowing(key)) {
        hasFetched = true
        await this.#fetch(topic, partition, next, known)
      }
      if (records > 0 || next >= known.latest) return this.#result(key, known, { frames, records }, next)
      if (next === from) throw damaged(topic, partition, from, 'no record of it can be read')
      from = next
    }
  }

  /** Notes where committed reading of a partition ends now. */
  noteLatest(key: string, latest: number): void {
    const known = this.#known(key)
    if (latest < known.latest) return
    known.latest = latest
    known.latestAt = performance.now()
  }

  /** The offset after what was last read; -1: nobody has. */
  readTo(key: string): number {
    return this.#partitions.get(key)?.readTo ?? -1
  }

  /** The topic is gone, or another one has its name, or nobody watches it any more. */
  forget(topic: string): void {
    for (const key of [...this.#partitions.keys()]) if (key.startsWith(`${topic} `)) this.#partitions.delete(key)
    this.#cache.clear(topic)
  }

  /** What was fetched for readers in order, or what is followed, which notices when a topic is another one. */
  #find(key: string, offset: number): Segment | undefined {
    return this.#cache.find(key, offset, this.#follower.isFollowing(key) ? 0 : Date.now() - UNFOLLOWED_MS)
  }

  #result(key: string, known: Known, read: { frames: Uint8Array; records: number }, next: number): ReadResult {
    known.readTo = next
    this.#follower.read(key, next)
    // What is here already can be read, whatever a new leader says of its end.
    const latest = Math.max(known.latest, next, this.#find(key, next)?.to ?? 0)
    return { ...read, next: BigInt(next), latest: BigInt(latest) }
  }

  #known(key: string): Known {
    let known = this.#partitions.get(key)
    if (!known) {
      known = { latest: 0, latestAt: 0, fetches: new Map(), readTo: -1 }
      this.#partitions.set(key, known)
    }
    return known
  }

  async #readSegment(
    topic: string,
    partition: number,
    segment: Segment,
    offset: number,
    bytesMax: number,
    into: RecordBuffer | undefined,
  ): Promise<{ frames: Uint8Array; records: number; next: number }> {
    const reader = readerAt(segment, offset)
    try {
      const { frames, records } = reader.read(bytesMax, undefined, into)
      return { frames, records, next: reader.nextOffset }
    } catch (thrown) {
      if (!(thrown instanceof DamagedBatch)) throw thrown
      // It may have been damaged on its way only: it is never served from memory again.
      this.#cache.remove(segment)
      throw damaged(topic, partition, thrown.offset, thrown.message)
    }
  }

  #fetchAhead(topic: string, partition: number, offset: number, known: Known): void {
    const key = keyOf(topic, partition)
    if (known.fetches.has(offset) || this.#find(key, offset)) return
    // What goes wrong shows when it is asked for.
    this.#fetch(topic, partition, offset, known).catch(() => {})
  }

  /** @returns from where the records are: later than asked for, where earlier ones are gone */
  async #fetch(topic: string, partition: number, offset: number, known: Known): Promise<{ from: number }> {
    let asked = known.fetches.get(offset)
    if (!asked) {
      asked = this.#ask(topic, partition, offset, known).finally(() => known.fetches.delete(offset))
      known.fetches.set(offset, asked)
    }
    try {
      await asked
      return { from: offset }
    } catch (thrown) {
      const cause = thrown instanceof SpqrError ? thrown.cause : thrown
      if (!isFault(cause, FAULT.OFFSET_OUT_OF_RANGE)) throw thrown
      const earliest = await this.list(topic, partition, EARLIEST)
      if (offset < earliest) {
        await this.#ask(topic, partition, earliest, known)
        return { from: earliest }
      }
      const latest = await this.list(topic, partition, LATEST)
      const text = `Cannot read partition ${partition} of topic "${topic}" from offset ${offset}: its records end at ${latest}.`
      throw new SpqrError('INVALID_STATE', text, { extra: { earliest: String(earliest), latest: String(latest) } })
    }
  }

  #ask(topic: string, partition: number, offset: number, known: Known): Promise<FetchedPartition> {
    const request = fetchRequest([{ topic, partition, offset, bytesMax: FETCH_BYTES }], {
      waitMs: 0,
      bytesMin: 0,
      bytesMax: FETCH_BYTES * 2,
      isolation: 'committed',
    })
    return this.#cluster.attempt(`read partition ${partition} of topic "${topic}"`, async () => {
      const askedAt = performance.now()
      const answers = await this.#cluster.sendToLeader(topic, partition, request, 'fetch')
      const fetched = answers[0]
      if (!fetched) throw new ConnectionLost(this.#cluster.names, 'the answer does not name the partition')
      if (fetched.error !== 0 && fetched.error !== FAULT.OFFSET_OUT_OF_RANGE) this.#cluster.forgetTopic(topic)
      if (fetched.error === FAULT.UNKNOWN_TOPIC_OR_PARTITION) this.forget(topic)
      check(fetched.error, `partition ${partition} of topic "${topic}"`)
      // An earlier end, asked for later, is that of another topic of the name, or of a leader that is behind.
      if (fetched.lastStable > known.latest || askedAt > known.latestAt) {
        known.latest = fetched.lastStable
        known.latestAt = performance.now()
      }
      const segment = segmentOf(offset, fetched)
      if (segment) this.#cache.add(keyOf(topic, partition), segment)
      return fetched
    })
  }

  /** An offset by time. @returns -1: no record is that late */
  async list(topic: string, partition: number, timestamp: number): Promise<number> {
    const request = listOffsetsRequest([{ topic, partition, timestamp }], 'committed')
    return this.#cluster.attempt(`find offsets of topic "${topic}"`, async () => {
      const answers = await this.#cluster.sendToLeader(topic, partition, request)
      const listed = answers[0]
      if (!listed) throw new ConnectionLost(this.#cluster.names, 'the answer does not name the partition')
      if (listed.error !== 0) this.#cluster.forgetTopic(topic)
      check(listed.error, `partition ${partition} of topic "${topic}"`)
      return listed.offset
    })
  }
}

function damaged(topic: string, partition: number, offset: number, problem: string): SpqrError {
  const text = `Cannot read partition ${partition} of topic "${topic}": the batch at offset ${offset} is damaged: ${problem}. Start again behind it, by offset.`
  return new SpqrError('INVALID_STATE', text, { extra: { offset: String(offset) } })
}
