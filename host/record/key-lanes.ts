// Which of several lanes a record goes to, by its key or by a value in it. Values that operators take for the same go to the
// same lane: `1` and `1.0`, "a" and "\u0061", objects whatever the order of their fields. The choice is part of what
// checkpoints mean: another hash would look for state where it is not.
// Runs on: compute. No allocation but for values with escapes, fractions, exponents, and for lists and objects.

import { parsePath } from '../../schemas/json-path.ts'
import { SpanPath } from './json-span.ts'
import {
  FLAG_KEY,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_VALUE_BYTES,
} from './record.ts'

const QUOTE = 34
const MINUS = 45
const ZERO = 48
const NINE = 57
const OPEN_BRACKET = 91
const BACKSLASH = 92
const LETTER_F = 102
const LETTER_N = 110
const LETTER_T = 116
const OPEN_BRACE = 123
/** Whole numbers of so few digits are written in one way alone, and are exact doubles. */
const EXACT_DIGITS = 15
/** Lists and objects with more bytes are not looked into: that would hold up the neighbours. */
const TREE_BYTES_MAX = 64 << 10
/** Where records without the value go, those with a list or an object that is too long, and those that are no JSON. `null` counts as missing, as it does for groups. */
const LANE_WITHOUT_VALUE = 0

export class KeyLanes {
  private readonly lanes: number
  /** Null: by the record's key. */
  private readonly path: SpanPath | null

  /**
   * @param by a path, or `key` (a field of that name is `["key"]`)
   * @param lanes how many there are, 1 or more
   * @throws RangeError where it is no path
   */
  constructor(by: string, lanes: number) {
    this.lanes = lanes
    if (by === 'key') {
      this.path = null
      return
    }
    const parsed = parsePath(by)
    if ('problem' in parsed) throw new RangeError(`partitionBy: ${parsed.problem}`)
    this.path = new SpanPath(parsed.segments)
  }

  /** @param at where the record begins @returns 0 … lanes - 1 // hot */
  laneOf(bytes: Uint8Array, words: Int32Array, at: number): number {
    const keyAt = at + RECORD_HEADER_BYTES
    const keyEnd = keyAt + words[(at + RECORD_KEY_BYTES) >> 2]!
    if (this.path === null) {
      if ((bytes[at + RECORD_FLAGS]! & FLAG_KEY) === 0) return LANE_WITHOUT_VALUE
      return this.lane(hashBytes(bytes, keyAt, keyEnd))
    }
    const valueAt = keyEnd + words[(at + RECORD_HEADERS_BYTES) >> 2]!
    const from = this.path.find(bytes, valueAt, valueAt + words[(at + RECORD_VALUE_BYTES) >> 2]!)
    if (from < 0) return LANE_WITHOUT_VALUE
    const to = this.path.end
    const first = bytes[from]!
    if (first === QUOTE) {
      if (hasEscapes(bytes, from, to)) return this.laneOfParsed(bytes, from, to)
      return this.lane(hashBytes(bytes, from + 1, to - 1))
    }
    if (first === LETTER_T || first === LETTER_F) return this.lane(hashBytes(bytes, from, to))
    if (first === LETTER_N) return LANE_WITHOUT_VALUE
    if (isPlainInteger(bytes, from, to)) return this.lane(hashBytes(bytes, from, to))
    return this.laneOfParsed(bytes, from, to)
  }

  /** A value that can be written in several ways. */
  private laneOfParsed(bytes: Uint8Array, from: number, to: number): number {
    const text = identityOf(bytes, from, to)
    return text === null ? LANE_WITHOUT_VALUE : this.lane(hashBytes(text, 0, text.length))
  }

  private lane(hash: number): number {
    return hash % this.lanes
  }
}

/** FNV-1a, then the last steps of murmur3: neighbouring numbers do not land in neighbouring lanes. @returns 32 bits, unsigned // hot */
function hashBytes(bytes: Uint8Array, from: number, to: number): number {
  let h = 0x811c9dc5
  for (let i = from; i < to; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function hasEscapes(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] === BACKSLASH) return true
  return false
}

function isPlainInteger(bytes: Uint8Array, from: number, to: number): boolean {
  const digits = bytes[from] === MINUS ? from + 1 : from
  if (to - digits > EXACT_DIGITS || digits >= to) return false
  // `-0` is `0`, and what begins with another zero is no number.
  if (bytes[digits] === ZERO && (to - digits > 1 || digits > from)) return false
  for (let i = digits; i < to; i++) if (bytes[i]! < ZERO || bytes[i]! > NINE) return false
  return true
}

const encoder = new TextEncoder()

/** @returns bytes that are the same for the same value; null: it is no JSON, or too long */
function identityOf(bytes: Uint8Array, from: number, to: number): Uint8Array | null {
  const first = bytes[from]
  const isTree = first === OPEN_BRACE || first === OPEN_BRACKET
  if (isTree && to - from > TREE_BYTES_MAX) return null
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString())
    return encoder.encode(isTree ? treeText(value) : String(value))
  } catch {
    // No JSON; or so deep that nobody would read it.
    return null
  }
}

/** Compact text with sorted fields. */
function treeText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(treeText).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${fields.map(([name, inner]) => `${wellFormed(name)}:${treeText(inner)}`).join(',')}}`
  }
  return typeof value === 'string' ? wellFormed(value) : String(value)
}

/** Halves of surrogate pairs are one character to whoever reads UTF-8. */
function wellFormed(text: string): string {
  return JSON.stringify(Buffer.from(text).toString())
}
