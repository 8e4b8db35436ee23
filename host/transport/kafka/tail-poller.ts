// Watches the ends of partitions: one fetch per broker waits for all of them together and brings the new records with it. A
// second one beside it takes those that came while the first waits.
// Runs on: bridge.

import type { Cluster, Purpose } from './cluster.ts'
import { sleep } from './cluster.ts'
import { EARLIEST, type FetchedPartition, fetchRequest, LATEST } from './data-requests.ts'
import { FAULT } from './kafka-fault.ts'
import { FETCH_BYTES, type Follower, type LogReader } from './log-reader.ts'
import { keyOf } from './request.ts'
import { type SegmentCache, segmentOf } from './segment-cache.ts'

/** How long a fetch waits at the broker when nothing comes. */
const WAIT_MS = 500
const ANSWER_BYTES = 8 << 20
/** Of one partition, fetched and not read yet. */
const AHEAD_BYTES = 4 << 20
/** Records that come one by one are fetched a few at a time: a request for each costs both sides more than the record. */
const REST_MS = 2
const REST_BELOW_BYTES = 64 << 10
/** Where nobody reads what was fetched, it goes on all the same, this much later. */
const UNREAD_MS = 1_000
/** A topic that is not there yet is asked for this often. */
const MISSING_MS = 200
const FAILED_MS = 100
const LANES: Purpose[] = ['poll-a', 'poll-b']

type Watcher = (partition: number) => void

interface WatchedTopic {
  name: string
  watchers: Set<Watcher>
  feeds: Feed[]
  isOpening: boolean
}

/** A watched partition. */
interface Feed {
  topic: WatchedTopic
  partition: number
  key: string
  /** Fetched from here next. */
  position: number
  isAsked: boolean
  /** Not before this time, in ms since 1970. */
  notBefore: number
  isHeld: boolean
}

interface Lane {
  purpose: Purpose
  isBusy: boolean
}

export class TailPoller implements Follower {
  readonly #cluster: Cluster
  readonly #cache: SegmentCache
  readonly #reader: () => LogReader
  readonly #topics = new Map<string, WatchedTopic>()
  readonly #feeds = new Map<string, Feed>()
  readonly #lanes = new Map<number, Lane[]>()
  #timer: NodeJS.Timeout | undefined
  #timerAt = 0
  #stopped = false

  constructor(cluster: Cluster, cache: SegmentCache, reader: () => LogReader) {
    this.#cluster = cluster
    this.#cache = cache
    this.#reader = reader
  }

  watch(name: string, onAppend: Watcher): () => void {
    let topic = this.#topics.get(name)
    if (!topic) {
      topic = { name, watchers: new Set(), feeds: [], isOpening: false }
      this.#topics.set(name, topic)
    }
    const watched = topic
    const watcher: Watcher = (partition) => onAppend(partition)
    watched.watchers.add(watcher)
    if (watched.feeds.length === 0) this.#open(watched)
    return () => {
      watched.watchers.delete(watcher)
      if (watched.watchers.size > 0 || this.#topics.get(name) !== watched) return
      this.#topics.delete(name)
      this.#close(watched)
      this.#reader().forget(name)
    }
  }

  /** Somebody has read up to here: a feed that waited for it goes on. */
  read(key: string, readTo: number): void {
    const feed = this.#feeds.get(key)
    if (!feed?.isHeld) return
    if (this.#cache.bytesFrom(key, readTo) > AHEAD_BYTES / 2) return
    feed.isHeld = false
    feed.notBefore = 0
    this.#kick()
  }

  isFollowing(key: string): boolean {
    return this.#feeds.get(key)?.isAsked ?? false
  }

  /** A topic was made or removed here: whoever watches it need not find out. */
  changed(name: string): void {
    const topic = this.#topics.get(name)
    if (!topic) return
    this.#close(topic)
    this.#open(topic, 'again')
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#topics.clear()
    this.#feeds.clear()
  }

  #close(topic: WatchedTopic): void {
    for (const feed of topic.feeds) this.#feeds.delete(feed.key)
    topic.feeds = []
  }

  /** Finds out where the topic's partitions end, as soon as it is there. */
  #open(topic: WatchedTopic, mode: 'first' | 'again' = 'first'): void {
    if (topic.isOpening) return
    topic.isOpening = true
    this.#openFeeds(topic, mode === 'first').finally(() => {
      topic.isOpening = false
    })
  }

  async #openFeeds(topic: WatchedTopic, isFirst: boolean): Promise<void> {
    let fromEnd = isFirst
    while (!this.#stopped && this.#topics.get(topic.name) === topic) {
      try {
        const { topics } = this.#cluster.knownTopic(topic.name)
          ? { topics: [this.#cluster.knownTopic(topic.name)!] }
          : await this.#cluster.metadata([topic.name])
        const partitions = topics[0]?.error === 0 ? topics[0].leaders.length : 0
        if (partitions > 0) {
          // Of one that was not there, everything is new.
          const timestamp = fromEnd ? LATEST : EARLIEST
          const positions = await Promise.all(
            Array.from({ length: partitions }, (_, p) => this.#reader().list(topic.name, p, timestamp)),
          )
          if (this.#topics.get(topic.name) !== topic) return
          topic.feeds = positions.map((position, partition) => this.#feed(topic, partition, position))
          this.#kick()
          // What came before these positions comes with no fetch of ours, and who reads may have looked before it came.
          for (const { partition } of topic.feeds) for (const watcher of [...topic.watchers]) watcher(partition)
          return
        }
        fromEnd = false
      } catch {
        // Tried again: to watch has no error, and who reads will be told.
      }
      await sleep(MISSING_MS)
    }
  }

  #feed(topic: WatchedTopic, partition: number, position: number): Feed {
    const key = keyOf(topic.name, partition)
    const feed = { topic, partition, key, position, isAsked: false, notBefore: 0, isHeld: false }
    this.#feeds.set(key, feed)
    return feed
  }

  /** Starts what lanes are free and have something to wait for. */
  #kick(): void {
    if (this.#stopped) return
    const now = Date.now()
    const due = new Map<number, Feed[]>()
    let later = Number.POSITIVE_INFINITY
    for (const feed of this.#feeds.values()) {
      if (feed.isAsked) continue
      if (feed.notBefore > now) {
        later = Math.min(later, feed.notBefore)
        continue
      }
      const leader = this.#cluster.knownTopic(feed.topic.name)?.leaders[feed.partition]
      if (leader === undefined || leader < 0) {
        feed.notBefore = now + FAILED_MS
        later = Math.min(later, feed.notBefore)
        this.#cluster.metadata([feed.topic.name]).catch(() => {})
        continue
      }
      const list = due.get(leader)
      if (list) list.push(feed)
      else due.set(leader, [feed])
    }
    for (const [node, feeds] of due) this.#start(node, feeds)
    if (later < Number.POSITIVE_INFINITY) this.#kickAt(later)
  }

  #kickAt(time: number): void {
    if (this.#timer && this.#timerAt <= time) return
    clearTimeout(this.#timer)
    this.#timerAt = time
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#kick()
      },
      Math.max(1, time - Date.now()),
    )
  }

  #start(node: number, feeds: Feed[]): void {
    let lanes = this.#lanes.get(node)
    if (!lanes) {
      lanes = LANES.map((purpose) => ({ purpose, isBusy: false }))
      this.#lanes.set(node, lanes)
    }
    const lane = lanes.find((one) => !one.isBusy)
    // Both wait: the next that is free takes them.
    if (!lane) return
    lane.isBusy = true
    for (const feed of feeds) feed.isAsked = true
    this.#poll(node, lane, feeds).finally(() => {
      lane.isBusy = false
      for (const feed of feeds) feed.isAsked = false
      this.#kick()
    })
  }

  async #poll(node: number, lane: Lane, feeds: Feed[]): Promise<void> {
    const places = feeds.map(({ topic, partition, position }) => {
      return { topic: topic.name, partition, offset: position, bytesMax: FETCH_BYTES }
    })
    const request = fetchRequest(places, {
      waitMs: WAIT_MS,
      bytesMin: 1,
      bytesMax: ANSWER_BYTES,
      isolation: 'committed',
    })
    try {
      const answers = await this.#cluster.send(node, request, lane.purpose)
      const byKey = new Map(feeds.map((feed) => [feed.key, feed]))
      let bytes = 0
      for (const fetched of answers) {
        const feed = byKey.get(keyOf(fetched.topic, fetched.partition))
        bytes += fetched.records.length
        if (feed && this.#feeds.get(feed.key) === feed) this.#take(feed, fetched)
      }
      if (bytes === 0 || bytes >= REST_BELOW_BYTES) return
      // All of them together, or each would take a lane of its own.
      const after = Date.now() + REST_MS
      for (const feed of feeds) feed.notBefore = Math.max(feed.notBefore, after)
    } catch {
      for (const feed of feeds) {
        feed.notBefore = Date.now() + FAILED_MS
        this.#cluster.forgetTopic(feed.topic.name)
      }
    }
  }

  #take(feed: Feed, fetched: FetchedPartition): void {
    if (fetched.error !== 0) {
      feed.notBefore = Date.now() + FAILED_MS
      this.#cluster.forgetTopic(feed.topic.name)
      // Cut by retention, or the topic is another one of the same name, or gone: its ends are looked for anew.
      const isOther = fetched.error === FAULT.UNKNOWN_TOPIC_OR_PARTITION
      if (isOther) this.#reader().forget(feed.topic.name)
      if (isOther || fetched.error === FAULT.OFFSET_OUT_OF_RANGE) this.changed(feed.topic.name)
      return
    }
    this.#reader().noteLatest(feed.key, fetched.lastStable)
    const segment = segmentOf(feed.position, fetched)
    if (!segment) return
    this.#cache.add(feed.key, segment)
    feed.position = segment.to
    if (this.#cache.bytesFrom(feed.key, this.#reader().readTo(feed.key)) > AHEAD_BYTES) {
      feed.isHeld = true
      feed.notBefore = Date.now() + UNREAD_MS
    }
    for (const watcher of [...feed.topic.watchers]) watcher(feed.partition)
  }
}
