// /v1/tenants and /v1/audit: tenants, tokens, permissions, quotas, secrets. Who may ask what is decided in needs.ts.
// Runs on: control.

import type { Hono } from 'hono'
import {
  listQuery,
  noQuery,
  permissionsBody,
  quotasBody,
  removeTenantQuery,
  secretBody,
  tenantBody,
  tokenBody,
} from '../../schemas/api.ts'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { SECRET_PATTERN, tenantTopic } from '../../schemas/names.ts'
import { FORBIDDEN_FIELD } from '../../schemas/shapes.ts'
import { PAGE_ITEMS, page } from '../page.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import type { Audit } from '../tenants/audit.ts'
import { type Removal, removeTenant } from '../tenants/remove-tenant.ts'
import type { Tokens } from '../tenants/tokens.ts'
import type { ApiContext, Env } from './context.ts'
import { jsonBody, queryOf } from './input.ts'

export interface TenantParts {
  context: PipelineContext
  tokens: Tokens
  audit: Audit
  removal: Removal
}

export function tenantRoutes(app: Hono<Env>, parts: TenantParts): void {
  const { context, removal } = parts
  const { tenants, quotas } = context

  app.post('/v1/tenants', async (c) => {
    queryOf(c, noQuery)
    const { id } = await jsonBody(c, tenantBody)
    requireTokens(tenants.enforced, `make the tenant "${id}"`)
    const { createdAt } = await tenants.create(id, () => requireFreeName(context, id))
    c.header('location', `/v1/tenants/${id}`)
    return c.json({ id, createdAt }, 201)
  })

  app.get('/v1/tenants', (c) => {
    const all = tenants.all().filter(({ state }) => state === 'present')
    const { items, ...next } = page(all, ({ id }) => id, queryOf(c, listQuery))
    return c.json({ items: items.map(({ id, createdAt }) => ({ id, createdAt })), ...next })
  })

  app.get('/v1/tenants/:tenant', async (c) => {
    queryOf(c, noQuery)
    const { id, createdAt, permissions, quotas: bounds } = tenants.get(tenantOf(c))
    const used = await quotas.used(id)
    return c.json({ id, createdAt, quotas: bounds, ...(permissions ? { permissions } : {}), used })
  })

  app.delete('/v1/tenants/:tenant', async (c) => {
    const { force } = queryOf(c, removeTenantQuery)
    await removeTenant(removal, tenantOf(c), force ?? false)
    return c.body(null, 204)
  })

  app.put('/v1/tenants/:tenant/permissions', async (c) => {
    queryOf(c, noQuery)
    const { id } = tenants.get(tenantOf(c))
    const permissions = await jsonBody(c, permissionsBody)
    await tenants.setPermissions(id, permissions)
    return c.json(permissions)
  })

  app.put('/v1/tenants/:tenant/quotas', async (c) => {
    queryOf(c, noQuery)
    const { id } = tenants.get(tenantOf(c))
    const bounds = await jsonBody(c, quotasBody)
    requireTokens(tenants.enforced, `bound the tenant "${id}"`)
    await tenants.setQuotas(id, bounds)
    return c.json(bounds)
  })

  tokenRoutes(app, parts)
  secretRoutes(app, parts)
  auditRoute(app, parts)
}

function tokenRoutes(app: Hono<Env>, { context: { tenants }, tokens }: TenantParts): void {
  app.post('/v1/tenants/:tenant/tokens', async (c) => {
    queryOf(c, noQuery)
    const { id } = tenants.get(tenantOf(c))
    const { scopes, expiresAt } = await jsonBody(c, tokenBody)
    requireTokens(tenants.enforced, `make a token of "${id}"`)
    const end = expiresAt === undefined ? undefined : Date.parse(expiresAt)
    if (end !== undefined && end <= Date.now()) {
      throw invalid('body', [{ pointer: '/expiresAt', message: 'is in the past' }])
    }
    const made = tokens.create(id, scopes, end)
    c.header('location', `/v1/tenants/${id}/tokens/${made.id}`)
    // A token in some cache would be a token that somebody else has.
    c.header('cache-control', 'no-store')
    return c.json(made, 201)
  })

  app.get('/v1/tenants/:tenant/tokens', (c) => {
    const { id } = tenants.get(tenantOf(c))
    const all = tokens.list(id).sort((a, b) => (a.id < b.id ? -1 : 1))
    const { items, ...next } = page(all, (token) => token.id, queryOf(c, listQuery))
    return c.json({
      items: items.map(({ id, scopes, createdAt, expiresAt }) => ({
        id,
        scopes,
        createdAt,
        ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }),
      })),
      ...next,
    })
  })

  app.delete('/v1/tenants/:tenant/tokens/:token', (c) => {
    queryOf(c, noQuery)
    tokens.revoke(tenants.get(tenantOf(c)).id, c.req.param('token'))
    return c.body(null, 204)
  })
}

function secretRoutes(app: Hono<Env>, { context: { tenants } }: TenantParts): void {
  app.put('/v1/tenants/:tenant/secrets/:name', async (c) => {
    queryOf(c, noQuery)
    const { id } = tenants.get(tenantOf(c))
    const name = c.req.param('name')
    if (!SECRET_PATTERN.test(name) || name === FORBIDDEN_FIELD) {
      const message =
        'must be 1 to 128 of the characters a–z, A–Z, 0–9, "_", "." and "-", and begin with a letter or "_"'
      throw invalid('path', [{ pointer: '/name', message }])
    }
    const { value } = await jsonBody(c, secretBody)
    await tenants.putSecret(id, name, value)
    return c.body(null, 204)
  })

  app.get('/v1/tenants/:tenant/secrets', (c) => {
    const { id } = tenants.get(tenantOf(c))
    return c.json(page(tenants.secrets(id), ({ name }) => name, queryOf(c, listQuery)))
  })

  app.delete('/v1/tenants/:tenant/secrets/:name', async (c) => {
    queryOf(c, noQuery)
    await tenants.deleteSecret(tenants.get(tenantOf(c)).id, c.req.param('name'))
    return c.body(null, 204)
  })
}

function auditRoute(app: Hono<Env>, { audit }: TenantParts): void {
  app.get('/v1/audit', (c) => {
    const { limit = PAGE_ITEMS, after } = queryOf(c, listQuery)
    if (after !== undefined && !/^\d{1,15}$/.test(after)) {
      throw invalid('query', [
        { pointer: '/after', message: 'must be the number of an entry: the "next" of the page before' },
      ])
    }
    const { isAdmin, choseTenant } = c.get('caller')
    const tenant = isAdmin && !choseTenant ? undefined : c.get('tenant')
    const items = audit.list(tenant, limit + 1, after === undefined ? undefined : Number(after))
    const shown = items.slice(0, limit)
    return c.json(items.length > limit ? { items: shown, next: String(shown.at(-1)!.number) } : { items: shown })
  })
}

/** The tenant of the path. */
function tenantOf(c: ApiContext): string {
  return c.req.param('tenant')!
}

function requireTokens(enforced: boolean, what: string): void {
  if (enforced) return
  throw new SpqrError(
    'INVALID_STATE',
    `Cannot ${what}: this manager serves "default" without tokens; start it with SPQR_ADMIN_TOKEN.`,
  )
}

/**
 * Topics of that name would become the tenant's with all that is in them.
 * @throws SpqrError IN_USE
 */
async function requireFreeName({ hosts }: PipelineContext, id: string): Promise<void> {
  const path = `/topics?prefix=${encodeURIComponent(`${id}.`)}`
  const { items } = await hosts.any().json<{ items: { name: string }[] }>('GET', path)
  const taken = items.find(({ name }) => tenantTopic(id, name) !== undefined)
  if (!taken) return
  throw new SpqrError(
    'IN_USE',
    `Cannot make the tenant "${id}": the topic "${taken.name}" is there, which would be its own; choose another id or remove it.`,
  )
}

function invalid(what: string, issues: Issue[]): SpqrError {
  return new SpqrError('INVALID_DOCUMENT', `The ${what} has one problem; it is named with its place.`, { issues })
}
