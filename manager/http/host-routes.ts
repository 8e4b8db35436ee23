// /v1/hosts: who there is, and how a host registers. Registration proves itself (manager/hosts/registrar.ts) and brings no
// token of the API.
// Runs on: control.

import type { Hono } from 'hono'
import { heartbeatBody, hostBody, hostHelloBody, listQuery, noQuery } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import type { HostClient } from '../hosts/host-client.ts'
import type { Hosts } from '../hosts/hosts.ts'
import type { Registrar } from '../hosts/registrar.ts'
import { page } from '../page.ts'
import type { Env } from './context.ts'
import { bearerOf } from './guard.ts'
import { jsonBody, queryOf } from './input.ts'

/** @param remove moves what has its place on a host elsewhere, and forgets it */
export function hostRoutes(
  app: Hono<Env>,
  hosts: Hosts,
  registrar: Registrar | undefined,
  remove: (host: HostClient) => Promise<void>,
): void {
  const registering = (): Registrar => {
    if (registrar) return registrar
    throw new SpqrError(
      'INVALID_STATE',
      'This manager has a host of its own (spqr dev): start spqr manager to have others.',
    )
  }

  app.get('/v1/hosts', async (c) => {
    const query = queryOf(c, listQuery)
    const items = await Promise.all(hosts.known().map((host) => describe(hosts, host)))
    return c.json(page(items, (host) => host.id, query))
  })

  app.post('/v1/hosts/hello', async (c) => {
    queryOf(c, noQuery)
    const { own } = await jsonBody(c, hostHelloBody)
    return c.json(registering().hello(own))
  })

  app.post('/v1/hosts', async (c) => {
    queryOf(c, noQuery)
    const host = registering().register(await jsonBody(c, hostBody))
    return c.json({ id: host.id, url: host.url, state: 'present', pipelines: hosts.count(host.id) }, 201)
  })

  app.post('/v1/hosts/:id/heartbeat', async (c) => {
    queryOf(c, noQuery)
    const { process } = await jsonBody(c, heartbeatBody)
    return c.json(registering().heartbeat(c.req.param('id'), process, bearerOf(c) ?? ''))
  })

  app.delete('/v1/hosts/:id', async (c) => {
    queryOf(c, noQuery)
    registering()
    const host = hosts.get(c.req.param('id'))
    if (!host) throw new SpqrError('NOT_FOUND', `There is no host "${c.req.param('id').slice(0, 80)}".`)
    await remove(host)
    return c.body(null, 204)
  })
}

async function describe(hosts: Hosts, host: HostClient): Promise<{ id: string; [field: string]: unknown }> {
  const load = host.isAway ? {} : await host.json<Record<string, unknown>>('GET', '/healthz').catch(() => ({}))
  const { id, url } = host
  return { id, url, state: host.isAway ? 'away' : 'present', ...load, pipelines: hosts.count(id) }
}
