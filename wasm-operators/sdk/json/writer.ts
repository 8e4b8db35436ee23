// A growing run of bytes outside of the collector, used again and again: what is written there allocates nothing.

import { allocateBytes, copyBytes, SLACK } from '../memory.ts'

@final
export class Writer {
  /** Where the bytes begin; moves when it grows. */
  start: usize = 0
  /** Bytes written. */
  length: usize = 0
  private capacity: usize = 0

  @inline
  clear(): void {
    this.length = 0
  }

  /** Makes room for `bytes` more and answers where they go. // hot */
  @inline
  room(bytes: usize): usize {
    if (this.length + bytes > this.capacity) this.grow(bytes)
    return this.start + this.length
  }

  private grow(bytes: usize): void {
    let capacity: usize = max<usize>(this.capacity * 2, 256)
    while (capacity < this.length + bytes) capacity *= 2
    const larger = allocateBytes(capacity)
    if (this.start) {
      memory.copy(larger, this.start, this.length)
      heap.free(this.start)
    }
    this.start = larger
    this.capacity = capacity
  }

  @inline
  byte(c: u8): void {
    store<u8>(this.room(1), c)
    this.length++
  }

  /** Two bytes, the first one low. */
  @inline
  two(pair: u16): void {
    store<u16>(this.room(2), pair)
    this.length += 2
  }

  /** Bytes of a block with SLACK behind it: regions, constants, other writers. // hot */
  @inline
  bytes(from: usize, count: usize): void {
    copyBytes(this.room(count + SLACK), from, count)
    this.length += count
  }

  /** Bytes of anywhere. */
  exactBytes(from: usize, count: usize): void {
    memory.copy(this.room(count), from, count)
    this.length += count
  }

  /** A string as UTF-8. */
  text(text: string): void {
    const at = this.room((text.length as usize) * 3)
    this.length += String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at)
  }

  codePoint(point: u32): void {
    const at = this.room(4)
    if (point < 0x80) {
      store<u8>(at, point)
      this.length += 1
    } else if (point < 0x800) {
      store<u8>(at, 0xc0 | (point >> 6))
      store<u8>(at + 1, 0x80 | (point & 0x3f))
      this.length += 2
    } else if (point < 0x10000) {
      store<u8>(at, 0xe0 | (point >> 12))
      store<u8>(at + 1, 0x80 | ((point >> 6) & 0x3f))
      store<u8>(at + 2, 0x80 | (point & 0x3f))
      this.length += 3
    } else {
      store<u8>(at, 0xf0 | (point >> 18))
      store<u8>(at + 1, 0x80 | ((point >> 12) & 0x3f))
      store<u8>(at + 2, 0x80 | ((point >> 6) & 0x3f))
      store<u8>(at + 3, 0x80 | (point & 0x3f))
      this.length += 4
    }
  }

  toString(): string {
    return String.UTF8.decodeUnsafe(this.start, this.length)
  }

  free(): void {
    if (this.start) heap.free(this.start)
    this.start = 0
    this.length = 0
    this.capacity = 0
  }
}
