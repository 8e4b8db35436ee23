// What makes two JSON values the same one, as bytes: for groups, distinct counts and duplicates. `1` and `1.0` are the
// same, `1` and `"1"` are not; whole numbers beyond 2^53 are told apart by their digits, though a double could not;
// arrays by their elements, objects by their fields in any order. What is missing is `null` here.

import { Settings } from 'spqr'
import { parseNumber } from 'spqr/json/parse-number'
import { Slot } from 'spqr/json/paths'
import { printNumber } from 'spqr/json/print-number'
import { KIND_ARRAY, KIND_MISSING, KIND_NULL, KIND_NUMBER, KIND_OBJECT, KIND_STRING } from 'spqr/json/scan'
import { decodeString, encodeString } from 'spqr/json/text'
import { Writer } from 'spqr/json/writer'

const EXACT: f64 = 9007199254740992
/** Whole numbers of fewer digits are exact doubles. */
const EXACT_DIGITS: usize = 15

/** Appends the identity of a slot whose kind is `kind`. // hot */
export function appendIdentity(kind: u32, slot: Slot, to: Writer): void {
  if (kind == KIND_STRING) {
    to.byte(0x73)
    if (slot.escapes == 0) to.bytes(slot.start, slot.end - slot.start)
    else decodeString(slot.start, slot.end, to)
  } else if (kind == KIND_NUMBER) appendNumber(slot.start, slot.end, to)
  else if (kind == KIND_ARRAY || kind == KIND_OBJECT) appendTree(Settings.read(slot.start, slot.end - slot.start)!, to)
  else to.byte(0x30 + (kind == KIND_MISSING ? (KIND_NULL as u8) : (kind as u8)))
}

function appendNumber(at: usize, end: usize, to: Writer): void {
  const value = parseNumber(at, end)
  if (end - at > EXACT_DIGITS && Math.abs(value) >= EXACT && isWhole(at, end)) {
    to.byte(0x69)
    to.bytes(at, end - at)
    return
  }
  to.byte(0x64)
  store<f64>(to.room(8), value + 0)
  to.length += 8
}

function isWhole(at: usize, end: usize): bool {
  for (; at < end; at++) if (load<u8>(at) == 0x2e || (load<u8>(at) | 0x20) == 0x65) return false
  return true
}

/** Compact text with sorted fields; strings have quotes and so cannot be taken for anything else. */
function appendTree(tree: Settings, to: Writer): void {
  if (tree.isString) {
    const utf8 = String.UTF8.encode(tree.string)
    const copy = new Writer()
    copy.exactBytes(changetype<usize>(utf8), utf8.byteLength)
    copy.room(1)
    encodeString(copy.start, copy.length, to)
    copy.free()
  } else if (tree.isNumber) printNumber(tree.number, to)
  else if (tree.isArray) {
    to.byte(0x5b)
    for (let i = 0; i < tree.length; i++) {
      if (i > 0) to.byte(0x2c)
      appendTree(tree.at(i), to)
    }
    to.byte(0x5d)
  } else if (tree.isObject) {
    const names = tree.keys.slice(0).sort()
    to.byte(0x7b)
    for (let i = 0; i < names.length; i++) {
      if (i > 0) to.byte(0x2c)
      to.text(names[i])
      to.two(0x3a00)
      appendTree(tree.get(names[i]), to)
    }
    to.byte(0x7d)
  } else to.text(tree.raw)
}
