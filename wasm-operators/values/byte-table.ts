// A hash table from bytes to a fixed number of bytes, in linear memory outside of the collector. Entries keep the order
// in which they came; the oldest can be removed.
//
// entry:  0 u32 hash   4 u32 key (pointer)   8 u32 keyBytes   12 u32 (unused)   16 payload

import { allocateBytes, copyBytes, sameBytes } from 'spqr/memory'

const HEADER: usize = 16
const CAPACITY_MIN: u32 = 8

@final
export class ByteTable {
  /** Entries in it. */
  length: u32 = 0
  private entryBytes: usize
  /** A ring: the oldest entry is at `first`. */
  private entries: usize = 0
  private first: u32 = 0
  /** Places for entries, a power of two; the slots are twice as many. */
  private capacity: u32 = 0
  /** Position of the entry in the ring plus 1; 0: none. Linear probing. */
  private slots: usize = 0

  /** @param payloadBytes of each entry, zero at first */
  constructor(payloadBytes: usize) {
    this.entryBytes = (HEADER + payloadBytes + 7) & ~7
  }

  /** Payload of the key, 0 where it is not there. The key's bytes need SLACK behind them. // hot */
  find(key: usize, bytes: usize): usize {
    if (this.length == 0) return 0
    const hash = hashBytes(key, bytes)
    const mask = this.capacity * 2 - 1
    let slot = hash & mask
    while (true) {
      const position = load<u32>(this.slots + (slot << 2))
      if (position == 0) return 0
      const entry = this.entries + (position - 1) * this.entryBytes
      if (load<u32>(entry) == hash && load<u32>(entry, 8) == bytes && sameBytes(load<u32>(entry, 4), key, bytes)) {
        return entry + HEADER
      }
      slot = (slot + 1) & mask
    }
  }

  /** Adds a key that is not there → its payload, valid until the next `add`. */
  add(key: usize, bytes: usize): usize {
    if (this.length == this.capacity) this.grow()
    const position = (this.first + this.length) & (this.capacity - 1)
    const entry = this.entries + position * this.entryBytes
    memory.fill(entry, 0, this.entryBytes)
    const copy = allocateBytes(bytes)
    copyBytes(copy, key, bytes)
    const hash = hashBytes(key, bytes)
    store<u32>(entry, hash)
    store<u32>(entry, copy as u32, 4)
    store<u32>(entry, bytes as u32, 8)
    this.link(hash, position)
    this.length++
    return entry + HEADER
  }

  private link(hash: u32, position: u32): void {
    const mask = this.capacity * 2 - 1
    let slot = hash & mask
    while (load<u32>(this.slots + (slot << 2))) slot = (slot + 1) & mask
    store<u32>(this.slots + (slot << 2), position + 1)
  }

  /** Payload of the n-th entry, the oldest being 0. */
  @inline
  at(index: u32): usize {
    return this.entries + ((this.first + index) & (this.capacity - 1)) * this.entryBytes + HEADER
  }

  /** Key of the entry with this payload. */
  @inline
  keyOf(payload: usize): usize { return load<u32>(payload - HEADER, 4) }
  @inline
  keyBytesOf(payload: usize): usize { return load<u32>(payload - HEADER, 8) }

  /** Removes the oldest entry. */
  removeFirst(): void {
    const mask = this.capacity * 2 - 1
    const entry = this.entries + this.first * this.entryBytes
    let slot = load<u32>(entry) & mask
    while (load<u32>(this.slots + (slot << 2)) != this.first + 1) slot = (slot + 1) & mask
    // Those behind it that probed past this slot move up (Knuth, TAOCP 6.4 R).
    let hole = slot
    while (true) {
      slot = (slot + 1) & mask
      const position = load<u32>(this.slots + (slot << 2))
      if (position == 0) break
      const home = load<u32>(this.entries + (position - 1) * this.entryBytes) & mask
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        store<u32>(this.slots + (hole << 2), position)
        hole = slot
      }
    }
    store<u32>(this.slots + (hole << 2), 0)
    heap.free(load<u32>(entry, 4))
    this.first = (this.first + 1) & (this.capacity - 1)
    this.length--
  }

  private grow(): void {
    const capacity = max(this.capacity * 2, CAPACITY_MIN)
    const entries = allocateBytes((capacity as usize) * this.entryBytes)
    for (let i: u32 = 0; i < this.length; i++) {
      memory.copy(entries + i * this.entryBytes, this.at(i) - HEADER, this.entryBytes)
    }
    if (this.entries) {
      heap.free(this.entries)
      heap.free(this.slots)
    }
    this.entries = entries
    this.first = 0
    this.capacity = capacity
    this.slots = allocateBytes((capacity as usize) << 3)
    memory.fill(this.slots, 0, (capacity as usize) << 3)
    for (let i: u32 = 0; i < this.length; i++) this.link(load<u32>(entries + i * this.entryBytes), i)
  }

  /** Empties it and gives its memory back. */
  clear(): void {
    for (let i: u32 = 0; i < this.length; i++) heap.free(load<u32>(this.at(i) - HEADER, 4))
    if (this.entries) {
      heap.free(this.entries)
      heap.free(this.slots)
    }
    this.entries = 0
    this.slots = 0
    this.first = 0
    this.capacity = 0
    this.length = 0
  }
}

/** Eight bytes at a time, multiplied and folded. // hot */
function hashBytes(at: usize, bytes: usize): u32 {
  let hash: u64 = (bytes as u64) * 0x9e3779b97f4a7c15
  const end = at + bytes
  for (; at + 8 <= end; at += 8) hash = mixed(hash, load<u64>(at))
  if (at < end) hash = mixed(hash, load<u64>(at) & ~((-1 as u64) << (((end - at) as u64) << 3)))
  // What differs in the last bytes alone stands in the upper half: multiplied again, all of it is in the bits that are taken.
  return ((hash * 0x9e3779b97f4a7c15) >> 32) as u32
}

@inline
function mixed(hash: u64, word: u64): u64 {
  const product = (hash ^ word) * 0xd6e8feb86659fd93
  return product ^ (product >> 32)
}
