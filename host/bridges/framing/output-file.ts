// One file being written at its end, by one writer; and the numbered names of files that follow one another.
// Runs on: bridge.

import { constants } from 'node:fs'
import { type FileHandle, open as openFile, readdir, unlink } from 'node:fs/promises'
import { basename, dirname, extname } from 'node:path'
import { SpqrError } from '../../../schemas/errors.ts'
import type { Permissions } from '../../permissions/permissions.ts'
import { CsvFramer } from './csv-framer.ts'

/** Of the file system, that the path itself is to blame for. */
const PATH_ERRORS = ['EISDIR', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'ENXIO', 'ENAMETOOLONG', 'ELOOP']

/** Real paths that are open here: two writers of one file would write over each other. */
const openPaths = new Set<string>()
const HEADER_BYTES_MAX = 1 << 20
const DIGITS = 6

export class OutputFile {
  readonly number: number
  /** Its length; writing goes on there. */
  bytes: number
  readonly #path: string
  readonly #handle: FileHandle

  private constructor(handle: FileHandle, path: string, number: number, bytes: number) {
    this.#handle = handle
    this.#path = path
    this.number = number
    this.bytes = bytes
  }

  /**
   * Opens the file of this number, making it where there is none.
   * @throws SpqrError PERMISSION_DENIED, IN_USE, NOT_FOUND (its folder), INVALID_DOCUMENT; errors of the file system
   */
  static async open(permissions: Permissions, path: string, number: number): Promise<OutputFile> {
    const real = permissions.checkWrite(numberedPath(path, number))
    if (openPaths.has(real)) throw new SpqrError('IN_USE', `Cannot write "${real}": another emitter writes it.`)
    openPaths.add(real)
    let handle: FileHandle | undefined
    try {
      // A link put in its place since would lead elsewhere, a fifo would block.
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
      handle = await openFile(real, flags, 0o644)
      const info = await handle.stat()
      if (!info.isFile()) throw new SpqrError('INVALID_DOCUMENT', `Cannot write "${real}": it is no regular file.`)
      return new OutputFile(handle, real, number, info.size)
    } catch (thrown) {
      openPaths.delete(real)
      await handle?.close()
      const { code, message } = thrown as NodeJS.ErrnoException
      if (code === 'ENOENT')
        throw new SpqrError('NOT_FOUND', `Cannot write "${real}": there is no folder "${dirname(real)}".`)
      if (code !== undefined && PATH_ERRORS.includes(code)) {
        throw new SpqrError('INVALID_DOCUMENT', `Cannot write "${real}": ${message}.`, {
          issues: [{ pointer: '/path', message }],
        })
      }
      throw thrown
    }
  }

  /** Makes this one durable and opens another of the same name. */
  async next(permissions: Permissions, path: string, number: number): Promise<OutputFile> {
    const next = await OutputFile.open(permissions, path, number)
    await this.sync()
    await this.close()
    return next
  }

  /** Forgets what was written after a checkpoint. @throws SpqrError INVALID_STATE where it has less than that */
  async cut(bytes: number): Promise<void> {
    if (this.bytes < bytes) {
      throw new SpqrError(
        'INVALID_STATE',
        `Cannot go on in "${this.#path}": it has ${this.bytes} bytes, ${bytes} were delivered to it.`,
      )
    }
    await this.#handle.truncate(bytes)
    this.bytes = bytes
  }

  /** The names in its first row, of which it has one. */
  async csvColumns(): Promise<string[]> {
    const { bytesRead, buffer } = await this.#handle.read(
      Buffer.alloc(Math.min(this.bytes, HEADER_BYTES_MAX)),
      0,
      null,
      0,
    )
    const framer = new CsvFramer({ recordBytesMax: HEADER_BYTES_MAX, source: 0, line: 1, refuse: () => {} })
    framer.readHeader(buffer, 0, bytesRead, true)
    return framer.columns
  }

  /** Writes from `from` on. @returns bytes written, perhaps not all */
  async write(text: Buffer, from: number): Promise<number> {
    const { bytesWritten } = await this.#handle.write(text, from, text.length - from, this.bytes)
    this.bytes += bytesWritten
    return bytesWritten
  }

  sync(): Promise<void> {
    return this.#handle.datasync()
  }

  async close(): Promise<void> {
    openPaths.delete(this.#path)
    await this.#handle.close()
  }
}

/** `out.csv` and 7 → `out-000007.csv`; 0 is the path itself. */
export function numberedPath(path: string, number: number): string {
  if (number === 0) return path
  const extension = extname(path)
  return `${path.slice(0, path.length - extension.length)}-${String(number).padStart(DIGITS, '0')}${extension}`
}

/** The highest number that a file of this name has; 0: none has one. */
export async function highestNumber(path: string): Promise<number> {
  return (await numbersOf(path)).reduce((a, b) => Math.max(a, b), 0)
}

/** Removes files with higher numbers: they were begun after the checkpoint that is gone on from. */
export async function removeNumberedAfter(path: string, number: number): Promise<void> {
  if (number === 0) return
  for (const n of await numbersOf(path)) if (n > number) await unlink(numberedPath(path, n))
}

async function numbersOf(path: string): Promise<number[]> {
  const extension = extname(path)
  const stem = `${basename(path, extension)}-`
  const names = await readdir(dirname(path)).catch(() => [])
  return names
    .filter((name) => name.startsWith(stem) && name.endsWith(extension))
    .map((name) => name.slice(stem.length, name.length - extension.length))
    .filter((digits) => /^\d{6,15}$/.test(digits))
    .map(Number)
}
