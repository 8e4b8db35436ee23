// The emitters `sse` and `websocket`: keep the last records for whoever reads …/out/{component}, and hand new ones on. A
// slow reader misses some and is told so; it never holds the pipeline.
// Runs on: bridge.

import { randomBytes } from 'node:crypto'
import type { Emitter, EmitterType, Subscriber, Subscription } from './bridge.ts'
import { RecordReader } from './record-reader.ts'

interface Settings {
  lastRecords?: number
}

/** Kept for readers that are a little behind, whatever is kept for late ones. */
const KEPT_RECORDS_MIN = 256
const KEPT_BYTES_MAX = 16 << 20
/** Once so many have left at the front, the list is made anew. */
const COMPACT_AT = 1024
const NULL = new TextEncoder().encode('null')
/** Of this life of the thread. */
const THREAD = randomBytes(6).toString('base64url')
let generations = 0

interface Reader {
  subscriber: Subscriber
  /** Number of the record it is to get next. */
  next: number
  gap: boolean
  /** It did not take the last one: nothing until it is ready. */
  isSlow: boolean
}

export class LiveEmitter implements Emitter {
  #lastRecords: number
  #values: Uint8Array[] = []
  /** Index in `#values` of the oldest that is kept. */
  #front = 0
  #bytes = 0
  /** Records so far; the last one has this number. */
  #count = 0
  readonly #readers = new Set<Reader>()
  readonly #records = new RecordReader()
  /** Numbers count from 1 in each emitter: an id of another one says nothing here. */
  readonly #generation = `${THREAD}-${(++generations).toString(36)}`

  constructor(settings: Settings) {
    this.#lastRecords = settings.lastRecords ?? 100
  }

  open(): Promise<void> {
    return Promise.resolve()
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    const records = this.#records
    records.set(bytes, from, to)
    while (records.next()) {
      const value = records.isTombstone ? NULL : records.value()
      this.#values.push(value)
      this.#bytes += value.length
      this.#count++
    }
    for (const reader of this.#readers) this.#hand(reader)
    this.#trim()
    return to - from
  }

  flush(): Promise<unknown> {
    return Promise.resolve(undefined)
  }

  configure(settings: Record<string, unknown>): boolean {
    this.#lastRecords = (settings as Settings).lastRecords ?? 100
    this.#trim()
    return true
  }

  subscribe(subscriber: Subscriber): Subscription {
    const reader: Reader = { subscriber, ...this.#start(subscriber.lastEventId), isSlow: false }
    this.#readers.add(reader)
    this.#hand(reader)
    return {
      ready: () => {
        reader.isSlow = false
        if (this.#readers.has(reader)) this.#hand(reader)
      },
      stop: () => this.#readers.delete(reader),
    }
  }

  stop(): Promise<void> {
    for (const { subscriber } of this.#readers) subscriber.end()
    this.#readers.clear()
    return Promise.resolve()
  }

  #start(lastEventId: string | undefined): { next: number; gap: boolean } {
    const late = Math.max(this.#oldest, this.#count + 1 - this.#lastRecords)
    if (lastEventId === undefined) return { next: late, gap: false }
    const [generation, number] = lastEventId.split('.')
    const last = Number(number)
    if (generation !== this.#generation || !Number.isSafeInteger(last) || last < 0 || last > this.#count) {
      return { next: late, gap: true }
    }
    return { next: last + 1, gap: false }
  }

  /** Number of the oldest record that is kept; the next one's, where none is. */
  get #oldest(): number {
    return this.#count + 1 - (this.#values.length - this.#front)
  }

  #hand(reader: Reader): void {
    if (reader.isSlow) return
    const oldest = this.#oldest
    if (reader.next < oldest) {
      reader.next = oldest
      reader.gap = true
    }
    while (reader.next <= this.#count) {
      const value = this.#values[this.#front + reader.next - oldest]!
      if (!reader.subscriber.push(`${this.#generation}.${reader.next}`, value, reader.gap)) {
        reader.isSlow = true
        return
      }
      reader.gap = false
      reader.next++
    }
  }

  #trim(): void {
    const kept = Math.max(this.#lastRecords, this.#readers.size > 0 ? KEPT_RECORDS_MIN : 0)
    while (
      this.#front < this.#values.length &&
      (this.#values.length - this.#front > kept || this.#bytes > KEPT_BYTES_MAX)
    ) {
      this.#bytes -= this.#values[this.#front]!.length
      this.#values[this.#front++] = NULL
    }
    if (this.#front < COMPACT_AT && this.#front < this.#values.length) return
    this.#values = this.#values.slice(this.#front)
    this.#front = 0
  }
}

const type: EmitterType = { create: (settings) => new LiveEmitter(settings) }

export const sseEmitter = type
export const websocketEmitter = type
