// Who a host is, in host.json of its data folder: its id, the folder's own, and the manager that it belongs to.

import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import * as v from 'valibot'
import { SpqrError } from '../../../schemas/errors.ts'
import { ID_PATTERN } from '../../../schemas/names.ts'

const schema = v.object({ id: v.string(), folder: v.string(), manager: v.optional(v.string()) })
export type HostIdentity = v.InferOutput<typeof schema>

const fileOf = (folder: string): string => join(folder, 'host.json')

/**
 * Reads it; what is not there yet is made up.
 * @param id as the command line has it
 * @throws SpqrError INVALID_STATE where the file is none, or says another id
 */
export function readIdentity(folder: string, id: string | undefined): HostIdentity {
  const kept = readKept(folder)
  if (!kept) {
    const made = { id: id ?? newId(), folder: randomBytes(16).toString('base64url') }
    keepIdentity(folder, made)
    return made
  }
  if (id === undefined || id === kept.id) return kept
  const message = `The data folder "${folder}" is of the host "${kept.id}", not "${id}": leave --id out, or name another folder.`
  throw new SpqrError('INVALID_STATE', message)
}

/** Replaces the file as a whole. */
export function keepIdentity(folder: string, identity: HostIdentity): void {
  const file = fileOf(folder)
  const fd = openSync(`${file}.new`, 'w', 0o600)
  try {
    writeSync(fd, `${JSON.stringify(identity)}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(`${file}.new`, file)
}

function readKept(folder: string): HostIdentity | undefined {
  const file = fileOf(folder)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new SpqrError('INVALID_STATE', `Cannot read "${file}" (${code}).`)
  }
  try {
    return v.parse(schema, JSON.parse(text))
  } catch {
    throw new SpqrError('INVALID_STATE', `"${file}" cannot be read as a host's identity: restore it from a backup.`)
  }
}

/** Of the machine's name, with something random: several may run on one. */
function newId(): string {
  const name = hostname()
    .toLowerCase()
    .split('.')[0]!
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 40)
  const id = `${name}-${randomBytes(3).toString('hex')}`
  return ID_PATTERN.test(id) ? id : `host-${randomBytes(3).toString('hex')}`
}
