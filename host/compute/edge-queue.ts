// An edge with a capacity or a policy of its own: a bounded queue between one output and one consumer, on the same thread.
// Under `block` it makes the producer wait; the drop policies let its siblings go on, and count what they drop.
// Runs on: compute. The memory is the queue's own.

import type { WhenFull } from '../../schemas/document.ts'
import { KIND_DATA, KIND_END, RECORD_HEADER_BYTES, RECORD_KIND } from '../record/record.ts'
import type { Run } from '../ring/ring.ts'
import { type Input, takeInput } from './input.ts'
import type { Cursor, Output } from './output.ts'

const BYTES_MIN = 4 << 10
const BATCH_BYTES = 64 << 10
const RECORDS_MAX = 1 << 30

const run: Run = { from: 0, to: 0 }
const taken = { bytes: 0, span: 0, records: 0 }

export class EdgeQueue implements Output {
  bytes = new Uint8Array(0)
  words = new Int32Array(0)
  readonly cursors: Cursor[] = []
  ended = false
  /** Where it reads from. */
  readonly input: Input
  capacity: number
  whenFull: WhenFull
  /** Records dropped so far. */
  dropped = 0
  private head = 0
  private tail = 0
  private sinceUs = 0

  constructor(input: Input, capacityBytes: number, whenFull: WhenFull) {
    this.input = input
    this.capacity = capacityBytes
    this.whenFull = whenFull
  }

  /** Moves what has come into the queue. @returns false: nothing came, or it is full and blocks // hot */
  step(): boolean {
    const { input } = this
    const { output } = input
    output.peek(input, run)
    if (run.from >= run.to) return false
    const { bytes, words } = output
    if (bytes[run.from + RECORD_KIND] !== KIND_DATA) {
      // Barriers and ends are never dropped and always find room.
      if (bytes[run.from + RECORD_KIND] === KIND_END) input.end()
      this.append(bytes, run.from, RECORD_HEADER_BYTES)
      output.advance(input, RECORD_HEADER_BYTES)
      return true
    }
    const since = output.since()
    takeInput(bytes, words, run.from, run.to, input, Math.min(BATCH_BYTES, this.capacity), RECORDS_MAX, taken)
    if (this.whenFull === 'block' && taken.bytes > this.room() && this.tail > this.head) return false
    if (this.tail === this.head) this.sinceUs = since
    const end = run.from + taken.span
    for (let at = run.from; at < end; at += words[at >> 2]!) {
      const port = bytes[at + 6]! | (bytes[at + 7]! << 8)
      if (!input.takes(port)) continue
      const length = words[at >> 2]!
      if (length > this.room() && this.tail > this.head) {
        if (this.whenFull === 'drop-oldest') this.dropOldest(length)
        if (length > this.room() && this.whenFull !== 'block' && this.tail > this.head) {
          this.dropped++
          continue
        }
      }
      this.append(bytes, at, length)
    }
    output.advance(input, taken.span)
    return true
  }

  peek(_cursor: Cursor, into: Run): void {
    into.from = this.head
    into.to = this.tail
  }

  advance(_cursor: Cursor, bytes: number): void {
    this.head += bytes
    if (this.head === this.tail) this.head = this.tail = 0
  }

  attach(cursor: Cursor): void {
    this.cursors.push(cursor)
  }

  detach(cursor: Cursor): void {
    const index = this.cursors.indexOf(cursor)
    if (index >= 0) this.cursors.splice(index, 1)
    this.input.output.detach(this.input)
  }

  since(): number {
    return this.sinceUs
  }

  depth(): number {
    return this.tail - this.head
  }

  private room(): number {
    return this.capacity - (this.tail - this.head)
  }

  /** Drops data records from the front until `bytes` fit; marks among them move on. */
  private dropOldest(bytes: number): void {
    while (this.room() < bytes && this.tail > this.head) {
      let marks = 0
      while (this.head + marks < this.tail && this.bytes[this.head + marks + RECORD_KIND] !== KIND_DATA) {
        marks += RECORD_HEADER_BYTES
      }
      const at = this.head + marks
      if (at >= this.tail) return
      const length = this.words[at >> 2]!
      this.bytes.copyWithin(this.head + length, this.head, this.head + marks)
      this.head += length
      this.dropped++
    }
  }

  private append(bytes: Uint8Array, from: number, length: number): void {
    if (this.tail + length > this.bytes.length) this.makeRoom(length)
    this.bytes.set(bytes.subarray(from, from + length), this.tail)
    this.tail += length
  }

  /** Moves the content to the front, into a larger buffer where that is not enough. */
  private makeRoom(length: number): void {
    const used = this.tail - this.head
    if (used + length > this.bytes.length) {
      let capacity = Math.max(BYTES_MIN, this.bytes.length)
      while (capacity < used + length) capacity *= 2
      const larger = new Uint8Array(capacity)
      larger.set(this.bytes.subarray(this.head, this.tail))
      this.bytes = larger
      this.words = new Int32Array(larger.buffer)
    } else {
      this.bytes.copyWithin(0, this.head, this.tail)
    }
    this.head = 0
    this.tail = used
  }
}
