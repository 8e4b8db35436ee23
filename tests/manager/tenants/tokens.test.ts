import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { needOf } from '../../../manager/http/needs.ts'
import { API_OPERATIONS } from '../../../schemas/api-operations.ts'
import { remove, startManager, type TestManager } from '../../support/manager.ts'
import { ADMIN_TOKEN, tenant, tokenOf } from '../../support/tenants.ts'

interface Context {
  m: TestManager
}

const tokens = suite<Context>('tokens')
tokens.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
})
tokens.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

tokens('without a token only health and the description answer', async ({ m }) => {
  const nobody = m.as(undefined)
  for (const path of ['/healthz', '/readyz', '/openapi.json', '/docs']) {
    assert.is((await nobody('GET', path)).status, 200, path)
  }
  for (const path of ['/', '/metrics', '/v1/pipelines', '/v1/nothing', '/elsewhere', '/healthz/', '/docs/x']) {
    const { status, body, headers } = await nobody('GET', path)
    assert.equal([status, body.code, headers.get('www-authenticate')], [401, 'UNAUTHENTICATED', 'Bearer'], path)
  }
  assert.is((await nobody('POST', '/healthz')).status, 401)
})

tokens('a token is shown once, kept as a hash, listed without its value, and revoked', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['read'])
  assert.match(token, /^spqr_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/)
  const id = token.slice(5, 21)
  const reader = m.as(token)
  assert.is((await reader('GET', '/v1/pipelines')).status, 200)
  const listed = (await m.ask('GET', '/v1/tenants/a/tokens')).body
  assert.equal([listed.items.length, listed.items[0].id, listed.items[0].scopes], [1, id, ['read']])
  assert.not.ok(JSON.stringify(listed).includes(token.slice(22)))
  for (const row of m.store.tokens.all()) assert.not.ok(Buffer.from(row.hash).toString('latin1').includes(token))
  assert.is((await m.ask('DELETE', `/v1/tenants/a/tokens/${id}`)).status, 204)
  assert.is((await reader('GET', '/v1/pipelines')).status, 401)
  assert.is((await m.ask('DELETE', `/v1/tenants/a/tokens/${id}`)).status, 404)
})

tokens('two tokens hold at once, so that one can take the place of the other', async ({ m }) => {
  const first = await tokenOf(m, 'a', ['read'])
  const second = await tokenOf(m, 'a', ['read'])
  for (const token of [first, second]) assert.is((await m.as(token)('GET', '/v1/pipelines')).status, 200)
  await m.ask('DELETE', `/v1/tenants/a/tokens/${first.slice(5, 21)}`)
  assert.is((await m.as(first)('GET', '/v1/pipelines')).status, 401)
  assert.is((await m.as(second)('GET', '/v1/pipelines')).status, 200)
})

tokens('a token ends at its time, and is not made for a time that is over', async ({ m }) => {
  await m.ask('POST', '/v1/tenants', { id: 'a' })
  const expiresAt = new Date(Date.now() + 150).toISOString()
  const { body } = await m.ask('POST', '/v1/tenants/a/tokens', { scopes: ['read'], expiresAt })
  const reader = m.as(body.token)
  while ((await reader('GET', '/v1/pipelines')).status === 200) await new Promise((done) => setTimeout(done, 10))
  assert.ok(Date.now() >= Date.parse(expiresAt))
  assert.is((await reader('GET', '/v1/pipelines')).status, 401)
  const past = await m.ask('POST', '/v1/tenants/a/tokens', { scopes: ['read'], expiresAt: '2020-01-01T00:00:00Z' })
  assert.equal([past.status, past.body.issues[0].pointer], [422, '/expiresAt'])
})

tokens('an open stream ends with the token that opened it', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['write', 'read', 'ingest'])
  const a = m.as(token)
  const components = [
    { id: 'in', source: 'http' },
    { id: 'd', emitter: 'sse', from: 'in' },
  ]
  assert.is((await a('POST', '/v1/pipelines', { id: 'p', components })).status, 201)
  const headers = { authorization: `Bearer ${token}` }
  const response = await m.manager.fetch(new Request('http://x/v1/pipelines/p/out/d', { headers }))
  const reader = response.body!.getReader()
  await m.ask('DELETE', `/v1/tenants/a/tokens/${token.slice(5, 21)}`)
  let ended = false
  for (let reads = 0; reads < 100 && !ended; reads++) {
    ended = await reader.read().then(
      ({ done }) => done,
      () => true,
    )
  }
  assert.ok(ended)
})

tokens('each scope does what it says and nothing else; a refusal names the one that is needed', async ({ m }) => {
  await m.ask('POST', '/v1/topics', { name: 'elsewhere' })
  const asks = {
    read: ['GET', '/v1/pipelines'],
    write: ['POST', '/v1/topics', { name: 'x' }],
    ingest: ['POST', '/v1/topics/x/records', { records: [] }],
    admin: ['GET', '/v1/tenants/a/tokens'],
  } as const
  for (const scope of ['read', 'write', 'ingest'] as const) {
    const holder = await tenant(m, 'a', [scope])
    for (const [needed, [method, path, body]] of Object.entries(asks)) {
      const { status, body: answer } = await holder(method, path, body)
      if (needed === scope) assert.not.equal(status, 403, `${scope}: ${method} ${path}`)
      else {
        assert.equal([status, answer.code], [403, 'FORBIDDEN'], `${scope}: ${method} ${path}`)
        assert.ok(answer.detail.includes(`"${needed}"`), answer.detail)
      }
    }
  }
  const admin = await tenant(m, 'a', ['admin'])
  for (const [method, path, body] of Object.values(asks)) assert.is.not((await admin(method, path, body)).status, 403)
})

tokens('a tenant keeps its own tokens and secrets, but gives itself no rights', async ({ m }) => {
  const own = await tenant(m, 'a', ['admin'])
  await m.ask('POST', '/v1/tenants', { id: 'b' })
  assert.is((await own('POST', '/v1/tenants/a/tokens', { scopes: ['read'] })).status, 201)
  assert.is((await own('PUT', '/v1/tenants/a/secrets/key', { value: 'x' })).status, 204)
  assert.is((await own('GET', '/v1/tenants/a')).body.id, 'a')
  const refused: [string, string, unknown?][] = [
    ['GET', '/v1/tenants'],
    ['POST', '/v1/tenants', { id: 'c' }],
    ['DELETE', '/v1/tenants/a'],
    ['PUT', '/v1/tenants/a/quotas', {}],
    ['PUT', '/v1/tenants/a/permissions', { net: ['*'] }],
    ['GET', '/v1/tenants/b'],
    ['GET', '/v1/tenants/nobody'],
    ['POST', '/v1/tenants/b/tokens', { scopes: ['admin'] }],
    ['PUT', '/v1/tenants/b/secrets/key', { value: 'x' }],
    ['GET', '/v1/hosts'],
    ['POST', '/v1/hosts', { url: 'http://x' }],
    ['GET', '/metrics'],
  ]
  for (const [method, path, body] of refused) {
    const answer = await own(method, path, body)
    assert.equal([answer.status, answer.body.code], [403, 'FORBIDDEN'], `${method} ${path}`)
  }
})

tokens('the administrator acts for a tenant by header or query; nobody else does', async ({ m }) => {
  const a = await tenant(m, 'a')
  await a('POST', '/v1/topics', { name: 'mine' })
  const names = async (ask: TestManager['ask'], path = '/v1/topics'): Promise<string[]> =>
    (await ask('GET', path)).body.items.map((topic: { name: string }) => topic.name)
  assert.equal(await names(m.ask), [])
  assert.equal(await names(m.as(ADMIN_TOKEN, { 'spqr-tenant': 'a' })), ['mine'])
  assert.equal(await names(m.ask, '/v1/topics?tenant=a&limit=5'), ['mine'])
  assert.is((await m.ask('GET', '/v1/topics?tenant=nobody')).status, 404)
  const b = await tokenOf(m, 'b', ['read'])
  assert.is((await m.as(b, { 'spqr-tenant': 'a' })('GET', '/v1/topics')).status, 403)
  assert.is((await m.as(b)('GET', '/v1/topics?tenant=a')).status, 403)
  assert.is((await m.as(b)('GET', '/v1/topics?tenant=b')).status, 200)
})

tokens('tokens and tenants hold over a restart', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['read'])
  await m.stop()
  const again = await startManager({ folder: m.folder, adminToken: ADMIN_TOKEN })
  try {
    assert.is((await again.as(token)('GET', '/v1/pipelines')).status, 200)
    assert.equal(
      (await again.ask('GET', '/v1/tenants')).body.items.map((t: { id: string }) => t.id),
      ['a', 'default'],
    )
  } finally {
    await again.stop()
  }
  Object.assign(m, await startManager({ folder: m.folder }))
  // Without the administrator's token this machine's own user is served, and `default` alone.
  assert.is((await m.as(undefined)('GET', '/v1/pipelines')).status, 200)
  assert.is((await m.as(undefined, { 'spqr-tenant': 'a' })('GET', '/v1/pipelines')).status, 403)
  assert.is((await m.as(undefined)('POST', '/v1/tenants', { id: 'c' })).status, 409)
})

const needs = suite('needOf')

needs('every operation of the description is decided on purpose', () => {
  const wanted: Record<string, string> = {}
  for (const { method, path, open } of API_OPERATIONS) {
    const need = needOf(method.toUpperCase(), path.replace(/\{tenant\}/, 't').replace(/\{\w+\}/g, 'x'))
    const shown = need.kind === 'scope' ? need.scope : need.kind
    assert.is(need.kind === 'open', open ?? false, path)
    wanted[`${method} ${path}`] = shown
  }
  const of = (what: string): string[] => Object.keys(wanted).filter((operation) => wanted[operation] === what)
  assert.equal(of('ingest'), ['post /v1/pipelines/{id}/ingest/{source}', 'post /v1/topics/{topic}/records'])
  assert.equal(
    of('admin').filter((operation) => !/tenants|hosts|metrics|audit/.test(operation)),
    [],
  )
  for (const operation of of('read')) assert.match(operation, /^get /)
  for (const operation of of('write')) assert.not.match(operation, /^get |tenants|hosts/)
})

needs('a path that looks like another needs no less', () => {
  for (const path of ['/v1/tenants/', '/v1/tenants/a/', '/v1/tenants/a/quotas/', '/v1/tenants/a/tokensx']) {
    const need = needOf('PUT', path)
    assert.ok(need.kind === 'admin' || (need.kind === 'scope' && need.scope === 'admin'), path)
  }
  assert.equal(needOf('POST', '/v1/pipelines/p/ingest/in/x'), { kind: 'scope', scope: 'write' })
  assert.equal(needOf('PURGE', '/v1/pipelines'), { kind: 'scope', scope: 'write' })
})

tokens.run()
needs.run()
