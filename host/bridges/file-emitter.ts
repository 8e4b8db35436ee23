// The emitter `file`: one line per record, into one file or numbered ones. A checkpoint keeps how long the file was: what
// was written after it is cut off before it is written again, so that no line is lost or doubled.
// Runs on: bridge.

import { SpqrError } from '../../schemas/errors.ts'
import type { Permissions } from '../permissions/permissions.ts'
import { Backoff } from './backoff.ts'
import type { BridgeContext, Emitter, EmitterType } from './bridge.ts'
import { Flushes } from './flushes.ts'
import { CsvLine } from './framing/csv-line.ts'
import { type FileFormat, formatOf } from './framing/open-file.ts'
import { highestNumber, OutputFile, removeNumberedAfter } from './framing/output-file.ts'
import { RecordReader } from './record-reader.ts'
import { copyLine, lineBytes } from './record-text.ts'

interface Settings {
  path: string
  format?: FileFormat
  /** A file that would get longer is followed by the next number. */
  rollBytes?: number
  rollEveryMs?: number
}

interface Position {
  /** Whose lines they are: a fork has its original's position, and no right to cut its file. */
  owner: string
  path: string
  /** 0: the path itself; else the number in the name. */
  number: number
  /** Length of the file. */
  bytes: number
  /** Of CSV: the names of the header. */
  columns?: string[]
}

/** A piece of text of one file. */
interface Piece {
  number: number
  text: Buffer
}

const PIECE_BYTES = 256 << 10
const WAITING_BYTES_MAX = 8 << 20
const LF = 10
const CR = 13
/** What may pass: no room, or a disk that hangs. */
const RETRIABLE = ['ENOSPC', 'EDQUOT', 'EIO', 'EAGAIN', 'EBUSY', 'ESTALE']

export class FileEmitter implements Emitter {
  readonly isCut = true
  readonly #context: BridgeContext
  readonly #permissions: Permissions
  #settings: Settings
  readonly #records = new RecordReader()
  #csv: CsvLine | undefined
  #text: Buffer = Buffer.allocUnsafe(PIECE_BYTES)
  #textBytes = 0
  /** The file that gathers: its number, its length with all that waits, and since when. */
  #number = 0
  #fileBytes = 0
  #since = 0
  readonly #pieces: Piece[] = []
  #waitingBytes = 0
  #isFull = false
  #file: OutputFile | undefined
  #writing: Promise<void> | undefined
  #stopped = false
  readonly #flushes = new Flushes()

  constructor(settings: Settings, context: BridgeContext) {
    this.#settings = settings
    this.#context = context
    this.#permissions = context.permissions.askedBy(
      `component "${context.component}" of pipeline "${context.pipeline}"`,
    )
    if (settings.path.toLowerCase().endsWith('.gz')) {
      const message = 'is written as it is; choose a name without .gz'
      throw new SpqrError('INVALID_DOCUMENT', `Cannot write "${settings.path}": it ${message}.`, {
        issues: [{ pointer: '/path', message }],
      })
    }
    if (this.#format === 'csv') this.#csv = new CsvLine()
  }

  async open(position: unknown): Promise<void> {
    const { path } = this.#settings
    const kept = position as Position | undefined
    const before = kept?.owner === this.#owner && kept.path === path ? kept : undefined
    if (before) this.#number = before.number
    else if (this.#rolls) this.#number = (await highestNumber(this.#permissions.checkWrite(path))) + 1
    this.#file = await OutputFile.open(this.#permissions, path, this.#number)
    try {
      await this.#goOn(this.#file, before)
    } catch (error) {
      await this.#file.close()
      throw error
    }
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    const records = this.#records
    records.set(bytes, from, to)
    let taken = from
    const now = Date.now()
    while (taken < to) {
      if (this.#waitingBytes + this.#textBytes >= WAITING_BYTES_MAX) {
        this.#isFull = true
        break
      }
      records.next()
      this.#add(records, now)
      taken = records.nextAt
    }
    this.#close()
    return taken - from
  }

  async flush(): Promise<unknown> {
    await this.#flushes.wait()
    // Writes may follow: what belongs to this epoch ends here.
    const file = this.#file!
    const { number, bytes } = file
    const columns = this.#csv?.columns
    await file.sync()
    const position: Position = {
      owner: this.#owner,
      path: this.#settings.path,
      number,
      bytes,
      ...(columns ? { columns } : {}),
    }
    return position
  }

  configure(settings: Record<string, unknown>): boolean {
    const wanted = settings as unknown as Settings
    if (wanted.path !== this.#settings.path) return false
    const before = this.#format
    this.#settings = wanted
    if (this.#format !== before) this.#csv = this.#format === 'csv' ? new CsvLine() : undefined
    return true
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#flushes.stop(
      new SpqrError('INVALID_STATE', `The emitter was stopped before it wrote all to "${this.#settings.path}".`),
    )
    await this.#writing
    await this.#file?.close()
  }

  async #goOn(file: OutputFile, before: Position | undefined): Promise<void> {
    if (before) {
      await file.cut(before.bytes)
      await removeNumberedAfter(this.#permissions.checkWrite(this.#settings.path), before.number)
    }
    this.#fileBytes = file.bytes
    this.#since = Date.now()
    if (this.#csv && file.bytes > 0) this.#csv.columns = before?.columns ?? (await file.csvColumns())
  }

  get #format(): FileFormat {
    return this.#settings.format ?? formatOf(this.#settings.path)
  }

  get #rolls(): boolean {
    return this.#settings.rollBytes !== undefined || this.#settings.rollEveryMs !== undefined
  }

  get #owner(): string {
    const { tenant, pipeline, component } = this.#context
    return `${tenant}/${pipeline}/${component}`
  }

  #add(records: RecordReader, now: number): void {
    if (this.#csv) {
      const problem = this.#csv.set(records)
      if (problem !== undefined) this.#refuse(records, problem)
      else this.#addText(this.#csv.line, now)
      return
    }
    if (this.#format === 'lines' && this.#hasLineEnd(records)) {
      this.#refuse(records, 'its value holds a line end, so it is no line')
      return
    }
    const bytes = this.#format === 'lines' && records.isTombstone ? 1 : lineBytes(records)
    this.#rollBefore(bytes, now)
    this.#reserve(bytes)
    if (bytes > 1 || !records.isTombstone) this.#textBytes = copyLine(records, this.#text, this.#textBytes)
    this.#text[this.#textBytes++] = LF
    this.#fileBytes += bytes
  }

  #addText(line: Buffer, now: number): void {
    this.#rollBefore(line.length, now)
    const header = this.#fileBytes === 0 ? this.#csv!.header : undefined
    for (const text of header ? [header, line] : [line]) {
      this.#reserve(text.length)
      this.#text.set(text, this.#textBytes)
      this.#textBytes += text.length
      this.#fileBytes += text.length
    }
  }

  /** Goes on in the next file where this one is full or old. */
  #rollBefore(bytes: number, now: number): void {
    const { rollBytes, rollEveryMs } = this.#settings
    if (this.#fileBytes === 0) {
      this.#since = now
      return
    }
    const isFull = rollBytes !== undefined && this.#fileBytes + bytes > rollBytes
    if (!isFull && !(rollEveryMs !== undefined && now - this.#since >= rollEveryMs)) return
    this.#close()
    this.#number++
    this.#fileBytes = 0
    this.#since = now
  }

  #reserve(bytes: number): void {
    if (this.#textBytes + bytes <= this.#text.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#text.length * 2, this.#textBytes + bytes))
    this.#text.copy(larger, 0, 0, this.#textBytes)
    this.#text = larger
  }

  #close(): void {
    if (this.#textBytes === 0) return
    this.#pieces.push({ number: this.#number, text: Buffer.from(this.#text.subarray(0, this.#textBytes)) })
    this.#flushes.closed()
    this.#waitingBytes += this.#textBytes
    this.#textBytes = 0
    this.#writing ??= this.#writeAll().then(
      () => {
        this.#writing = undefined
      },
      (error: unknown) => {
        if (!this.#stopped) this.#context.fail(SpqrError.from(error))
      },
    )
  }

  async #writeAll(): Promise<void> {
    for (let piece = this.#pieces.shift(); piece && !this.#stopped; piece = this.#pieces.shift()) {
      await this.#writePiece(piece)
      this.#waitingBytes -= piece.text.length
      this.#flushes.delivered()
      if (this.#isFull) {
        this.#isFull = false
        this.#context.ready()
      }
    }
  }

  async #writePiece({ number, text }: Piece): Promise<void> {
    const backoff = new Backoff()
    for (let written = 0; !this.#stopped; ) {
      try {
        if (this.#file!.number !== number)
          this.#file = await this.#file!.next(this.#permissions, this.#settings.path, number)
        while (written < text.length) written += await this.#file!.write(text, written)
        return
      } catch (thrown) {
        const { code = '', message } = thrown as NodeJS.ErrnoException
        if (!RETRIABLE.includes(code)) throw thrown
        this.#context.report(
          new SpqrError('INTERNAL', `Cannot write to "${this.#settings.path}" now: ${message}.`, { cause: thrown }),
        )
        await new Promise((done) => setTimeout(done, backoff.next()))
      }
    }
  }

  #hasLineEnd({ bytes, valueAt, end }: RecordReader): boolean {
    for (let i = valueAt; i < end; i++) if (bytes[i] === LF || bytes[i] === CR) return true
    return false
  }

  #refuse(records: RecordReader, why: string): void {
    const error = new SpqrError('INVALID_RECORD', `Cannot write the record to "${this.#settings.path}": ${why}.`)
    this.#context.deadLetter(error, { key: records.key(), value: records.value() }, records.sourceOffset)
  }
}

export const fileEmitter: EmitterType = {
  create: (settings, context) => new FileEmitter(settings as unknown as Settings, context),
}
