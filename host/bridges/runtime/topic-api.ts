// Produces to and reads from topics for the HTTP API: bodies and answers are bytes here, so the control thread touches no record.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import type { ReaderForm } from '../../../schemas/reader-form.ts'
import { parseStart, READ_WORDS } from '../../../schemas/start.ts'
import { onOneLine, RecordRun, recordsJson, topicRecordJson } from '../../record/json-records.ts'
import { countRecords, RECORD_BYTES_MAX, RECORD_LENGTH } from '../../record/record.ts'
import { StickyPartitioner } from '../../transport/partitioner.ts'
import type { ReadFrom, TopicInfo, Transport } from '../../transport/transport.ts'
import { readPostedRecords } from '../posted-records.ts'
import { PieceWriter } from '../reader-pieces.ts'
import type { TopicPage } from './messages.ts'

const READ_BYTES = 1 << 20
/** An answer has about so many bytes at most, whatever the limit of records. */
const ANSWER_BYTES_MAX = 32 << 20

const NO_BYTES = new Uint8Array(0)

const encoder = new TextEncoder()

async function existing(transport: Transport, topic: string): Promise<TopicInfo> {
  const info = await transport.topic(topic)
  if (!info) throw new SpqrError('NOT_FOUND', `There is no topic "${topic}".`)
  return info
}

/** @returns the answer `{records:[{partition,offset}]}` as JSON bytes */
export async function produceRecords(
  transport: Transport,
  topic: string,
  contentType: string,
  body: Uint8Array,
): Promise<Uint8Array> {
  const info = await existing(transport, topic)
  const posted = readPostedRecords(body, contentType, new StickyPartitioner(info.partitions), {
    recordBytesMax: RECORD_BYTES_MAX,
  })
  const next = new Map<number, bigint>()
  await Promise.all(
    [...posted.partitions].map(async ([partition, records]) => {
      const frames = records.bytes.subarray(0, records.length)
      next.set(partition, await transport.append(topic, partition, frames, records.records))
    }),
  )
  const answers = posted.order.map((partition) => {
    const offset = next.get(partition)!
    next.set(partition, offset + 1n)
    return `{"partition":${partition},"offset":"${offset}"}`
  })
  return encoder.encode(`{"records":[${answers.join(',')}]}`)
}

/** @returns the answer `{records, next}` as JSON bytes */
export async function fetchRecords(transport: Transport, query: FetchQuery): Promise<Uint8Array> {
  const { parts, next } = await readParts(transport, query)
  return recordsJson(parts, next)
}

/** The same for those who follow the topic, each record as an event or a frame. */
export async function fetchPage(transport: Transport, query: FetchQuery, form: ReaderForm): Promise<TopicPage> {
  const { parts, next } = await readParts(transport, query)
  const writer = new PieceWriter(form)
  const page: TopicPage = { piece: NO_BYTES, offsets: [], ends: [], next: {} }
  for (const { partition, frames } of parts) {
    const run = new RecordRun(frames)
    for (let at = 0; at < frames.length; at = run.next(at)) {
      writer.record(encoder.encode(onOneLine(topicRecordJson(run, at, partition))))
      page.offsets.push(Number(offsetAt(frames, at)))
      page.ends.push(writer.length)
    }
  }
  page.piece = writer.piece()
  for (const [partition, offset] of Object.entries(next)) page.next[partition] = String(offset)
  return page
}

interface Part {
  partition: number
  frames: Uint8Array
}

async function readParts(
  transport: Transport,
  { topic, partition, from, limit, own }: FetchQuery,
): Promise<{ parts: Part[]; next: Record<string, bigint> }> {
  const info = await transport.topic(topic)
  if (!info && !own) throw new SpqrError('NOT_FOUND', `There is no topic "${topic}".`)
  // A pipeline's own topic reads as empty before its first record.
  if (!info) return { parts: [], next: { '0': 0n } }
  if (partition !== undefined && partition >= info.partitions) {
    throw new SpqrError('NOT_FOUND', `Topic "${topic}" has no partition ${partition}: it has ${info.partitions}.`)
  }
  const partitions = partition === undefined ? [...Array(info.partitions).keys()] : [partition]
  const next: Record<string, bigint> = {}
  const parts: Part[] = []
  let left = limit
  let bytesLeft = ANSWER_BYTES_MAX
  for (const p of partitions) {
    let offset = await transport.offsetOf(topic, p, readFrom(from))
    while (left > 0 && bytesLeft > 0) {
      const read = await transport.read(topic, p, offset, READ_BYTES)
      const whole = read.frames
      const end = cut(whole, left)
      const taken = end === whole.length ? read.records : countRecords(whole, 0, end)
      if (end > 0) parts.push({ partition: p, frames: whole.subarray(0, end) })
      left -= taken
      bytesLeft -= end
      if (end < whole.length) {
        offset = offsetAt(whole, end)
        break
      }
      const moved = read.next > offset
      offset = read.next
      if (!moved || offset >= read.latest) break
    }
    next[p] = offset
  }
  return { parts, next }
}

export interface FetchQuery {
  topic: string
  partition?: number
  from: string
  limit: number
  /** A pipeline's own topic, which need not exist yet. */
  own?: boolean
}

function readFrom(text: string): ReadFrom {
  const start = parseStart(text, READ_WORDS)
  if (!start || start.at === 'savepoint' || start.at === 'checkpoint') {
    throw new SpqrError('INVALID_BODY', `Cannot read from "${text}": write earliest, latest, offset:N or time:ISO.`, {
      issues: [{ pointer: '/from', message: 'must be earliest, latest, offset:N or time:ISO' }],
    })
  }
  if (start.at === 'word') return { at: start.word === 'latest' ? 'latest' : 'earliest' }
  return start
}

/** Where the first `records` of the run end. */
function cut(frames: Uint8Array, records: number): number {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  let at = 0
  for (let left = records; at < frames.length && left > 0; left--) at += view.getUint32(at + RECORD_LENGTH, true)
  return at
}

function offsetAt(frames: Uint8Array, at: number): bigint {
  return new DataView(frames.buffer, frames.byteOffset, frames.byteLength).getBigInt64(at + 24, true)
}
