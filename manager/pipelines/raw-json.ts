// Parts of a JSON text as they are written: a number keeps its digits, which JSON.parse takes from it.
// Runs on: control.

const SPACE = /[ \t\r\n]*/y
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y
const SCALAR = /[^,\]} \t\r\n]+/y
/** What opens, closes or hides a bracket. */
const BRACKET = /"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/g

/** The elements of a list. @param text is known to be a list in JSON */
export function rawElements(text: string): string[] {
  return partsOf(text).map(({ value }) => value)
}

/** The member of an object, of duplicates the last; undefined: there is none. @param text is known to be JSON */
export function rawMember(text: string, name: string): string | undefined {
  if (text[after(SPACE, text, 0)] !== '{') return undefined
  return partsOf(text).findLast((part) => JSON.parse(part.name) === name)?.value
}

function partsOf(text: string): { name: string; value: string }[] {
  const parts: { name: string; value: string }[] = []
  const open = after(SPACE, text, 0)
  const isObject = text[open] === '{'
  let at = after(SPACE, text, open + 1)
  while (text[at] !== '}' && text[at] !== ']') {
    let name = ''
    if (isObject) {
      const end = after(STRING, text, at)
      name = text.slice(at, end)
      at = after(SPACE, text, after(SPACE, text, end) + 1)
    }
    const end = valueEnd(text, at)
    parts.push({ name, value: text.slice(at, end) })
    at = after(SPACE, text, end)
    if (text[at] === ',') at = after(SPACE, text, at + 1)
  }
  return parts
}

function valueEnd(text: string, at: number): number {
  if (text[at] === '"') return after(STRING, text, at)
  if (text[at] !== '{' && text[at] !== '[') return after(SCALAR, text, at)
  let depth = 0
  BRACKET.lastIndex = at
  for (let found = BRACKET.exec(text); found; found = BRACKET.exec(text)) {
    if (found[0] === '{' || found[0] === '[') depth++
    else if (found[0].length === 1 && --depth === 0) return BRACKET.lastIndex
  }
  throw new SyntaxError('a bracket does not close')
}

function after(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  if (!pattern.test(text)) throw new SyntaxError(`no JSON at character ${at + 1}`)
  return pattern.lastIndex
}
