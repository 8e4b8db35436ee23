// Writes every change that was made into the audit log, before its answer leaves.
// Runs on: control.

import type { MiddlewareHandler } from 'hono'
import type { Audit } from '../tenants/audit.ts'
import type { ApiContext, Env } from './context.ts'
import { isReading, needOf } from './needs.ts'

const PATH_MAX = 300

export function auditTrail(audit: Audit): MiddlewareHandler<Env> {
  return async (c, next) => {
    await next()
    const { method, path } = c.req
    if (isReading(method) || c.res.status >= 400 || !path.startsWith('/v1/')) return
    const need = needOf(method, path)
    // Hosts come and go by themselves; records are no changes, and there are many; a dry run changes nothing.
    if (need.kind === 'host') return
    if ((need.kind === 'scope' && need.scope === 'ingest') || c.req.query('dryRun') === 'true') return
    // A change of what is there makes nothing; to be asked, plain headers would have to become an object.
    const made = method === 'PATCH' ? null : c.res.headers.get('location')
    audit.add({
      at: Date.now(),
      tenant: /^\/v1\/tenants\/([^/]+)/.exec(made ?? path)?.[1] ?? c.get('tenant'),
      by: c.get('caller').by,
      from: addressOf(c),
      what: `${method} ${path.slice(0, PATH_MAX)}`,
      ...(made === null ? {} : { made: made.slice(0, PATH_MAX) }),
      status: c.res.status,
    })
  }
}

/** Where the connection came from; a header that claims another address is not believed. */
function addressOf(c: ApiContext): string {
  const { incoming } = (c.env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } }
  return incoming?.socket?.remoteAddress ?? 'in-process'
}
