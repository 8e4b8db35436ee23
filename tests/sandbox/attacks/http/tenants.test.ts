// Tenants against each other, over every route; tokens that are guessed, bent or borrowed.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { API_OPERATIONS } from '../../../../schemas/api-operations.ts'
import { moduleWith, remove, startManager, type TestManager } from '../../../support/manager.ts'
import { ADMIN_TOKEN, tenant, tokenOf } from '../../../support/tenants.ts'

interface Context {
  m: TestManager
  a: TestManager['ask']
}

const HIDDEN = 'hidden-thing'
const VALUE = 'value-of-a-alone'

const attacks = suite<Context>('one tenant against another')
attacks.before.each(async (context) => {
  const m = await startManager({ adminToken: ADMIN_TOKEN })
  const a = await tenant(m, 'a', ['admin'])
  Object.assign(context, { m, a })
  await a('POST', '/v1/topics', { name: HIDDEN })
  await a('POST', `/v1/topics/${HIDDEN}/records`, { records: [{ value: VALUE }] })
  await a('PUT', `/v1/operators/${HIDDEN}/1.0.0`, moduleWith({ description: VALUE }), 'application/wasm')
  await a('PUT', `/v1/tenants/a/secrets/${HIDDEN}`, { value: VALUE })
  const components = [
    { id: 'in', source: 'http' },
    { id: 'op', operator: HIDDEN, from: 'in', settings: {} },
    { id: 'out', emitter: 'sse', from: 'op' },
  ]
  const { status, body } = await a('POST', '/v1/pipelines', { id: HIDDEN, description: VALUE, components })
  if (status !== 201) throw new Error(JSON.stringify(body))
  await a('POST', `/v1/pipelines/${HIDDEN}/savepoints`, { name: HIDDEN })
})
attacks.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

/** What each operation takes, so that it is the tenant that is refused and not the form. */
const BODIES: Record<string, unknown> = {
  'put /v1/pipelines/{id}': {
    id: HIDDEN,
    components: [
      { id: 'in', source: 'http' },
      { id: 'd', emitter: 'discard', from: 'in' },
    ],
  },
  'patch /v1/pipelines/{id}/components/{component}': { settings: { x: 1 } },
  'post /v1/pipelines/{id}/restart': { from: 'earliest' },
  'post /v1/pipelines/{id}/savepoints': { name: 'mine' },
  'post /v1/pipelines/{id}/fork': { id: 'stolen', savepoint: HIDDEN },
  'post /v1/pipelines/{id}/ingest/{source}': {},
  'post /v1/topics/{topic}/records': { records: [{ value: 1 }] },
  'post /v1/tenants/{tenant}/tokens': { scopes: ['admin'] },
  'put /v1/tenants/{tenant}/permissions': {},
  'put /v1/tenants/{tenant}/quotas': {},
  'put /v1/tenants/{tenant}/secrets/{name}': { value: 'x' },
}

attacks('no operation reads or changes what is another tenant’s', async ({ m, a }) => {
  const values: Record<string, string> = { tenant: 'a', version: '1.0.0', component: 'op', source: 'in' }
  for (const scopes of [['read', 'write', 'ingest'], ['admin']] as const) {
    const b = await tenant(m, 'b', [...scopes])
    let tried = 0
    for (const { method, path } of API_OPERATIONS) {
      if (!path.includes('{')) continue
      const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? HIDDEN)
      const { status, body } = await b(method.toUpperCase(), filled, BODIES[`${method} ${path}`])
      const isNothing = method === 'put' && path.startsWith('/v1/operators')
      assert.ok([403, 404].includes(status) || (isNothing && status === 415), `${method} ${filled} → ${status}`)
      assert.not.ok(JSON.stringify(body).includes(VALUE), filled)
      tried++
    }
    assert.ok(tried > 30)
    for (const path of ['/v1/pipelines', '/v1/topics', '/v1/operators?limit=1000', '/v1/audit']) {
      const text = JSON.stringify((await b('GET', path)).body)
      assert.not.ok(text.includes(HIDDEN) || text.includes(VALUE), path)
    }
  }
  assert.is((await a('GET', `/v1/pipelines/${HIDDEN}`)).body.state, 'running')
  assert.is((await a('GET', `/v1/pipelines/${HIDDEN}`)).body.revision, 1)
  assert.is((await a('GET', `/v1/topics/${HIDDEN}/records`)).body.records.length, 1)
  assert.is((await a('GET', `/v1/operators/${HIDDEN}/1.0.0`)).status, 200)
  assert.is((await a('GET', '/v1/tenants/a/secrets')).body.items.length, 1)
})

attacks('no spelling of a path leads into another tenant', async ({ m, a }) => {
  const b = await tenant(m, 'b', ['read', 'write', 'ingest'])
  const spellings = [
    `a.${HIDDEN}`,
    `a%2e${HIDDEN}`,
    `a%2F${HIDDEN}`,
    `..%2Fa%2F${HIDDEN}`,
    `%2e%2e%2fa%2f${HIDDEN}`,
    `%252e%252e%252fa%252f${HIDDEN}`,
    `..%5Ca%5C${HIDDEN}`,
    `${HIDDEN}%00`,
    `%00${HIDDEN}`,
    `${HIDDEN}%0d%0aspqr-tenant:%20a`,
    `${HIDDEN}?tenant=a`,
    `${HIDDEN};tenant=a`,
    `%EF%BC%8E%EF%BC%8E%2Fa%2F${HIDDEN}`,
    '..',
    '%2e%2e',
    '.%2e',
    '%ff',
    'x'.repeat(5000),
  ]
  for (const spelled of spellings) {
    for (const path of [`/v1/pipelines/${spelled}`, `/v1/topics/${spelled}`, `/v1/topics/${spelled}/records`]) {
      const { status, body } = await b('GET', path)
      const isListing = status === 200 && JSON.stringify(body) === '{"items":[]}'
      assert.ok((status >= 400 && status < 500) || isListing, `${path} → ${status}`)
      assert.not.ok(JSON.stringify(body).includes(VALUE), path)
    }
    for (const of of ['tap', 'out']) {
      const { status } = await b('GET', `/v1/pipelines/${HIDDEN}/${of}/${spelled}`)
      assert.ok(status >= 400 && status < 500, `${of}/${spelled} → ${status}`)
    }
  }
  // The same from within: a component may not lead out of its pipeline in the host's API.
  for (const spelled of ['..', '%2e%2e', '..%2F..%2Fb%2Fp', 'op%2F..%2F..']) {
    assert.is((await a('GET', `/v1/pipelines/${HIDDEN}/tap/${spelled}`)).status, 404, spelled)
    assert.is(
      (await a('POST', `/v1/pipelines/${HIDDEN}/ingest/${spelled}`, '{}\n', 'application/x-ndjson')).status,
      404,
    )
  }
})

attacks('documents reach neither topics, nor operators, nor secrets of others', async ({ m }) => {
  const b = await tenant(m, 'b', ['read', 'write'])
  const out = { id: 'd', emitter: 'discard', from: 'in' }
  const sse = { id: 'in', source: 'timer', settings: { everyMs: 1000 } }
  const http = (value: string): object => ({
    id: 'h',
    emitter: 'http',
    from: 'in',
    settings: { url: 'http://127.0.0.1:9', headers: { x: value } },
  })
  const documents: object[][] = [
    [{ id: 'in', source: 'topic', settings: { topic: `a.${HIDDEN}` } }, out],
    [{ id: 'in', source: 'topic', settings: { topic: `../a.${HIDDEN}` } }, out],
    [{ id: 'in', source: 'topic', settings: { topic: HIDDEN } }, out],
    [{ id: 'in', source: 'topic', settings: { topic: `${HIDDEN}.dead-letters` } }, out],
    [sse, { id: 'o', operator: HIDDEN, from: 'in' }, { ...out, from: 'o' }],
    [sse, { id: 'o', operator: `a/${HIDDEN}`, from: 'in' }, { ...out, from: 'o' }],
    [sse, http(`\${secret:${HIDDEN}}`)],
    [sse, http(`\${secret:a/${HIDDEN}}`)],
    [sse, http('${' + 'env:SPQR_ADMIN_TOKEN}')],
  ]
  for (const components of documents) {
    const { status, body } = await b('POST', '/v1/pipelines', { id: 'x', components })
    assert.ok([403, 422].includes(status), `${JSON.stringify(components)} → ${status} ${JSON.stringify(body)}`)
  }
})

const guesses = suite<Context>('guessed tokens')
guesses.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
})
guesses.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

guesses('every bent token is refused with the same words', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['read'])
  const other = await tokenOf(m, 'b', ['read'])
  const bent: string[] = []
  for (let at = 0; at < token.length; at++) {
    bent.push(token.slice(0, at) + (token[at] === 'a' ? 'b' : 'a') + token.slice(at + 1))
  }
  bent.push(
    token.toUpperCase(),
    token.slice(0, -1),
    `${token}A`,
    `${other.slice(0, 22)}${token.slice(22)}`,
    `${token.slice(0, 22)}${'A'.repeat(43)}`,
    `spqr_${'0'.repeat(16)}_${'A'.repeat(43)}`,
    'spqr_',
    ADMIN_TOKEN.slice(0, -1),
    `${ADMIN_TOKEN}0`,
    ADMIN_TOKEN.toUpperCase(),
    'null',
    'undefined',
    '%00',
    'x'.repeat(1000),
  )
  const answers = new Set<string>()
  for (const guess of bent) {
    const { status, body } = await m.as(guess)('GET', '/v1/pipelines')
    assert.is(status, 401, guess)
    answers.add(JSON.stringify(body))
  }
  assert.is(answers.size, 1)
})

guesses('a token counts in its header alone, and in one form', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['read'])
  const basic = Buffer.from(`a:${token}`).toString('base64')
  const headers: Record<string, string>[] = [
    { authorization: token },
    { authorization: `Basic ${basic}` },
    { authorization: `Token ${token}` },
    { authorization: `Bearer ${token}, Bearer ${ADMIN_TOKEN}` },
    { authorization: `Bearer ${token} x` },
    { authorization: 'Bearer' },
    { authorization: 'Bearer ' },
    { cookie: `token=${token}; authorization=Bearer ${token}` },
    { 'x-authorization': `Bearer ${token}` },
    { 'proxy-authorization': `Bearer ${token}` },
    { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1' },
    { 'spqr-tenant': 'a' },
    { 'x-http-method-override': 'GET', 'x-original-url': '/healthz' },
  ]
  for (const given of headers) {
    assert.is((await m.as(undefined, given)('GET', '/v1/pipelines')).status, 401, JSON.stringify(given))
  }
  for (const query of [`access_token=${token}`, `token=${token}`, 'tenant=a']) {
    assert.is((await m.as(undefined)('GET', `/v1/pipelines?${query}`)).status, 401, query)
  }
  const override = m.as(token, { 'x-http-method-override': 'DELETE' })
  assert.is((await override('POST', '/v1/topics/x')).status, 403)
})

guesses('more requests than a tenant may make are refused, and cost nobody else', async ({ m }) => {
  const flood = await tenant(m, 'a', ['read'])
  const b = await tenant(m, 'b', ['read'])
  const answers = await Promise.all(Array.from({ length: 1200 }, () => flood('GET', '/v1/pipelines')))
  const refused = answers.filter(({ status }) => status === 429)
  assert.ok(refused.length > 0 && refused.length < 900, `${refused.length} refused`)
  for (const { body, headers } of refused) {
    assert.is(body.code, 'QUOTA_EXCEEDED')
    assert.ok(Number(headers.get('retry-after')) >= 1)
  }
  assert.is((await b('GET', '/v1/pipelines')).status, 200)
})

attacks.run()
guesses.run()
