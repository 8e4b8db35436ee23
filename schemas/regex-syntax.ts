// Whether a text is a regular expression in RE2's syntax: no look-around, no back-references, so that it runs in linear
// time. The operator compiles it; here its author gets the sentence, at the pointer.

import * as v from 'valibot'

export const REGEX_CHARACTERS_MAX = 1000
/** RE2's bound of a counted repetition. */
const REPEAT_MAX = 1000
const DEPTH_MAX = 100

/** What is wrong with the pattern, as a sentence; undefined where nothing is. */
export function regexProblem(pattern: string): string | undefined {
  if (pattern.length > REGEX_CHARACTERS_MAX) return `a pattern may have at most ${REGEX_CHARACTERS_MAX} characters`
  let at = 0
  let open = 0
  // Whether there is something to repeat since the last "(" or "|", and whether it was repeated just now.
  let operand = false
  let repeated = false
  while (at < pattern.length) {
    const c = pattern[at]!
    const repetition = c === '{' ? counted(pattern, at) : '*+?'.includes(c) ? c : undefined
    if (repetition !== undefined) {
      if (!operand || repeated) return `"${repetition}" at character ${at + 1} repeats nothing`
      const problem = c === '{' ? countProblem(repetition) : undefined
      if (problem) return problem
      at += repetition.length
      if (pattern[at] === '?') at++
      repeated = true
      continue
    }
    repeated = false
    let end: number | string = at + 1
    if (c === '\\') end = escapeEnd(pattern, at)
    else if (c === '[') end = classEnd(pattern, at)
    else if (c === '(') end = groupEnd(pattern, at)
    if (typeof end === 'string') return end
    if (c === '(') {
      // `(?i)` sets flags and opens nothing.
      if (pattern[end - 1] !== ')') {
        if (++open > DEPTH_MAX) return `groups may be nested at most ${DEPTH_MAX} deep`
        operand = false
      }
    } else if (c === ')') {
      if (open-- === 0) return `")" without "(" at character ${at + 1}`
      operand = true
    } else operand = c !== '|'
    at = end
  }
  return open > 0 ? '")" is missing' : undefined
}

/** The counted repetition that begins here; of any other form RE2 takes the "{" for itself. */
function counted(pattern: string, at: number): string | undefined {
  return /^\{\d+(?:,\d*)?\}/.exec(pattern.slice(at, at + 32))?.[0]
}

function countProblem(repetition: string): string | undefined {
  const [least, most = least] = repetition.slice(1, -1).split(',')
  if (Number(least) > REPEAT_MAX || Number(most) > REPEAT_MAX) return `a repetition may count to at most ${REPEAT_MAX}`
  return most !== '' && Number(most) < Number(least) ? `"${repetition}" counts down` : undefined
}

function escapeEnd(pattern: string, at: number): number | string {
  const c = pattern[at + 1]
  if (c === undefined) return 'ends with a single "\\"'
  const rest = pattern.slice(at)
  if (c === 'Q') {
    const end = pattern.indexOf('\\E', at + 2)
    return end < 0 ? pattern.length : end + 2
  }
  if (c === 'k' || (/[1-9]/.test(c) && !/^\\[1-7][0-7]/.test(rest))) {
    return `back-references such as "\\${c}" are not part of RE2's syntax`
  }
  if (c === 'p' || c === 'P') {
    const property = /^\\[pP](?:[A-Z]|\{\^?[A-Za-z_]+\})/.exec(rest)
    return property ? at + property[0].length : `a Unicode class is written \\pL or \\p{Greek}`
  }
  if (c === 'x') {
    const code = /^\\x(?:[0-9a-fA-F]{2}|\{[0-9a-fA-F]{1,6}\})/.exec(rest)
    return code ? at + code[0].length : 'a character code is written \\x41 or \\x{1F600}'
  }
  const octal = /^\\[0-7]{1,3}/.exec(rest)
  if (octal) return at + octal[0].length
  if (/[A-Za-z]/.test(c) && !/[dDwWsSbBAzafnrtvCE]/.test(c)) return `"\\${c}" is not part of RE2's syntax`
  return at + 1 + (c >= '\ud800' && c <= '\udbff' ? 2 : 1)
}

function classEnd(pattern: string, start: number): number | string {
  let at = start + 1
  if (pattern[at] === '^') at++
  // A bracket that comes first is a character.
  if (pattern[at] === ']') at++
  while (at < pattern.length) {
    const c = pattern[at]
    if (c === ']') return at + 1
    if (c === '\\') {
      if (/^\\[bBAzCQ]/.test(pattern.slice(at, at + 2))) return `"\\${pattern[at + 1]}" has no meaning between brackets`
      const end = escapeEnd(pattern, at)
      if (typeof end === 'string') return end
      at = end
    } else if (c === '[' && pattern[at + 1] === ':') {
      const named = /^\[:\^?[a-z]+:\]/.exec(pattern.slice(at))
      at += named ? named[0].length : 1
    } else at++
  }
  return `"]" is missing after character ${start + 1}`
}

function groupEnd(pattern: string, at: number): number | string {
  if (pattern[at + 1] !== '?') return at + 1
  const rest = pattern.slice(at)
  if (/^\(\?<?[=!]/.test(rest)) return `look-around such as "${rest.slice(0, 3)}" is not part of RE2's syntax`
  if (rest.startsWith('(?>')) return `atomic groups "(?>" are not part of RE2's syntax`
  const group = /^\(\?(?:P?<[A-Za-z0-9_]+>|[imsU]*(?:-[imsU]+)?[:)])/.exec(rest)
  return group ? at + group[0].length : `"${rest.slice(0, 4)}" at character ${at + 1} opens no kind of group`
}

/** A text that is a regular expression. */
export const regexSchema = v.pipe(
  v.string(),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const problem = regexProblem(dataset.value)
    if (problem) addIssue({ message: `is not a regular expression: ${problem}` })
  }),
)
