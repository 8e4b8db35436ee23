// The items of a JSON array as the texts they are: numbers keep their digits, which parsing and printing would not.

/**
 * @param text JSON, known to be well formed
 * @param at where the array begins, its bracket
 * @returns the text of each item; raw line ends between their tokens become spaces, so that each is one line
 */
export function jsonItems(text: string, at: number): string[] {
  const items: string[] = []
  let depth = 0
  let from = at + 1
  for (let i = at; i < text.length; i++) {
    const c = text[i]
    if (c === '"') {
      i = endOfString(text, i)
    } else if (c === '[' || c === '{') {
      depth++
    } else if ((c === ',' && depth === 1) || ((c === ']' || c === '}') && --depth === 0)) {
      const item = text.slice(from, i).trim()
      if (item !== '') items.push(item.replace(/[\r\n]+/g, ' '))
      from = i + 1
      if (depth === 0) break
    }
  }
  return items
}

/** Where the string that begins at `at` ends, its last quote. */
function endOfString(text: string, at: number): number {
  let end = text.indexOf('"', at + 1)
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0
  while (text[at - 1 - slashes] === '\\') slashes++
  return slashes % 2 === 1
}
