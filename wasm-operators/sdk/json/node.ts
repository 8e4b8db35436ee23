// The tree that the paths of a Paths form: raw memory, so that no step of a walk passes the garbage collector.

import { parseNumber } from './parse-number.ts'
import { KIND_STRING } from './scan.ts'
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
export class Node {
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

/** Bytes of a name that `endsWithName` compares at most. */
export const OUTLINED_BYTES_MAX: usize = 16

/** The child whose name is the first `bytes` of `v`, at most 15. // hot */
@inline
export function shortName(node: Node, v: v128, bytes: usize): Node | null {
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

/** The string whose closing quote this is, is the name of the child, of at most OUTLINED_BYTES_MAX bytes. // hot */
@inline
export function endsWithName(child: Node, quote: usize): bool {
  const name = quote - child.keyBytes
  const same = i8x16.bitmask(i8x16.eq(v128.load(name), v128.load(child.key)))
  return (same | (-1 << (child.keyBytes as i32))) == -1 && load<u8>(name - 1) == 0x22
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
