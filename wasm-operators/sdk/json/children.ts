// Which steps are already in a tree of paths, while paths are added to it: of few nodes the children are gone through, of
// many they are found by a table of hashes. The walk over a text does not need it.

import { allocateBytes, sameBytes } from '../memory.ts'
import { Node } from './node.ts'

/** Nodes without a table. */
const LISTED_MAX: u32 = 16
/** Of a slot: hash, parent, child (0: none). */
const SLOT_BYTES: usize = 12

@final
export class Children {
  private count: u32 = 0
  /** Before there is a table: child and parent of each. */
  private listed: usize[] = []
  /** Linear probing; at most half of the slots are taken. 0: there is none yet. */
  private slots: usize = 0
  private mask: u32 = 0

  /** The field of this name; null: there is none. */
  field(parent: Node, key: usize, bytes: usize): Node | null {
    if (this.slots) return this.find(parent, hashOf(parent, key, bytes, 0), key, bytes, 0)
    let child = parent.fields
    while (child && !(child.keyBytes == bytes && sameBytes(child.key, key, bytes))) child = child.next
    return child
  }

  /** The element of this index; null: there is none. */
  element(parent: Node, index: u32): Node | null {
    if (this.slots) return this.find(parent, hashOf(parent, 0, 0, index), 0, 0, index)
    let child = parent.elements
    while (child && child.index != index) child = child.next
    return child
  }

  /** A child that was not there. */
  add(parent: Node, child: Node): void {
    this.count++
    if (this.count > LISTED_MAX) {
      if (this.count * 2 > this.mask) this.grow()
      this.put(hashOf(parent, child.key, child.keyBytes, child.index), changetype<usize>(parent), changetype<usize>(child))
      return
    }
    this.listed.push(changetype<usize>(child))
    this.listed.push(changetype<usize>(parent))
  }

  free(): void {
    if (this.slots) heap.free(this.slots)
    this.slots = 0
  }

  private find(parent: Node, hash: u32, key: usize, bytes: usize, index: u32): Node | null {
    let slot = hash & this.mask
    while (true) {
      const at = this.slots + (slot as usize) * SLOT_BYTES
      const child = changetype<Node | null>(load<usize>(at, 8))
      if (child === null) return null
      if (load<u32>(at) == hash && load<usize>(at, 4) == changetype<usize>(parent) && isStep(child, key, bytes, index)) {
        return child
      }
      slot = (slot + 1) & this.mask
    }
  }

  private put(hash: u32, parent: usize, child: usize): void {
    let slot = hash & this.mask
    while (load<usize>(this.slots + (slot as usize) * SLOT_BYTES, 8)) slot = (slot + 1) & this.mask
    const at = this.slots + (slot as usize) * SLOT_BYTES
    store<u32>(at, hash)
    store<usize>(at, parent, 4)
    store<usize>(at, child, 8)
  }

  private grow(): void {
    const before = this.slots
    const count = this.mask + 1
    const capacity: u32 = before ? count * 2 : LISTED_MAX * 4
    const bytes = (capacity as usize) * SLOT_BYTES
    this.slots = allocateBytes(bytes)
    memory.fill(this.slots, 0, bytes)
    this.mask = capacity - 1
    if (before) {
      for (let at = before, end = before + (count as usize) * SLOT_BYTES; at < end; at += SLOT_BYTES) {
        const child = load<usize>(at, 8)
        if (child) this.put(load<u32>(at), load<usize>(at, 4), child)
      }
      heap.free(before)
      return
    }
    for (let i = 0; i < this.listed.length; i += 2) {
      const child = changetype<Node>(this.listed[i])
      const parent = changetype<Node>(this.listed[i + 1])
      this.put(hashOf(parent, child.key, child.keyBytes, child.index), this.listed[i + 1], this.listed[i])
    }
    this.listed = []
  }
}

/** Of a field: its name; of an element: its index, and no key. */
function isStep(child: Node, key: usize, bytes: usize, index: u32): bool {
  if (key == 0 || child.key == 0) return key == child.key && child.index == index
  return child.keyBytes == bytes && sameBytes(child.key, key, bytes)
}

/** The parent, then the name byte by byte, or the index. */
function hashOf(parent: Node, key: usize, bytes: usize, index: u32): u32 {
  let hash: u32 = (changetype<usize>(parent) as u32) ^ (index * 0x9e3779b1)
  for (let i: usize = 0; i < bytes; i++) hash = (hash ^ load<u8>(key + i)) * 0x01000193
  hash *= 0x85ebca6b
  return hash ^ (hash >> 15)
}
