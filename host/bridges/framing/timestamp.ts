// A record's time out of its value: ms since 1970 as a number or text, or an ISO 8601 date.
// Runs on: bridge.

import type { PathSegment } from '../../../schemas/json-path.ts'
import { SpanPath } from '../../record/json-span.ts'

const TEXT_BYTES_MAX = 64
const decoder = new TextDecoder()

/** @returns ms since 1970; undefined where the text is no time */
export function parseTimestamp(text: string): number | undefined {
  const trimmed = text.trim()
  if (/^-?\d{1,16}(\.\d{1,9})?$/.test(trimmed)) return bounded(Math.trunc(Number(trimmed)))
  if (!/^[+-]?\d{4,6}-\d{2}/.test(trimmed)) return undefined
  // A date without a zone is UTC, as everything in the product is; the rest is Date's own reading of ISO 8601.
  const zoned = /([zZ]|[+-]\d{2}:?\d{2})$/.test(trimmed.slice(10)) || trimmed.length <= 10 ? trimmed : `${trimmed}Z`
  return bounded(Date.parse(zoned.replace(/^(\S{10}) /, '$1T')))
}

/** Reads the time at a path of JSON values. */
export class JsonTimestamp {
  readonly #path: SpanPath

  constructor(steps: readonly PathSegment[]) {
    this.#path = new SpanPath(steps)
  }

  /** @returns ms since 1970; undefined where there is none */
  read(bytes: Uint8Array, from: number, to: number): number | undefined {
    const at = this.#path.find(bytes, from, to)
    if (at < 0) return undefined
    const end = this.#path.end
    if (end - at > TEXT_BYTES_MAX) return undefined
    const first = bytes[at]
    if (first === 34) return parseTimestamp(decoder.decode(bytes.slice(at + 1, end - 1)))
    // Whole numbers, the common case, without a string.
    let value = 0
    for (let i = at; i < end; i++) {
      const digit = bytes[i]! - 48
      if (digit < 0 || digit > 9) return bounded(Math.trunc(Number(decoder.decode(bytes.slice(at, end)))))
      value = value * 10 + digit
    }
    return bounded(value)
  }
}

function bounded(ms: number): number | undefined {
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? ms : undefined
}
