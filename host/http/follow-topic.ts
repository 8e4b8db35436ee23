// A topic that is followed: its records as a stream, those that are there and those that come.
// Runs on: control; the bridge worker reads and encodes, once for all who stand at the same place.

import type { ReaderForm } from '../../schemas/reader-form.ts'
import { paceMs } from '../bridges/reader-pieces.ts'
import type { TopicPage } from '../bridges/runtime/messages.ts'
import type { Host } from '../pipeline/host.ts'
import { type Following, PAGE_RECORDS } from '../pipeline/topic-pages.ts'
import { type EventWriter, eventStream } from './event-stream.ts'

interface Query {
  topic: string
  partition?: number
  from: string
  own: boolean
}

/** The records of a topic, one event or frame each, for as long as the reader listens, or until it had `limit` of them. */
export async function followTopic(
  host: Host,
  query: Query,
  form: ReaderForm,
  limit = Number.POSITIVE_INFINITY,
): Promise<Response> {
  const following = host.topicPages.follow(query.topic, form, query.own)
  try {
    // What is wrong with the question is answered, not an open stream that ends.
    const first = await host.records.fetchPage({ ...query, limit: Math.min(limit, PAGE_RECORDS) }, form)
    const follower = new Follower(host, query.topic, following, first, limit)
    return await eventStream(
      (writer) => follower.begin(writer),
      () => follower.ready(),
      form,
    )
  } catch (error) {
    following.close()
    throw error
  }
}

/** One reader of a topic. */
class Follower {
  private readonly host: Host
  private readonly topic: string
  private readonly following: Following
  private readonly first: TopicPage
  private left: number
  /** Offset to read on from, by partition. */
  private readonly next: Map<number, number>
  /** Partitions that may have more. */
  private readonly due: Set<number>
  private writer: EventWriter | undefined
  private isReady = true
  private isReading = false
  private timer: NodeJS.Timeout | undefined
  private readAt = 0

  constructor(host: Host, topic: string, following: Following, first: TopicPage, limit: number) {
    this.host = host
    this.topic = topic
    this.following = following
    this.first = first
    this.left = limit
    this.next = new Map(Object.entries(first.next).map(([partition, offset]) => [Number(partition), Number(offset)]))
    this.due = new Set(this.next.keys())
  }

  begin(writer: EventWriter): () => void {
    this.writer = writer
    const unwatch = this.host.transport.watch(this.topic, (partition) => {
      if (!this.next.has(partition)) return
      this.due.add(partition)
      this.soon()
    })
    this.push(this.first.piece, this.first.offsets.length)
    this.soon()
    return () => {
      unwatch()
      clearTimeout(this.timer)
      this.following.close()
      this.writer = undefined
    }
  }

  /** The reader took everything. */
  ready(): void {
    this.isReady = true
    this.soon()
  }

  /** Many readers read seldom and much; a single one at once. */
  private soon(): void {
    if (this.timer || this.isReading || !this.isReady || this.due.size === 0 || this.left <= 0 || !this.writer) return
    const waitMs = this.readAt + paceMs(this.host.topicPages.followers) - performance.now()
    if (waitMs <= 0) {
      void this.readOn()
      return
    }
    this.timer = setTimeout(() => {
      this.timer = undefined
      void this.readOn()
    }, waitMs)
  }

  private async readOn(): Promise<void> {
    this.isReading = true
    this.readAt = performance.now()
    try {
      for (const partition of [...this.due]) {
        if (!this.isReady || !this.writer) break
        this.due.delete(partition)
        const { piece, records, next } = await this.following.read(partition, this.next.get(partition)!, this.left)
        this.next.set(partition, next)
        this.push(piece, records)
        if (records > 0) this.due.add(partition)
        // There is more than it waited for.
        if (records >= PAGE_RECORDS / 2) this.readAt = 0
      }
    } catch {
      // The topic is gone.
      this.writer?.close()
    } finally {
      this.isReading = false
    }
    this.soon()
  }

  private push(piece: Uint8Array, records: number): void {
    if (records === 0 || !this.writer) return
    this.left -= records
    this.isReady = this.writer.push(piece)
    if (this.left <= 0) this.writer.close()
  }
}
