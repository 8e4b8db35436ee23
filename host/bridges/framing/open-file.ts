// One file being read: its bytes, its framer, its place, and whether it is still the file it was.
// Runs on: bridge.

import { close, fstat } from 'node:fs'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { SpqrError } from '../../../schemas/errors.ts'
import type { RecordBuffer } from '../../record/record.ts'
import { type ByteReader, GzipReader, PlainReader } from './byte-reader.ts'
import { CsvFramer } from './csv-framer.ts'
import { CHUNK_BYTES, type Framer } from './framer.ts'
import { pathSteps } from './json-path.ts'
import { LineFramer } from './line-framer.ts'
import { JsonTimestamp } from './timestamp.ts'

export type FileFormat = 'ndjson' | 'csv' | 'lines'

/** What a file was like when it was opened. */
export interface Stamp {
  inode: number
  /** Bytes. */
  size: number
  /** ms since 1970 */
  changedAt: number
}

export interface OpenFileOptions {
  path: string
  format: FileFormat
  source: number
  follow: boolean
  timestampField?: string
  recordBytesMax: number
  onReady(): void
  refuse(error: SpqrError, bytes: Uint8Array, line: number): void
  untimed(line: number): void
  /** Where to go on, in a file that was like this. */
  before?: Stamp & { offset: number; line: number }
}

/** The format that a name says: `.csv` and `.csv.gz`, else `.ndjson`, `.jsonl`, `.json`; other names are plain lines. */
export function formatOf(path: string): FileFormat {
  const name = path.toLowerCase().replace(/\.gz$/, '')
  if (name.endsWith('.csv')) return 'csv'
  return /\.(ndjson|jsonl|json)$/.test(name) ? 'ndjson' : 'lines'
}

export class OpenFile {
  readonly path: string
  readonly stamp: Stamp
  /** It cannot be read on. */
  error: SpqrError | undefined
  readonly #options: OpenFileOptions
  readonly #fd: number
  readonly #reader: ByteReader
  readonly #framer: Framer
  #csv: CsvFramer | undefined
  /** BOM and header are behind. */
  #begun = false
  #follow: boolean

  private constructor(fd: number, stamp: Stamp, options: OpenFileOptions) {
    const { path, before, format, timestampField, onReady } = options
    this.path = path
    this.stamp = stamp
    this.#options = options
    this.#fd = fd
    const isGzip = path.toLowerCase().endsWith('.gz')
    this.#follow = options.follow && !isGzip
    const { recordBytesMax, source, refuse, untimed } = options
    const common = { recordBytesMax, source, refuse, untimed, line: 1 }
    if (format === 'csv') {
      this.#csv = new CsvFramer({ ...common, timestampField })
      this.#framer = this.#csv
    } else {
      const isTimed = timestampField !== undefined && format === 'ndjson'
      const timestamp = isTimed ? new JsonTimestamp(pathSteps(timestampField, 'timestampField')) : undefined
      this.#framer = new LineFramer({ ...common, timestamp, blankLines: format === 'ndjson' ? 'skip' : 'keep' })
    }
    // The header of a CSV file is needed wherever it goes on.
    const offset = before && !this.#csv ? before.offset : 0
    if (before && !this.#csv) this.#framer.line = before.line
    this.#begun = offset > 0
    const onError = (error: SpqrError): void => {
      this.error ??= error
      onReady()
    }
    this.#reader = isGzip
      ? new GzipReader(fd, path, offset, { onReady, onError })
      : new PlainReader(fd, path, offset, stamp.size, this.#follow, { onReady, onError })
  }

  /**
   * @param fd closed by `stop`, or here where it fails
   * @throws SpqrError INVALID_DOCUMENT (no regular file), INVALID_STATE (not the file it was)
   */
  static async open(fd: number, options: OpenFileOptions): Promise<OpenFile> {
    try {
      const info = await promisify(fstat)(fd)
      if (!info.isFile()) {
        throw new SpqrError('INVALID_DOCUMENT', `Cannot read "${options.path}": it is no regular file.`, {
          issues: [{ pointer: '/path', message: `"${options.path}" is no regular file` }],
        })
      }
      const stamp = { inode: info.ino, size: info.size, changedAt: info.mtimeMs }
      const { before } = options
      if (before) checkSame(options.path, before, stamp, options.follow)
      // What came to a file that is not followed, between two starts, is not part of it.
      if (before && !options.follow) Object.assign(stamp, { size: before.size, changedAt: before.changedAt })
      return new OpenFile(fd, stamp, options)
    } catch (error) {
      close(fd, () => {})
      throw error
    }
  }

  /** Where the next record begins, in the stream after decompression. */
  get offset(): number {
    const { offset, from, to } = this.#reader
    return offset - (to - from) - this.#framer.skippedBytes
  }

  /** Number of the next line, from 1. */
  get line(): number {
    return this.#framer.line
  }

  /** Bytes that were there when it was looked at last are read, but for a line that has no end yet. */
  get isAtEnd(): boolean {
    return this.#follow ? this.#reader.offset >= this.stamp.size : this.#reader.ended
  }

  /**
   * Adds records until the chunk is full, nothing more is there now, or the file ends.
   * @returns whether there is more at once, later (`onReady`), or never
   */
  take(out: RecordBuffer, recordsMax: number): 'more' | 'wait' | 'end' {
    const reader = this.#reader
    while (this.error === undefined) {
      // Asked before the bytes are looked at: the end may come while they are.
      const last = reader.ended
      if (this.#begun || this.#begin(last)) {
        const left = recordsMax - out.records
        reader.from = this.#framer.take(reader.bytes, reader.from, reader.to, last, out, left)
        if (out.records >= recordsMax || out.length >= CHUNK_BYTES) return 'more'
      }
      if (last) return 'end'
      if (!reader.refill() && !reader.ended) return 'wait'
    }
    return 'wait'
  }

  /** Reads no further than it goes now. */
  unfollow(): void {
    if (!this.#follow) return
    this.#follow = false
    ;(this.#reader as PlainReader).finish()
  }

  /** @throws SpqrError INVALID_STATE where the followed file was replaced or cut, NOT_FOUND where it is gone */
  async lookForMore(): Promise<void> {
    if (!this.#follow) return
    const info = await stat(this.path).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT'
        ? new SpqrError('NOT_FOUND', `Cannot follow "${this.path}": it vanished.`, { cause: error })
        : new SpqrError('INVALID_STATE', `Cannot follow "${this.path}": ${error.message}.`, { cause: error })
    })
    checkSame(this.path, this.stamp, { inode: info.ino, size: info.size, changedAt: info.mtimeMs }, true)
    this.stamp.size = info.size
    ;(this.#reader as PlainReader).grew(info.size)
  }

  /** @throws SpqrError INVALID_STATE where the bytes that were read are not those of the file any more */
  async checkUnchanged(): Promise<void> {
    const info = await promisify(fstat)(this.#fd)
    checkSame(
      this.path,
      this.stamp,
      { inode: info.ino, size: info.size, changedAt: info.mtimeMs },
      this.#options.follow,
    )
  }

  stop(): void {
    this.#reader.stop()
  }

  /** Leaves a byte order mark out and reads the header. @returns false: more bytes are needed */
  #begin(last: boolean): boolean {
    const reader = this.#reader
    const { bytes, from, to } = reader
    if (to - from < 3 && !last) return false
    if (to - from >= 3 && bytes[from] === 0xef && bytes[from + 1] === 0xbb && bytes[from + 2] === 0xbf) reader.from += 3
    if (this.#csv) {
      try {
        const rows = this.#csv.readHeader(bytes, reader.from, to, last)
        if (rows < 0) return false
        reader.from = rows
      } catch (error) {
        this.error = new SpqrError('INVALID_STATE', `Cannot read "${this.path}": ${SpqrError.from(error).message}`)
        return false
      }
      const { before } = this.#options
      if (before && before.offset > this.offset) {
        reader.seek(before.offset)
        this.#csv.line = before.line
      }
    }
    this.#begun = true
    return true
  }
}

/** Stays the same: its inode, what was read of it, and, where it is not followed, the time of its last change. */
function checkSame(path: string, before: Stamp, now: Stamp, follow: boolean): void {
  let why: string | undefined
  if (now.inode !== before.inode) why = 'another file stands in its place'
  else if (now.size < before.size) why = `it had ${before.size} bytes and has ${now.size}`
  else if (!follow && now.size === before.size && now.changedAt !== before.changedAt) why = 'its content was changed'
  if (why === undefined) return
  throw new SpqrError(
    'INVALID_STATE',
    `Cannot read "${path}" on: ${why}; a file that is read may only grow. Restart the pipeline to read it anew.`,
  )
}
