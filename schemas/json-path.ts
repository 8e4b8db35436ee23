// Paths into JSON: `a.b[0].c`; a field that itself contains a dot is quoted: `["a.b"].c`.

import * as v from 'valibot'

export const PATH_CHARACTERS_MAX = 1024
export const PATH_SEGMENTS_MAX = 64

/** A field name, or an index of a list. */
export type PathSegment = string | number

const FIELD = /[^.[\]"\p{Cc}]+/uy
const INDEX = /\[(0|[1-9]\d{0,8})\]/y
// A JSON string in brackets; JSON.parse has the last word.
const QUOTED = /\[("(?:[^"\\]|\\.)*")\]/y

/** Cuts a path. @returns its segments, or the sentence that says what is wrong */
export function parsePath(path: string): { segments: PathSegment[] } | { problem: string } {
  if (path === '') return { problem: 'a path must not be empty' }
  if (path.length > PATH_CHARACTERS_MAX) return { problem: `a path may have at most ${PATH_CHARACTERS_MAX} characters` }
  const segments: PathSegment[] = []
  let at = 0
  let fieldNext = true
  while (at < path.length) {
    if (path[at] === '[') {
      // `a.["b"]` is nobody's form of a path.
      if (fieldNext && at > 0) return wrong(path, at, 'a field name')
      const index = match(INDEX, path, at)
      if (index) {
        segments.push(Number(index[1]))
        at += index[0].length
      } else {
        const quoted = match(QUOTED, path, at)
        const name = quoted ? unquote(quoted[1]!) : undefined
        if (!quoted || name === undefined) return wrong(path, at, '[index] or ["field"]')
        segments.push(name)
        at += quoted[0].length
      }
    } else {
      const field = fieldNext ? match(FIELD, path, at) : null
      if (!field) return wrong(path, at, fieldNext ? 'a field name' : '"." or "["')
      segments.push(field[0])
      at += field[0].length
    }
    fieldNext = false
    if (path[at] === '.') {
      fieldNext = true
      at++
    }
  }
  if (fieldNext) return wrong(path, at, 'a field name')
  if (segments.length > PATH_SEGMENTS_MAX) return { problem: `a path may have at most ${PATH_SEGMENTS_MAX} steps` }
  return { segments }
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

function unquote(text: string): string | undefined {
  try {
    return JSON.parse(text) as string
  } catch {
    return undefined
  }
}

const wrong = (path: string, at: number, wanted: string): { problem: string } => ({
  problem: `${JSON.stringify(path)} is not a path: ${wanted} expected at character ${at + 1}; write a.b[0].c, and a field with a dot as ["a.b"]`,
})

/** A text that is a path. */
export const pathSchema = v.pipe(
  v.string(),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const parsed = parsePath(dataset.value)
    if ('problem' in parsed) addIssue({ message: parsed.problem })
  }),
)
