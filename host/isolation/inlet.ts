// The far end of a channel: what comes through the pipe goes into a ring. What finds no room waits here, bounded by the
// credit that the sender has; credit goes back as the ring takes it.
// Runs on: relay thread (emitters), the tenant's process (sources).

import { ChannelWriter } from '../ring/channel.ts'
import { BATCH_BYTES, CREDIT_BYTES, CREDIT_PIECE_BYTES, MalformedFrame } from './frames.ts'

/** A full ring is asked for room of this size, so that one signal is worth a batch. */
const ROOM_BYTES = 64 << 10
const QUEUE_BYTES_MIN = 64 << 10

export interface InletOwner {
  announceRing(pipeline: number, channel: number, memory: SharedArrayBuffer): void
  /** Records were published. */
  signal(channel: number): void
  /** The ring has taken so many bytes: the sender may send as many more. */
  credit(channel: number, bytes: number): void
}

export class Inlet {
  readonly channel: number
  readonly pipeline: number
  /** Ports of its records are below this. */
  ports: number
  /** The pipeline goes, or the mark of the end has passed: what still comes is let go. */
  closed = false
  /** The highest epoch of a barrier that has come. */
  epoch = 0
  ended = false
  private readonly owner: InletOwner
  private readonly writer: ChannelWriter
  private queue: Uint8Array<ArrayBuffer> = new Uint8Array(0)
  private queueWords = new Int32Array(0)
  private head = 0
  private tail = 0
  private blocked = false
  private owed = 0

  constructor(channel: number, pipeline: number, ports: number, capacityBytes: number, owner: InletOwner) {
    this.channel = channel
    this.pipeline = pipeline
    this.ports = ports
    this.owner = owner
    this.writer = new ChannelWriter(capacityBytes, (memory) => owner.announceRing(pipeline, channel, memory))
  }

  /** Takes whole records. @throws MalformedFrame where they are more than the credit allows // hot */
  receive(bytes: Uint8Array, words: Int32Array, from: number, to: number): void {
    const waiting = this.tail - this.head
    // The last batch may go over, and a single record may be longer than that.
    if (waiting > CREDIT_BYTES + BATCH_BYTES)
      throw new MalformedFrame(`more than its credit on channel ${this.channel}`)
    const taken = waiting > 0 ? 0 : this.push(bytes, words, from, to)
    if (from + taken < to) this.keep(bytes, from + taken, to)
  }

  /** The consumer made room. */
  unblock(): void {
    this.blocked = false
    if (this.head === this.tail) return
    this.head += this.push(this.queue, this.queueWords, this.head, this.tail)
    if (this.head < this.tail) return
    this.head = this.tail = 0
    if (this.queue.length > CREDIT_BYTES + BATCH_BYTES) {
      this.queue = new Uint8Array(0)
      this.queueWords = new Int32Array(0)
    }
  }

  /** Everything that came has been taken by the ring. */
  get empty(): boolean {
    return this.head === this.tail
  }

  private push(bytes: Uint8Array, words: Int32Array, from: number, to: number): number {
    let at = from
    while (at < to && !this.blocked) {
      const taken = this.writer.push(bytes, words, at, to)
      at += taken
      // A record may need its length twice over: the end of the ring, padded, and the place where it goes.
      if (at < to) this.blocked = this.writer.wantRoom(Math.max(ROOM_BYTES, 2 * words[at >> 2]!))
    }
    if (at > from) {
      this.owner.signal(this.channel)
      this.owed += at - from
      if (this.owed >= CREDIT_PIECE_BYTES) {
        this.owner.credit(this.channel, this.owed)
        this.owed = 0
      }
    }
    return at - from
  }

  private keep(bytes: Uint8Array, from: number, to: number): void {
    const needed = this.tail - this.head + (to - from)
    if (this.tail + (to - from) > this.queue.length) {
      let capacity = Math.max(QUEUE_BYTES_MIN, this.queue.length)
      while (capacity < needed) capacity *= 2
      const target = capacity > this.queue.length ? new Uint8Array(capacity) : this.queue
      if (target === this.queue) target.copyWithin(0, this.head, this.tail)
      else target.set(this.queue.subarray(this.head, this.tail))
      this.tail -= this.head
      this.head = 0
      if (target !== this.queue) {
        this.queue = target
        this.queueWords = new Int32Array(target.buffer)
      }
    }
    this.queue.set(bytes.subarray(from, to), this.tail)
    this.tail += to - from
  }
}
