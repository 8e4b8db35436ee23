// Files that a command is given.

import { readFileSync } from 'node:fs'
import { SpqrError } from '../../schemas/errors.ts'

/** @param file "-" is the standard input @throws SpqrError NOT_FOUND */
export function readBytes(file: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(file === '-' ? 0 : file))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : message
    throw new SpqrError('NOT_FOUND', `Cannot read "${file}": ${why}.`)
  }
}

/** @throws SpqrError NOT_FOUND, INVALID_BODY */
export function readFile(file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readBytes(file))
  } catch (error) {
    if (error instanceof SpqrError) throw error
    throw new SpqrError('INVALID_BODY', `Cannot read "${file}": it is not UTF-8.`)
  }
}
