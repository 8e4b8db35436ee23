// The near end of a channel that leads to the other process: takes runs out of a ring and lends them to the pipe, as far as
// the other side has given credit. The ring is released when the pipe has taken the bytes.
// Runs on: relay thread (sources), the tenant's process (emitters).

import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  KIND_MOVED,
  KIND_PADDING,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_SOURCE_OFFSET,
} from '../record/record.ts'
import { ChannelReader } from '../ring/channel.ts'
import type { Run } from '../ring/ring.ts'
import { CREDIT_BYTES } from './frames.ts'

export class Outlet {
  readonly channel: number
  readonly pipeline: number
  /** The far side knows the channel. */
  open = false
  /** Stands in the pipe's list of those that may have something to send. */
  ready = false
  /** Nothing comes after the mark that was sent. */
  ended = false
  /** What `next` found: bytes of the ring. */
  readonly run: Run = { from: 0, to: 0 }
  /** Marks in the run. */
  hasMark = false
  /** The highest epoch of the barriers that were found so far. */
  epoch = 0
  private readonly reader = new ChannelReader()
  private readonly onRoom: (channel: number) => void
  private position = 0
  private inFlight = 0

  /** @param onRoom the producer waits for room, and there is some now */
  constructor(channel: number, pipeline: number, onRoom: (channel: number) => void) {
    this.channel = channel
    this.pipeline = pipeline
    this.onRoom = onRoom
  }

  announced(memory: SharedArrayBuffer): void {
    this.reader.announced(memory)
  }

  /** The far side has moved these bytes on. @returns false: it never had so many */
  credit(bytes: number): boolean {
    this.inFlight -= bytes
    return this.inFlight >= 0
  }

  get bytes(): Uint8Array {
    return this.reader.ring!.bytes
  }

  /** Finds the next run, whole records of at most `bytesMax` but at least one. @returns its bytes, 0 for none // hot */
  next(bytesMax: number): number {
    this.hasMark = false
    if (!this.open || this.inFlight >= CREDIT_BYTES) return 0
    for (let ring = this.reader.ring; ring !== null; ring = this.reader.ring) {
      this.position = ring.peek(this.position, this.run)
      const found = this.scan(ring.bytes, ring.words, this.run.from, this.run.to, bytesMax)
      if (found > 0) {
        this.run.to = this.run.from + found
        return found
      }
      if (this.run.from >= this.run.to || ring.bytes[this.run.from + RECORD_KIND] !== KIND_MOVED) return 0
      if (!this.reader.moveOn()) return 0
      this.position = this.reader.ring!.released
    }
    return 0
  }

  /** The run goes into the pipe: credit for it may come back before `sent`. */
  lend(): void {
    this.inFlight += this.run.to - this.run.from
  }

  /** The pipe has taken the run. */
  sent(): void {
    const ring = this.reader.ring!
    this.position = (this.position + (this.run.to - this.run.from)) | 0
    if (ring.release(this.position)) this.onRoom(this.channel)
  }

  private scan(bytes: Uint8Array, words: Int32Array, from: number, to: number, bytesMax: number): number {
    let at = from
    while (at < to) {
      const kind = bytes[at + RECORD_KIND]!
      if (kind !== KIND_DATA) {
        if (kind === KIND_PADDING || kind === KIND_MOVED) break
        if (at + RECORD_HEADER_BYTES - from > bytesMax && at > from) break
        this.mark(kind, words, at)
      }
      const length = words[at >> 2]!
      if (at + length - from > bytesMax && at > from) break
      at += length
    }
    return at - from
  }

  private mark(kind: number, words: Int32Array, at: number): void {
    this.hasMark = true
    if (kind === KIND_END) this.ended = true
    if (kind !== KIND_BARRIER) return
    const low = words[(at + RECORD_SOURCE_OFFSET) >> 2]! >>> 0
    this.epoch = Math.max(this.epoch, words[(at + RECORD_SOURCE_OFFSET + 4) >> 2]! * 4294967296 + low)
  }
}
