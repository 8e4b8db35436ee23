// Files that a command is given.

import { readFileSync } from 'node:fs'
import { SpqrError } from '../../schemas/errors.ts'

/** @param file "-" is the standard input @throws SpqrError NOT_FOUND */
export function readFile(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : message
    throw new SpqrError('NOT_FOUND', `Cannot read "${file}": ${why}.`)
  }
}
