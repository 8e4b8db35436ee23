// The secret that a manager shares with its hosts: SPQR_HOST_TOKEN, else a file of the manager's data folder.

import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { SpqrError } from '../../../schemas/errors.ts'
import { SECRET_LENGTH_MIN } from '../../../schemas/registration.ts'
import { HOST_TOKEN_FILE } from './data-folder.ts'

/**
 * The manager's: of the environment, else of its folder, where it is made when it is first asked for.
 * @throws SpqrError INVALID_STATE where it is too short, or cannot be read
 */
export function managerHostToken(given: string | undefined, folder: string): { token: string; file?: string } {
  if (given !== undefined) return { token: longEnough(given, 'SPQR_HOST_TOKEN') }
  const file = join(folder, HOST_TOKEN_FILE)
  try {
    const fd = openSync(file, 'wx', 0o600)
    try {
      writeSync(fd, `${randomBytes(32).toString('base64url')}\n`)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return { token: tokenOf(file), file }
}

/** A host's: of the environment, else of the file that it was named. @throws SpqrError INVALID_STATE */
export function hostHostToken(given: string | undefined, file: string | undefined): string {
  if (file !== undefined) return tokenOf(file)
  if (given !== undefined) return longEnough(given, 'SPQR_HOST_TOKEN')
  const message =
    'A host must know the secret of its manager: set SPQR_HOST_TOKEN, or name the file that the manager made with --token-file.'
  throw new SpqrError('INVALID_STATE', message)
}

function tokenOf(file: string): string {
  try {
    return longEnough(readFileSync(file, 'utf8').trim(), file)
  } catch (error) {
    if (error instanceof SpqrError) throw error
    const { code } = error as NodeJS.ErrnoException
    throw new SpqrError('INVALID_STATE', `Cannot read "${file}" (${code}): it must hold the secret of the manager.`)
  }
}

function longEnough(token: string, where: string): string {
  if (token.length >= SECRET_LENGTH_MIN) return token
  const message = `The secret of ${where} has ${token.length} characters, which can be guessed: use ${SECRET_LENGTH_MIN} random ones or more.`
  throw new SpqrError('INVALID_STATE', message)
}
