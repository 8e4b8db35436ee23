// The source `file`: lines, NDJSON or CSV of the files that a pattern names, in name order; plain or .gz; to their end
// or followed as the last one grows. Where it is in a file is kept to the byte.
// Runs on: bridge. Owns the chunk it hands out.

import { constants, type FSWatcher, open as openDescriptor, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { SpqrError } from '../../schemas/errors.ts'
import type { Permissions } from '../permissions/permissions.ts'
import { RecordBuffer } from '../record/record.ts'
import { type BridgeContext, type Chunk, ENDED, type Source, type SourceType, WAIT } from './bridge.ts'
import { type FileFormat, formatOf, OpenFile, type Stamp } from './framing/open-file.ts'
import { globBase, listFiles } from './glob.ts'
import { Pacer } from './pacer.ts'

interface Settings {
  path: string
  format?: FileFormat
  recordsPerSecond?: number
  follow?: boolean
  timestampField?: string
}

interface Position extends Stamp {
  /** As the settings said then: a place among other files means nothing. */
  pattern: string
  path: string
  /** Of the next record, in the stream after decompression. */
  offset: number
  /** Its line, from 1. */
  line: number
}

/** How often a followed file is looked at where the system does not say that it changed. */
const POLL_MS = 500
const openFd = promisify(openDescriptor) as (path: string, flags: number) => Promise<number>

export class FileSource implements Source {
  readonly isReread = true
  #settings: Settings
  readonly #context: BridgeContext
  readonly #permissions: Permissions
  readonly #chunk = new RecordBuffer()
  #pacer: Pacer | undefined
  #timer: NodeJS.Timeout | undefined
  #poll: NodeJS.Timeout | undefined
  #watcher: FSWatcher | undefined
  #paths: string[] = []
  #at = 0
  #file: OpenFile | undefined
  #state: 'reading' | 'opening' | 'stopped' | 'failed' = 'opening'
  /** Offset of the last position that was handed out. */
  #handedOffset = 0
  #untimed = 0

  constructor(settings: Settings, context: BridgeContext) {
    this.#settings = settings
    this.#context = context
    this.#permissions = context.permissions.askedBy(
      `component "${context.component}" of pipeline "${context.pipeline}"`,
    )
  }

  async open(position: unknown): Promise<void> {
    const { path, follow, recordsPerSecond } = this.#settings
    this.#permissions.checkRead(globBase(path))
    this.#paths = await this.#list()
    const kept = position as Position | undefined
    const before = kept?.pattern === path ? kept : undefined
    if (before) {
      this.#at = this.#paths.indexOf(before.path)
      if (this.#at < 0) {
        throw new SpqrError(
          'INVALID_STATE',
          `Cannot go on reading "${before.path}": it is gone, or "${path}" no longer names it.`,
        )
      }
    } else if (this.#paths.length === 0 && !follow) {
      throw new SpqrError('NOT_FOUND', `Cannot read "${path}": there is no such file on this host.`, {
        issues: [{ pointer: '/path', message: `no file of this host is named by "${path}"` }],
      })
    }
    if (this.#paths.length > 0) await this.#openFile(before)
    if (recordsPerSecond !== undefined) this.#pacer = new Pacer(recordsPerSecond, performance.now())
    if (follow) this.#poll = setInterval(() => this.#look(), POLL_MS)
    this.#state = 'reading'
  }

  pull(): Chunk | typeof WAIT | typeof ENDED {
    if (this.#state !== 'reading') return WAIT
    const file = this.#file
    if (!file) return this.#settings.follow || this.#at < this.#paths.length ? WAIT : ENDED
    let wanted = Number.MAX_SAFE_INTEGER
    if (this.#pacer) {
      const now = performance.now()
      wanted = this.#pacer.due(now)
      if (wanted === 0) {
        this.#wake(this.#pacer.waitMs(now))
        return WAIT
      }
    }
    const chunk = this.#chunk
    chunk.clear()
    const state = file.take(chunk, wanted)
    this.#pacer?.took(chunk.records)
    if (file.error) {
      this.#fail(file.error)
      return WAIT
    }
    if (chunk.records > 0 || file.offset !== this.#handedOffset) return this.#handOut(file)
    return state === 'end' ? this.#endFile(file) : WAIT
  }

  configure(settings: Record<string, unknown>): boolean {
    const wanted = settings as unknown as Settings
    const rest = (s: Settings): string => JSON.stringify([s.path, s.format, s.follow, s.timestampField])
    if (rest(wanted) !== rest(this.#settings)) return false
    this.#settings = wanted
    const rate = wanted.recordsPerSecond
    if (rate === undefined) this.#pacer = undefined
    else if (this.#pacer) this.#pacer.setRate(rate)
    else this.#pacer = new Pacer(rate, performance.now())
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#context.ready()
    return true
  }

  stop(): Promise<void> {
    this.#state = 'stopped'
    clearTimeout(this.#timer)
    clearInterval(this.#poll)
    this.#watcher?.close()
    this.#file?.stop()
    return Promise.resolve()
  }

  #handOut(file: OpenFile): Chunk {
    this.#handedOffset = file.offset
    const { inode, size, changedAt } = file.stamp
    const position: Position = {
      pattern: this.#settings.path,
      path: file.path,
      inode,
      size,
      changedAt,
      offset: file.offset,
      line: file.line,
    }
    return { bytes: this.#chunk.bytes, from: 0, to: this.#chunk.length, records: this.#chunk.records, position }
  }

  /** The file is read to its end. */
  #endFile(file: OpenFile): typeof WAIT | typeof ENDED {
    if (this.#untimed > 0) {
      const { path } = file
      this.#context.log(
        'warn',
        `${this.#untimed} records of "${path}" have no time at "${this.#settings.timestampField}"; they got the present one.`,
      )
      this.#untimed = 0
    }
    const isLast = this.#at === this.#paths.length - 1
    if (isLast && this.#settings.follow) return WAIT
    this.#state = 'opening'
    // Whether it changed underneath is asked before the next one begins, so that the end is not reported on false data.
    this.#nextFile(file, isLast).catch((error: unknown) => this.#fail(SpqrError.from(error)))
    return WAIT
  }

  async #nextFile(read: OpenFile, isLast: boolean): Promise<void> {
    // A changed file is told from a whole one before the end is.
    await read.checkUnchanged()
    read.stop()
    this.#file = undefined
    this.#at++
    if (!isLast && this.#state === 'opening') await this.#openFile(undefined)
    if (this.#state !== 'opening') return
    this.#state = 'reading'
    this.#context.ready()
  }

  async #list(): Promise<string[]> {
    const paths: string[] = []
    for (const path of await listFiles(this.#settings.path)) {
      const info = await stat(this.#permissions.checkRead(path)).catch(() => undefined)
      // A pattern may meet folders; a path that names one is a mistake, which opening says.
      if (info?.isFile() || path === globBase(this.#settings.path)) paths.push(path)
    }
    return paths
  }

  async #openFile(before: Position | undefined): Promise<void> {
    const path = this.#paths[this.#at]!
    const real = this.#permissions.checkRead(path)
    // A fifo would block the opening, a link put in its place since lead elsewhere.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const fd = await openFd(real, flags).catch((error: NodeJS.ErrnoException) => {
      const code = error.code === 'ENOENT' ? 'NOT_FOUND' : 'INVALID_STATE'
      throw new SpqrError(code, `Cannot read "${path}": ${error.code === 'ENOENT' ? 'it vanished' : error.message}.`, {
        cause: error,
      })
    })
    const { format, timestampField, follow } = this.#settings
    const file = await OpenFile.open(fd, {
      path,
      format: format ?? formatOf(path),
      source: this.#at & 0xffff,
      follow: follow === true && this.#at === this.#paths.length - 1,
      timestampField,
      recordBytesMax: this.#context.recordBytesMax,
      onReady: () => this.#context.ready(),
      refuse: (error, bytes, line) => this.#context.deadLetter(error, { value: bytes.slice() }, line),
      untimed: () => {
        this.#untimed++
      },
      before,
    })
    if (this.#state === 'stopped') file.stop()
    else {
      this.#file = file
      this.#handedOffset = before?.offset ?? file.offset
      if (follow) this.#watch(real)
    }
  }

  #watch(path: string): void {
    this.#watcher?.close()
    try {
      this.#watcher = watch(path, () => this.#look())
      // Some file systems cannot watch; the poll goes on.
      this.#watcher.on('error', () => this.#watcher?.close())
    } catch {
      this.#watcher = undefined
    }
  }

  /** Has the followed file grown, or a new one come? */
  #look(): void {
    if (this.#state !== 'reading') return
    this.#lookAt(this.#file).catch((error: unknown) => this.#fail(SpqrError.from(error)))
  }

  async #lookAt(file: OpenFile | undefined): Promise<void> {
    if (file) await file.lookForMore()
    // A new file counts when all before it is read.
    if (file && !file.isAtEnd) return
    const last = this.#paths.at(-1)
    const fresh = (await this.#list()).filter((path) => last === undefined || path > last)
    if (fresh.length === 0 || this.#state !== 'reading' || this.#file !== file) return
    this.#paths.push(...fresh.filter((path) => !this.#paths.includes(path)))
    file?.unfollow()
    if (!file) await this.#openFile(undefined)
    this.#context.ready()
  }

  #fail(error: SpqrError): void {
    if (this.#state === 'stopped' || this.#state === 'failed') return
    this.#state = 'failed'
    this.#file?.stop()
    clearInterval(this.#poll)
    this.#watcher?.close()
    this.#context.fail(error)
  }

  #wake(waitMs: number): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#context.ready()
    }, waitMs)
  }
}

export const fileSource: SourceType = {
  create: (settings, context) => new FileSource(settings as unknown as Settings, context),
}
