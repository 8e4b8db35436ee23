// Health, metrics, the API's description.
// Runs on: control.

import type { Hono } from 'hono'
import { noQuery } from '../../schemas/api.ts'
import { openApi } from '../../schemas/openapi.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import type { Reconcile } from '../pipelines/reconcile.ts'
import type { Env } from './context.ts'
import { docsPage } from './docs-page.ts'
import { queryOf } from './input.ts'
import { Metrics } from './metrics.ts'

export function systemRoutes(app: Hono<Env>, context: PipelineContext, reconcile: Reconcile, version: string): void {
  app.get('/healthz', (c) => c.json({ ok: true }))

  app.get('/readyz', (c) => {
    const { remaining } = reconcile
    const hosts = context.hosts.all().length
    if (remaining === 0 && hosts > 0) return c.json({ ready: true })
    return c.json({ ready: false, starting: remaining, hosts }, 503)
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

  app.get('/', (c) => {
    queryOf(c, noQuery)
    return c.redirect('/docs')
  })
}
