// What flows in and out of a pipeline over HTTP: ingest, out, tap, events, stats. The host answers; bodies and streams
// pass through as they are.
// Runs on: control.

import { upgradeWebSocket } from '@hono/node-server'
import type { Hono } from 'hono'
import { noQuery, tapQuery } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import { ID_PATTERN, normalId } from '../../schemas/names.ts'
import { type HostClient, pipelinePath } from '../hosts/host-client.ts'
import { entryOf, type PipelineContext, pathId, rowOf } from '../pipelines/pipeline-context.ts'
import type { PipelineEntry } from '../pipelines/pipeline-index.ts'
import { bodyBytes, RECORDS_BYTES_MAX } from './body.ts'
import type { ApiContext, Env } from './context.ts'
import { queryOf } from './input.ts'
import { framesOf } from './websocket.ts'

export function streamRoutes(app: Hono<Env>, context: PipelineContext): void {
  app.post('/v1/pipelines/:id/ingest/:source', async (c) => {
    queryOf(c, noQuery)
    const { host, path } = target(c, context)
    const bytes = await bodyBytes(c, RECORDS_BYTES_MAX)
    await context.quotas.addTopicBytes(c.get('tenant'), bytes.length)
    const type = c.req.header('content-type')
    const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
    return host.forward('POST', `${path}/ingest/${segment(c, 'source')}`, bytes, headers)
  })

  app.get('/v1/pipelines/:id/out/:component', upgradeWebSocket(framesOf((c, form) => outOf(c, context, form))), (c) =>
    outOf(c, context),
  )

  app.get('/v1/pipelines/:id/tap/:component', (c) => {
    queryOf(c, tapQuery)
    const { host, path } = target(c, context)
    return stream(c, host, `${path}/tap/${segment(c, 'component')}${search(c)}`)
  })

  app.get('/v1/pipelines/:id/events', (c) => {
    queryOf(c, noQuery)
    const { host, path } = target(c, context)
    return stream(c, host, `${path}/events`)
  })

  app.get('/v1/pipelines/:id/stats', async (c) => {
    queryOf(c, noQuery)
    const tenant = c.get('tenant')
    const entry = entryOf(context, tenant, pathId(c.req.param('id')))
    const host = context.hosts.of(tenant, entry.id)
    const response = await host.forward('GET', `${pipelinePath(tenant, entry.id)}/stats`)
    // A pipeline that was stopped before this process began has moved nothing since.
    return response.status === 404 && !entry.placed ? c.json(noStats(context, entry)) : response
  })
}

function outOf(c: ApiContext, context: PipelineContext, form: Record<string, string> = {}): Promise<Response> {
  queryOf(c, noQuery)
  const { host, path } = target(c, context)
  const lastEventId = c.req.header('last-event-id')
  const headers = lastEventId === undefined ? form : { ...form, 'last-event-id': lastEventId }
  return stream(c, host, `${path}/out/${segment(c, 'component')}`, headers)
}

/** An open stream of the host; of a HEAD only its head. */
export async function stream(
  c: ApiContext,
  host: HostClient,
  path: string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const response = await host.forward('GET', path, undefined, { accept: 'text/event-stream', ...headers })
  if (c.req.raw.method === 'HEAD') await response.body?.cancel()
  const { end } = c.get('caller')
  return end && response.ok && response.body ? endingWith(end, response) : response
}

/** The same stream, which ends when the token that asked for it does. */
function endingWith(end: AbortSignal, response: Response): Response {
  const gate = new TransformStream<Uint8Array, Uint8Array>()
  const body = response.body as ReadableStream<Uint8Array>
  // It rejects where the reader goes away, and where the token is over: both end the host's stream, which is all.
  body.pipeTo(gate.writable, { signal: end }).catch(() => undefined)
  return new Response(gate.readable, response)
}

/** The pipeline of the path, where it runs. @throws SpqrError NOT_FOUND; INVALID_STATE where it runs nowhere */
function target(c: ApiContext, context: PipelineContext): { host: HostClient; path: string } {
  const tenant = c.get('tenant')
  const entry = entryOf(context, tenant, pathId(c.req.param('id')!))
  if (!entry.placed && (entry.failure || entry.wanted !== 'running')) {
    const state = entry.failure ? `${entry.failure.code}: ${entry.failure.message}` : `it is ${entry.wanted}`
    throw new SpqrError('INVALID_STATE', `The pipeline "${entry.id}" runs on no host: ${state}; resume it first.`)
  }
  const host = context.hosts.of(tenant, entry.id)
  if (!entry.placed && !host.isAway) {
    const message = `The pipeline "${entry.id}" is being started: try again.`
    throw new SpqrError('TRANSPORT_UNAVAILABLE', message, { retriable: true })
  }
  return { host, path: pipelinePath(tenant, entry.id) }
}

/** A component of the path. @throws SpqrError NOT_FOUND: no component can have that id */
function segment(c: ApiContext, name: string): string {
  const given = c.req.param(name)!
  const id = normalId(given)
  if (ID_PATTERN.test(id)) return id
  throw new SpqrError('NOT_FOUND', `There is no component "${given.slice(0, 80)}".`)
}

/** The query as it came, with its question mark. */
export function search(c: ApiContext): string {
  const at = c.req.url.indexOf('?')
  return at < 0 ? '' : c.req.url.slice(at)
}

function noStats(context: PipelineContext, { tenant, id }: PipelineEntry): Record<string, unknown> {
  const { components } = JSON.parse(rowOf(context, tenant, id).plan) as { components: { id: string }[] }
  const none = {
    recordsIn: 0,
    recordsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    errors: 0,
    deadLetters: 0,
    fuelUsed: 0,
    busyMs: 0,
    latencyUs: { p50: 0, p99: 0 },
    memoryBytes: 0,
  }
  return { components: Object.fromEntries(components.map((component) => [component.id, none])), edges: [] }
}
