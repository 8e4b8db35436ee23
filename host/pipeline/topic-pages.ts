// What those who follow a topic read: near its end they all want the same records, which are then read and encoded once. Pages
// just read are kept for a moment; whoever stands inside one gets the rest of it, and so all come to stand at the same place.
// Runs on: control; the bridge worker makes the bytes.

import type { ReaderForm } from '../../schemas/reader-form.ts'
import type { TopicPage } from '../bridges/runtime/messages.ts'
import type { FetchQuery } from '../bridges/runtime/topic-api.ts'
import type { ReaderPlaces } from './reader-places.ts'

/** Read at once. */
export const PAGE_RECORDS = 1000
/** Of one partition. */
const KEPT_PAGES = 4
const KEPT_MS = 1000

/** Records from one place on, as they go out. */
export interface Run {
  piece: Uint8Array
  records: number
  /** Offset to read on from. */
  next: number
}

export interface Following {
  /** @param recordsMax fewer come where that is all there is; none: it is read to its end */
  read(partition: number, from: number, recordsMax: number): Promise<Run>
  close(): void
}

type Fetch = (query: FetchQuery, form: ReaderForm) => Promise<TopicPage>

interface Kept extends TopicPage {
  from: number
  to: number
  at: number
}

export class TopicPages {
  readonly #fetch: Fetch
  readonly #places: ReaderPlaces
  readonly #shared = new Map<string, { partitions: Map<number, RecentPages>; followers: number }>()
  /** Of all topics. */
  followers = 0

  constructor(fetch: Fetch, places: ReaderPlaces) {
    this.#fetch = fetch
    this.#places = places
  }

  /** @throws SpqrError QUOTA_EXCEEDED where as many follow the topic as may */
  follow(topic: string, form: ReaderForm, own: boolean): Following {
    const leave = this.#places.take(`topic "${topic}"`)
    const key = `${form} ${topic}`
    const shared = this.#shared.get(key) ?? { partitions: new Map<number, RecentPages>(), followers: 0 }
    this.#shared.set(key, shared)
    shared.followers++
    this.followers++
    let isOpen = true
    return {
      read: (partition, from, recordsMax) => {
        let recent = shared.partitions.get(partition)
        if (!recent) {
          const query = { topic, partition, limit: PAGE_RECORDS, own }
          recent = new RecentPages((offset) => this.#fetch({ ...query, from: `offset:${offset}` }, form), partition)
          shared.partitions.set(partition, recent)
        }
        return recent.read(from, recordsMax)
      },
      close: () => {
        if (!isOpen) return
        isOpen = false
        leave()
        this.followers--
        if (--shared.followers === 0) this.#shared.delete(key)
      },
    }
  }
}

/** Of one partition, in one form. */
class RecentPages {
  readonly #fetch: (from: number) => Promise<TopicPage>
  readonly #partition: number
  #kept: Kept[] = []
  #reading: Promise<Kept> | undefined

  constructor(fetch: (from: number) => Promise<TopicPage>, partition: number) {
    this.#fetch = fetch
    this.#partition = partition
  }

  async read(from: number, recordsMax: number): Promise<Run> {
    for (;;) {
      const now = performance.now()
      const known = this.#kept.find((page) => page.from <= from && from < page.to && now - page.at < KEPT_MS)
      if (known) return runOf(known, from, recordsMax)
      if (!this.#reading) return runOf(await this.#readOn(from), from, recordsMax)
      // It may hold what is wanted; where it fails, that is for whoever asked for it.
      const read = await this.#reading.catch(() => undefined)
      if (read?.from === from) return runOf(read, from, recordsMax)
    }
  }

  #readOn(from: number): Promise<Kept> {
    const reading = this.#fetch(from).then((page) => {
      const kept = { ...page, from, to: Number(page.next[this.#partition]), at: performance.now() }
      this.#kept = [kept, ...this.#kept.slice(0, KEPT_PAGES - 1)]
      return kept
    })
    this.#reading = reading
    const end = (): void => {
      this.#reading = undefined
    }
    reading.then(end, end)
    return reading
  }
}

function runOf({ piece, offsets, ends, to }: Kept, from: number, recordsMax: number): Run {
  const found = offsets.findIndex((offset) => offset >= from)
  const first = found < 0 ? offsets.length : found
  const last = Math.min(offsets.length, first + recordsMax)
  return {
    piece: piece.subarray(first > 0 ? ends[first - 1]! : 0, last > 0 ? ends[last - 1]! : 0),
    records: last - first,
    next: last < offsets.length ? offsets[last]! : to,
  }
}
