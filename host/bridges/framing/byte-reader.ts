// The bytes of a file one piece after the other, read ahead so that the caller never waits: plain, or through gunzip.
// Runs on: bridge. `bytes` is the reader's and valid until the next `refill`.

import { close, createReadStream, read } from 'node:fs'
import { createGunzip, type Gunzip } from 'node:zlib'
import { SpqrError } from '../../../schemas/errors.ts'

const READ_BYTES = 512 << 10
const READ_BYTES_MIN = 4 << 10
/** Room before what is read, for the beginning of a record whose end comes with it. */
const HEAD_BYTES = 64 << 10
const GUNZIP_BYTES = 256 << 10
const NO_BYTES = Buffer.alloc(0)

export interface ByteReader {
  /** The unread bytes are `bytes[from … to)`; the caller moves `from`. */
  bytes: Buffer
  from: number
  to: number
  /** Position in the stream (after decompression) of `bytes[to]`. */
  offset: number
  /** Nothing will come after `to`. */
  ended: boolean
  /** Puts more bytes behind the unread ones. @returns false: none are there; `onReady` is called when some are, or at the end */
  refill(): boolean
  /** Reads on at this position of the stream; what was read is forgotten. */
  seek(offset: number): void
  stop(): void
}

export interface ReaderEvents {
  onReady(): void
  onError(error: SpqrError): void
}

export class PlainReader implements ByteReader {
  bytes: Buffer = NO_BYTES
  from = 0
  to = 0
  offset = 0
  ended = false
  readonly #fd: number
  readonly #path: string
  readonly #events: ReaderEvents
  #follow: boolean
  #until: number
  /** Being read into, its data from HEAD_BYTES on; the other one is `bytes`, or spare. */
  #back: Buffer
  #spare: Buffer | undefined
  #backBytes = 0
  #state: 'reading' | 'ready' | 'idle' | 'stopped' = 'idle'
  #generation = 0

  /**
   * @param fd owned by the reader from here on
   * @param offset where to begin
   * @param until where to end; of a followed file the bytes it has now
   */
  constructor(fd: number, path: string, offset: number, until: number, follow: boolean, events: ReaderEvents) {
    this.offset = offset
    this.#fd = fd
    this.#path = path
    this.#until = until
    this.#follow = follow
    this.#events = events
    const readBytes = follow ? 64 << 10 : Math.min(READ_BYTES, Math.max(READ_BYTES_MIN, until - offset))
    this.#back = Buffer.allocUnsafeSlow(HEAD_BYTES + readBytes)
    this.#read()
  }

  refill(): boolean {
    if (this.#state !== 'ready') return false
    const tail = this.to - this.from
    const filled = this.#back
    const end = HEAD_BYTES + this.#backBytes
    if (tail <= HEAD_BYTES) {
      this.bytes.copy(filled, HEAD_BYTES - tail, this.from, this.to)
      const before = this.bytes
      this.bytes = filled
      this.from = HEAD_BYTES - tail
      this.to = end
      this.#back = before.length === filled.length ? before : (this.#spare ?? Buffer.allocUnsafeSlow(filled.length))
      this.#spare = undefined
    } else {
      // A long record: joined in memory of its own, rarely.
      const before = this.bytes
      this.bytes = Buffer.concat([before.subarray(this.from, this.to), filled.subarray(HEAD_BYTES, end)])
      if (before.length === filled.length) this.#spare = before
      this.from = 0
      this.to = this.bytes.length
    }
    this.offset += this.#backBytes
    this.#read()
    return true
  }

  seek(offset: number): void {
    this.#generation++
    this.from = 0
    this.to = 0
    this.offset = offset
    this.ended = false
    // A read that is under way may still write into the buffer: leave it to that.
    if (this.#state === 'reading') this.#back = Buffer.allocUnsafeSlow(this.#back.length)
    this.#state = 'idle'
    this.#read()
  }

  /** The file has this many bytes now. */
  grew(size: number): void {
    if (size <= this.#until) return
    this.#until = size
    if (this.#state === 'idle') this.#read()
  }

  /** It is not followed any longer: what it has now is all. */
  finish(): void {
    this.#follow = false
    if (this.#state === 'idle') this.ended = true
  }

  stop(): void {
    if (this.#state === 'stopped') return
    const busy = this.#state === 'reading'
    this.#state = 'stopped'
    // A descriptor closed during a read could be somebody else's by the time of the read.
    if (!busy) close(this.#fd, () => {})
  }

  #read(): void {
    const ahead = this.offset
    const left = this.#until - ahead
    if (left <= 0) {
      this.#state = 'idle'
      if (!this.#follow) this.ended = true
      return
    }
    this.#state = 'reading'
    const generation = this.#generation
    const length = Math.min(left, this.#back.length - HEAD_BYTES)
    read(this.#fd, this.#back, HEAD_BYTES, length, ahead, (error, bytes) => this.#readDone(generation, error, bytes))
  }

  #readDone(generation: number, error: Error | null, bytes: number): void {
    if (this.#state === 'stopped') {
      close(this.#fd, () => {})
      return
    }
    if (generation !== this.#generation) return
    if (error)
      this.#events.onError(
        new SpqrError('INTERNAL', `Cannot read "${this.#path}": ${error.message}.`, { cause: error }),
      )
    else if (bytes === 0) {
      this.#events.onError(
        new SpqrError(
          'INVALID_STATE',
          `Cannot read "${this.#path}" on: it had ${this.#until} bytes and has ${this.offset} now; a file that is read may only grow.`,
        ),
      )
    } else {
      this.#backBytes = bytes
      this.#state = 'ready'
      this.#events.onReady()
    }
  }
}

export class GzipReader implements ByteReader {
  bytes: Buffer = NO_BYTES
  from = 0
  to = 0
  offset = 0
  ended = false
  readonly #gunzip: Gunzip
  readonly #file: ReturnType<typeof createReadStream>
  /** Bytes to leave out before the wanted position. */
  #skip = 0

  /**
   * @param fd owned by the reader from here on
   * @param offset where to begin, in what comes out of gunzip
   */
  constructor(fd: number, path: string, offset: number, events: ReaderEvents) {
    this.offset = offset
    this.#skip = offset
    this.#gunzip = createGunzip({ chunkSize: GUNZIP_BYTES })
    // The descriptor stays open at the end, to see then whether the file is still the same.
    this.#file = createReadStream(path, { fd, highWaterMark: GUNZIP_BYTES, autoClose: false })
    const fail = (error: NodeJS.ErrnoException): void => {
      const why =
        error.code === 'Z_DATA_ERROR' || error.code === 'Z_BUF_ERROR'
          ? `it is no whole gzip file (${error.message})`
          : error.message
      events.onError(new SpqrError('INVALID_STATE', `Cannot read "${path}": ${why}.`, { cause: error }))
    }
    this.#file.on('error', fail)
    this.#gunzip.on('error', fail)
    this.#gunzip.on('readable', () => events.onReady())
    this.#gunzip.on('end', () => {
      this.ended = true
      events.onReady()
    })
    this.#file.pipe(this.#gunzip)
  }

  refill(): boolean {
    for (;;) {
      const chunk = this.#gunzip.read() as Buffer | null
      if (chunk === null) return false
      const skipped = Math.min(this.#skip, chunk.length)
      this.#skip -= skipped
      this.offset += chunk.length - skipped
      if (skipped === chunk.length) continue
      const fresh = skipped > 0 ? chunk.subarray(skipped) : chunk
      this.bytes = this.from < this.to ? Buffer.concat([this.bytes.subarray(this.from, this.to), fresh]) : fresh
      this.from = 0
      this.to = this.bytes.length
      return true
    }
  }

  seek(offset: number): void {
    const at = this.offset - (this.to - this.from)
    if (offset < at) throw new RangeError(`cannot go back from ${at} to ${offset}`)
    const here = Math.min(offset - at, this.to - this.from)
    this.from += here
    this.#skip += offset - at - here
    this.offset = Math.max(this.offset, offset)
  }

  stop(): void {
    this.#file.destroy()
    this.#gunzip.destroy()
  }
}
