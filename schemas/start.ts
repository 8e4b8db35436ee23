// Where reading begins: the words of a source's `from`, of a restart, of reading a topic.

import * as v from 'valibot'

/** `earliest | latest | offset:N | time:ISO`, and whatever words the place adds. */
export type Start =
  | { at: 'word'; word: string }
  | { at: 'offset'; offset: bigint }
  | { at: 'time'; timestampMs: number }
  | { at: 'savepoint'; name: string }
  | { at: 'checkpoint'; epoch: number }

const ISO = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/

/**
 * Reads a start.
 * @param words the plain words that are good here
 * @param kept whether `savepoint:NAME` and `checkpoint:EPOCH` are
 * @returns undefined where it is none
 */
export function parseStart(text: string, words: readonly string[], kept = false): Start | undefined {
  if (words.includes(text)) return { at: 'word', word: text }
  // 2^63 - 1 has 19 digits.
  const offset = /^offset:(0|[1-9]\d{0,18})$/.exec(text)
  if (offset) {
    const value = BigInt(offset[1]!)
    return value < 1n << 63n ? { at: 'offset', offset: value } : undefined
  }
  if (text.startsWith('time:')) {
    const time = text.slice(5)
    const timestampMs = ISO.test(time) ? Date.parse(time) : Number.NaN
    return Number.isNaN(timestampMs) ? undefined : { at: 'time', timestampMs }
  }
  const savepoint = /^savepoint:([A-Za-z0-9][A-Za-z0-9._-]{0,127})$/.exec(text)
  if (savepoint && kept) return { at: 'savepoint', name: savepoint[1]! }
  const checkpoint = /^checkpoint:(0|[1-9]\d{0,14})$/.exec(text)
  return checkpoint && kept ? { at: 'checkpoint', epoch: Number(checkpoint[1]) } : undefined
}

/** A text that is a start. */
export const startSchema = (words: readonly string[], kept = false) =>
  v.pipe(
    v.string(),
    v.check(
      (text) => parseStart(text, words, kept) !== undefined,
      `must be one of ${[...words, ...(kept ? ['checkpoint:EPOCH', 'savepoint:NAME'] : []), 'offset:N', 'time:ISO'].join(', ')}`,
    ),
  )

/** `from` of a source `topic`. */
export const TOPIC_START_WORDS = ['committed', 'earliest', 'latest'] as const
/** `from` of a restart. */
export const RESTART_WORDS = ['checkpoint', 'earliest', 'latest'] as const
/** `from` of reading a topic over HTTP. */
export const READ_WORDS = ['earliest', 'latest'] as const
