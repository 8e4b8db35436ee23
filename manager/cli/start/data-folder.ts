// The folder that a manager, a host or both keep their data in.

import { mkdirSync, mkdtempSync, rmdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { SpqrError } from '../../../schemas/errors.ts'

/** The secret that hosts and manager share, where the manager made it. */
export const HOST_TOKEN_FILE = 'host.token'

const OWN_FILES = [
  ...['secrets.key', HOST_TOKEN_FILE, 'host.json'],
  ...['control.db', 'log.db'].flatMap((file) => ['', '-wal', '-shm', '-journal'].map((suffix) => file + suffix)),
]

/** What no pipeline reads or writes, whatever is permitted. */
export const ownFiles = (folder: string): string[] => OWN_FILES.map((file) => join(folder, file))

/** Makes it. @returns its full path @throws SpqrError INVALID_STATE where it cannot be made or written */
export function dataFolder(path: string): string {
  const folder = resolve(path)
  attempt(folder, 'made', () => make(folder))
  attempt(folder, 'written', () => rmdirSync(mkdtempSync(join(folder, '.spqr-'))))
  return folder
}

/** One after the other: Node's `recursive` never returns where a folder cannot hold any, as /proc. */
function make(folder: string): void {
  const known = statSync(folder, { throwIfNoEntry: false })
  if (known?.isDirectory()) return
  if (dirname(folder) !== folder) make(dirname(folder))
  try {
    mkdirSync(folder)
  } catch (error) {
    // Somebody else may have made it meanwhile.
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw error
  }
}

function attempt(folder: string, what: 'made' | 'written', work: () => void): void {
  try {
    work()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'EEXIST' || code === 'ENOTDIR' ? 'that is a file' : `it cannot be ${what} (${code})`
    throw new SpqrError('INVALID_STATE', `Cannot keep data in "${folder}": ${why}; name another folder with --data.`)
  }
}
