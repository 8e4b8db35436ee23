// A single-producer single-consumer byte ring of records in shared memory.
// Runs on: any two threads, one writing, one reading. The buffer belongs to both; each word of the control block has one
// writing thread, named below.
//
//    byte   0  i32 written     (producer)  bytes ever published, modulo 2^32
//    byte   4  i32 since       (producer)  when the oldest unread batch was published, µs of the host clock, modulo 2^31
//    byte  64  i32 released    (consumer)  bytes ever released, modulo 2^32
//    byte 128  i32 wantsRoom   (both)      1: the producer waits for room and wants a signal
//    byte 192  …               data, capacity a power of two
//
// A record never straddles the end: what is left there is one record of KIND_PADDING. Room for a control record is always
// kept in reserve, so that a full ring can still say KIND_MOVED, the mark after which the next, larger ring goes on.

import {
  KIND_DATA,
  KIND_MOVED,
  KIND_PADDING,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
} from '../record/record.ts'

const WRITTEN = 0
const SINCE = 1
const RELEASED = 16
const WANTS_ROOM = 32
const CONTROL_BYTES = 192
const RESERVE_BYTES = 2 * RECORD_HEADER_BYTES

export const RING_BYTES_MIN = 16 << 10
export const RING_BYTES_MAX = 1 << 28

/** Makes the shared memory of a ring. @param capacityBytes a power of two, RING_BYTES_MIN … RING_BYTES_MAX */
export function makeRing(capacityBytes: number): SharedArrayBuffer {
  if ((capacityBytes & (capacityBytes - 1)) !== 0 || capacityBytes < 64 || capacityBytes > RING_BYTES_MAX) {
    throw new RangeError(`a ring has a power of two of bytes, not ${capacityBytes}`)
  }
  return new SharedArrayBuffer(CONTROL_BYTES + capacityBytes)
}

/** Microseconds of the host clock, the same in all threads of the process, modulo 2^31. */
export function clockUs(): number {
  return Math.floor((performance.timeOrigin + performance.now()) * 1000) % 0x80000000
}

abstract class RingSide {
  readonly memory: SharedArrayBuffer
  readonly capacity: number
  /** The data region. */
  readonly bytes: Uint8Array
  /** The same as 32-bit words: record starts are aligned. */
  readonly words: Int32Array
  protected readonly control: Int32Array
  protected readonly mask: number

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    this.capacity = memory.byteLength - CONTROL_BYTES
    this.mask = this.capacity - 1
    this.control = new Int32Array(memory, 0, CONTROL_BYTES >> 2)
    this.bytes = new Uint8Array(memory, CONTROL_BYTES, this.capacity)
    this.words = new Int32Array(memory, CONTROL_BYTES, this.capacity >> 2)
  }

  /** Bytes published and not yet released, padding included. */
  get depth(): number {
    // Both words may move while they are read; the result is a moment's, good for statistics.
    return (Atomics.load(this.control, WRITTEN) - Atomics.load(this.control, RELEASED)) >>> 0
  }
}

export class RingWriter extends RingSide {
  /** Position of the next byte; a copy of WRITTEN, which this side alone writes. */
  private position = 0
  /** The last RELEASED that was seen: never more than the true one. */
  private released = 0

  constructor(memory: SharedArrayBuffer) {
    super(memory)
    this.position = Atomics.load(this.control, WRITTEN)
    this.released = Atomics.load(this.control, RELEASED)
  }

  /**
   * Copies whole records in and publishes them at once. // hot
   *
   * @param words the 32-bit view of the same memory as `bytes`, to find record borders
   * @returns bytes taken, up to the last whole record that fits; 0 under back-pressure
   */
  push(bytes: Uint8Array, words: Int32Array, from: number, to: number): number {
    let at = from
    while (at < to) {
      const taken = this.copy(bytes, words, at, to)
      if (taken === 0) break
      at += taken
    }
    if (at > from) this.publish()
    return at - from
  }

  /** Publishes one control record. @returns false: no room, try again after a signal */
  pushControl(kind: number, epoch: number): boolean {
    if (!this.makeContiguous(RECORD_HEADER_BYTES, kind === KIND_MOVED ? 0 : RESERVE_BYTES)) return false
    const at = this.position & this.mask
    this.words.fill(0, at >> 2, (at + RECORD_HEADER_BYTES) >> 2)
    this.words[(at + RECORD_LENGTH) >> 2] = RECORD_HEADER_BYTES
    this.bytes[at + RECORD_KIND] = kind
    this.words[(at + RECORD_SOURCE_OFFSET) >> 2] = epoch | 0
    this.words[(at + RECORD_SOURCE_OFFSET + 4) >> 2] = Math.floor(epoch / 4294967296)
    this.position = (this.position + RECORD_HEADER_BYTES) | 0
    this.publish()
    return true
  }

  /** Asks for a signal once room was made. @returns false: there is room for `bytes` now, no signal will come */
  wantRoom(bytes: number): boolean {
    // Closes the race with a consumer that released between our look and our wish: wish first, then look again.
    Atomics.store(this.control, WANTS_ROOM, 1)
    this.released = Atomics.load(this.control, RELEASED)
    // Never less than a mark behind padding takes, or it would be refused and not waited for.
    if (this.free() < Math.max(RESERVE_BYTES, Math.min(bytes, this.capacity >> 1))) return true
    Atomics.store(this.control, WANTS_ROOM, 0)
    return false
  }

  private free(): number {
    return this.capacity - ((this.position - this.released) >>> 0) - RESERVE_BYTES
  }

  /** Copies one contiguous run. @returns bytes taken */
  private copy(bytes: Uint8Array, words: Int32Array, from: number, to: number): number {
    const first = words[from >> 2]!
    if (!this.makeContiguous(first, RESERVE_BYTES)) return 0
    const at = this.position & this.mask
    const room = Math.min(this.capacity - at, this.free())
    let end = to
    if (to - from > room) {
      end = from + first
      while (end < to && end + words[end >> 2]! - from <= room) end += words[end >> 2]!
    }
    this.bytes.set(bytes.subarray(from, end), at)
    this.position = (this.position + (end - from)) | 0
    return end - from
  }

  /** Makes `needed` contiguous bytes at the position, padding the end of the ring where they would straddle it. */
  private makeContiguous(needed: number, reserve: number): boolean {
    const at = this.position & this.mask
    const tail = this.capacity - at
    const wanted = needed <= tail ? needed : tail + needed
    if (this.free() + RESERVE_BYTES - reserve < wanted) {
      // Order: RELEASED is read before the space it frees is written to.
      this.released = Atomics.load(this.control, RELEASED)
      if (this.free() + RESERVE_BYTES - reserve < wanted) return false
    }
    if (needed > tail) {
      this.words[(at + RECORD_LENGTH) >> 2] = tail
      this.words[(at + RECORD_KIND) >> 2] = KIND_PADDING
      this.position = (this.position + tail) | 0
    }
    return true
  }

  private publish(): void {
    if (Atomics.load(this.control, RELEASED) === Atomics.load(this.control, WRITTEN)) {
      Atomics.store(this.control, SINCE, clockUs())
    }
    // The store makes the copied bytes visible before the position that covers them.
    Atomics.store(this.control, WRITTEN, this.position)
  }
}

/** Where a run of a ring or stage begins and ends, in bytes of its `bytes`; reused. */
export interface Run {
  from: number
  to: number
}

export class RingReader extends RingSide {
  /** The position up to which everything was released; a copy of RELEASED, which this side alone writes. */
  released = 0

  constructor(memory: SharedArrayBuffer) {
    super(memory)
    this.released = Atomics.load(this.control, RELEASED)
  }

  /** Position after the last published byte. */
  written(): number {
    return Atomics.load(this.control, WRITTEN)
  }

  /** When the oldest unread batch was published, µs of `clockUs`. */
  since(): number {
    return Atomics.load(this.control, SINCE)
  }

  /**
   * The contiguous run of records that begins at `position`, padding skipped. // hot
   *
   * @param run receives it; empty where nothing is there
   * @returns the position of its first byte: `position` or, after padding, the start of the ring
   */
  peek(position: number, run: Run): number {
    const written = Atomics.load(this.control, WRITTEN)
    let at = position & this.mask
    let ahead = (written - position) >>> 0
    if (ahead > 0 && this.bytes[at + RECORD_KIND] === KIND_PADDING) {
      const padding = this.words[at >> 2]!
      position = (position + padding) | 0
      ahead -= padding
      at = position & this.mask
    }
    run.from = at
    run.to = at + Math.min(ahead, this.capacity - at)
    return position
  }

  /**
   * Gives everything before `position` back to the producer. // hot
   * @returns true: the producer waits for room and is to be signalled
   */
  release(position: number): boolean {
    this.released = position
    Atomics.store(this.control, RELEASED, position)
    // The exchange takes the wish once, so that one release answers it with one signal.
    return Atomics.load(this.control, WANTS_ROOM) === 1 && Atomics.exchange(this.control, WANTS_ROOM, 0) === 1
  }
}

/** Bytes of the run's leading data records, at most `bytesMax` but at least one record; 0 where a control record leads. // hot */
export function dataRun(bytes: Uint8Array, words: Int32Array, from: number, to: number, bytesMax: number): number {
  let at = from
  while (at < to && bytes[at + RECORD_KIND] === KIND_DATA) {
    const length = words[at >> 2]!
    if (at + length - from > bytesMax && at > from) break
    at += length
  }
  return at - from
}
