// A set of paths that are looked up together, in one walk over a text. The paths form a tree; the walk enters it with each
// field that is named in it, and skips the rest. Nothing is allocated per text.
//
// There are two walks. One goes byte by byte and agrees with JSON.parse about what is JSON. Where a few fields of the
// outermost object are asked for, the other finds them by masks of 64 bytes: that strings and brackets close, that it is one
// value, and what stands at the paths is checked as strictly; what stands elsewhere is not looked at.

import { allocateBytes, Constant, sameBytes } from '../memory.ts'
import { Children } from './children.ts'
import { BLOCK_BYTES, bitsOf, bracketsIn, bytesIn, escapedNext, escapedOf, stringsOf } from './block.ts'
import { endsWithName, Node, OUTLINED_BYTES_MAX, Slot, shortName } from './node.ts'
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

/** `outline` leaves the text to the walk byte by byte. */
const UNDECIDED: usize = 1
/** More names than this are found faster one by one. */
const OUTLINED_MAX: i32 = 2

export { Slot, slotNumber, slotRaw, slotText } from './node.ts'

@final
export class Paths {
  private root: Node = changetype<Node>(0)
  private stamp: u32 = 0
  /** The root is looked at by blocks. */
  private outlined: bool = false
  private blocks: usize[] = []
  private keys: Constant[] = []
  private children: Children = new Children()
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
    this.outlined = this.isOutlined()
    return node.slot!
  }

  /** A few short names of the root's fields are all that is asked for. */
  private isOutlined(): bool {
    const root = this.root
    if (root.slot || root.elements) return false
    let count = 0
    let child = root.fields
    while (child) {
      if (++count > OUTLINED_MAX || child.keyBytes > OUTLINED_BYTES_MAX) return false
      // In a text these are escaped; a quote would make two strings look like one name.
      for (let i: usize = 0; i < child.keyBytes; i++) {
        const c: u32 = load<u8>(child.key + i)
        if (c < 0x20 || c == 0x22 || c == 0x5c) return false
      }
      child = child.next
    }
    return count > 0
  }

  private field(parent: Node, name: string): Node {
    const key = Constant.ofText(name)
    const found = this.children.field(parent, key.pointer, key.bytes)
    if (found) {
      key.free()
      return found
    }
    const made = this.makeNode()
    this.keys.push(key)
    made.key = key.pointer
    made.keyBytes = key.bytes
    made.next = parent.fields
    parent.fields = made
    parent.lengths |= (1 as u64) << min<u64>(key.bytes, 63)
    this.children.add(parent, made)
    return made
  }

  private element(parent: Node, index: u32): Node {
    const found = this.children.element(parent, index)
    if (found) return found
    const made = this.makeNode()
    made.index = index
    made.next = parent.elements
    parent.elements = made
    this.children.add(parent, made)
    return made
  }

  /** Gives its memory back; the set is not to be used again. */
  free(): void {
    for (let i = 0; i < this.blocks.length; i++) heap.free(this.blocks[i])
    for (let i = 0; i < this.keys.length; i++) this.keys[i].free()
    this.children.free()
    this.scratch.free()
  }

  /**
   * Walks over the text; false: it is not one JSON value, or what a path leads to is not UTF-8. The byte at `end` must be
   * writable, SLACK + BLOCK_BYTES behind it readable. // hot
   */
  read(at: usize, end: usize): bool {
    if (++this.stamp == 0) this.forget()
    const behind = load<u8>(end)
    store<u8>(end, 0)
    at = skipSpace(at)
    let last = this.outlined && load<u8>(at) == 0x7b ? this.outline(at + 1, end) : UNDECIDED
    if (last == UNDECIDED) {
      if (++this.stamp == 0) this.forget()
      last = this.value(at, this.root, 0)
    }
    const whole = last != 0 && skipSpace(last) == end
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

  /**
   * The fields of an object that are named in the tree, found by masks of whole blocks; brackets and strings are all that is
   * looked at of the others. // hot
   *
   * @param at behind the opening brace
   * @returns behind the closing brace; 0: not JSON; UNDECIDED: it needs the walk byte by byte
   */
  private outline(at: usize, end: usize): usize {
    // One bit for each container that is open, set: an object; above them a bit that is always set.
    let open: u64 = 3
    let inString: u64 = 0
    let escaped: u64 = 0
    let escapesGoOn = false
    let startsBefore: u64 = 0
    let last = at
    const first = this.root.fields!
    const bytes = (first.keyBytes as u64) + 1
    for (; at < end; at += BLOCK_BYTES) {
      const a = v128.load(at)
      const b = v128.load(at, 16)
      const c = v128.load(at, 32)
      const d = v128.load(at, 48)
      const within: u64 = end - at < BLOCK_BYTES ? ~((-1 as u64) << ((end - at) as u64)) : -1
      let quotes = within & bitsOf(bytesIn(a, 0x22), bytesIn(b, 0x22), bytesIn(c, 0x22), bytesIn(d, 0x22))
      const sa = bytesIn(a, 0x5c)
      const sb = bytesIn(b, 0x5c)
      const sc = bytesIn(c, 0x5c)
      const sd = bytesIn(d, 0x5c)
      let strings: u64
      if (v128.any_true(v128.or(v128.or(sa, sb), v128.or(sc, sd))) || escaped || escapesGoOn) {
        const slashes = within & bitsOf(sa, sb, sc, sd)
        quotes &= ~escapedOf(slashes, escaped)
        escaped = escapedNext
        strings = stringsOf(quotes) ^ inString
        if (slashes & ~strings) return UNDECIDED
        let rest = escapesGoOn ? slashes | 1 : slashes
        escapesGoOn = false
        while (rest) {
          const closing = quotes & ((-1 as u64) << ctz(rest))
          if (!closing) {
            escapesGoOn = true
            break
          }
          const behind = ctz(closing)
          // A name with escapes may be any name.
          if (load<u8>(skipSpace(at + (behind as usize) + 1)) == 0x3a) return UNDECIDED
          rest &= (-2 as u64) << behind
        }
      } else strings = stringsOf(quotes) ^ inString
      inString = ((strings as i64) >> 63) as u64
      const outside = within & ~strings
      const opening = outside & bitsOf(bracketsIn(a, 0x7b), bracketsIn(b, 0x7b), bracketsIn(c, 0x7b), bracketsIn(d, 0x7b))
      const closing = outside & bitsOf(bracketsIn(a, 0x7d), bracketsIn(b, 0x7d), bracketsIn(c, 0x7d), bracketsIn(d, 0x7d))

      const starts = quotes & strings
      const ends = quotes & ~strings
      let found = ends & ((starts << bytes) | (startsBefore >> (64 - bytes)))
      if (first.next) found |= this.others(starts, startsBefore) & ends
      if (found) {
        const depth = 63 - clz(open)
        do {
          const bit = ctz(found)
          const below = ((1 as u64) << bit) - 1
          if (depth + popcnt(opening & below) - popcnt(closing & below) == 1 && !this.outlinedField(at + (bit as usize))) return 0
          found &= found - 1
        } while (found)
      }
      startsBefore = starts

      let brackets = opening | closing
      if (brackets == 0) continue
      last = at + BLOCK_BYTES - (clz(brackets) as usize)
      do {
        const byte: u64 = load<u8>(at + (ctz(brackets) as usize))
        const kind = (byte >> 5) & 1
        if (byte & 2) {
          if (open <= 1) return 0
          if (open >> 62) return UNDECIDED
          open = (open << 1) | kind
        } else {
          if ((open & 1) != kind) return 0
          open >>= 1
        }
        brackets &= brackets - 1
      } while (brackets)
    }
    return open == 1 && inString == 0 ? last : 0
  }

  /** Where strings as long as the root's second name and those behind it would end. */
  private others(starts: u64, startsBefore: u64): u64 {
    let ends: u64 = 0
    let child = this.root.fields!.next
    while (child) {
      const bytes = (child.keyBytes as u64) + 1
      ends |= (starts << bytes) | (startsBefore >> (64 - bytes))
      child = child.next
    }
    return ends
  }

  /**
   * Reads the value of a field of the root, if that is what ends here.
   *
   * @param quote the closing one of a name, or of some other string of the root
   * @returns false: not JSON
   */
  private outlinedField(quote: usize): bool {
    let child = this.root.fields
    while (child && !endsWithName(child, quote)) child = child.next
    if (!child) return true
    let at = skipSpace(quote + 1)
    if (load<u8>(at) != 0x3a) return true
    let before = quote - child.keyBytes - 2
    while (load<u8>(before) <= 0x20) before--
    const mark: u32 = load<u8>(before)
    if (mark != 0x2c && mark != 0x7b) return false
    at = skipSpace(at + 1)
    if (load<u8>(at) == 0x22 && child.slot) {
      const v = v128.load(at, 1)
      const mask = stops(v)
      const bytes: usize = ctz(mask)
      // The common case: the string ends within 16 bytes and is ASCII.
      if (mask && load<u8>(at + bytes, 1) == 0x22 && !(i8x16.bitmask(v) & (mask ^ (mask - 1)))) {
        if (child.stamp == this.stamp) this.clear(child)
        child.stamp = this.stamp
        const slot = child.slot!
        slot.stamp = this.stamp
        slot.kind = KIND_STRING
        slot.start = at + 1
        slot.end = at + 1 + bytes
        slot.escapes = 0
        at += bytes + 2
      } else at = this.value(at, child, 1)
    } else at = this.value(at, child, 1)
    if (at == 0) return false
    const next: u32 = load<u8>(skipSpace(at))
    return next == 0x2c || next == 0x7d
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
        child = (node.lengths >> bytes) & 1 ? shortName(node, v, bytes) : null
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
