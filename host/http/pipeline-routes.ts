// Life cycle, changes and statistics of pipelines.
// Runs on: control.

import type { Hono } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { Host } from '../pipeline/host.ts'

export function pipelineRoutes(app: Hono, host: Host): void {
  app.put('/pipelines/:tenant/:id', async (c) => {
    const plan = (await c.req.json()) as Plan
    const [keepState, live] = [c.req.query('keepState') === 'required', c.req.query('live') === 'required']
    return c.json(await host.put(plan, { keepState, live }))
  })

  app.get('/pipelines', (c) => c.json({ items: host.list().map((pipeline) => pipeline.status()) }))

  app.get('/pipelines/:tenant/:id', (c) => {
    const { tenant, id } = c.req.param()
    return c.json(host.pipeline(tenant, id).status())
  })

  app.post('/pipelines/:tenant/:id/pause', async (c) => {
    await host.pause(c.req.param('tenant'), c.req.param('id'))
    return c.body(null, 204)
  })

  app.post('/pipelines/:tenant/:id/resume', async (c) => {
    await host.resume(c.req.param('tenant'), c.req.param('id'))
    return c.body(null, 204)
  })

  app.post('/pipelines/:tenant/:id/stop', async (c) => {
    await host.stopPipeline(c.req.param('tenant'), c.req.param('id'))
    return c.body(null, 204)
  })

  app.post('/pipelines/:tenant/:id/release', async (c) => {
    await host.release(c.req.param('tenant'), c.req.param('id'))
    return c.body(null, 204)
  })

  app.post('/pipelines/:tenant/:id/move', async (c) => {
    const { tenant, id } = c.req.param()
    const { worker } = (await c.req.json()) as { worker: number }
    await host.move(tenant, id, worker)
    return c.json(host.pipeline(tenant, id).status())
  })

  app.delete('/pipelines/:tenant/:id', async (c) => {
    await host.remove(c.req.param('tenant'), c.req.param('id'), c.req.query('drain') === 'true')
    return c.body(null, 204)
  })

  app.get('/pipelines/:tenant/:id/stats', async (c) => {
    return c.json(await host.stats(c.req.param('tenant'), c.req.param('id')))
  })

  app.post('/pipelines/:tenant/:id/savepoints', async (c) => {
    const { tenant, id } = c.req.param()
    const { name = `savepoint-${Date.now()}` } = (await c.req.json()) as { name?: string }
    const summary = await host.savepoint(tenant, id, name)
    return c.json({ name, ...summary }, 201)
  })

  app.get('/pipelines/:tenant/:id/savepoints', async (c) => {
    const { tenant, id } = c.req.param()
    const all = await host.transport.checkpoints({ tenant, pipeline: id, slot: 0 })
    const named = all.filter((summary) => summary.savepoint !== undefined)
    return c.json({ items: named.map(({ savepoint, ...summary }) => ({ name: savepoint, ...summary })) })
  })

  app.delete('/pipelines/:tenant/:id/savepoints/:name', async (c) => {
    const { tenant, id, name } = c.req.param()
    const all = await host.transport.checkpoints({ tenant, pipeline: id, slot: 0 })
    if (!all.some(({ savepoint }) => savepoint === name)) {
      throw new SpqrError('NOT_FOUND', `The pipeline "${id}" has no savepoint "${name}".`)
    }
    await host.transport.deleteCheckpoints(tenant, id, name)
    return c.body(null, 204)
  })

  app.post('/pipelines/:tenant/:id/fork-from', async (c) => {
    const { tenant, id } = c.req.param()
    const { from, savepoint } = (await c.req.json()) as { from: string; savepoint?: string }
    return c.json(await host.forkFrom(tenant, from, id, savepoint), 201)
  })
}
