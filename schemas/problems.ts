// Valibot's issues as the product's: a JSON pointer and one sentence each.

import type * as v from 'valibot'
import type { Issue } from './errors.ts'
import { nearestName } from './nearest-name.ts'

/** A body with more problems than this is told the first ones. */
export const ISSUES_MAX = 200
const SHOWN_CHARACTERS_MAX = 60

/** One more step of a JSON pointer (RFC 6901). */
export const pointerTo = (base: string, key: string | number): string =>
  `${base}/${typeof key === 'number' ? key : key.replaceAll('~', '~0').replaceAll('/', '~1')}`

/** The steps of a JSON pointer. */
export const pointerSegments = (pointer: string): string[] =>
  pointer === ''
    ? []
    : pointer
        .slice(1)
        .split('/')
        .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'))

/** What a value is, short enough for a sentence. */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (value === undefined) return 'missing'
  if (typeof value !== 'string') return String(value)
  return JSON.stringify(value.length > SHOWN_CHARACTERS_MAX ? `${value.slice(0, SHOWN_CHARACTERS_MAX)}…` : value)
}

/**
 * The problems of one `safeParse`.
 * @param base pointer of what was parsed
 */
export function issuesOf(found: readonly v.BaseIssue<unknown>[], base = ''): Issue[] {
  return found.map((issue) => {
    let pointer = base
    for (const item of (issue.path ?? []) as v.IssuePathItem[])
      pointer = pointerTo(pointer, item.key as string | number)
    return { pointer, message: sentence(issue) }
  })
}

const WORDS: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  boolean: 'true or false',
  Object: 'an object',
  Array: 'a list',
}

function sentence(issue: v.BaseIssue<unknown>): string {
  // A sentence of our own.
  if (!issue.message.startsWith('Invalid ')) return issue.message
  const bound = issue.requirement as number
  const unit = Array.isArray(issue.input) ? 'entries' : 'characters'
  switch (issue.type) {
    case 'integer':
      return `must be a whole number, not ${shown(issue.input)}`
    case 'min_value':
      return `must be at least ${bound}, not ${shown(issue.input)}`
    case 'max_value':
      return `must be at most ${bound}, not ${shown(issue.input)}`
    case 'min_length':
      return bound === 1 ? 'must not be empty' : `must have at least ${bound} ${unit}`
    case 'max_length':
      return `must have at most ${bound} ${unit}`
    case 'picklist': {
      const options = [...(issue.expected ?? '').matchAll(/"([^"]*)"/g)].map((match) => match[1]!)
      const nearest = typeof issue.input === 'string' ? nearestName(issue.input, options) : undefined
      const hint = nearest === undefined ? '' : `; did you mean "${nearest}"?`
      return `must be one of ${options.map((o) => `"${o}"`).join(', ')}, not ${shown(issue.input)}${hint}`
    }
    default:
      return `must be ${WORDS[issue.expected ?? ''] ?? issue.expected ?? 'something else'}, not ${shown(issue.input)}`
  }
}

/** The first `ISSUES_MAX` of them, and how many there are beyond. */
export function limited(issues: Issue[]): Issue[] {
  if (issues.length <= ISSUES_MAX) return issues
  const rest = issues.length - ISSUES_MAX
  return [
    ...issues.slice(0, ISSUES_MAX),
    { pointer: '', message: `and ${rest} more ${rest === 1 ? 'problem' : 'problems'}` },
  ]
}
