// What was fetched and may be read again or for the first time: runs of batches of partitions, the oldest let go first.
// Runs on: bridge. Its memory is that of the answers' frames; a frame of which nothing is left is used for another.

import type { FetchedPartition } from './data-requests.ts'
import { giveMemory, keepMemory } from './frame-memory.ts'
import {
  BATCH_HEAD_BYTES,
  BATCH_LAST_DELTA,
  BATCH_LENGTH,
  BATCH_OFFSET,
  BATCH_PREFIX_BYTES,
  readI64BE,
} from './record-batch.ts'
import { type AbortedTransaction, RecordSetReader } from './record-set-reader.ts'

/** Bytes of one answer for one partition, from `from` up to, without, `to`. */
export interface Segment {
  from: number
  to: number
  bytes: Uint8Array
  aborted: AbortedTransaction[]
  /** ms since 1970 */
  fetchedAt: number
  /** In work by whoever reads in order. */
  reader: RecordSetReader | undefined
}

/** @returns undefined: no whole batch is in it */
export function segmentOf(from: number, fetched: FetchedPartition): Segment | undefined {
  const { records, aborted } = fetched
  const to = endOf(records)
  if (to === undefined || to <= from) return undefined
  return { from, to, bytes: records, aborted, fetchedAt: Date.now(), reader: undefined }
}

/** The offset after the last whole batch. */
function endOf(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let end: number | undefined
  for (let at = 0; at + BATCH_HEAD_BYTES <= bytes.length; ) {
    const next = at + BATCH_PREFIX_BYTES + view.getInt32(at + BATCH_LENGTH)
    // A length that leads back is no length: the reader will say so.
    if (next > bytes.length || next < at + BATCH_HEAD_BYTES) break
    end = readI64BE(view, at + BATCH_OFFSET) + view.getInt32(at + BATCH_LAST_DELTA) + 1
    at = next
  }
  return end
}

/** Of one partition: at its end they come a few records each, and are looked through one by one. */
const PARTITION_SEGMENTS_MAX = 64

export class SegmentCache {
  readonly #bytesMax: number
  #bytes = 0
  /** Oldest use first. */
  readonly #segments = new Map<Segment, string>()
  readonly #byPartition = new Map<string, Segment[]>()
  /** How many segments lie in a frame. */
  readonly #frames = new Map<ArrayBufferLike, number>()

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  add(key: string, segment: Segment): void {
    const list = this.#byPartition.get(key)
    if (list) list.push(segment)
    else this.#byPartition.set(key, [segment])
    if (list && list.length > PARTITION_SEGMENTS_MAX) this.remove(list[0]!)
    this.#segments.set(segment, key)
    this.#bytes += segment.bytes.length
    const frame = segment.bytes.buffer
    keepMemory(frame)
    this.#frames.set(frame, (this.#frames.get(frame) ?? 0) + 1)
    for (const oldest of this.#segments.keys()) {
      if (this.#bytes <= this.#bytesMax || oldest === segment) break
      this.remove(oldest)
    }
  }

  /**
   * What holds this offset, the longest.
   * @param since fetched no earlier: what is older may be of another topic that had the name
   */
  find(key: string, offset: number, since: number): Segment | undefined {
    let found: Segment | undefined
    for (const segment of this.#byPartition.get(key) ?? []) {
      if (segment.fetchedAt < since) continue
      if (segment.from <= offset && offset < segment.to && segment.to > (found?.to ?? -1)) found = segment
    }
    if (found) {
      this.#segments.delete(found)
      this.#segments.set(found, key)
    }
    return found
  }

  /** Bytes that lie at or behind an offset. */
  bytesFrom(key: string, offset: number): number {
    let bytes = 0
    for (const segment of this.#byPartition.get(key) ?? []) if (segment.to > offset) bytes += segment.bytes.length
    return bytes
  }

  remove(segment: Segment): void {
    const key = this.#segments.get(segment)
    if (key === undefined) return
    this.#segments.delete(segment)
    this.#bytes -= segment.bytes.length
    this.#leave(segment.bytes.buffer)
    const left = this.#byPartition.get(key)!.filter((one) => one !== segment)
    if (left.length > 0) this.#byPartition.set(key, left)
    else this.#byPartition.delete(key)
  }

  #leave(frame: ArrayBufferLike): void {
    const others = this.#frames.get(frame)! - 1
    if (others > 0) this.#frames.set(frame, others)
    else {
      this.#frames.delete(frame)
      giveMemory(frame)
    }
  }

  /** Everything of a topic: it is gone, or another one has its name. */
  clear(topic: string): void {
    for (const [segment, key] of [...this.#segments]) if (key.startsWith(`${topic} `)) this.remove(segment)
  }
}

/** A reader that goes on from this offset. */
export function readerAt(segment: Segment, offset: number): RecordSetReader {
  if (segment.reader?.nextOffset !== offset) {
    segment.reader = new RecordSetReader(segment.bytes, offset, segment.aborted)
  }
  return segment.reader
}
