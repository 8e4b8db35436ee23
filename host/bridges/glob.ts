// Files that a pattern names: `*`, `?` and `[a-z]` within one name, `**` for any folders, `{a,b}` alternatives. Matching
// takes time linear in pattern times name, whatever the pattern: it comes from tenants.
// Runs on: bridge.

import type { Dirent } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { isAbsolute, join, sep } from 'node:path'
import { SpqrError } from '../../schemas/errors.ts'

const ALTERNATIVES_MAX = 256
const FILES_MAX = 10_000
const ENTRIES_MAX = 200_000
/** No file can have such a name, or none has. */
const ABSENT = ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP']

/** The folder that is listed for a pattern: its part before the first wildcard; the whole where it has none. */
export function globBase(pattern: string): string {
  const parts = absolute(pattern).split(sep)
  const wild = parts.findIndex((part) => /[*?{]/.test(part))
  return wild < 0 ? parts.join(sep) : parts.slice(0, wild).join(sep) || sep
}

/**
 * Paths of regular files (or of links, which the caller resolves) by name, each once; a pattern that is itself an
 * existing file means that file.
 * @throws SpqrError INVALID_DOCUMENT where the pattern means too much; errors of the file system other than "not there"
 */
export async function listFiles(pattern: string): Promise<string[]> {
  const whole = absolute(pattern)
  const itself = await lstat(whole).catch(absent)
  if (itself) return [whole]
  const found = new Set<string>()
  let entries = 0
  const visit = async (folder: string, parts: string[], at: number): Promise<void> => {
    const part = parts[at]!
    const isLast = at === parts.length - 1
    if (part !== '**' && !/[*?]/.test(part)) {
      const path = join(folder, part)
      const stat = await lstat(path).catch(absent)
      if (stat && isLast) found.add(path)
      else if (stat) await visit(path, parts, at + 1)
      // Brackets may be part of a name; only where there is no such name they are a set of characters.
      if (stat || !part.includes('[')) return
    }
    const listed: Dirent[] = (await readdir(folder, { withFileTypes: true }).catch(absent)) ?? []
    entries += listed.length
    if (entries > ENTRIES_MAX || found.size > FILES_MAX) {
      throw new SpqrError(
        'INVALID_DOCUMENT',
        `Cannot list "${pattern}": it means more than ${FILES_MAX} files; name fewer.`,
      )
    }
    if (part === '**') await visit(folder, isLast ? ['*'] : parts.slice(at + 1), 0)
    for (const entry of listed) {
      const path = join(folder, entry.name)
      // `**` does not follow links, so it ends.
      if (part === '**') {
        if (entry.isDirectory() && !entry.name.startsWith('.')) await visit(path, parts, at)
      } else if (matchesName(part, entry.name)) {
        if (!isLast) await visit(path, parts, at + 1)
        else if (entry.isFile() || entry.isSymbolicLink()) found.add(path)
      }
    }
  }
  for (const alternative of expandBraces(whole)) {
    const parts = alternative.split(sep).filter((part) => part !== '')
    if (parts.length > 0) await visit(sep, parts, 0)
  }
  return [...found].sort((a, b) => (a < b ? -1 : 1))
}

/** `*` is any run of characters, `?` one, `[a-z_]` one of these, `[!a-z]` one of the others. A leading dot must be written out. */
export function matchesName(pattern: string, name: string): boolean {
  if (name.startsWith('.') && !pattern.startsWith('.')) return false
  let p = 0
  let n = 0
  let star = -1
  let starred = 0
  while (n < name.length) {
    if (pattern[p] === '*') {
      star = p++
      starred = n
    } else if (p < pattern.length && takes(pattern, p, name[n]!)) {
      p = pattern[p] === '[' ? setEnd(pattern, p) : p + 1
      n++
    } else if (star >= 0) {
      // The last star takes one character more.
      p = star + 1
      n = ++starred
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

/** Whether what stands at `p`, no star, takes this character. */
function takes(pattern: string, p: number, character: string): boolean {
  const end = setEnd(pattern, p)
  if (pattern[p] !== '[' || end === p + 1) return pattern[p] === '?' || pattern[p] === character
  const isOthers = pattern[p + 1] === '!' || pattern[p + 1] === '^'
  let isIn = false
  for (let i = isOthers ? p + 2 : p + 1; i < end - 1; i++) {
    const isRange = pattern[i + 1] === '-' && i + 2 < end - 1
    const high = pattern[isRange ? i + 2 : i]!
    if (character >= pattern[i]! && character <= high) isIn = true
    if (isRange) i += 2
  }
  return isIn !== isOthers
}

/** Behind the set that opens at `p`; one further where none does, or it does not close: a `]` right at its start is of it. */
function setEnd(pattern: string, p: number): number {
  if (pattern[p] !== '[') return p + 1
  const first = pattern[p + 1] === '!' || pattern[p + 1] === '^' ? p + 2 : p + 1
  return pattern.indexOf(']', first + 1) + 1 || p + 1
}

/** `a{b,c{d,e}}` → `ab`, `acd`, `ace`. Braces that do not close stand for themselves. */
export function expandBraces(pattern: string): string[] {
  const out: string[] = []
  const queue = [pattern]
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const parts = firstBraces(next)
    if (!parts) out.push(next)
    else queue.unshift(...parts.choices.map((choice) => parts.before + choice + parts.after))
    if (out.length + queue.length > ALTERNATIVES_MAX) {
      throw new SpqrError(
        'INVALID_DOCUMENT',
        `Cannot use the pattern "${pattern}": its braces mean more than ${ALTERNATIVES_MAX} patterns.`,
      )
    }
  }
  return out
}

function firstBraces(pattern: string): { before: string; choices: string[]; after: string } | undefined {
  for (let open = pattern.indexOf('{'); open >= 0; open = pattern.indexOf('{', open + 1)) {
    const choices: string[] = []
    let depth = 0
    let from = open + 1
    for (let i = open; i < pattern.length; i++) {
      const c = pattern[i]
      if (c === '{') depth++
      else if (c === ',' && depth === 1) {
        choices.push(pattern.slice(from, i))
        from = i + 1
      } else if (c === '}' && --depth === 0) {
        if (choices.length === 0) break
        choices.push(pattern.slice(from, i))
        return { before: pattern.slice(0, open), choices, after: pattern.slice(i + 1) }
      }
    }
  }
  return undefined
}

function absolute(path: string): string {
  return isAbsolute(path) ? join(path) : join(process.cwd(), path)
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (ABSENT.includes(error.code ?? '')) return undefined
  throw new SpqrError('INVALID_STATE', `Cannot look for files: ${error.message}.`, { cause: error })
}
