// Strict JSON (RFC 8259) with places: the line and column of each problem and of each value, duplicate keys told, depth
// bounded. JSON.parse has none of these, and its recursion is not ours to bound.

import { DOCUMENT_LIMITS } from './document.ts'
import type { Issue } from './errors.ts'
import { pointerTo } from './problems.ts'
import { FORBIDDEN_FIELD } from './shapes.ts'

/** Offsets in the text of a value, and of the key before it. */
export interface Place {
  key?: number
  value: number
}

export interface JsonText {
  value: unknown
  issues: Issue[]
}

const WHITE = /[ \t\r\n]*/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// Ends before a quote, a backslash or a control character.
const PLAIN = /[^"\\\p{Cc}]*/uy
const WORD = /true|false|null/y

class Stop extends Error {
  readonly at: number
  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

/**
 * Reads one JSON value.
 * @param places takes the offsets of each value by pointer, where they are wanted
 */
export function readJson(text: string, places?: Map<string, Place>): JsonText {
  const reader = new Reader(text, places)
  try {
    const value = reader.document()
    // Only with places are pointers kept; problems are rare, so they are looked for again.
    if (reader.issues.length > 0 && !places) return readJson(text, new Map())
    return { value, issues: reader.issues }
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return {
      value: undefined,
      issues: [...reader.issues, { pointer: '', message: error.message, ...lineOf(text, error.at) }],
    }
  }
}

/** Line and column, both from 1, of an offset; a column is a UTF-16 unit, as editors count. */
export function lineOf(text: string, offset: number): { line: number; column: number } {
  let line = 1
  let start = 0
  for (let at = text.indexOf('\n'); at >= 0 && at < offset; at = text.indexOf('\n', at + 1)) {
    line++
    start = at + 1
  }
  return { line, column: offset - start + 1 }
}

class Reader {
  readonly issues: Issue[] = []
  private readonly text: string
  private readonly places: Map<string, Place> | undefined
  private at = 0

  constructor(text: string, places: Map<string, Place> | undefined) {
    this.text = text
    this.places = places
  }

  document(): unknown {
    this.white()
    if (this.at === this.text.length) throw new Stop('is empty; a JSON value was expected', this.at)
    const value = this.value('', 0)
    this.white()
    if (this.at < this.text.length) throw this.unexpected('the end of the text')
    return value
  }

  private white(): void {
    WHITE.lastIndex = this.at
    WHITE.test(this.text)
    this.at = WHITE.lastIndex
  }

  private value(pointer: string, depth: number, key?: number): unknown {
    if (depth > DOCUMENT_LIMITS.depth) {
      throw new Stop(`is nested more than ${DOCUMENT_LIMITS.depth} deep`, this.at)
    }
    this.places?.set(pointer, { key, value: this.at })
    const c = this.text.charCodeAt(this.at)
    if (c === 0x7b) return this.object(pointer, depth)
    if (c === 0x5b) return this.array(pointer, depth)
    if (c === 0x22) return this.string()
    if (c === 0x2d || (c >= 0x30 && c <= 0x39)) return this.number(pointer)
    WORD.lastIndex = this.at
    const word = WORD.exec(this.text)?.[0]
    if (word === undefined) throw this.unexpected('a value')
    this.at += word.length
    return word === 'null' ? null : word === 'true'
  }

  private object(pointer: string, depth: number): unknown {
    const object: Record<string, unknown> = {}
    this.at++
    this.white()
    if (this.take('}')) return object
    for (;;) {
      const keyAt = this.at
      if (this.text[this.at] !== '"') throw this.unexpected('a field name in double quotes')
      const key = this.string()
      const place = this.places || Object.hasOwn(object, key) || key === FORBIDDEN_FIELD ? pointerTo(pointer, key) : ''
      if (key === FORBIDDEN_FIELD) {
        this.problem(place, `the field name "${FORBIDDEN_FIELD}" is not permitted`, keyAt)
      } else if (Object.hasOwn(object, key)) this.problem(place, `the field "${key}" is there twice`, keyAt)
      this.white()
      if (!this.take(':')) throw this.unexpected('":"')
      this.white()
      const value = this.value(this.places ? place : pointer, depth + 1, keyAt)
      if (key !== FORBIDDEN_FIELD) object[key] = value
      this.white()
      if (this.take('}')) return object
      if (!this.take(',')) throw this.unexpected('"," or "}"')
      this.white()
    }
  }

  private array(pointer: string, depth: number): unknown {
    const list: unknown[] = []
    this.at++
    this.white()
    if (this.take(']')) return list
    for (;;) {
      list.push(this.value(this.places ? pointerTo(pointer, list.length) : pointer, depth + 1))
      this.white()
      if (this.take(']')) return list
      if (!this.take(',')) throw this.unexpected('"," or "]"')
      this.white()
    }
  }

  private string(): string {
    const start = this.at
    PLAIN.lastIndex = start + 1
    PLAIN.test(this.text)
    let end = PLAIN.lastIndex
    if (this.text[end] === '"') {
      this.at = end + 1
      return this.text.slice(start + 1, end)
    }
    while (this.text[end] !== '"') {
      // Past a backslash and what it escapes. C1 controls are texts like any other; C0 ones are not.
      const c = this.text.charCodeAt(end)
      if (c === 0x5c) end += 2
      else if (c > 0x7e) end++
      else if (c < 0x20) throw new Stop('a control character in a text must be written as \\u00XX', end)
      if (end >= this.text.length) throw new Stop('a text in double quotes does not end', start)
      PLAIN.lastIndex = end
      PLAIN.test(this.text)
      end = PLAIN.lastIndex
    }
    this.at = end + 1
    try {
      return JSON.parse(this.text.slice(start, end + 1)) as string
    } catch {
      throw new Stop('a text in double quotes has an escape that JSON does not know', start)
    }
  }

  private number(pointer: string): number {
    NUMBER.lastIndex = this.at
    const found = NUMBER.exec(this.text)?.[0]
    const next = found === undefined ? '' : (this.text[this.at + found.length] ?? '')
    if (found === undefined || /[0-9.eE+-]/.test(next)) throw new Stop('is not a number as JSON writes them', this.at)
    const value = Number(found)
    if (!Number.isFinite(value)) this.problem(pointer, `the number ${found.slice(0, 40)} is too large`, this.at)
    this.at += found.length
    return value
  }

  private take(character: string): boolean {
    if (this.text[this.at] !== character) return false
    this.at++
    return true
  }

  private problem(pointer: string, message: string, at: number): void {
    this.issues.push({ pointer, message, ...lineOf(this.text, at) })
  }

  private unexpected(wanted: string): Stop {
    const found = this.text[this.at]
    const instead = found === undefined ? 'the text ends here' : `found ${JSON.stringify(found)}`
    return new Stop(`is not JSON: ${wanted} was expected, ${instead}`, this.at)
  }
}
