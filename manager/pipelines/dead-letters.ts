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
    record?: { key?: unknown; value?: unknown; headers?: unknown }
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
      for (const letter of records) {
        if (BigInt(letter.offset) >= end) break
        if (await replay(host, plan, letter)) done.replayed++
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

async function replay(host: HostClient, plan: Plan, letter: Letter): Promise<boolean> {
  const { source, record } = letter.value
  if (source?.topic === undefined || !record) return false
  const http = plan.components.find(
    (c): c is PlanSource => c.kind === 'source' && c.type === 'http' && source.topic === ingestTopic(plan.id, c.id),
  )
  if (http && plan.forkOf === undefined) {
    const path = `${pipelinePath(plan.tenant, plan.id)}/ingest/${http.id}`
    const response = await host.forward('POST', path, valueBytes(record.value), {
      'content-type': 'application/octet-stream',
    })
    if (!response.ok) throw await problemOf(response)
    return true
  }
  const reads = plan.components.some(
    (c) => c.kind === 'source' && c.type === 'topic' && c.settings.topic === source.topic,
  )
  if (!reads) return false
  const path = `/topics/${encodeURIComponent(topicName(plan.tenant, source.topic))}/records`
  await host.json('POST', path, JSON.stringify({ records: [record] }))
  return true
}

function valueBytes(value: unknown): Uint8Array<ArrayBuffer> {
  if (typeof value === 'string') return new TextEncoder().encode(value)
  const base64 = (value as { base64?: unknown } | null)?.base64
  if (typeof base64 === 'string') return new Uint8Array(Buffer.from(base64, 'base64'))
  return new TextEncoder().encode(JSON.stringify(value))
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
