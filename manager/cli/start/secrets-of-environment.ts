// What the environment holds that no pipeline may see: taken out of it when read, so that `${env:…}`, worker threads and child
// processes have it no more.

import { SpqrError } from '../../../schemas/errors.ts'

/** Shorter ones can be guessed. */
const TOKEN_LENGTH_MIN = 16

export interface EnvironmentSecrets {
  /** Absent: the manager asks for no tokens. */
  adminToken?: string
  secretsKey?: string
  /** Shared by a manager and its hosts. */
  hostToken?: string
}

/**
 * Reads SPQR_ADMIN_TOKEN, SPQR_SECRETS_KEY and SPQR_HOST_TOKEN.
 * @param warn is told where the token is too short to be safe
 * @throws SpqrError INVALID_STATE where one is set to nothing, which is rarely meant
 */
export function takeEnvironmentSecrets(warn: (line: string) => void): EnvironmentSecrets {
  const adminToken = take('SPQR_ADMIN_TOKEN')
  const secretsKey = take('SPQR_SECRETS_KEY')
  const hostToken = take('SPQR_HOST_TOKEN')
  if (adminToken !== undefined && adminToken.length < TOKEN_LENGTH_MIN) {
    warn(`SPQR_ADMIN_TOKEN has ${adminToken.length} characters, which can be guessed: use 32 random ones or more.`)
  }
  return {
    ...(adminToken === undefined ? {} : { adminToken }),
    ...(secretsKey === undefined ? {} : { secretsKey }),
    ...(hostToken === undefined ? {} : { hostToken }),
  }
}

function take(name: string): string | undefined {
  const value = process.env[name]
  delete process.env[name]
  if (value === undefined || value.trim() !== '') return value?.trim()
  throw new SpqrError('INVALID_STATE', `${name} is set to nothing: give it a value, or unset it.`)
}
