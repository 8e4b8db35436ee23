// Who may ask. Without an administrator's token the manager serves the one tenant of this machine, so a web page of
// another origin must not reach it: not by its own name (Host, against DNS rebinding) and not across sites (Origin). With one,
// every request brings a token, which no page has by itself; pages of other origins are refused all the same.
// Runs on: control.

import type { MiddlewareHandler } from 'hono'
import { SCOPES } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT, ID_PATTERN } from '../../schemas/names.ts'
import type { RateLimit } from '../tenants/rate-limit.ts'
import type { Tenants } from '../tenants/tenants.ts'
import { isToken, type Tokens } from '../tenants/tokens.ts'
import type { ApiContext, Caller, Env } from './context.ts'
import { type Need, needOf } from './needs.ts'

/** What requests are judged by. */
export interface Access {
  tenants: Tenants
  tokens: Tokens
  rates: RateLimit
  /** SHA-256 of the administrator's token; absent: no token is asked for. */
  adminHash?: Uint8Array
  /** Hosts may register, by a proof of their own. */
  takesHosts: boolean
}

const LOOPBACK = /^(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i
const BEARER = /^Bearer +(\S{1,1024}) *$/i
export const TENANT_HEADER = 'spqr-tenant'

/** Lets requests through that are meant for a loopback name and come from no foreign page. */
export function localOnly(): MiddlewareHandler<Env> {
  return async (c, next) => {
    const host = c.req.header('host')
    if (host !== undefined && !LOOPBACK.test(host)) {
      throw new SpqrError('FORBIDDEN', `This manager answers on loopback names only, not as "${host.slice(0, 100)}".`)
    }
    const origin = c.req.header('origin')
    if (origin !== undefined && !LOOPBACK.test(hostOf(origin))) throw foreignOrigin(origin)
    await next()
  }
}

/** Lets requests through that come from no page, or from one of this manager's own. */
export function sameOrigin(): MiddlewareHandler<Env> {
  return async (c, next) => {
    const origin = c.req.header('origin')
    if (origin !== undefined && hostOf(origin) !== c.req.header('host')) throw foreignOrigin(origin)
    await next()
  }
}

const hostOf = (origin: string): string => /^https?:\/\/(.*)$/i.exec(origin)?.[1] ?? ''

function foreignOrigin(origin: string): SpqrError {
  return new SpqrError('FORBIDDEN', `Pages of "${origin.slice(0, 100)}" may not use this manager.`)
}

/** Says whose request it is, and refuses what it may not. */
export function authorize(access: Access): MiddlewareHandler<Env> {
  return async (c, next) => {
    const asked = needOf(c.req.method, c.req.path)
    const need: Need = asked.kind === 'host' && !access.takesHosts ? { kind: 'admin' } : asked
    if (access.adminHash === undefined) actLocally(c, need)
    else if (need.kind !== 'open' && need.kind !== 'host') admit(c, need, access, access.adminHash)
    await next()
  }
}

/** Whoever is on this machine administers its one tenant. */
function actLocally(c: ApiContext, need: Need): void {
  const wanted = c.req.header(TENANT_HEADER)
  const other = wanted !== undefined && wanted !== DEFAULT_TENANT ? wanted : undefined
  if (other !== undefined && need.kind !== 'open') {
    throw new SpqrError(
      'FORBIDDEN',
      `This manager serves the tenant "default" alone, not "${other.slice(0, 80)}": start it with SPQR_ADMIN_TOKEN.`,
    )
  }
  c.set('tenant', DEFAULT_TENANT)
  c.set('caller', { by: 'local', isAdmin: true, scopes: SCOPES, choseTenant: false })
}

/** The token that the request brings. */
export const bearerOf = (c: ApiContext): string | undefined => BEARER.exec(c.req.header('authorization') ?? '')?.[1]

function admit(c: ApiContext, need: Need, access: Access, adminHash: Uint8Array): void {
  const token = bearerOf(c)
  if (token === undefined) {
    throw new SpqrError(
      'UNAUTHENTICATED',
      'This needs a token: send Authorization: Bearer TOKEN (SPQR_TOKEN for spqr).',
    )
  }
  const row = access.tokens.find(token)
  if (isToken(token, adminHash)) {
    actAsAdmin(c, access)
    return
  }
  if (!row || access.tenants.isGone(row.tenant)) {
    throw new SpqrError('UNAUTHENTICATED', 'The token is unknown, revoked or over; ask for another.')
  }
  access.rates.take(row.tenant)
  const caller: Caller = {
    by: row.id,
    isAdmin: false,
    scopes: row.scopes,
    choseTenant: false,
    end: access.tokens.endOf(row.id),
  }
  const named = namedTenant(c)
  if (named !== undefined && named !== row.tenant) {
    throw new SpqrError('FORBIDDEN', `This token is of one tenant and may not act for "${named.slice(0, 80)}".`)
  }
  if (need.kind === 'admin') {
    throw new SpqrError('FORBIDDEN', "This needs the administrator's token; a tenant's is not enough.")
  }
  if (need.kind === 'scope') requireScope(row.tenant, row.scopes, need)
  c.set('tenant', row.tenant)
  c.set('caller', caller)
}

const namedTenant = (c: ApiContext): string | undefined => c.req.header(TENANT_HEADER) ?? c.req.query('tenant')

/** The administrator acts for `default`, or for the tenant of the header or of `?tenant=`. */
function actAsAdmin(c: ApiContext, access: Access): void {
  const named = namedTenant(c)
  if (named !== undefined) {
    if (!ID_PATTERN.test(named)) {
      throw new SpqrError('NOT_FOUND', `There is no tenant "${named.slice(0, 80)}".`)
    }
    access.tenants.get(named)
  }
  c.set('tenant', named ?? DEFAULT_TENANT)
  c.set('caller', { by: 'admin', isAdmin: true, scopes: SCOPES, choseTenant: named !== undefined })
}

function requireScope(tenant: string, scopes: readonly string[], need: Extract<Need, { kind: 'scope' }>): void {
  if (need.tenant !== undefined && need.tenant !== tenant) {
    throw new SpqrError('FORBIDDEN', `This token may not act for the tenant "${need.tenant.slice(0, 80)}".`)
  }
  if (scopes.includes(need.scope) || scopes.includes('admin')) return
  throw new SpqrError(
    'FORBIDDEN',
    `This needs a token with the scope "${need.scope}"; this one has ${scopes.map((scope) => `"${scope}"`).join(', ')}.`,
  )
}
