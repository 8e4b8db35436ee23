// A set of paths that are looked up together, in one walk over a text that checks all of it. The paths form a tree; the
// walk enters it with each field that is named in it, and skips the rest. Nothing is allocated per text.

import { allocateBytes, Constant, sameBytes } from '../memory.ts'
import { parseNumber } from './parse-number.ts'
import { parsePath } from './path.ts'
import {
  DEPTH_MAX,
  escapes,
  isUtf8,
  KIND_STRING,
  kindAt,
  skipContainer,
  skipScalar,
  skipSpace,
  skipString,
  skipValue,
  stops,
} from './scan.ts'
import { decodeString } from './text.ts'
import { Writer } from './writer.ts'

/** What was found at one path. Raw memory of a Paths, valid until its next walk. */
@unmanaged
export class Slot {
  /** The walk that found it; another: missing. */
  stamp: u32
  kind: u32
  /** The value's text; of a string between its quotes. */
  start: usize
  end: usize
  /** Escapes of the text; 0: a string's bytes are its text. */
  escapes: u32
}

/** A step in the tree of paths. */
@unmanaged
class Node {
  stamp: u32
  slot: Slot | null
  /** Children by field; `next` of each links them. */
  fields: Node | null
  /** Children by index. */
  elements: Node | null
  next: Node | null
  key: usize
  keyBytes: usize
  index: u32
  /** Bit n: a field of n bytes (63: or more) is among `fields`. */
  lengths: u64
}

@final
export class Paths {
  private root: Node = changetype<Node>(0)
  private stamp: u32 = 0
  private blocks: usize[] = []
  private keys: Constant[] = []
  private scratch: Writer = new Writer()

  constructor() {
    this.root = this.makeNode()
  }

  private makeNode(): Node {
    const block = allocateBytes(offsetof<Node>())
    memory.fill(block, 0, offsetof<Node>())
    this.blocks.push(block)
    return changetype<Node>(block)
  }

  /**
   * Adds a path; the same path again gives the same slot.
   *
   * @throws Error that says what is wrong with the path
   */
  add(path: string): Slot {
    const steps = parsePath(path)
    let node = this.root
    for (let i = 0; i < steps.length; i++) {
      const field = steps[i].field
      node = field === null ? this.element(node, steps[i].index) : this.field(node, field)
    }
    if (!node.slot) {
      const block = allocateBytes(offsetof<Slot>())
      memory.fill(block, 0, offsetof<Slot>())
      this.blocks.push(block)
      node.slot = changetype<Slot>(block)
    }
    return node.slot!
  }

  private field(parent: Node, name: string): Node {
    const key = Constant.ofText(name)
    let child = parent.fields
    while (child) {
      if (child.keyBytes == key.bytes && sameBytes(child.key, key.pointer, key.bytes)) {
        key.free()
        return child
      }
      child = child.next
    }
    const made = this.makeNode()
    this.keys.push(key)
    made.key = key.pointer
    made.keyBytes = key.bytes
    made.next = parent.fields
    parent.fields = made
    parent.lengths |= (1 as u64) << min<u64>(key.bytes, 63)
    return made
  }

  private element(parent: Node, index: u32): Node {
    let child = parent.elements
    while (child) {
      if (child.index == index) return child
      child = child.next
    }
    const made = this.makeNode()
    made.index = index
    made.next = parent.elements
    parent.elements = made
    return made
  }

  /** Gives its memory back; the set is not to be used again. */
  free(): void {
    for (let i = 0; i < this.blocks.length; i++) heap.free(this.blocks[i])
    for (let i = 0; i < this.keys.length; i++) this.keys[i].free()
    this.scratch.free()
  }

  /**
   * Walks over the text; false: it is not one JSON value, or what a path leads to is not UTF-8. The byte at `end` and
   * SLACK bytes more must be writable. // hot
   */
  read(at: usize, end: usize): bool {
    if (++this.stamp == 0) this.forget()
    const behind = load<u8>(end)
    store<u8>(end, 0)
    at = this.value(skipSpace(at), this.root, 0)
    const whole = at != 0 && skipSpace(at) == end
    store<u8>(end, behind)
    if (!whole) this.stamp++
    return whole
  }

  /** After 2^32 walks the stamps begin again: none of the old ones may look like a new one. */
  private forget(): void {
    this.stamp = 1
    this.clear(this.root)
  }

  private clear(node: Node): void {
    node.stamp = 0
    if (node.slot) node.slot!.stamp = 0
    this.clearAll(node.fields)
    this.clearAll(node.elements)
  }

  private clearAll(child: Node | null): void {
    while (child) {
      this.clear(child)
      child = child.next
    }
  }

  private value(at: usize, node: Node, depth: i32): usize {
    // The field was there before: the last one counts.
    if (node.stamp == this.stamp) this.clear(node)
    node.stamp = this.stamp
    const before = escapes
    const c: u32 = load<u8>(at)
    let end: usize
    if (c == 0x7b) end = node.fields && depth < DEPTH_MAX ? this.object(at + 1, node, depth + 1) : skipContainer(at, depth)
    else if (c == 0x5b) end = node.elements && depth < DEPTH_MAX ? this.array(at + 1, node, depth + 1) : skipContainer(at, depth)
    else if (c == 0x22) end = skipString(at + 1)
    else end = skipScalar(at)
    if (end == 0) return 0
    const slot = node.slot
    if (slot) {
      const quote: usize = c == 0x22 ? 1 : 0
      slot.stamp = this.stamp
      slot.kind = kindAt(at)
      slot.start = at + quote
      slot.end = end - quote
      slot.escapes = escapes - before
      if (!isUtf8(at, end)) return 0
    }
    return end
  }

  /** From behind the opening brace to behind the closing one. // hot */
  private object(at: usize, node: Node, depth: i32): usize {
    at = skipSpace(at)
    let c: u32 = load<u8>(at)
    if (c == 0x7d) return at + 1
    while (true) {
      if (c != 0x22) return 0
      const key = at + 1
      const v = v128.load(key)
      const mask = stops(v)
      let child: Node | null
      if (mask && load<u8>(key + ctz(mask)) == 0x22) {
        // The common case: the whole name and its quote are in these 16 bytes.
        const bytes: usize = ctz(mask)
        at = key + bytes + 1
        child = (node.lengths >> bytes) & 1 ? short(node, v, bytes) : null
      } else {
        const before = escapes
        at = skipString(key)
        if (at == 0) return 0
        child = this.longName(node, key, at - 1, escapes != before)
      }
      at = skipSpace(at)
      if (load<u8>(at) != 0x3a) return 0
      at = skipSpace(at + 1)
      at = child ? this.value(at, child, depth) : skipValue(at, depth)
      if (at == 0) return 0
      at = skipSpace(at)
      c = load<u8>(at)
      if (c == 0x7d) return at + 1
      if (c != 0x2c) return 0
      at = skipSpace(at + 1)
      c = load<u8>(at)
    }
  }

  private longName(node: Node, key: usize, end: usize, escaped: bool): Node | null {
    let bytes = end - key
    if (escaped) {
      this.scratch.clear()
      decodeString(key, end, this.scratch)
      this.scratch.room(16)
      key = this.scratch.start
      bytes = this.scratch.length
    }
    let child = node.fields
    while (child) {
      if (child.keyBytes == bytes && sameBytes(child.key, key, bytes)) return child
      child = child.next
    }
    return null
  }

  private array(at: usize, node: Node, depth: i32): usize {
    at = skipSpace(at)
    if (load<u8>(at) == 0x5d) return at + 1
    let index: u32 = 0
    while (true) {
      let child = node.elements
      while (child && child.index != index) child = child.next
      at = child ? this.value(at, child, depth) : skipValue(at, depth)
      if (at == 0) return 0
      at = skipSpace(at)
      const c: u32 = load<u8>(at)
      if (c == 0x5d) return at + 1
      if (c != 0x2c) return 0
      at = skipSpace(at + 1)
      index++
    }
  }

  /** The last text has something at this path, be it `null`. */
  @inline
  has(slot: Slot): bool {
    return slot.stamp == this.stamp
  }

  /** Kind of what is at this path; KIND_MISSING where nothing is. */
  @inline
  kind(slot: Slot): u32 {
    return slot.stamp == this.stamp ? slot.kind : 0
  }
}

/** The child whose name is the first `bytes` of `v`, at most 15. // hot */
@inline
function short(node: Node, v: v128, bytes: usize): Node | null {
  let child = node.fields
  while (child) {
    if (child.keyBytes == bytes) {
      const same = i8x16.bitmask(i8x16.eq(v, v128.load(child.key)))
      if ((same | (-1 << (bytes as i32))) == -1) return child
    }
    child = child.next
  }
  return null
}

/** The double of a slot of KIND_NUMBER. */
@inline
export function slotNumber(slot: Slot): f64 {
  return parseNumber(slot.start, slot.end)
}

/** Appends the bytes of a slot of KIND_STRING. */
export function slotText(slot: Slot, to: Writer): void {
  if (slot.escapes == 0) to.bytes(slot.start, slot.end - slot.start)
  else decodeString(slot.start, slot.end, to)
}

/** Appends the JSON text of a slot as it stands. */
export function slotRaw(slot: Slot, to: Writer): void {
  const quote: usize = slot.kind == KIND_STRING ? 1 : 0
  to.bytes(slot.start - quote, slot.end - slot.start + 2 * quote)
}

