// Records out of what is posted to …/records: `{records:[{key?,value,headers?,partition?,timestamp?}]}`, a value kept as
// its JSON text as sent, or NDJSON lines as their bytes. All problems at once, each with its pointer.
// Runs on: wherever bodies are taken.

import { isUtf8 } from 'node:buffer'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { readJson } from '../../schemas/json-text.ts'
import { findMember, skipSpace, skipValue } from '../record/json-span.ts'
import { type PlainRecord, RECORD_HEADER_BYTES, RecordBuffer } from '../record/record.ts'
import type { StickyPartitioner } from '../transport/partitioner.ts'
import { BODY_BYTES_MAX, BODY_RECORDS_MAX, framesOfBody, type IngestLimits, withoutBom } from './ingest.ts'

export interface PostedRecords {
  /** What goes to each partition, in the order of the body. */
  partitions: Map<number, RecordBuffer>
  /** The partition of each record of the body. */
  order: number[]
}

const ISSUES_MAX = 100
const FIELDS = ['key', 'value', 'headers', 'partition', 'timestamp']
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/
const encoder = new TextEncoder()
const RECORDS = encoder.encode('records')
const VALUE = encoder.encode('value')

/**
 * Reads a body.
 * @param contentType `application/json` or absent: the object; NDJSON and `application/octet-stream` as in `framesOfBody`
 * @param partitioner of the topic
 * @throws SpqrError INVALID_BODY, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE
 */
export function readPostedRecords(
  body: Uint8Array,
  contentType: string | undefined,
  partitioner: StickyPartitioner,
  limits: IngestLimits,
): PostedRecords {
  const type = (contentType ?? '').split(';')[0]!.trim().toLowerCase()
  if (type !== '' && type !== 'application/json') {
    const records = framesOfBody(body, contentType, limits)
    const partition = partitioner.choose(undefined, records.length)
    return { partitions: new Map([[partition, records]]), order: new Array<number>(records.records).fill(partition) }
  }
  if (body.length > BODY_BYTES_MAX) {
    throw new SpqrError(
      'TOO_LARGE',
      `Cannot take the body: it has ${body.length} bytes, ${BODY_BYTES_MAX} are allowed; send it in parts.`,
    )
  }
  const bytes = withoutBom(body)
  return new Reader(bytes, parse(bytes), partitioner, limits).read()
}

class Reader {
  readonly #bytes: Buffer
  readonly #body: unknown
  readonly #partitioner: StickyPartitioner
  readonly #limits: IngestLimits
  readonly #issues: Issue[] = []
  #isOnlyTooLarge = true
  readonly #now = Date.now()

  constructor(bytes: Buffer, body: unknown, partitioner: StickyPartitioner, limits: IngestLimits) {
    this.#bytes = bytes
    this.#body = body
    this.#partitioner = partitioner
    this.#limits = limits
  }

  read(): PostedRecords {
    const body = this.#body
    const records = isObject(body) ? body.records : undefined
    if (!isObject(body)) this.#problem('', 'must be an object {"records": […]}')
    else {
      for (const name of Object.keys(body))
        if (name !== 'records') this.#problem(`/${escaped(name)}`, `unknown field "${name}"`)
      if (!Array.isArray(records)) this.#problem('/records', 'must be a list of records')
    }
    if (!Array.isArray(records)) throw this.#refusal()
    if (records.length > BODY_RECORDS_MAX) {
      throw new SpqrError(
        'TOO_LARGE',
        `Cannot take the body: it has ${records.length} records, ${BODY_RECORDS_MAX} are allowed; send it in parts.`,
      )
    }
    const partitions = new Map<number, RecordBuffer>()
    const order: number[] = []
    const bytes = this.#bytes
    // The text is known to be JSON here, so every span is found.
    let at = findMember(bytes, skipSpace(bytes, 0, bytes.length), bytes.length, RECORDS, 'records') + 1
    for (let i = 0; i < records.length; i++) {
      at = skipSpace(bytes, at, bytes.length)
      const end = skipValue(bytes, at, bytes.length)
      this.#add(records[i], `/records/${i}`, at, end, partitions, order)
      at = skipSpace(bytes, end, bytes.length) + 1
    }
    if (this.#issues.length > 0) throw this.#refusal()
    return { partitions, order }
  }

  #add(
    given: unknown,
    pointer: string,
    from: number,
    to: number,
    partitions: Map<number, RecordBuffer>,
    order: number[],
  ): void {
    if (!isObject(given)) {
      this.#problem(pointer, 'must be an object with a value')
      return
    }
    for (const name of Object.keys(given)) {
      if (!FIELDS.includes(name))
        this.#problem(`${pointer}/${escaped(name)}`, `unknown field "${name}"; there are ${FIELDS.join(', ')}`)
    }
    const record: PlainRecord = { timestamp: this.#now }
    if (given.key !== undefined && given.key !== null) record.key = this.#bytesOf(given.key, `${pointer}/key`)
    if (given.headers !== undefined) record.headers = this.#headers(given.headers, `${pointer}/headers`)
    if (given.timestamp !== undefined) {
      if (Number.isSafeInteger(given.timestamp) && (given.timestamp as number) >= 0)
        record.timestamp = given.timestamp as number
      else this.#problem(`${pointer}/timestamp`, 'must be a whole number of ms since 1970')
    }
    if (!Object.hasOwn(given, 'value')) this.#problem(pointer, 'has no value; null means a record without one')
    else if (given.value !== null) record.value = this.#value(given.value, `${pointer}/value`, from, to)
    const count = this.#partitioner.partitions
    const wanted = given.partition
    if (
      wanted !== undefined &&
      !(Number.isSafeInteger(wanted) && (wanted as number) >= 0 && (wanted as number) < count)
    ) {
      this.#problem(`${pointer}/partition`, `must be a partition of the topic, 0 to ${count - 1}`)
    }
    // Once there is a problem nothing is kept, only further problems are looked for.
    if (this.#issues.length > 0 && !this.#isOnlyTooLarge) return
    const partition = wanted === undefined ? this.#partitioner.choose(record.key, to - from) : (wanted as number)
    let buffer = partitions.get(partition)
    if (!buffer) {
      buffer = new RecordBuffer(4096)
      partitions.set(partition, buffer)
    }
    const before = buffer.length
    buffer.add(record)
    order.push(partition)
    const bytes = buffer.length - before
    if (bytes > this.#limits.recordBytesMax) {
      const most = this.#limits.recordBytesMax - RECORD_HEADER_BYTES
      this.#tooLarge(pointer, `has ${bytes - RECORD_HEADER_BYTES} bytes with key and headers, ${most} are allowed`)
    }
  }

  /** As it was sent, or the bytes that {"base64": …} stands for. */
  #value(value: unknown, pointer: string, from: number, to: number): Uint8Array | undefined {
    if (isObject(value) && Object.keys(value).length === 1 && Object.hasOwn(value, 'base64'))
      return this.#bytesOf(value, pointer)
    const at = findMember(this.#bytes, from, to, VALUE, 'value')
    return this.#bytes.subarray(at, skipValue(this.#bytes, at, to))
  }

  #headers(given: unknown, pointer: string): [string, Uint8Array | null][] | undefined {
    if (!isObject(given)) {
      this.#problem(pointer, 'must be an object of names and values')
      return undefined
    }
    const headers: [string, Uint8Array | null][] = []
    for (const [name, value] of Object.entries(given)) {
      const at = `${pointer}/${escaped(name)}`
      const values = Array.isArray(value) ? value : [value]
      values.forEach((item, i) => {
        const bytes = item === null ? null : this.#bytesOf(item, Array.isArray(value) ? `${at}/${i}` : at)
        if (bytes !== undefined) headers.push([name, bytes])
      })
    }
    return headers
  }

  #bytesOf(given: unknown, pointer: string): Uint8Array | undefined {
    if (typeof given === 'string') return encoder.encode(given)
    if (isObject(given) && typeof given.base64 === 'string' && Object.keys(given).length === 1) {
      if (BASE64.test(given.base64)) return Buffer.from(given.base64, 'base64')
      this.#problem(`${pointer}/base64`, 'is not base64')
    } else this.#problem(pointer, 'must be a string or {"base64": "…"}')
    return undefined
  }

  #problem(pointer: string, message: string): void {
    this.#isOnlyTooLarge = false
    if (this.#issues.length < ISSUES_MAX) this.#issues.push({ pointer, message })
  }

  #tooLarge(pointer: string, message: string): void {
    if (this.#issues.length < ISSUES_MAX) this.#issues.push({ pointer, message })
  }

  #refusal(): SpqrError {
    const first = this.#issues[0]!
    const more = this.#issues.length > 1 ? `, and ${this.#issues.length - 1} more` : ''
    const where = first.pointer === '' ? 'the body' : first.pointer
    return new SpqrError(
      this.#isOnlyTooLarge ? 'TOO_LARGE' : 'INVALID_BODY',
      `Cannot take the records: ${where} ${first.message}${more}.`,
      {
        issues: this.#issues,
      },
    )
  }
}

function parse(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) {
    throw new SpqrError('INVALID_BODY', 'Cannot read the body: it is not UTF-8.', {
      issues: [{ pointer: '', message: 'is not UTF-8' }],
    })
  }
  const text = bytes.toString('utf8')
  try {
    return JSON.parse(text)
  } catch (error) {
    // The strict reader knows the place; JSON.parse is the quick one.
    const { issues } = readJson(text)
    const found = issues.length > 0 ? issues : [{ pointer: '', message: (error as Error).message }]
    const place = found[0]!.line === undefined ? '' : ` in line ${found[0]!.line}, column ${found[0]!.column}`
    throw new SpqrError('INVALID_BODY', `Cannot read the body: it is no JSON${place}: ${found[0]!.message}.`, {
      issues: found,
    })
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1')
