// What a pipeline could not process: its records are in the topic `<pipeline>.dead-letters`; a replay gives each to the
// place that it came in by once more.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { deadLetterTopic, ingestTopic, topicName } from '../../schemas/names.ts'
import type { Plan, PlanSource } from '../../schemas/plan.ts'
import { type HostClient, pipelinePath } from '../hosts/host-client.ts'
import { problemOf } from '../hosts/problem-of.ts'
import { entryOf, type PipelineContext, rowOf } from './pipeline-context.ts'
import { keyOf } from './pipeline-index.ts'
import { rawElements, rawMember } from './raw-json.ts'

/** Letters that one page, or one step of a replay, takes. */
const STEP_RECORDS = 1000

export interface LettersQuery {
  limit?: number
  /** Offset of the last letter of the page before. */
  after?: string
}

export interface Replayed {
  /** Letters whose record went in again. */
  replayed: number
  /** Letters whose record has no way back in: it came from a source that cannot take it. */
  skipped: number
}

interface Letter {
  offset: string
  value: {
    source?: { topic?: string }
    record?: { cutFromBytes?: number }
  }
}

interface Letters {
  records: Letter[]
  next: Record<string, string>
}

/** `{items, next?}` as JSON; the records go in as the host wrote them, so no number loses a digit. */
export async function readDeadLetters(
  context: PipelineContext,
  tenant: string,
  id: string,
  query: LettersQuery,
): Promise<string> {
  entryOf(context, tenant, id)
  const { limit = 100, after } = query
  if (after !== undefined && !/^\d{1,19}$/.test(after)) {
    const issues = [{ pointer: '/after', message: 'must be the offset of a letter: the "next" of the page before' }]
    throw new SpqrError('INVALID_DOCUMENT', 'The query has one problem.', { issues })
  }
  const from = after === undefined ? 'earliest' : `offset:${BigInt(after) + 1n}`
  const text = await lettersText(context, tenant, id, from, limit)
  const { records } = JSON.parse(text) as Letters
  const items = `{"items":${text.slice(text.indexOf('['), text.lastIndexOf(']') + 1)}`
  return records.length === limit ? `${items},"next":${JSON.stringify(records.at(-1)!.offset)}}` : `${items}}`
}

/**
 * Gives the records of letters that no replay has taken yet to their source again: to `http` as an ingest, to `topic` as
 * a record at the end of that topic.
 */
export function replayDeadLetters(context: PipelineContext, tenant: string, id: string): Promise<Replayed> {
  return context.serial.run(`letters/${keyOf(tenant, id)}`, async () => {
    const entry = entryOf(context, tenant, id)
    const plan = JSON.parse(rowOf(context, tenant, id).plan) as Plan
    const host = context.hosts.of(tenant, id)
    const done: Replayed = { replayed: 0, skipped: 0 }
    // What fails again comes after this end: it waits for the next replay.
    const end = BigInt((await lettersNext(context, tenant, id)) ?? '0')
    let at = BigInt(entry.replayedTo)
    while (at < end) {
      const text = await lettersText(context, tenant, id, `offset:${at}`, STEP_RECORDS)
      const { records, next } = JSON.parse(text) as Letters
      const texts = rawElements(rawMember(text, 'records')!)
      for (const [i, letter] of records.entries()) {
        if (BigInt(letter.offset) >= end) break
        if (await replay(host, plan, letter, texts[i]!)) done.replayed++
        else done.skipped++
      }
      const reached = BigInt(next['0'] ?? end)
      at = reached > at && reached < end ? reached : end
      entry.replayedTo = String(at)
      context.store.pipelines.setReplayedTo(tenant, id, entry.replayedTo)
    }
    return done
  })
}

/** @param text the letter's record as the host wrote it: what goes in again keeps its digits */
async function replay(host: HostClient, plan: Plan, letter: Letter, text: string): Promise<boolean> {
  const { source, record } = letter.value
  // Of a long value the letter has the beginning alone.
  if (source?.topic === undefined || !record || record.cutFromBytes !== undefined) return false
  const raw = rawMember(rawMember(text, 'value')!, 'record')!
  const value = rawMember(raw, 'value') ?? 'null'
  const http = plan.components.find(
    (c): c is PlanSource => c.kind === 'source' && c.type === 'http' && source.topic === ingestTopic(plan.id, c.id),
  )
  if (http && plan.forkOf === undefined) {
    const path = `${pipelinePath(plan.tenant, plan.id)}/ingest/${http.id}`
    const response = await host.forward('POST', path, valueBytes(value), { 'content-type': 'application/octet-stream' })
    if (!response.ok) throw await problemOf(response)
    return true
  }
  const reads = plan.components.some(
    (c) => c.kind === 'source' && c.type === 'topic' && c.settings.topic === source.topic,
  )
  if (!reads) return false
  const path = `/topics/${encodeURIComponent(topicName(plan.tenant, source.topic))}/records`
  const posted = value === 'null' ? value : `{"base64":"${Buffer.from(valueBytes(value)).toString('base64')}"}`
  const members = [`"value":${posted}`]
  for (const name of ['key', 'headers']) {
    const member = rawMember(raw, name)
    if (member !== undefined) members.push(`"${name}":${member}`)
  }
  await host.json('POST', path, `{"records":[{${members.join(',')}}]}`)
  return true
}

/** The bytes that a letter shows as this JSON text: a string stands for text that was no JSON. */
function valueBytes(value: string): Uint8Array<ArrayBuffer> {
  const isText = value.startsWith('"')
  if (isText) return new TextEncoder().encode(JSON.parse(value))
  const base64 = /^\{"base64":"([A-Za-z0-9+/=]*)"\}$/.exec(value)
  return base64 ? new Uint8Array(Buffer.from(base64[1]!, 'base64')) : new TextEncoder().encode(value)
}

async function lettersNext(context: PipelineContext, tenant: string, id: string): Promise<string | undefined> {
  const text = await lettersText(context, tenant, id, 'latest', 1)
  return (JSON.parse(text) as Letters).next['0']
}

async function lettersText(
  context: PipelineContext,
  tenant: string,
  id: string,
  from: string,
  limit: number,
): Promise<string> {
  const topic = encodeURIComponent(topicName(tenant, deadLetterTopic(id)))
  const path = `/topics/${topic}/records?partition=0&from=${encodeURIComponent(from)}&limit=${limit}`
  const response = await context.hosts.of(tenant, id).forward('GET', path)
  if (response.ok) return response.text()
  const problem = await problemOf(response)
  // The topic is made on its first write.
  if (problem.code === 'NOT_FOUND') return '{"records":[],"next":{"0":"0"}}'
  throw problem
}
