// The folder that a manager, a host or both keep their data in.

import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { SpqrError } from '../../../schemas/errors.ts'

/** The secret that hosts and manager share, where the manager made it. */
export const HOST_TOKEN_FILE = 'host.token'

const OWN_FILES = [
  ...['secrets.key', HOST_TOKEN_FILE, 'host.json'],
  ...['control.db', 'log.db'].flatMap((file) => ['', '-wal', '-shm', '-journal'].map((suffix) => file + suffix)),
]

/** What no pipeline reads or writes, whatever is permitted. */
export const ownFiles = (folder: string): string[] => OWN_FILES.map((file) => join(folder, file))

/** Makes it. @returns its full path @throws SpqrError INVALID_STATE where it cannot be made */
export function dataFolder(path: string): string {
  const folder = resolve(path)
  try {
    mkdirSync(folder, { recursive: true })
    return folder
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why = code === 'EEXIST' || code === 'ENOTDIR' ? 'that is a file' : `it cannot be made (${code})`
    throw new SpqrError('INVALID_STATE', `Cannot keep data in "${folder}": ${why}; name another folder with --data.`)
  }
}
