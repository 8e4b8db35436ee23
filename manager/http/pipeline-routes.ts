// /v1/pipelines: documents, changes, life cycle.
// Runs on: control.

import type { Hono } from 'hono'
import {
  dryRunQuery,
  forkBody,
  keepStateQuery,
  listQuery,
  noQuery,
  patchComponentBody,
  removeQuery,
  restartBody,
  savepointBody,
} from '../../schemas/api.ts'
import type { Issue } from '../../schemas/errors.ts'
import { pipelinePath } from '../hosts/host-client.ts'
import { page } from '../page.ts'
import { patchComponent, replaceDocument } from '../pipelines/change.ts'
import { createPipeline, timingsOf } from '../pipelines/create.ts'
import { readDeadLetters, replayDeadLetters } from '../pipelines/dead-letters.ts'
import { draftOf } from '../pipelines/draft.ts'
import { forkPipeline } from '../pipelines/fork.ts'
import {
  pausePipeline,
  removePipeline,
  restartPipeline,
  resumePipeline,
  stopPipeline,
} from '../pipelines/life-cycle.ts'
import { requireTopics } from '../pipelines/named-topics.ts'
import { entryOf, type PipelineContext, pathId } from '../pipelines/pipeline-context.ts'
import { keyOf } from '../pipelines/pipeline-index.ts'
import { askHost, describePipeline, hostsOf, listPipelines, stateOf } from '../pipelines/state.ts'
import type { Env } from './context.ts'
import { documentBody, jsonBody, queryOf } from './input.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1)
const jsonText = (text: string, status = 200): Response => new Response(text, { status, headers: JSON_TYPE })

export function pipelineRoutes(app: Hono<Env>, context: PipelineContext): void {
  app.post('/v1/pipelines', async (c) => {
    const startedAt = performance.now()
    const { dryRun } = queryOf(c, dryRunQuery)
    const { value, locate } = await documentBody(c)
    const draft = draftOf(context, c.get('tenant'), value, locate)
    const validatedAt = performance.now()
    if (dryRun) {
      await requireTopics(context, draft, locate)
      return c.json({ valid: true, warnings: draft.warnings })
    }
    const { entry, placed } = await createPipeline(context, draft, locate)
    const answer = {
      id: entry.id,
      state: placed.state,
      ...(placed.reason === undefined ? {} : { reason: placed.reason }),
      revision: entry.revision,
      hosts: hostsOf(context, entry),
      warnings: allWarnings(draft.warnings, placed.warnings),
      timings: timingsOf(startedAt, validatedAt, placed),
    }
    c.header('location', `/v1/pipelines/${entry.id}`)
    return c.json(answer, 201)
  })

  app.get('/v1/pipelines', async (c) => c.json(await listPipelines(context, c.get('tenant'), queryOf(c, listQuery))))

  app.get('/v1/pipelines/:id', async (c) => {
    queryOf(c, noQuery)
    return jsonText(await describePipeline(context, c.get('tenant'), pathId(c.req.param('id'))))
  })

  app.put('/v1/pipelines/:id', async (c) => {
    const startedAt = performance.now()
    const { keepState } = queryOf(c, keepStateQuery)
    const id = pathId(c.req.param('id'))
    entryOf(context, c.get('tenant'), id)
    const { value, locate } = await documentBody(c)
    const options = { keepState: keepState === 'required', locate }
    const { entry, placed, warnings, validatedAt } = await replaceDocument(context, c.get('tenant'), id, value, options)
    return c.json({
      id,
      state: placed.state,
      ...(placed.reason === undefined ? {} : { reason: placed.reason }),
      revision: entry.revision,
      hosts: hostsOf(context, entry),
      warnings: allWarnings(warnings, placed.warnings),
      changes: placed.changes ?? [],
      timings: timingsOf(startedAt, validatedAt, placed),
    })
  })

  app.patch('/v1/pipelines/:id/components/:component', async (c) => {
    const startedAt = performance.now()
    const { keepState } = queryOf(c, keepStateQuery)
    const id = pathId(c.req.param('id'))
    const patch = await jsonBody(c, patchComponentBody)
    const component = c.req.param('component')
    const options = { keepState: keepState === 'required' }
    const changed = await patchComponent(context, c.get('tenant'), id, component, patch, options)
    const { entry, placed, change, warnings, validatedAt } = changed
    return c.json({
      revision: entry.revision,
      ...(change ? { fromSequence: { component: change.component, sequence: change.sequence } } : {}),
      stateReset: change?.stateReset ?? false,
      warnings: allWarnings(warnings, placed.warnings),
      timings: timingsOf(startedAt, validatedAt, placed),
    })
  })

  app.delete('/v1/pipelines/:id', async (c) => {
    const { drain } = queryOf(c, removeQuery)
    await removePipeline(context, c.get('tenant'), pathId(c.req.param('id')), drain ?? false)
    return c.body(null, 204)
  })

  lifeCycleRoutes(app, context)
}

function lifeCycleRoutes(app: Hono<Env>, context: PipelineContext): void {
  const actions = { pause: pausePipeline, resume: resumePipeline, stop: stopPipeline }
  for (const [action, run] of Object.entries(actions)) {
    app.post(`/v1/pipelines/:id/${action}`, async (c) => {
      queryOf(c, noQuery)
      const entry = await run(context, c.get('tenant'), pathId(c.req.param('id')))
      return c.json({ id: entry.id, ...stateOf(entry, await askHost(context, entry)), revision: entry.revision })
    })
  }

  app.post('/v1/pipelines/:id/restart', async (c) => {
    const { from } = await jsonBody(c, restartBody)
    const entry = await restartPipeline(context, c.get('tenant'), pathId(c.req.param('id')), from)
    return c.json({ id: entry.id, ...stateOf(entry, await askHost(context, entry)), revision: entry.revision })
  })

  app.post('/v1/pipelines/:id/savepoints', async (c) => {
    const tenant = c.get('tenant')
    const id = pathId(c.req.param('id'))
    entryOf(context, tenant, id)
    const { name = `at-${new Date().toISOString().replaceAll(':', '-')}` } = await jsonBody(c, savepointBody, true)
    return context.serial.run(keyOf(tenant, id), () =>
      context.hosts
        .of(tenant, id)
        .forward('POST', `${pipelinePath(tenant, id)}/savepoints`, JSON.stringify({ name }), JSON_TYPE),
    )
  })

  app.get('/v1/pipelines/:id/savepoints', async (c) => {
    const query = queryOf(c, listQuery)
    const tenant = c.get('tenant')
    const { id } = entryOf(context, tenant, pathId(c.req.param('id')))
    const path = `${pipelinePath(tenant, id)}/savepoints`
    const { items } = await context.hosts.of(tenant, id).json<{ items: { name: string }[] }>('GET', path)
    return c.json(page(items.sort(byName), ({ name }) => name, query))
  })

  app.delete('/v1/pipelines/:id/savepoints/:name', async (c) => {
    queryOf(c, noQuery)
    const tenant = c.get('tenant')
    const { id } = entryOf(context, tenant, pathId(c.req.param('id')))
    const path = `${pipelinePath(tenant, id)}/savepoints/${encodeURIComponent(c.req.param('name'))}`
    await context.serial.run(keyOf(tenant, id), () => context.hosts.of(tenant, id).json('DELETE', path))
    return c.body(null, 204)
  })

  app.post('/v1/pipelines/:id/fork', async (c) => {
    const startedAt = performance.now()
    const original = pathId(c.req.param('id'))
    entryOf(context, c.get('tenant'), original)
    const request = await jsonBody(c, forkBody)
    const { entry, placed, warnings, validatedAt } = await forkPipeline(context, c.get('tenant'), original, request)
    const answer = {
      id: entry.id,
      state: placed.state,
      revision: entry.revision,
      hosts: hostsOf(context, entry),
      warnings: allWarnings(warnings, placed.warnings),
      timings: timingsOf(startedAt, validatedAt, placed),
    }
    c.header('location', `/v1/pipelines/${entry.id}`)
    return c.json(answer, 201)
  })

  app.get('/v1/pipelines/:id/dead-letters', async (c) => {
    const query = queryOf(c, listQuery)
    return jsonText(await readDeadLetters(context, c.get('tenant'), pathId(c.req.param('id')), query))
  })

  app.post('/v1/pipelines/:id/dead-letters/replay', async (c) => {
    queryOf(c, noQuery)
    return c.json(await replayDeadLetters(context, c.get('tenant'), pathId(c.req.param('id'))))
  })
}

function allWarnings(own: Issue[], ofHost: string[] | undefined): Issue[] {
  return ofHost?.length ? [...own, ...ofHost.map((message) => ({ pointer: '', message }))] : own
}
