// /v1/topics: the transport's topics under the names their tenant uses.
// Runs on: control.

import { upgradeWebSocket } from '@hono/node-server'
import type { Hono } from 'hono'
import { listQuery, noQuery, readRecordsQuery, topicBody } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import {
  isReservedTopic,
  ownerOfTopic,
  reachableTopic,
  TOPIC_PATTERN,
  tenantTopic,
  topicName,
  topicPrefix,
} from '../../schemas/names.ts'
import { problemOf } from '../hosts/problem-of.ts'
import { page } from '../page.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import { bodyBytes, RECORDS_BYTES_MAX } from './body.ts'
import type { ApiContext, Env } from './context.ts'
import { jsonBody, queryOf } from './input.ts'
import { search, stream } from './stream-routes.ts'
import { framesOf } from './websocket.ts'

interface Topic {
  name: string
  partitions: number
  [field: string]: unknown
}

export function topicRoutes(app: Hono<Env>, context: PipelineContext): void {
  app.post('/v1/topics', async (c) => {
    queryOf(c, noQuery)
    const spec = await jsonBody(c, topicBody)
    refuseReserved(spec.name)
    const name = reachableTopic(c.get('tenant'), spec.name, context.tenants.isTenant)
    if (name === undefined) throw foreignName(spec.name)
    const made = await context.hosts.any().json<Topic>('POST', '/topics', JSON.stringify({ ...spec, name }))
    c.header('location', `/v1/topics/${spec.name}`)
    return c.json({ ...made, name: spec.name }, 201)
  })

  app.get('/v1/topics', async (c) => {
    const query = queryOf(c, listQuery)
    const tenant = c.get('tenant')
    const prefix = encodeURIComponent(topicPrefix(tenant))
    const { items } = await context.hosts.any().json<{ items: Topic[] }>('GET', `/topics?prefix=${prefix}`)
    const own = items.flatMap((topic) => {
      const name = tenantTopic(tenant, topic.name, context.tenants.ids())
      return name === undefined ? [] : [{ ...topic, name }]
    })
    return c.json(page(own, (topic) => topic.name, query))
  })

  app.get('/v1/topics/:topic', async (c) => {
    queryOf(c, noQuery)
    const { name, path } = topicOf(c, context)
    try {
      return c.json({ ...(await context.hosts.any().json<Topic>('GET', path)), name })
    } catch (error) {
      if (isMissing(error) && isOwnTopic(context, c, name)) return c.json({ name, partitions: 1 })
      throw renamed(error, c, name)
    }
  })

  app.delete('/v1/topics/:topic', async (c) => {
    queryOf(c, noQuery)
    const { name, path } = topicOf(c, context)
    refuseReserved(name)
    await context.hosts
      .any()
      .json('DELETE', path)
      .catch((error: unknown) => {
        throw renamed(error, c, name)
      })
    return c.body(null, 204)
  })

  app.post('/v1/topics/:topic/records', async (c) => {
    queryOf(c, noQuery)
    const { name, path } = topicOf(c, context)
    refuseReserved(name)
    const bytes = await bodyBytes(c, RECORDS_BYTES_MAX)
    await context.quotas.addTopicBytes(c.get('tenant'), bytes.length)
    const type = c.req.header('content-type')
    const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
    return passOn(c, name, await context.hosts.any().forward('POST', `${path}/records`, bytes, headers))
  })

  app.get('/v1/topics/:topic/records', (c) => records(c, context))

  app.get('/v1/topics/:topic/ws', upgradeWebSocket(framesOf((c, form) => records(c, context, form))), () => {
    throw new SpqrError('INVALID_BODY', 'This address speaks WebSocket: send Upgrade: websocket.')
  })
}

/** @param form of a stream that is followed */
async function records(c: ApiContext, context: PipelineContext, form?: Record<string, string>): Promise<Response> {
  queryOf(c, readRecordsQuery)
  const { name, path } = topicOf(c, context)
  const query = new URLSearchParams(search(c).slice(1))
  if (form) query.set('follow', 'true')
  // It reads as empty until it is there.
  if (isOwnTopic(context, c, name)) query.set('own', 'true')
  const response = await stream(c, context.hosts.any(), `${path}/records${query.size ? `?${query}` : ''}`, form)
  return passOn(c, name, response)
}

/** The topic of the path. @throws SpqrError NOT_FOUND where nothing can have that name */
function topicOf(c: ApiContext, { tenants }: PipelineContext): { name: string; path: string } {
  const name = c.req.param('topic')!
  const full = TOPIC_PATTERN.test(name) ? reachableTopic(c.get('tenant'), name, tenants.isTenant) : undefined
  if (full === undefined) throw new SpqrError('NOT_FOUND', `There is no topic "${name.slice(0, 80)}".`)
  return { name, path: `/topics/${encodeURIComponent(full)}` }
}

function foreignName(name: string): SpqrError {
  const message = `names that begin with "${name.slice(0, name.indexOf('.') + 1)}" belong to the tenant of that name`
  return new SpqrError('INVALID_DOCUMENT', `The topic "${name}" would be another tenant's; choose another name.`, {
    issues: [{ pointer: '/name', message }],
  })
}

/** A topic that a pipeline makes on its first write. */
function isOwnTopic(context: PipelineContext, c: ApiContext, name: string): boolean {
  const owner = ownerOfTopic(name)
  return owner !== undefined && context.index.get(c.get('tenant'), owner.pipeline) !== undefined
}

/** @throws SpqrError INVALID_DOCUMENT: the product's own topics are made and removed with their pipeline */
function refuseReserved(name: string): void {
  if (!isReservedTopic(name)) return
  throw new SpqrError('INVALID_DOCUMENT', `The topic "${name}" would belong to a pipeline; choose another name.`, {
    issues: [{ pointer: '/name', message: 'names that end in .dead-letters or .ingest.* belong to pipelines' }],
  })
}

function isMissing(error: unknown): boolean {
  return error instanceof SpqrError && error.code === 'NOT_FOUND'
}

/** A problem speaks of the name that the tenant uses. */
function renamed(error: unknown, c: ApiContext, name: string): unknown {
  if (!(error instanceof SpqrError)) return error
  const full = topicName(c.get('tenant'), name)
  if (full === name) return error
  const { code, issues, retriable, extra } = error
  return new SpqrError(code, error.message.replaceAll(full, name), { issues, retriable, extra })
}

/** The host's answer as it is, but for the name in its problems. */
async function passOn(c: ApiContext, name: string, response: Response): Promise<Response> {
  if (response.ok || topicName(c.get('tenant'), name) === name) return response
  throw renamed(await problemOf(response), c, name)
}
