// Topics of the transport, by their full names.
// Runs on: control; records are read and written by the bridge worker.

import type { Hono } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import { jsonItems } from '../../schemas/json-items.ts'
import type { Host } from '../pipeline/host.ts'
import type { TopicSpec } from '../transport/transport.ts'
import { eventStream, eventText } from './event-stream.ts'

const JSON_HEADERS = { 'content-type': 'application/json' }
const LIMIT = 100
/** Read at once of a topic that is followed. */
const FOLLOW_RECORDS = 1000

export function topicRoutes(app: Hono, host: Host): void {
  app.get('/topics', async (c) => {
    const prefix = c.req.query('prefix') ?? ''
    const items = await host.transport.listTopics(prefix)
    const bytes = c.req.query('bytes') === 'true' ? await host.transport.topicBytes?.(prefix) : undefined
    return c.json({ items: bytes ? items.map((topic) => ({ ...topic, bytes: bytes.get(topic.name) ?? 0 })) : items })
  })

  app.post('/topics', async (c) => c.json(await host.transport.createTopic((await c.req.json()) as TopicSpec), 201))

  app.get('/topics/:name', async (c) => {
    const name = c.req.param('name')
    const info = await host.transport.topic(name)
    if (!info) throw new SpqrError('NOT_FOUND', `There is no topic "${name}".`)
    const offsets = await host.transport.offsets(name)
    return c.json({
      ...info,
      offsets: offsets.map(({ partition, earliest, latest }) => ({
        partition,
        earliest: String(earliest),
        latest: String(latest),
      })),
    })
  })

  app.delete('/topics/:name', async (c) => {
    await host.transport.deleteTopic(c.req.param('name'))
    return c.body(null, 204)
  })

  app.post('/topics/:name/records', async (c) => {
    const body = new Uint8Array(await c.req.arrayBuffer())
    const answer = await host.produce(c.req.param('name'), c.req.header('content-type') ?? '', body)
    return new Response(answer, { headers: JSON_HEADERS })
  })

  app.get('/topics/:name/records', async (c) => {
    const { partition, from = 'earliest', limit, follow, own } = c.req.query()
    const query = {
      topic: c.req.param('name'),
      partition: partition === undefined ? undefined : Number(partition),
      from,
      own: own === 'true',
    }
    if (follow === 'true') return followTopic(host, query, limit === undefined ? undefined : Number(limit))
    const bytes = await host.fetchRecords({ ...query, limit: limit === undefined ? LIMIT : Number(limit) })
    return new Response(bytes, { headers: JSON_HEADERS })
  })
}

interface Page {
  /** Each as the JSON that it is. */
  records: string[]
  next: Record<string, string>
}

/** The records of a topic as events, one each, for as long as the reader listens, or until it had `limit` of them. */
async function followTopic(
  host: Host,
  query: { topic: string; partition?: number; from: string; own: boolean },
  limit = Number.POSITIVE_INFINITY,
): Promise<Response> {
  const read = async (partition: number | undefined, from: string): Promise<Page> => {
    const bytes = await host.fetchRecords({ ...query, partition, from, limit: FOLLOW_RECORDS })
    const text = new TextDecoder().decode(bytes)
    const { next } = JSON.parse(text) as { next: Page['next'] }
    return { records: jsonItems(text, text.indexOf('[')), next }
  }
  // What is wrong with the question is answered, not an open stream that ends.
  const first = await read(query.partition, query.from)
  const next = new Map(Object.entries(first.next).map(([partition, offset]) => [Number(partition), offset]))
  const due = new Set(next.keys())
  let left = limit
  let reading = false
  let readerReady = true
  let turn = (): void => undefined
  return eventStream(
    (writer) => {
      const push = (records: string[]): void => {
        const wanted = records.length > left ? records.slice(0, left) : records
        if (wanted.length === 0) return
        left -= wanted.length
        readerReady = writer.push(wanted.map((record) => eventText(record)).join(''))
        if (left <= 0) writer.close()
      }
      const readOn = async (): Promise<void> => {
        if (reading || !readerReady || left <= 0) return
        reading = true
        try {
          for (const partition of [...due]) {
            due.delete(partition)
            const page = await read(partition, `offset:${next.get(partition)}`)
            next.set(partition, page.next[partition]!)
            push(page.records)
            if (page.records.length > 0) due.add(partition)
            if (!readerReady || left <= 0) break
          }
        } catch {
          // The topic is gone.
          writer.close()
        } finally {
          reading = false
        }
        if (due.size > 0 && readerReady) void readOn()
      }
      turn = () => {
        readerReady = true
        void readOn()
      }
      const unwatch = host.transport.watch(query.topic, (partition) => {
        if (!next.has(partition)) return
        due.add(partition)
        void readOn()
      })
      push(first.records)
      void readOn()
      return unwatch
    },
    () => turn(),
  )
}
