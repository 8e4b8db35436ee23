// Seals secrets for control.db: AES-256-GCM under a key that lies beside the database (`secrets.key`, readable by its owner
// alone) or comes from SPQR_SECRETS_KEY. A sealed value is bound to its tenant and name, so rows cannot be exchanged.
// Runs on: control.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { SpqrError } from '../../schemas/errors.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** First byte of a sealed value: how the rest is to be read. */
const FORM = 1

export class SecretBox {
  readonly #path: string
  #key: Buffer | undefined

  /**
   * @param folder where `secrets.key` is, or is made when the first secret is sealed
   * @param given text of SPQR_SECRETS_KEY: 32 bytes as 64 hex digits or as base64
   * @throws SpqrError INVALID_STATE where the given key is none
   */
  constructor(folder: string, given?: string) {
    this.#path = join(folder, 'secrets.key')
    if (given !== undefined) this.#key = parseKey(given, 'SPQR_SECRETS_KEY')
  }

  /** nonce, tag and ciphertext; makes the key file where there is none. */
  seal(tenant: string, name: string, value: string): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#keyOrNew(), nonce)
    cipher.setAAD(placeOf(tenant, name))
    const text = Buffer.concat([cipher.update(value, 'utf8'), cipher.final()])
    return Buffer.concat([Buffer.of(FORM), nonce, cipher.getAuthTag(), text])
  }

  /** @throws SpqrError INVALID_STATE where the key is missing or another, or the value was tampered with */
  open(tenant: string, name: string, sealed: Uint8Array): string {
    const key = this.#keyIfThere()
    if (!key) throw this.#cannot(`there is no key: put "${this.#path}" back or set SPQR_SECRETS_KEY`)
    const bytes = Buffer.from(sealed)
    try {
      if (bytes[0] !== FORM) throw new Error('unknown form')
      const textAt = 1 + NONCE_BYTES + TAG_BYTES
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 1 + NONCE_BYTES))
      decipher.setAAD(placeOf(tenant, name))
      decipher.setAuthTag(bytes.subarray(1 + NONCE_BYTES, textAt))
      return Buffer.concat([decipher.update(bytes.subarray(textAt)), decipher.final()]).toString('utf8')
    } catch {
      throw this.#cannot(`"${name}" of tenant "${tenant}" was sealed with another key, or changed since`)
    }
  }

  #cannot(why: string): SpqrError {
    return new SpqrError('INVALID_STATE', `Cannot read the secrets: ${why}.`)
  }

  #keyIfThere(): Buffer | undefined {
    if (this.#key) return this.#key
    let text: string
    try {
      text = readFileSync(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw this.#cannot(`"${this.#path}" cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
    // A backup or copy may have opened it to others.
    if ((statSync(this.#path).mode & 0o077) !== 0) chmodSync(this.#path, 0o600)
    this.#key = parseKey(text, this.#path)
    return this.#key
  }

  #keyOrNew(): Buffer {
    const present = this.#keyIfThere()
    if (present) return present
    const key = randomBytes(KEY_BYTES)
    const file = openSync(this.#path, 'wx', 0o600)
    try {
      writeSync(file, `${key.toString('base64')}\n`)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    this.#key = key
    return key
  }
}

function parseKey(text: string, where: string): Buffer {
  const trimmed = text.trim()
  const key = /^[0-9a-fA-F]{64}$/.test(trimmed) ? Buffer.from(trimmed, 'hex') : Buffer.from(trimmed, 'base64')
  if (key.length === KEY_BYTES && /^[A-Za-z0-9+/_-]+=?$/.test(trimmed)) return key
  throw new SpqrError('INVALID_STATE', `${where} is no key: it must hold 32 bytes as 64 hex digits or as base64.`)
}

const placeOf = (tenant: string, name: string): Buffer => Buffer.from(`${tenant}/${name}`, 'utf8')
