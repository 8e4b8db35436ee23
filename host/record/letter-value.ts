// The value of a dead letter (interfaces: `{code,message,component,operator,digest,source,stack,record}`), as JSON bytes.

import { headersJson, textJson, valueJson } from './json-records.ts'
import type { PlainRecord } from './record.ts'

export interface Letter {
  code: string
  message: string
  component: string
  /** `name@version`; null where no operator is to blame. */
  operator: string | null
  digest: string | null
  source: { topic: string | null; partition: number; offset: string }
  stack: string[]
  record: Pick<PlainRecord, 'key' | 'value' | 'headers'>
}

/** A letter is a record too: of a larger value it keeps the beginning, as text, and says how long it was. */
const VALUE_BYTES_MAX = 256 << 10
const MESSAGE_MAX = 4096

const encoder = new TextEncoder()

/** The poison record's own value is spliced in as it is where it is JSON, so no digit of it changes. */
export function letterValue(letter: Letter): Uint8Array {
  const { record, ...rest } = letter
  const head = JSON.stringify({ ...rest, message: letter.message.slice(0, MESSAGE_MAX) })
  const key = record.key ? textJson(bufferOf(record.key), 0, Math.min(record.key.length, VALUE_BYTES_MAX)) : 'null'
  const body = `{"key":${key},${valueMember(record.value)},"headers":${headersJson(record.headers ?? [])}}`
  return encoder.encode(`${head.slice(0, -1)},"record":${body}}`)
}

function valueMember(value: Uint8Array | undefined): string {
  if (!value) return '"value":null'
  if (value.length <= VALUE_BYTES_MAX) return `"value":${valueJson(bufferOf(value), 0, value.length)}`
  const beginning = bufferOf(value).toString('utf8', 0, VALUE_BYTES_MAX)
  return `"value":${JSON.stringify(beginning)},"cutFromBytes":${value.length}`
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
