// A ring that grows: made when its first record comes, replaced by a larger one at a batch boundary as load asks for it.
// The old ring ends with KIND_MOVED; the new one is announced to the consumer, who goes on there.
// Runs on: any two threads, one writing, one reading.

import { KIND_MOVED } from '../record/record.ts'
import { makeRing, RING_BYTES_MAX, RING_BYTES_MIN, RingReader, RingWriter } from './ring.ts'

export class ChannelWriter {
  private ring: RingWriter | null = null
  private readonly limitBytes: number
  private readonly announce: (memory: SharedArrayBuffer) => void

  /**
   * @param limitBytes the edge's capacity; a record larger than a quarter of it still gets a ring of four times its size
   * @param announce hands the memory of a new ring to the consumer, before anything is written to it
   */
  constructor(limitBytes: number, announce: (memory: SharedArrayBuffer) => void) {
    this.limitBytes = limitBytes
    this.announce = announce
  }

  get capacity(): number {
    return this.ring?.capacity ?? 0
  }

  get depth(): number {
    return this.ring?.depth ?? 0
  }

  /** As `RingWriter.push`; grows instead of refusing while it may. // hot */
  push(bytes: Uint8Array, words: Int32Array, from: number, to: number): number {
    if (from >= to) return 0
    const first = words[from >> 2]!
    if (this.ring === null || first > this.ring.capacity >> 2) {
      if (!this.replace(Math.max(first * 4, Math.min(this.limitBytes, to - from)))) return 0
    }
    let taken = this.ring!.push(bytes, words, from, to)
    while (from + taken < to && this.ring!.capacity < this.limitBytes) {
      if (!this.replace(this.ring!.capacity * 4)) break
      taken += this.ring!.push(bytes, words, from + taken, to)
    }
    return taken
  }

  pushControl(kind: number, epoch: number): boolean {
    if (this.ring === null) this.replace(RING_BYTES_MIN)
    return this.ring!.pushControl(kind, epoch)
  }

  /** As `RingWriter.wantRoom`. */
  wantRoom(bytes: number): boolean {
    return this.ring === null ? false : this.ring.wantRoom(bytes)
  }

  private replace(bytesWanted: number): boolean {
    // The old ring always keeps room for this one mark; where it is taken already, a later try does it.
    if (this.ring !== null && !this.ring.pushControl(KIND_MOVED, 0)) return false
    let capacity = RING_BYTES_MIN
    while (capacity < bytesWanted && capacity < RING_BYTES_MAX) capacity *= 2
    const memory = makeRing(capacity)
    this.announce(memory)
    this.ring = new RingWriter(memory)
    return true
  }
}

export class ChannelReader {
  /** The ring that is read now; null before the first record. */
  ring: RingReader | null = null
  private readonly next: RingReader[] = []

  /** Takes the memory of a ring that the producer announced. */
  announced(memory: SharedArrayBuffer): void {
    const ring = new RingReader(memory)
    if (this.ring === null) this.ring = ring
    else this.next.push(ring)
  }

  /** At KIND_MOVED, when all of the old ring was read. @returns false: the next one is not here yet */
  moveOn(): boolean {
    const ring = this.next.shift()
    if (ring === undefined) return false
    this.ring = ring
    return true
  }
}
