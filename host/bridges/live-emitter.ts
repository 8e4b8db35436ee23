// The emitters `sse` and `websocket`: keep the last records for whoever reads …/out/{component}, and hand new ones on. A
// slow reader misses some and is told so; it never holds the pipeline.
// Runs on: bridge.

import { randomBytes } from 'node:crypto'
import { lineBytes } from '../record/json-records.ts'
import type { Emitter, EmitterType, Subscriber, Subscription } from './bridge.ts'
import { PIECE_BYTES_MAX, PieceWriter, paceMs } from './reader-pieces.ts'
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
/** Of all emitters of this thread. */
let readers = 0

/** A record: its value as it came, and from the first reader that gets it on as the line that all get. */
interface Kept {
  bytes: Uint8Array
  isLine: boolean
}

/** What readers get that stand at the same record. */
interface Piece {
  bytes: Uint8Array
  /** Number of the record after it. */
  next: number
}

const GONE: Kept = { bytes: NULL, isLine: true }

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
  #kept: Kept[] = []
  /** Index in `#kept` of the oldest that is kept. */
  #front = 0
  #bytes = 0
  /** Records so far; the last one has this number. */
  #count = 0
  /** Number of the last record when all readers were last given what there was. */
  #handed = 0
  /** Bytes since then. */
  #freshBytes = 0
  #nextTurnAt = 0
  #turn: NodeJS.Timeout | undefined
  readonly #readers = new Set<Reader>()
  /** Those of the present records, by reader's place and form. */
  readonly #pieces = new Map<string, Piece>()
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
      const bytes = records.isTombstone ? NULL : records.value()
      this.#kept.push({ bytes, isLine: false })
      this.#bytes += bytes.length
      this.#freshBytes += bytes.length
      this.#count++
    }
    this.#pieces.clear()
    if (this.#readers.size > 0) this.#handSoon()
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
    readers++
    while (this.#hand(reader));
    return {
      ready: () => {
        reader.isSlow = false
        if (this.#readers.has(reader)) while (this.#hand(reader));
      },
      stop: () => this.#remove(reader),
    }
  }

  stop(): Promise<void> {
    this.#handAll()
    for (const reader of this.#readers) {
      this.#remove(reader)
      reader.subscriber.end()
    }
    return Promise.resolve()
  }

  #remove(reader: Reader): void {
    if (this.#readers.delete(reader)) readers--
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
    return this.#count + 1 - (this.#kept.length - this.#front)
  }

  /** Now where the last time is long enough ago or much has come, else in a moment: many readers get few pieces, not many. */
  #handSoon(): void {
    if (this.#freshBytes >= PIECE_BYTES_MAX || performance.now() >= this.#nextTurnAt) this.#handAll()
    else this.#turn ??= setTimeout(() => this.#handAll(), this.#nextTurnAt - performance.now())
  }

  #handAll(): void {
    clearTimeout(this.#turn)
    this.#turn = undefined
    this.#nextTurnAt = performance.now() + paceMs(readers)
    this.#freshBytes = 0
    // In rounds, so that a piece goes to all who get it before the next does.
    for (let moved = true; moved; ) {
      moved = false
      for (const reader of this.#readers) if (this.#hand(reader)) moved = true
    }
    this.#handed = this.#count
    this.#pieces.clear()
  }

  /** Gives a reader its next piece. @returns whether it took one */
  #hand(reader: Reader): boolean {
    if (reader.isSlow || reader.next > this.#count) return false
    const oldest = this.#oldest
    if (reader.next < oldest) {
      reader.next = oldest
      reader.gap = true
    }
    const { bytes, next } = this.#pieceFor(reader)
    if (!reader.subscriber.push(bytes)) {
      reader.isSlow = true
      return false
    }
    reader.gap = false
    reader.next = next
    return true
  }

  #pieceFor({ next: from, gap, subscriber: { form } }: Reader): Piece {
    const key = `${form} ${from} ${gap}`
    const known = this.#pieces.get(key)
    if (known) return known
    const writer = new PieceWriter(form)
    if (gap) writer.gap()
    let next = from
    for (let at = this.#front + from - this.#oldest; next <= this.#count && writer.length < PIECE_BYTES_MAX; at++) {
      writer.record(this.#line(this.#kept[at]!), `${this.#generation}.${next++}`)
    }
    const piece = { bytes: writer.piece(), next }
    this.#pieces.set(key, piece)
    return piece
  }

  #line(kept: Kept): Uint8Array {
    if (kept.isLine) return kept.bytes
    const line = lineBytes(kept.bytes)
    this.#bytes += line.length - kept.bytes.length
    kept.bytes = line
    kept.isLine = true
    return line
  }

  #trim(): void {
    // What is only held for a moment is no gap.
    const held = this.#readers.size > 0 ? Math.max(KEPT_RECORDS_MIN, this.#count - this.#handed) : 0
    const kept = Math.max(this.#lastRecords, held)
    while (
      this.#front < this.#kept.length &&
      (this.#kept.length - this.#front > kept || this.#bytes > KEPT_BYTES_MAX)
    ) {
      this.#bytes -= this.#kept[this.#front]!.bytes.length
      this.#kept[this.#front++] = GONE
    }
    if (this.#front < COMPACT_AT && this.#front < this.#kept.length) return
    this.#kept = this.#kept.slice(this.#front)
    this.#front = 0
  }
}

const type: EmitterType = { create: (settings) => new LiveEmitter(settings) }

export const sseEmitter = type
export const websocketEmitter = type
