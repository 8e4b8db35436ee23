// JSON objects as rows of CSV (RFC 4180): the fields of the first one are the columns. Numbers keep their digits.
// Runs on: bridge.

import { isUtf8 } from 'node:buffer'
import { findMember, skipSpace, skipValue } from '../../record/json-span.ts'
import type { RecordReader } from '../record-reader.ts'

const encoder = new TextEncoder()

export class CsvLine {
  /** Names of the header; undefined before the first record. */
  columns: string[] | undefined
  /** The row of the record that was set last, with its line end. */
  line: Buffer = Buffer.alloc(0)

  /** The header row, with its line end. */
  get header(): Buffer {
    return Buffer.from(`${(this.columns ?? []).map(cell).join(',')}\n`)
  }

  /** Makes `line` of the present record. @returns what is wrong with it, where it is no row */
  set(records: RecordReader): string | undefined {
    const { bytes, valueAt, end } = records
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset + valueAt, end - valueAt)
    const object = records.isTombstone ? undefined : parseObject(buffer)
    if (!object) return 'it is no JSON object'
    const names = Object.keys(object)
    if (names.length === 0) return 'it has no field'
    this.columns ??= names
    const { columns } = this
    const other = names.find((name) => !columns.includes(name))
    if (other !== undefined) return `its field "${other}" is no column of the file`
    const cells = columns.map((name) => {
      const value = object[name]
      if (value === undefined || value === null) return ''
      return cell(typeof value === 'string' ? value : rawText(buffer, name))
    })
    // One empty cell alone would be a blank line.
    this.line = Buffer.from(`${cells.length === 1 && cells[0] === '' ? '""' : cells.join(',')}\n`)
    return undefined
  }
}

function cell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function parseObject(bytes: Buffer): Record<string, unknown> | undefined {
  if (!isUtf8(bytes)) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/** The member's text as it was written. */
function rawText(bytes: Buffer, name: string): string {
  const at = findMember(bytes, skipSpace(bytes, 0, bytes.length), bytes.length, encoder.encode(name), name)
  return bytes.toString('utf8', at, skipValue(bytes, at, bytes.length))
}
