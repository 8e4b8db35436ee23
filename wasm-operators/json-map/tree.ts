// A record's value as a tree that is unfolded only where a path leads: the rest stays text and is copied as it stands.

import { escapes, KIND_ARRAY, KIND_OBJECT, KIND_STRING, kindAt, skipSpace, skipString, skipValue } from 'spqr/json/scan'
import { decodeString } from 'spqr/json/text'
import { Writer } from 'spqr/json/writer'
import { Constant, sameBytes } from 'spqr/memory'
import { take } from './arena.ts'

/** A value and, inside an object, its field. Memory of the arena. */
@unmanaged
export class Item {
  kind: u32
  /** The value's JSON text. */
  start: usize
  end: usize
  /** Fields or elements, once unfolded. */
  first: Item | null
  next: Item | null
  parent: Item | null
  /** The field's name as JSON text, with its quotes. */
  name: usize
  nameBytes: usize
  /** The name has escapes. */
  escaped: bool
  unfolded: bool
  /** Something inside is not as in the text any more. */
  changed: bool
  removed: bool
  /** Its name or value is not the record's own any more. */
  anew: bool
  /** pick: 1 something inside stays, 2 all of it. */
  kept: u8
}

const scratch = new Writer()

export function makeItem(start: usize, end: usize, parent: Item | null): Item {
  const item = changetype<Item>(take(offsetof<Item>()))
  item.kind = kindAt(start)
  item.start = start
  item.end = end
  item.first = null
  item.next = null
  item.parent = parent
  item.name = 0
  item.nameBytes = 0
  item.escaped = false
  item.unfolded = false
  item.changed = false
  item.removed = false
  item.anew = false
  item.kept = 0
  return item
}

/** Makes the fields or elements; false: the text of the whole is not JSON. The byte behind the text is 0. // hot */
export function unfold(item: Item): bool {
  if (item.unfolded) return true
  item.unfolded = true
  const isObject = item.kind == KIND_OBJECT
  if (!isObject && item.kind != KIND_ARRAY) return true
  const close: u32 = isObject ? 0x7d : 0x5d
  let last: Item | null = null
  let at = skipSpace(item.start + 1)
  if (load<u8>(at) == close) return true
  while (true) {
    const name = at
    let nameBytes: usize = 0
    const before = escapes
    let escaped = false
    if (isObject) {
      if (load<u8>(at) != 0x22) return false
      at = skipString(at + 1)
      if (at == 0) return false
      nameBytes = at - name
      escaped = escapes != before
      at = skipSpace(at)
      if (load<u8>(at) != 0x3a) return false
      at = skipSpace(at + 1)
    }
    const end = skipValue(at, 1)
    if (end == 0) return false
    const made = makeItem(at, end, item)
    made.name = name
    made.nameBytes = nameBytes
    made.escaped = escaped
    if (last) last.next = made
    else item.first = made
    last = made
    at = skipSpace(end)
    const c: u32 = load<u8>(at)
    if (c == close) {
      // Of the whole text the end is not known before.
      if (item.end == 0) item.end = at + 1
      return true
    }
    if (c != 0x2c) return false
    at = skipSpace(at + 1)
  }
}

/** A step of a path: `field` null is an element. */
@final
export class Place {
  constructor(public field: Constant | null, public index: u32) {}
}

/** The item at the path, null where there is none. */
export function find(root: Item, path: Place[]): Item | null {
  let item: Item | null = root
  for (let i = 0, count = path.length; i < count && item; i++) {
    const place = unchecked(path[i])
    const field = place.field
    item = field ? fieldOf(item, field) : elementOf(item, place.index)
  }
  return item
}

/** The field of this name, of duplicates the last. */
@inline
export function fieldOf(item: Item, name: Constant): Item | null {
  if (item.kind != KIND_OBJECT) return null
  if (!item.unfolded) unfold(item)
  let found: Item | null = null
  let child = item.first
  while (child) {
    if (!child.removed && isNamed(child, name)) found = child
    child = child.next
  }
  return found
}

function elementOf(item: Item, index: u32): Item | null {
  if (item.kind != KIND_ARRAY) return null
  unfold(item)
  let child = item.first
  while (child) {
    if (!child.removed && index-- == 0) return child
    child = child.next
  }
  return null
}

@inline
function isNamed(item: Item, name: Constant): bool {
  const bytes = item.nameBytes - 2
  if (bytes == name.bytes && sameBytes(item.name + 1, name.pointer, bytes)) return true
  return item.escaped && bytes >= name.bytes && isNamedWithEscapes(item, name)
}

function isNamedWithEscapes(item: Item, name: Constant): bool {
  const start = item.name + 1
  const bytes = item.nameBytes - 2
  scratch.clear()
  decodeString(start, start + bytes, scratch)
  scratch.room(1)
  return scratch.length == name.bytes && sameBytes(scratch.start, name.pointer, name.bytes)
}

/** Its text is to be written anew, and that of all around it. */
export function touch(item: Item | null): void {
  while (item && !item.changed) {
    item.changed = true
    item = item.parent
  }
}

/** Takes the item out, with the duplicates of its field. */
export function remove(item: Item): void {
  const parent = item.parent
  item.removed = true
  if (!parent) return
  touch(parent)
  if (item.nameBytes) removeNamesakes(parent, item)
}

/** Takes out all other fields of the same name. */
export function removeNamesakes(parent: Item, item: Item): void {
  const name = nameOf(item)
  let child = parent.first
  while (child) {
    if (child != item && !child.removed && isNamed(child, name)) {
      child.removed = true
      touch(parent)
    }
    child = child.next
  }
  name.free()
}

function nameOf(item: Item): Constant {
  scratch.clear()
  decodeString(item.name + 1, item.name + item.nameBytes - 1, scratch)
  scratch.room(1)
  return Constant.ofBytes(scratch.start, scratch.length)
}

/** Sets a field of an object to a JSON text: in the place of the one it had, or as the last one. */
export function put(item: Item, name: Constant, label: Constant, start: usize, end: usize): void {
  let field = fieldOf(item, name)
  if (field) {
    removeNamesakes(item, field)
    field.kind = kindAt(start)
    field.anew = true
    field.start = start
    field.end = end
    field.first = null
    field.unfolded = false
    field.changed = false
  } else {
    field = makeItem(start, end, item)
    field.name = label.pointer
    field.nameBytes = label.bytes
    field.escaped = true
    field.anew = true
    let last: Item | null = null
    let child = item.first
    while (child) {
      last = child
      child = child.next
    }
    if (last) last.next = field
    else item.first = field
  }
  touch(item)
}

/** Appends the value's JSON text. // hot */
export function print(item: Item, to: Writer): void {
  if (!item.changed) {
    to.bytes(item.start, item.end - item.start)
    return
  }
  const isObject = item.kind == KIND_OBJECT
  to.byte(isObject ? 0x7b : 0x5b)
  let first = true
  let child = item.first
  while (child) {
    const one: Item = child
    child = one.next
    if (one.removed) continue
    if (!first) to.byte(0x2c)
    first = false
    const begin = isObject ? one.name : one.start
    if (isPlain(one)) {
      // Neighbours that stand as they stood are copied at once, with what is between them.
      let end = one.end
      while (child && !child.removed && isPlain(child)) {
        end = child.end
        child = child.next
      }
      to.bytes(begin, end - begin)
    } else {
      if (isObject) {
        to.bytes(one.name, one.nameBytes)
        to.byte(0x3a)
      }
      print(one, to)
    }
  }
  to.byte(isObject ? 0x7d : 0x5d)
}

/** It stands in the record's text, and is as it was. */
@inline
function isPlain(item: Item): bool {
  return !item.changed && !item.anew
}

/** Bytes of a string item as text. */
export function textOf(item: Item, to: Writer): void {
  if (item.kind == KIND_STRING) decodeString(item.start + 1, item.end - 1, to)
  else print(item, to)
}
