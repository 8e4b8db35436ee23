// Topics of the transport, by their full names.
// Runs on: control; records are read and written by the bridge worker.

import type { Hono } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import type { Host } from '../pipeline/host.ts'
import type { TopicSpec } from '../transport/transport.ts'
import { eventStream, eventText } from './event-stream.ts'

const JSON_HEADERS = { 'content-type': 'application/json' }
const LIMIT = 100

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
    if (!info) throw new SpqrError('NOT_FOUND', `There is no topic "${name}"`)
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
    const { partition, from = 'earliest', limit, follow } = c.req.query()
    const query = {
      topic: c.req.param('name'),
      partition: partition === undefined ? undefined : Number(partition),
      from,
      limit: limit === undefined ? LIMIT : Number(limit),
    }
    if (follow === 'true') return followTopic(host, query)
    return new Response(await host.fetchRecords(query), { headers: JSON_HEADERS })
  })
}

/** The records of a topic as events, one each, for as long as the reader listens. */
async function followTopic(
  host: Host,
  query: { topic: string; partition?: number; from: string; limit: number },
): Promise<Response> {
  const info = await host.transport.topic(query.topic)
  if (!info) throw new SpqrError('NOT_FOUND', `There is no topic "${query.topic}"`)
  const partitions = query.partition === undefined ? [...Array(info.partitions).keys()] : [query.partition]
  const from = new Map<number, string>(partitions.map((partition) => [partition, query.from]))
  const due = new Set(partitions)
  let reading = false
  let readerReady = true
  let turn = (): void => undefined
  return eventStream(
    (writer) => {
      const read = async (): Promise<void> => {
        if (reading || !readerReady) return
        reading = true
        try {
          for (const partition of [...due]) {
            due.delete(partition)
            const bytes = await host.fetchRecords({ ...query, partition, from: from.get(partition)!, limit: 1000 })
            const text = new TextDecoder().decode(bytes)
            const { records, next } = JSON.parse(text) as { records: unknown[]; next: Record<string, string> }
            from.set(partition, `offset:${next[partition]}`)
            for (const record of records) readerReady = writer.push(eventText(JSON.stringify(record)))
            if (records.length > 0) due.add(partition)
            if (!readerReady) break
          }
        } catch {
          // The topic is gone.
          writer.close()
        } finally {
          reading = false
        }
        if (due.size > 0 && readerReady) void read()
      }
      turn = () => {
        readerReady = true
        void read()
      }
      const unwatch = host.transport.watch(query.topic, (partition) => {
        if (!from.has(partition)) return
        due.add(partition)
        void read()
      })
      void read()
      return unwatch
    },
    () => turn(),
  )
}
