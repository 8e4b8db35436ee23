// Health, metrics, the API's description, hosts.
// Runs on: control.

import type { Hono } from 'hono'
import { listQuery, noQuery } from '../../schemas/api.ts'
import { openApi } from '../../schemas/openapi.ts'
import { page } from '../page.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import type { Restore } from '../pipelines/restore.ts'
import type { Env } from './context.ts'
import { docsPage } from './docs-page.ts'
import { queryOf } from './input.ts'
import { Metrics } from './metrics.ts'

export function systemRoutes(app: Hono<Env>, context: PipelineContext, restore: Restore, version: string): void {
  app.get('/healthz', (c) => c.json({ ok: true }))

  app.get('/readyz', (c) => {
    const { remaining } = restore
    return remaining === 0 ? c.json({ ready: true }) : c.json({ ready: false, starting: remaining }, 503)
  })

  const metrics = new Metrics(context)
  app.get('/metrics', async (c) => {
    const { text, contentType } = await metrics.scrape()
    return c.body(text, 200, { 'content-type': contentType })
  })

  let description: string | undefined
  app.get('/openapi.json', (c) => {
    description ??= JSON.stringify(openApi(version))
    return c.body(description, 200, { 'content-type': 'application/json' })
  })

  let docs: string | undefined
  app.get('/docs', (c) => {
    docs ??= docsPage(openApi(version))
    return c.html(docs, 200, { 'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'" })
  })

  app.get('/v1/hosts', async (c) => {
    const query = queryOf(c, listQuery)
    const items = await Promise.all(
      context.hosts.all().map(async (host) => ({
        id: host.id,
        url: host.url,
        ...(await host.json<Record<string, unknown>>('GET', '/healthz')),
      })),
    )
    return c.json(page(items, (host) => host.id, query))
  })

  app.get('/', (c) => {
    queryOf(c, noQuery)
    return c.redirect('/docs')
  })
}
