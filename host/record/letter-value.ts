// The value of a dead letter (interfaces: `{code,message,component,operator,digest,source,stack,record}`), as JSON bytes.

import { jsonOfBytes, jsonOfValue } from './json-of-record.ts'
import type { PlainRecord } from './record.ts'

export interface Letter {
  code: string
  message: string
  component: string
  operator: string | null
  digest: string | null
  source: { topic: string | null; partition: number; offset: string }
  stack: string[]
  record: PlainRecord
}

const encoder = new TextEncoder()

/** The poison record's own value is spliced in as it is where it is JSON, so no digit of it changes. */
export function letterValue(letter: Letter): Uint8Array {
  const { record, ...rest } = letter
  const head = JSON.stringify(rest)
  const headers = (record.headers ?? [])
    .map(([name, value]) => `${JSON.stringify(name)}:${jsonOfBytes(value)}`)
    .join(',')
  const body = `{"key":${jsonOfBytes(record.key ?? null)},"value":${jsonOfValue(record.value ?? null)},"headers":{${headers}}}`
  return encoder.encode(`${head.slice(0, -1)},"record":${body}}`)
}
