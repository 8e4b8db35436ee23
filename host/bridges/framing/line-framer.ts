// Lines as records: NDJSON, where blank lines mean nothing, and plain lines, where they are records too. LF or CRLF; the
// last line may lack its end.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import {
  RECORD_HEADER_BYTES,
  RECORD_SOURCE,
  RECORD_SOURCE_OFFSET,
  type RecordBuffer,
  recordBytes,
  writeU64,
} from '../../record/record.ts'
import { CHUNK_BYTES, type Framer, type FramerOptions, REFUSED_BYTES_MAX } from './framer.ts'
import type { JsonTimestamp } from './timestamp.ts'

const LF = 10
const CR = 13
const SPACE = 32

export interface LineFramerOptions extends FramerOptions {
  blankLines: 'skip' | 'keep'
  timestamp?: JsonTimestamp
  /** A record had no time at `timestamp`; it gets the present one. */
  untimed?(line: number): void
}

export class LineFramer implements Framer {
  line: number
  readonly #options: LineFramerOptions
  readonly #valueBytesMax: number
  readonly #keepBlank: boolean
  skippedBytes = 0
  /** The beginning of a line that is too long, while its end is looked for. */
  #skipped: Buffer | undefined

  constructor(options: LineFramerOptions) {
    this.#options = options
    this.#valueBytesMax = options.recordBytesMax - recordBytes(0, 0, 0)
    this.#keepBlank = options.blankLines === 'keep'
    this.line = options.line
  }

  // hot
  take(bytes: Buffer, from: number, to: number, last: boolean, out: RecordBuffer, recordsMax: number): number {
    const now = Date.now()
    const timestamp = this.#options.timestamp
    const source = this.#options.source
    const chunkBytes = this.#options.chunkBytes ?? CHUNK_BYTES
    const until = out.records + recordsMax
    while (out.records < until && out.length < chunkBytes) {
      let newline = bytes.indexOf(LF, from)
      if (newline < 0 || newline >= to) {
        if (!last) return this.#skipped || to - from > this.#valueBytesMax + 1 ? this.#skip(bytes, from, to) : from
        if (from === to && !this.#skipped) return from
        newline = to
      }
      const next = newline < to ? newline + 1 : to
      if (this.#skipped) {
        this.#endSkip(newline - from)
        from = next
        continue
      }
      const end = newline > from && bytes[newline - 1] === CR ? newline - 1 : newline
      const length = end - from
      if (!this.#keepBlank && (length === 0 || (bytes[from]! <= SPACE && isBlank(bytes, from, end)))) {
        // Nothing.
      } else if (length > this.#valueBytesMax) {
        this.#options.refuse(
          this.#tooLarge(length),
          bytes.subarray(from, Math.min(end, from + REFUSED_BYTES_MAX)),
          this.line,
        )
      } else {
        const start = out.length
        const at = out.begin(-1, 0, length, timestamp ? this.#timeOf(timestamp, bytes, from, end, now) : now)
        bytes.copy(out.bytes, at, from, end)
        writeU64(out.view, start + RECORD_SOURCE_OFFSET, this.line)
        out.view.setUint32(start + RECORD_SOURCE, source, true)
      }
      this.line++
      from = next
    }
    return from
  }

  #skip(bytes: Buffer, from: number, to: number): number {
    this.#skipped ??= Buffer.from(bytes.subarray(from, Math.min(to, from + REFUSED_BYTES_MAX)))
    this.skippedBytes += to - from
    return to
  }

  #endSkip(rest: number): void {
    this.#options.refuse(this.#tooLarge(this.skippedBytes + rest), this.#skipped!, this.line)
    this.#skipped = undefined
    this.skippedBytes = 0
    this.line++
  }

  #timeOf(timestamp: JsonTimestamp, bytes: Buffer, from: number, to: number, now: number): number {
    const time = timestamp.read(bytes, from, to)
    if (time === undefined) this.#options.untimed?.(this.line)
    return time ?? now
  }

  #tooLarge(bytes: number): SpqrError {
    const most = this.#options.recordBytesMax - RECORD_HEADER_BYTES
    return new SpqrError(
      'RECORD_TOO_LARGE',
      `Cannot read line ${this.line}: it has ${bytes} bytes, a record may have ${most}.`,
    )
  }
}

function isBlank(bytes: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const c = bytes[i]!
    if (c !== SPACE && c !== 9 && c !== CR) return false
  }
  return true
}
