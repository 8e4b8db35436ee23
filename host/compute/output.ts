// Where the records of one component stand until each of its consumers has read them: a source's ring, or the stage of an
// operator. Consumers read in place, each with a cursor of its own; nothing is copied for a second consumer.
// Runs on: compute. A stage belongs to the compute worker; a ring is shared with a bridge.

import {
  KIND_END,
  KIND_MOVED,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
} from '../record/record.ts'
import { ChannelReader } from '../ring/channel.ts'
import { clockUs, type Run } from '../ring/ring.ts'

/** One consumer's place in an output. */
export interface Cursor {
  position: number
}

export interface Output {
  bytes: Uint8Array
  words: Int32Array
  readonly cursors: Cursor[]
  /** Its end was read, or written: nothing comes any more. */
  ended: boolean
  /** The contiguous run at the cursor, in bytes of `bytes`; empty when nothing is there. */
  peek(cursor: Cursor, run: Run): void
  /** The cursor has read this many bytes of the run. */
  advance(cursor: Cursor, bytes: number): void
  /** A cursor that sees what comes from now on. */
  attach(cursor: Cursor): void
  detach(cursor: Cursor): void
  /** When the oldest unread record came, µs of `clockUs`. */
  since(): number
  /** Bytes that some consumer has not read. */
  depth(): number
  /** Bytes that may stand here before the producer waits. */
  readonly capacity: number
}

const NOTHING: Uint8Array = new Uint8Array(0)
const NO_WORDS: Int32Array = new Int32Array(0)

/** Rings grow up to this. */
const EDGE_BYTES = 1 << 20

/** The ring of a source. */
export class RingOutput implements Output {
  bytes: Uint8Array = NOTHING
  words: Int32Array = NO_WORDS
  readonly cursors: Cursor[] = []
  ended = false
  readonly channelNumber: number
  /** Sees each run of records once, as it is released. */
  onRelease: ((bytes: Uint8Array, words: Int32Array, from: number, to: number) => void) | null = null
  private readonly channel = new ChannelReader()
  private readonly onRoom: (channel: number) => void
  private readonly tapRun: Run = { from: 0, to: 0 }

  /** @param onRoom the producer waits for room, and there is some now */
  constructor(channel: number, onRoom: (channel: number) => void) {
    this.channelNumber = channel
    this.onRoom = onRoom
  }

  announced(memory: SharedArrayBuffer): void {
    this.channel.announced(memory)
    this.useRing()
  }

  peek(cursor: Cursor, run: Run): void {
    const ring = this.channel.ring
    if (ring === null) {
      run.from = run.to = 0
      return
    }
    cursor.position = ring.peek(cursor.position, run)
    if (run.to > run.from && ring.bytes[run.from + RECORD_KIND] === KIND_MOVED) {
      if (this.moveOn()) this.peek(cursor, run)
      else run.to = run.from
    }
  }

  advance(cursor: Cursor, bytes: number): void {
    cursor.position = (cursor.position + bytes) | 0
    this.release()
  }

  attach(cursor: Cursor): void {
    // With the one that is furthest on: behind it nothing was read yet, neither marks nor the end.
    const base = this.channel.ring?.released ?? 0
    let ahead = 0
    for (const { position } of this.cursors) ahead = Math.max(ahead, (position - base) | 0)
    cursor.position = (base + ahead) | 0
    this.cursors.push(cursor)
  }

  detach(cursor: Cursor): void {
    const index = this.cursors.indexOf(cursor)
    if (index < 0) return
    this.cursors.splice(index, 1)
    // Without a reader nothing would ever be given back, and the producer would wait for ever.
    if (this.cursors.length === 0) this.skip()
    else this.release()
  }

  /** Nothing reads this source: its records go nowhere. */
  skip(): void {
    const cursor: Cursor = { position: this.channel.ring?.released ?? 0 }
    const run: Run = { from: 0, to: 0 }
    this.cursors.push(cursor)
    for (this.peek(cursor, run); run.to > run.from; this.peek(cursor, run)) {
      // Up to the mark of a larger ring: `peek` has to find that at the front.
      let end = run.from
      for (; end < run.to && this.bytes[end + RECORD_KIND] !== KIND_MOVED; end += this.words[end >> 2]!) {
        if (this.bytes[end + RECORD_KIND] === KIND_END) this.ended = true
      }
      this.advance(cursor, end - run.from)
    }
    this.cursors.pop()
  }

  since(): number {
    return this.channel.ring?.since() ?? 0
  }

  depth(): number {
    return this.channel.ring?.depth ?? 0
  }

  get capacity(): number {
    return Math.max(EDGE_BYTES, this.channel.ring?.capacity ?? 0)
  }

  private useRing(): void {
    this.bytes = this.channel.ring!.bytes
    this.words = this.channel.ring!.words
  }

  /** Gives the producer back what the slowest consumer has read. */
  private release(): void {
    const ring = this.channel.ring
    if (ring === null || this.cursors.length === 0) return
    let behind = (ring.released - this.cursors[0]!.position) | 0
    for (let i = 1; i < this.cursors.length; i++) {
      const distance = (ring.released - this.cursors[i]!.position) | 0
      // Positions wrap: distances from one base compare rightly.
      if (distance > behind) behind = distance
    }
    const position = (ring.released - behind) | 0
    if (position === ring.released) return
    if (this.onRelease) this.showReleased(ring.released, position)
    if (ring.release(position)) this.onRoom(this.channelNumber)
  }

  private showReleased(from: number, to: number): void {
    const run = this.tapRun
    for (let at = from; at !== to; ) {
      at = this.channel.ring!.peek(at, run)
      if (((to - at) | 0) <= 0) break
      const bytes = Math.min(run.to - run.from, (to - at) >>> 0)
      if (bytes === 0) break
      this.onRelease!(this.bytes, this.words, run.from, run.from + bytes)
      at = (at + bytes) | 0
    }
  }

  /** Goes on in the next ring once every consumer stands at the mark. */
  private moveOn(): boolean {
    const ring = this.channel.ring!
    const run = this.tapRun
    for (const cursor of this.cursors) {
      cursor.position = ring.peek(cursor.position, run)
      // A cursor with nothing before it was attached behind the mark, which is the last record of its ring.
      if (run.from >= run.to) continue
      if (ring.bytes[run.from + RECORD_KIND] !== KIND_MOVED) return false
    }
    if (!this.channel.moveOn()) return false
    this.useRing()
    for (const cursor of this.cursors) cursor.position = this.channel.ring!.released
    return true
  }
}

const STAGE_BYTES_MIN = 4 << 10
/** A stage that grew beyond this for one burst is given back when it is empty. */
const STAGE_BYTES_KEPT = 1 << 20

/** What an operator emitted: filled by one call, opened to the consumers when the call returned well. */
export class Stage implements Output {
  bytes: Uint8Array = NOTHING
  words: Int32Array = NO_WORDS
  readonly cursors: Cursor[] = []
  ended = false
  onRelease: ((bytes: Uint8Array, words: Int32Array, from: number, to: number) => void) | null = null
  /** Bytes that consumers may read. */
  private published = 0
  /** Bytes of the present call as well. */
  private staged = 0
  private sinceUs = 0

  /** Everything published was read by everyone. */
  get empty(): boolean {
    return this.published === 0
  }

  /** Bytes staged by the present call. */
  get stagedBytes(): number {
    return this.staged - this.published
  }

  /** Makes room for more. @returns where they begin in `bytes` */
  reserve(bytes: number): number {
    const needed = this.staged + bytes
    if (needed > this.bytes.length) {
      let capacity = Math.max(STAGE_BYTES_MIN, this.bytes.length)
      while (capacity < needed) capacity *= 2
      const larger = new Uint8Array(capacity)
      larger.set(this.bytes.subarray(0, this.staged))
      this.bytes = larger
      this.words = new Int32Array(larger.buffer)
    }
    return this.staged
  }

  /** Adds what was written behind `reserve`. */
  grow(bytes: number): void {
    this.staged += bytes
  }

  /** The call returned well. @param sinceUs when the records that led here came */
  publish(sinceUs: number): void {
    if (this.staged === this.published) return
    if (this.published === 0) this.sinceUs = sinceUs
    this.published = this.staged
    if (this.cursors.length === 0) this.reset()
  }

  /** The call did not. */
  discard(): void {
    this.staged = this.published
  }

  publishControl(kind: number, epoch: number): void {
    if (kind === KIND_END) this.ended = true
    const at = this.reserve(RECORD_HEADER_BYTES)
    this.words.fill(0, at >> 2, (at + RECORD_HEADER_BYTES) >> 2)
    this.words[(at + RECORD_LENGTH) >> 2] = RECORD_HEADER_BYTES
    this.bytes[at + RECORD_KIND] = kind
    this.words[(at + RECORD_SOURCE_OFFSET) >> 2] = epoch | 0
    this.words[(at + RECORD_SOURCE_OFFSET + 4) >> 2] = Math.floor(epoch / 4294967296)
    this.grow(RECORD_HEADER_BYTES)
    this.publish(clockUs())
  }

  peek(cursor: Cursor, run: Run): void {
    run.from = cursor.position
    run.to = this.published
  }

  advance(cursor: Cursor, bytes: number): void {
    cursor.position += bytes
    for (let i = 0; i < this.cursors.length; i++) if (this.cursors[i]!.position < this.published) return
    this.reset()
  }

  attach(cursor: Cursor): void {
    cursor.position = this.published
    this.cursors.push(cursor)
  }

  detach(cursor: Cursor): void {
    const index = this.cursors.indexOf(cursor)
    if (index >= 0) this.cursors.splice(index, 1)
    if (this.cursors.every((c) => c.position >= this.published)) this.reset()
  }

  since(): number {
    return this.sinceUs
  }

  get capacity(): number {
    return Math.max(EDGE_BYTES, this.bytes.length)
  }

  depth(): number {
    let least = this.published
    for (const cursor of this.cursors) least = Math.min(least, cursor.position)
    return this.published - least
  }

  private reset(): void {
    if (this.onRelease && this.published > 0) this.onRelease(this.bytes, this.words, 0, this.published)
    this.published = this.staged = 0
    for (let i = 0; i < this.cursors.length; i++) this.cursors[i]!.position = 0
    if (this.bytes.length > STAGE_BYTES_KEPT) {
      this.bytes = NOTHING
      this.words = NO_WORDS
    }
  }
}
