// Constants of settings, and values of records compared with them. Numbers are equal as doubles, strings by their code
// points, arrays element by element, objects by their fields in any order; nothing equals a value of another kind.

import { Settings } from 'spqr'
import { parseNumber } from 'spqr/json/parse-number'
import { KIND_ARRAY, KIND_NUMBER, KIND_OBJECT, KIND_STRING } from 'spqr/json/scan'
import { decodeString } from 'spqr/json/text'
import { Writer } from 'spqr/json/writer'
import { Constant, compareBytes, sameBytes } from 'spqr/memory'

const scratch = new Writer()
const NO_TEXT = new Constant()
const NO_TREE = new Settings()

/** Bytes of the string value between two quotes that was looked at last. */
export let textAt: usize = 0
export let textBytes: usize = 0

/** Sets `textAt` and `textBytes` to the string at `start … end`; valid until the next call. // hot */
@inline
export function useText(start: usize, end: usize, escaped: bool): void {
  if (escaped) {
    scratch.clear()
    decodeString(start, end, scratch)
    scratch.room(1)
    textAt = scratch.start
    textBytes = scratch.length
  } else {
    textAt = start
    textBytes = end - start
  }
}

@final
export class Literal {
  private kind: u32
  private number: f64
  private text: Constant
  private tree: Settings

  constructor(from: Settings) {
    this.kind = from.kind
    this.number = from.number
    this.tree = from.isArray || from.isObject ? from : NO_TREE
    this.text = from.isString ? Constant.ofText(from.string) : NO_TEXT
  }

  get isNumber(): bool { return this.kind == KIND_NUMBER }
  get isString(): bool { return this.kind == KIND_STRING }

  /**
   * The value of this kind at `start … end` (of a string between its quotes) equals the constant. // hot
   *
   * @param escaped a string that has escapes, or may have
   */
  equals(kind: u32, start: usize, end: usize, escaped: bool): bool {
    if (kind != this.kind) return false
    if (kind == KIND_STRING) {
      useText(start, end, escaped)
      return textBytes == this.text.bytes && sameBytes(textAt, this.text.pointer, textBytes)
    }
    if (kind == KIND_NUMBER) return parseNumber(start, end) == this.number
    if (kind == KIND_ARRAY || kind == KIND_OBJECT) {
      const tree = Settings.read(start, end - start)
      return tree !== null && sameTree(tree, this.tree)
    }
    return true
  }

  /** Order of a value against the constant: -1, 0, 1; 2 where they have none (other kinds, neither number nor string). // hot */
  compare(kind: u32, start: usize, end: usize, escaped: bool): i32 {
    if (kind != this.kind) return 2
    if (kind == KIND_NUMBER) {
      const value = parseNumber(start, end)
      return value < this.number ? -1 : i32(value > this.number)
    }
    if (kind != KIND_STRING) return 2
    useText(start, end, escaped)
    const order = compareBytes(textAt, textBytes, this.text.pointer, this.text.bytes)
    return order < 0 ? -1 : i32(order > 0)
  }

  free(): void {
    if (this.text != NO_TEXT) this.text.free()
  }
}

/** Two trees say the same. */
export function sameTree(a: Settings, b: Settings): bool {
  if (a.kind != b.kind || a.length != b.length) return false
  if (a.kind == KIND_NUMBER) return a.number == b.number
  if (a.kind == KIND_STRING) return a.string == b.string
  for (let i = 0; i < a.length; i++) {
    if (!sameTree(a.at(i), a.isObject ? b.get(a.keys[i]) : b.at(i))) return false
  }
  return true
}
