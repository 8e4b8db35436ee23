// Topics of the transport, by their full names.
// Runs on: control; records are read and written by the bridge worker.

import type { Hono } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import { formOf } from '../../schemas/reader-form.ts'
import type { Host } from '../pipeline/host.ts'
import type { TopicSpec } from '../transport/transport.ts'
import { followTopic } from './follow-topic.ts'

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
    const answer = await host.records.produce(c.req.param('name'), c.req.header('content-type') ?? '', body)
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
    if (follow === 'true') {
      return followTopic(host, query, formOf(c.req.header('accept')), limit === undefined ? undefined : Number(limit))
    }
    const bytes = await host.records.fetch({ ...query, limit: limit === undefined ? LIMIT : Number(limit) })
    return new Response(bytes, { headers: JSON_HEADERS })
  })
}
