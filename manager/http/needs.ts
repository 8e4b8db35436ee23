// What a request needs: nothing, a scope of a tenant's token, or the administrator's token. One place, decided before a body is
// read; a path that nobody thought of needs `read` or `write` by its method.
// Runs on: control.

import type { Scope } from '../../schemas/api.ts'

export type Need =
  | { kind: 'open' }
  /** A host's own proof, which its route asks for. */
  | { kind: 'host' }
  /** The administrator alone. */
  | { kind: 'admin' }
  /** `tenant`: it must be this one; absent: the caller's own is meant. */
  | { kind: 'scope'; scope: Scope; tenant?: string }

const OPEN = new Set(['/healthz', '/readyz', '/openapi.json', '/docs'])
const GIVES_RECORDS = /^\/v1\/(?:pipelines\/[^/]+\/ingest\/[^/]+|topics\/[^/]+\/records)$/
const OF_HOSTS = /^\/v1\/hosts(?:\/hello|\/[^/]+\/heartbeat)?$/
const TENANT = /^\/v1\/tenants\/([^/]+)(\/.*)?$/

export function isReading(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}

/** @param path as it is routed by */
export function needOf(method: string, path: string): Need {
  if (OPEN.has(path) && isReading(method)) return { kind: 'open' }
  if (method === 'POST' && OF_HOSTS.test(path)) return { kind: 'host' }
  if (path === '/metrics' || /^\/v1\/(?:hosts|tenants)\/?$/.test(path) || path.startsWith('/v1/hosts/')) {
    return { kind: 'admin' }
  }
  const tenant = TENANT.exec(path)
  if (tenant) return needOfTenant(method, tenant[1]!, tenant[2] ?? '')
  if (path === '/v1/audit') return { kind: 'scope', scope: 'admin' }
  if (method === 'POST' && GIVES_RECORDS.test(path)) return { kind: 'scope', scope: 'ingest' }
  return { kind: 'scope', scope: isReading(method) ? 'read' : 'write' }
}

/** A tenant looks at itself, and keeps its own tokens and secrets; what it may have is not its own to say. */
function needOfTenant(method: string, tenant: string, rest: string): Need {
  if (rest === '') return isReading(method) ? { kind: 'scope', scope: 'read', tenant } : { kind: 'admin' }
  if (/^\/(?:tokens|secrets)(?:\/|$)/.test(rest)) return { kind: 'scope', scope: 'admin', tenant }
  return { kind: 'admin' }
}
