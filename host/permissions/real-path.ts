// Where a path really leads: links followed as far as it exists, so that `..` and links do not escape a permission.
// Runs on: every thread.

import { readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve, sep } from 'node:path'

const LINKS_MAX = 40

/**
 * The absolute path with every link of its existing part resolved; the rest, which does not exist yet, is kept.
 * @param path absolute, or relative to the working folder
 */
export function realPath(path: string, links = 0): string {
  // A path may name its way through a link (`link/..`), so its parts are resolved in order, not as text.
  const absolute = isAbsolute(path) ? path : `${process.cwd()}${sep}${path}`
  try {
    return realpathSync.native(absolute)
  } catch {
    // Does not exist, or may not be seen: go on with its parent.
  }
  const trimmed = absolute.replace(/\/+$/, '')
  const name = basename(trimmed)
  const parent = dirname(trimmed)
  if (trimmed === '' || parent === trimmed) return sep
  if (name === '.' || name === '..') return resolve(realPath(parent, links), name)
  const above = realPath(parent, links)
  const here = join(above, name)
  // A link that leads nowhere yet would be followed by whoever creates the file.
  const link = linkAt(here)
  if (link === undefined || links >= LINKS_MAX) return here
  return realPath(isAbsolute(link) ? link : join(above, link), links + 1)
}

/** Whether `path` is `folder` or lies in it; both real. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
