// The host's HTTP API (docs/architecture.md): what managers call. `createHostApp(host).fetch` is its in-memory form.
// Runs on: control.

import { Hono } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import type { TenantSpec } from '../../schemas/tenant.ts'
import type { Host } from '../pipeline/host.ts'
import { pipelineRoutes } from './pipeline-routes.ts'
import { streamRoutes } from './stream-routes.ts'
import { topicRoutes } from './topic-routes.ts'

export function createHostApp(host: Host): Hono {
  const app = new Hono()
  app.onError((thrown) => {
    const error = SpqrError.from(thrown)
    const extra = error.extra?.retryAfterSeconds
    const headers: Record<string, string> = { 'content-type': 'application/problem+json' }
    if (extra !== undefined) headers['retry-after'] = String(extra)
    return new Response(JSON.stringify(error.toProblem()), { status: error.status, headers })
  })
  app.notFound((c) => {
    throw new SpqrError('NOT_FOUND', `There is nothing at ${c.req.path}.`)
  })

  app.get('/healthz', (c) => c.json({ ok: true, workers: host.workers.count, pipelines: host.list().length }))

  app.put('/modules/:digest', async (c) => {
    const known = host.modules.get(c.req.param('digest'))
    if (known) return c.json(known.report)
    const { report, isNew } = await host.modules.put(new Uint8Array(await c.req.arrayBuffer()))
    return c.json(report, isNew ? 201 : 200)
  })
  app.get('/modules/:digest', (c) => {
    const known = host.modules.get(c.req.param('digest'))
    if (!known) throw new SpqrError('NOT_FOUND', `There is no module ${c.req.param('digest')}.`)
    return c.json(known.report)
  })
  app.put('/modules/:digest/source-map', async (c) => {
    host.modules.putSourceMap(c.req.param('digest'), await c.req.text())
    return c.body(null, 204)
  })

  app.put('/tenants/:tenant', async (c) => {
    host.putTenant({ ...((await c.req.json()) as TenantSpec), id: c.req.param('tenant') })
    return c.body(null, 204)
  })
  app.delete('/tenants/:tenant', (c) => {
    host.tenants.delete(c.req.param('tenant'))
    return c.body(null, 204)
  })

  pipelineRoutes(app, host)
  streamRoutes(app, host)
  topicRoutes(app, host)
  return app
}
