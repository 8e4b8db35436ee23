// Records between a topic and the shell, as the texts and bytes they are: numbers keep their digits.

import { SpqrError } from '../../schemas/errors.ts'
import { jsonItems } from '../../schemas/json-items.ts'
import type { ApiClient, Body } from './api-client.ts'
import { readBytes } from './files.ts'
import { print } from './output.ts'
import { topicPath } from './paths.ts'

/** Asked for at once. */
const PAGE_RECORDS = 10_000
/** A body is sent when it has so many bytes or records: well below what the API takes. */
const BODY_BYTES = 4 << 20
const BODY_RECORDS = 50_000
const LF = 0x0a

export interface ConsumeOptions {
  from: string
  partition?: string
  limit?: number
  follow?: boolean
  json?: boolean
}

export interface ProduceOptions {
  key?: string
  partition?: number
}

interface Page {
  records: string[]
  next: Record<string, string>
}

/** Prints what is there, or `limit` of it, one record a line; with `follow` goes on with what comes. */
export async function consume(client: ApiClient, name: string, options: ConsumeOptions): Promise<void> {
  const { from, partition, limit, follow, json } = options
  const query = new URLSearchParams({ from })
  if (partition !== undefined) query.set('partition', partition)
  if (follow) {
    query.set('follow', 'true')
    if (limit !== undefined) query.set('limit', String(limit))
    for await (const { event, data } of client.events(topicPath(name, `/records?${query}`))) {
      if (event === 'message') print(data)
    }
    return
  }
  let left = limit ?? Number.POSITIVE_INFINITY
  query.set('limit', String(Math.min(left, PAGE_RECORDS)))
  const text = await client.text('GET', topicPath(name, `/records?${query}`))
  if (json) return print(text)
  const first = pageOf(text)
  left -= printed(first)
  // The limit is of all partitions together: the rest of each follows.
  for (let [number, offset] of Object.entries(first.next)) {
    while (left > 0) {
      const rest = `from=offset:${offset}&partition=${number}&limit=${Math.min(left, PAGE_RECORDS)}`
      const page = pageOf(await client.text('GET', topicPath(name, `/records?${rest}`)))
      left -= printed(page)
      if (page.next[number] === offset) break
      offset = page.next[number]!
    }
  }
}

function pageOf(text: string): Page {
  const { next } = JSON.parse(text) as { next: Page['next'] }
  return { records: jsonItems(text, text.indexOf('[')), next }
}

function printed({ records }: Page): number {
  if (records.length > 0) print(records.join('\n'))
  return records.length
}

/** Writes the values, or a line each of the standard input. @returns the records of the API's answers */
export async function produce(
  client: ApiClient,
  name: string,
  values: string[],
  options: ProduceOptions,
): Promise<unknown[]> {
  const plain = values.length === 0 && options.key === undefined && options.partition === undefined
  const bodies = plain ? linesOf(readBytes('-')) : objectsOf(values.length ? values : textLines(), options)
  const records: unknown[] = []
  for (const body of bodies) {
    const answer = await client.json<{ records: unknown[] }>('POST', topicPath(name, '/records'), body)
    for (const record of answer.records) records.push(record)
  }
  return records
}

/** Whole lines, as their bytes. There is one body at least, so that a topic that does not exist is told. */
function* linesOf(bytes: Uint8Array<ArrayBuffer>): Generator<Body> {
  const type = 'application/x-ndjson'
  let from = 0
  let lines = 0
  let end = 0
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, end)) {
    const next = at + 1
    if (lines > 0 && (next - from > BODY_BYTES || lines === BODY_RECORDS)) {
      yield { type, content: bytes.subarray(from, end) }
      from = end
      lines = 0
    }
    end = next
    lines++
  }
  yield { type, content: bytes.subarray(from) }
}

function* objectsOf(values: string[], { key, partition }: ProduceOptions): Generator<Body> {
  const head = JSON.stringify({ key, partition }).slice(1, -1)
  const type = 'application/json'
  let records: string[] = []
  let bytes = 0
  for (const value of values) {
    const record = `{${head}${head ? ',' : ''}"value":${asJson(value)}}`
    if (records.length > 0 && (bytes + record.length > BODY_BYTES || records.length === BODY_RECORDS)) {
      yield { type, content: `{"records":[${records.join(',')}]}` }
      records = []
      bytes = 0
    }
    records.push(record)
    bytes += record.length
  }
  yield { type, content: `{"records":[${records.join(',')}]}` }
}

function textLines(): string[] {
  const bytes = readBytes('-')
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new SpqrError('INVALID_BODY', 'Cannot read the standard input: it is not UTF-8.')
  }
  return text.split(/\r?\n/).filter((line) => line.trim() !== '')
}

/** JSON as it is, anything else as a string. */
function asJson(text: string): string {
  try {
    JSON.parse(text)
    return text
  } catch {
    return JSON.stringify(text)
  }
}
