// Finds where a JSON value lies in bytes, without building it. It trusts that the text is JSON and still never leaves
// its bounds where it is not: -1 means "no such value, or no JSON as far as it was read".
// Runs on: every thread. No allocation but for keys with escapes.

import type { PathSegment } from '../../schemas/json-path.ts'

const QUOTE = 34
const BACKSLASH = 92
const COMMA = 44
const COLON = 58
const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93

/** The first byte at or after `at` that is no white space. // hot */
export function skipSpace(bytes: Uint8Array, at: number, to: number): number {
  while (at < to) {
    const c = bytes[at]!
    if (c !== 32 && c !== 10 && c !== 13 && c !== 9) break
    at++
  }
  return at
}

/** @param at of the opening quote @returns after the closing one, -1: there is none // hot */
export function skipString(bytes: Uint8Array, at: number, to: number): number {
  for (let i = at + 1; i < to; i++) {
    const c = bytes[i]!
    if (c === QUOTE) return i + 1
    if (c === BACKSLASH) i++
  }
  return -1
}

/** @param at of the value's first byte @returns after its last, -1: it does not end // hot */
export function skipValue(bytes: Uint8Array, at: number, to: number): number {
  if (at >= to) return -1
  const first = bytes[at]!
  if (first === QUOTE) return skipString(bytes, at, to)
  if (first === OPEN_BRACE || first === OPEN_BRACKET) {
    let depth = 0
    for (let i = at; i < to; ) {
      const c = bytes[i]!
      if (c === QUOTE) {
        i = skipString(bytes, i, to)
        if (i < 0) return -1
        continue
      }
      if (c === OPEN_BRACE || c === OPEN_BRACKET) depth++
      else if ((c === CLOSE_BRACE || c === CLOSE_BRACKET) && --depth === 0) return i + 1
      i++
    }
    return -1
  }
  let i = at
  while (i < to) {
    const c = bytes[i]!
    if (c === COMMA || c === CLOSE_BRACE || c === CLOSE_BRACKET || c <= 32) break
    i++
  }
  return i === at ? -1 : i
}

/** Where a member of an object begins. Of duplicate keys the last counts. */
export function findMember(bytes: Uint8Array, at: number, to: number, key: Uint8Array, keyText: string): number {
  let found = -1
  if (bytes[at] !== OPEN_BRACE) return -1
  let i = skipSpace(bytes, at + 1, to)
  while (i < to && bytes[i] === QUOTE) {
    const keyEnd = skipString(bytes, i, to)
    if (keyEnd < 0) return -1
    const isIt = sameKey(bytes, i + 1, keyEnd - 1, key, keyText)
    i = skipSpace(bytes, keyEnd, to)
    if (bytes[i] !== COLON) return -1
    i = skipSpace(bytes, i + 1, to)
    if (isIt) found = i
    i = skipValue(bytes, i, to)
    if (i < 0) return -1
    i = skipSpace(bytes, i, to)
    if (bytes[i] !== COMMA) break
    i = skipSpace(bytes, i + 1, to)
  }
  return i < to && bytes[i] === CLOSE_BRACE ? found : -1
}

/** Where an item of an array begins. */
export function findItem(bytes: Uint8Array, at: number, to: number, index: number): number {
  if (bytes[at] !== OPEN_BRACKET) return -1
  let i = skipSpace(bytes, at + 1, to)
  if (bytes[i] === CLOSE_BRACKET) return -1
  for (let n = 0; i < to; n++) {
    if (n === index) return i
    i = skipValue(bytes, i, to)
    if (i < 0) return -1
    i = skipSpace(bytes, i, to)
    if (bytes[i] !== COMMA) return -1
    i = skipSpace(bytes, i + 1, to)
  }
  return -1
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A path into JSON values, made ready to be looked up in bytes. */
export class SpanPath {
  readonly #steps: { text: string; key: Uint8Array; index: number }[]
  /** Where the value that `find` found ends. */
  end = -1

  constructor(steps: readonly PathSegment[]) {
    this.#steps = steps.map((step) =>
      typeof step === 'number'
        ? { text: '', key: new Uint8Array(0), index: step }
        : { text: step, key: encoder.encode(step), index: -1 },
    )
  }

  /** @returns where the value at this path begins, -1: there is none; `end` says where it ends */
  find(bytes: Uint8Array, from: number, to: number): number {
    let at = skipSpace(bytes, from, to)
    for (let s = 0; s < this.#steps.length && at >= 0; s++) {
      const step = this.#steps[s]!
      at = step.index >= 0 ? findItem(bytes, at, to, step.index) : findMember(bytes, at, to, step.key, step.text)
    }
    this.end = at < 0 ? -1 : skipValue(bytes, at, to)
    return this.end < 0 ? -1 : at
  }
}

function sameKey(bytes: Uint8Array, from: number, to: number, key: Uint8Array, keyText: string): boolean {
  let escaped = false
  const same = to - from === key.length
  for (let i = from; i < to; i++) {
    const c = bytes[i]!
    if (c === BACKSLASH) {
      escaped = true
      break
    }
    if (same && c !== key[i - from]) return false
  }
  if (!escaped) return same
  try {
    return JSON.parse(decoder.decode(bytes.slice(from - 1, to + 1))) === keyText
  } catch {
    return false
  }
}
