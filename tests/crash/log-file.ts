// Reads a topic out of log.db by itself, with nothing of the product's reader: what a crash test believes. Only while nobody
// has the log open.

import { join } from 'node:path'
import Libsql from 'libsql'
import { uncompressSync } from 'lz4-napi'

const LZ4 = 1
const HEADER_BYTES = 48
const KEY_BYTES_AT = 36

interface Row {
  base: number
  next: number
  records: number
  codec: number
  data: ArrayBuffer
}

/** @returns the values of partition 0 as JSON, in order. @throws Error where offsets do not follow one another */
export function readLogFile(folder: string, topic: string): unknown[] {
  const db = new Libsql(join(folder, 'log.db'), { readonly: true })
  try {
    const rows = db
      .prepare(
        `select base, next, records, codec, data from batch where partition =
        (select p.id from partition p join topic t on t.id = p.topic where t.name = ? and p.number = 0) order by base`,
      )
      .all(topic) as Row[]
    const values: unknown[] = []
    for (const { base, next, records, codec, data } of rows) {
      const before = values.length
      if (base !== before || next !== base + records)
        throw new Error(`${topic}: offsets ${base} … ${next} after ${before}`)
      const stored = Buffer.from(data)
      addValues(codec === LZ4 ? uncompressSync(stored) : stored, values)
      if (values.length !== next) throw new Error(`${topic}: ${values.length - before} records in a row of ${records}`)
    }
    return values
  } finally {
    db.close()
  }
}

function addValues(frames: Buffer, values: unknown[]): void {
  for (let at = 0; at < frames.length; at += frames.readUInt32LE(at)) {
    const [keyBytes, headersBytes, valueBytes] = [0, 4, 8].map((word) => frames.readUInt32LE(at + KEY_BYTES_AT + word))
    const from = at + HEADER_BYTES + keyBytes! + headersBytes!
    values.push(JSON.parse(frames.toString('utf8', from, from + valueBytes!)))
  }
}
