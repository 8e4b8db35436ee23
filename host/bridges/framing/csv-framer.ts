// CSV (RFC 4180) as records: a JSON object per row, by the names of the header row, all values strings. Quoted fields
// may hold commas, doubled quotes and line ends.
// Runs on: bridge.

import { isUtf8 } from 'node:buffer'
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
import { parseTimestamp } from './timestamp.ts'

const LF = 10
const CR = 13
const QUOTE = 34
const COMMA = 44
const BACKSLASH = 92
const COLUMNS_MAX = 4096
const HEX = '0123456789abcdef'
const encoder = new TextEncoder()

export interface CsvFramerOptions extends FramerOptions {
  /** Column that gives the record's time. */
  timestampField?: string
  untimed?(line: number): void
}

type Row = 'whole' | 'partial' | 'unclosed' | 'misquoted' | 'wide'

export class CsvFramer implements Framer {
  line: number
  readonly skippedBytes = 0
  readonly #options: CsvFramerOptions
  /** Before each value: `{"name":"` of the first column, `","name":"` of the others. */
  #before: Uint8Array[] = []
  #beforeBytes = 0
  #timeColumn = -1
  readonly #starts = new Int32Array(COLUMNS_MAX)
  readonly #ends = new Int32Array(COLUMNS_MAX)
  readonly #quoted = new Uint8Array(COLUMNS_MAX)
  #columns = 0
  /** Where the row that was parsed last ends, and how many line ends are in it. */
  #rowEnd = 0
  #rowLines = 0

  constructor(options: CsvFramerOptions) {
    this.#options = options
    this.line = options.line
  }

  /** Names of the header. */
  columns: string[] = []

  /**
   * Reads the header row.
   * @returns where the rows begin; -1: the header is not whole yet
   * @throws SpqrError INVALID_DOCUMENT where it is no header
   */
  readHeader(bytes: Buffer, from: number, to: number, last: boolean): number {
    if (last && from === to) return from
    const row = this.#parse(bytes, from, to, last)
    if (row === 'partial') {
      if (to - from <= this.#options.recordBytesMax) return -1
      throw refusedHeader('it is longer than a record may be')
    }
    if (row !== 'whole') throw refusedHeader(`it is ${row}`)
    const names: string[] = []
    for (let c = 0; c < this.#columns; c++) names.push(this.#text(bytes, c))
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    if (twice !== undefined) throw refusedHeader(`it names the column "${twice}" twice`)
    this.columns = names
    this.#before = names.map((name, i) => encoder.encode(`${i === 0 ? '{' : '",'}${JSON.stringify(name)}:"`))
    this.#beforeBytes = this.#before.reduce((sum, b) => sum + b.length, 0)
    if (this.#options.timestampField !== undefined) {
      this.#timeColumn = names.indexOf(this.#options.timestampField)
      if (this.#timeColumn < 0)
        throw refusedHeader(`it has no column "${this.#options.timestampField}" for timestampField`)
    }
    this.line += this.#rowLines
    return this.#rowEnd
  }

  // hot
  take(bytes: Buffer, from: number, to: number, last: boolean, out: RecordBuffer, recordsMax: number): number {
    const now = Date.now()
    const chunkBytes = this.#options.chunkBytes ?? CHUNK_BYTES
    const until = out.records + recordsMax
    while (out.records < until && out.length < chunkBytes && from < to) {
      const row = this.#parse(bytes, from, to, last)
      const tooLong = to - from > this.#options.recordBytesMax
      if (row === 'partial' && !tooLong) return from
      if (row === 'whole') {
        const isBlank = this.#columns === 1 && this.#quoted[0] === 0 && this.#starts[0] === this.#ends[0]
        if (!isBlank) this.#add(bytes, from, out, now)
        this.line += this.#rowLines
        from = this.#rowEnd
      } else {
        // Where the row was to end is not known: go on with the line after its first.
        const newline = bytes.indexOf(LF, from)
        if (newline < 0 || newline >= to) {
          if (!last && !tooLong) return from
          this.#refuse(row, bytes, from, to)
          from = to
        } else {
          this.#refuse(row, bytes, from, newline)
          from = newline + 1
          this.line++
        }
      }
    }
    return from
  }

  /** Finds the fields of the row at `from`. // hot */
  #parse(bytes: Buffer, from: number, to: number, last: boolean): Row {
    let columns = 0
    let lines = 0
    let at = from
    for (;;) {
      if (columns === COLUMNS_MAX) return 'wide'
      if (at < to && bytes[at] === QUOTE) {
        let close = at + 1
        for (; close < to; close++) {
          const c = bytes[close]!
          if (c === LF) lines++
          if (c !== QUOTE) continue
          if (close + 1 < to && bytes[close + 1] === QUOTE) close++
          else break
        }
        if (close >= to) return last ? 'unclosed' : 'partial'
        // Whether this quote is doubled, or CR belongs to CRLF, shows in the next bytes.
        if (!last && close + 2 >= to) return 'partial'
        this.#starts[columns] = at + 1
        this.#ends[columns] = close
        this.#quoted[columns++] = 1
        at = close + 1
      } else {
        const start = at
        while (at < to && bytes[at] !== COMMA && bytes[at] !== LF) at++
        if (at >= to && !last) return 'partial'
        let end = at
        if ((at >= to || bytes[at] === LF) && end > start && bytes[end - 1] === CR) end--
        this.#starts[columns] = start
        this.#ends[columns] = end
        this.#quoted[columns++] = 0
      }
      if (at < to && bytes[at] === COMMA) {
        at++
        continue
      }
      if (at < to && bytes[at] === CR && (at + 1 >= to || bytes[at + 1] === LF)) at++
      if (at < to && bytes[at] !== LF) return 'misquoted'
      this.#columns = columns
      this.#rowEnd = at < to ? at + 1 : to
      this.#rowLines = lines + 1
      return 'whole'
    }
  }

  /** Adds the row that was parsed. // hot */
  #add(bytes: Buffer, from: number, out: RecordBuffer, now: number): void {
    const columns = this.#columns
    const before = this.#before
    if (columns !== before.length) {
      const message = `it has ${columns} fields, the header names ${before.length}`
      this.#refuseRow(new SpqrError('INVALID_RECORD', `Cannot read line ${this.line}: ${message}.`), bytes, from)
      return
    }
    // A byte becomes six at most, as \u00XX.
    out.reserve(RECORD_HEADER_BYTES + this.#beforeBytes + 6 * (this.#rowEnd - from) + 16)
    const start = out.length
    const target = out.bytes
    let at = start + RECORD_HEADER_BYTES
    let isAscii = true
    for (let c = 0; c < columns; c++) {
      const prefix = before[c]!
      for (let k = 0; k < prefix.length; k++) target[at++] = prefix[k]!
      const end = this.#ends[c]!
      const quoted = this.#quoted[c] === 1
      for (let i = this.#starts[c]!; i < end; i++) {
        const b = bytes[i]!
        if (b === QUOTE) {
          if (quoted) i++
          target[at++] = BACKSLASH
          target[at++] = QUOTE
        } else if (b === BACKSLASH) {
          target[at++] = BACKSLASH
          target[at++] = BACKSLASH
        } else if (b < 32) at = writeControl(target, at, b)
        else {
          if (b >= 128) isAscii = false
          target[at++] = b
        }
      }
    }
    target[at++] = QUOTE
    target[at++] = 125
    const length = at - start - RECORD_HEADER_BYTES
    if (!isAscii && !isUtf8(target.subarray(start + RECORD_HEADER_BYTES, at))) {
      this.#refuseRow(new SpqrError('INVALID_RECORD', `Cannot read line ${this.line}: it is not UTF-8.`), bytes, from)
      return
    }
    if (recordBytes(0, 0, length) > this.#options.recordBytesMax) {
      const most = this.#options.recordBytesMax - RECORD_HEADER_BYTES
      const message = `as JSON it has ${length} bytes, a record may have ${most}`
      this.#refuseRow(new SpqrError('RECORD_TOO_LARGE', `Cannot read line ${this.line}: ${message}.`), bytes, from)
      return
    }
    out.begin(-1, 0, length, this.#timeColumn < 0 ? now : this.#timeOf(bytes, now))
    writeU64(out.view, start + RECORD_SOURCE_OFFSET, this.line)
    out.view.setUint32(start + RECORD_SOURCE, this.#options.source, true)
  }

  #timeOf(bytes: Buffer, now: number): number {
    const time = parseTimestamp(this.#text(bytes, this.#timeColumn))
    if (time === undefined) this.#options.untimed?.(this.line)
    return time ?? now
  }

  #text(bytes: Buffer, column: number): string {
    const raw = bytes.toString('utf8', this.#starts[column]!, this.#ends[column]!)
    return this.#quoted[column] === 1 ? raw.replaceAll('""', '"') : raw
  }

  #refuseRow(error: SpqrError, bytes: Buffer, from: number): void {
    this.#options.refuse(error, bytes.subarray(from, Math.min(this.#rowEnd, from + REFUSED_BYTES_MAX)), this.line)
  }

  #refuse(row: Row, bytes: Buffer, from: number, to: number): void {
    const shown = bytes.subarray(from, Math.min(to, from + REFUSED_BYTES_MAX))
    const why: Record<Exclude<Row, 'whole'>, string> = {
      partial: `the row is longer than the ${this.#options.recordBytesMax} bytes a record may have`,
      unclosed: 'a quote that opens there is never closed',
      misquoted: 'after a closing quote comes neither a comma nor the end of the line',
      wide: `it has more than ${COLUMNS_MAX} fields`,
    }
    const code = row === 'partial' ? 'RECORD_TOO_LARGE' : 'INVALID_RECORD'
    const message = why[row as Exclude<Row, 'whole'>]
    this.#options.refuse(new SpqrError(code, `Cannot read line ${this.line}: ${message}.`), shown, this.line)
  }
}

function refusedHeader(why: string): SpqrError {
  return new SpqrError('INVALID_DOCUMENT', `Cannot read the header of the CSV file: ${why}.`)
}

function writeControl(target: Uint8Array, at: number, b: number): number {
  target[at++] = BACKSLASH
  if (b === LF) target[at++] = 110
  else if (b === CR) target[at++] = 114
  else if (b === 9) target[at++] = 116
  else {
    target[at++] = 117
    target[at++] = 48
    target[at++] = 48
    target[at++] = HEX.charCodeAt(b >> 4)
    target[at++] = HEX.charCodeAt(b & 15)
  }
  return at
}
