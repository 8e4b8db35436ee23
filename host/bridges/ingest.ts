// A posted body as records: lines of NDJSON, or the whole as one. What a line holds is not looked at: the operator that
// reads it says what is wrong with it.
// Runs on: wherever bodies are taken; never per record of a pipeline.

import { isUtf8 } from 'node:buffer'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { isJsonText } from '../record/json-check.ts'
import { RECORD_HEADER_BYTES, RecordBuffer, recordBytes } from '../record/record.ts'
import { LineFramer } from './framing/line-framer.ts'

export const BODY_BYTES_MAX = 16 << 20
export const BODY_RECORDS_MAX = 100_000
const ISSUES_MAX = 100
const NDJSON = /^(application\/(x-)?(ndjson|jsonl|jsonlines)|text\/plain)$/

export interface IngestLimits {
  /** Largest record in bytes, header included. */
  recordBytesMax: number
}

/**
 * Frames a body.
 * @param contentType of the request; absent means NDJSON
 * @returns the records, in the order of the body
 * @throws SpqrError TOO_LARGE, naming every line that is; UNSUPPORTED_MEDIA_TYPE
 */
export function framesOfBody(body: Uint8Array, contentType: string | undefined, limits: IngestLimits): RecordBuffer {
  const type = (contentType ?? '').split(';')[0]!.trim().toLowerCase()
  if (body.length > BODY_BYTES_MAX) {
    throw new SpqrError(
      'TOO_LARGE',
      `Cannot take the body: it has ${body.length} bytes, ${BODY_BYTES_MAX} are allowed; send it in parts.`,
    )
  }
  if (type === 'application/octet-stream') return oneRecord(body, limits)
  if (type === 'application/json') return isJson(body) ? oneRecord(body, limits) : lines(body, limits)
  if (type === '' || NDJSON.test(type)) return lines(body, limits)
  throw new SpqrError(
    'UNSUPPORTED_MEDIA_TYPE',
    `Cannot take a body of type "${type}": send application/x-ndjson, or one record as application/octet-stream.`,
  )
}

/** The text of a body, without the mark of UTF-8 that some editors put in front. */
export function withoutBom(body: Uint8Array): Buffer {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
}

function lines(body: Uint8Array, limits: IngestLimits): RecordBuffer {
  const bytes = withoutBom(body)
  const issues: Issue[] = []
  const records = new RecordBuffer(Math.max(4096, body.length + (body.length >> 2)))
  const framer = new LineFramer({
    recordBytesMax: limits.recordBytesMax,
    source: 0,
    line: 1,
    blankLines: 'skip',
    chunkBytes: Number.POSITIVE_INFINITY,
    refuse: (error, _bytes, line) => {
      if (issues.length < ISSUES_MAX) issues.push({ pointer: '', message: error.message, line })
    },
  })
  framer.take(bytes, 0, bytes.length, true, records, BODY_RECORDS_MAX + 1)
  if (issues.length > 0) throw new SpqrError('TOO_LARGE', issues.map((i) => i.message).join(' '), { issues })
  if (records.records > BODY_RECORDS_MAX) {
    throw new SpqrError(
      'TOO_LARGE',
      `Cannot take the body: it has more than ${BODY_RECORDS_MAX} records; send it in parts.`,
    )
  }
  return records
}

function oneRecord(body: Uint8Array, limits: IngestLimits): RecordBuffer {
  const most = limits.recordBytesMax - RECORD_HEADER_BYTES
  if (body.length > most) {
    throw new SpqrError('TOO_LARGE', `Cannot take the record: it has ${body.length} bytes, ${most} are allowed.`)
  }
  const records = new RecordBuffer(recordBytes(0, 0, body.length))
  records.bytes.set(body, records.begin(-1, 0, body.length, Date.now()))
  return records
}

function isJson(body: Uint8Array): boolean {
  return isUtf8(body) && isJsonText(body, 0, body.length)
}
