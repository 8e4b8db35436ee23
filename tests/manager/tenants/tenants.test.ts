import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ControlStore } from '../../../manager/store/control-store.ts'
import { Audit } from '../../../manager/tenants/audit.ts'
import { document, moduleWith, remove, scratch, startManager, type TestManager } from '../../support/manager.ts'
import { ADMIN_TOKEN, tenant, tokenOf } from '../../support/tenants.ts'

interface Context {
  m: TestManager
}

const tenants = suite<Context>('tenants')
tenants.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
})
tenants.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

async function fill(a: TestManager['ask']): Promise<void> {
  await a('POST', '/v1/topics', { name: 'mine' })
  await a('POST', '/v1/topics/mine/records', { records: [{ value: 1 }] })
  await a('PUT', '/v1/operators/own/1.0.0', moduleWith({ description: 'own' }), 'application/wasm')
  assert.is((await a('POST', '/v1/pipelines', document('p'))).status, 201)
  await a('POST', '/v1/pipelines/p/ingest/in', '{"a":1}\n', 'application/x-ndjson')
}

tenants('a tenant with pipelines is removed by force alone, and then nothing of it is left', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['write', 'read', 'ingest', 'admin'])
  const a = m.as(token)
  await fill(a)
  await a('PUT', '/v1/tenants/a/secrets/s', { value: 'x' })
  const refused = await m.ask('DELETE', '/v1/tenants/a')
  assert.equal([refused.status, refused.body.code], [409, 'IN_USE'])
  assert.is((await a('GET', '/v1/pipelines/p')).body.state, 'running')
  assert.is((await m.ask('DELETE', '/v1/tenants/a?force=true')).status, 204)
  assert.is((await a('GET', '/v1/pipelines')).status, 401)
  assert.is((await m.ask('GET', '/v1/tenants/a')).status, 404)
  assert.is((await m.ask('DELETE', '/v1/tenants/a')).status, 404)
  assert.equal(m.store.operators.all(), [])
  assert.equal(m.store.secrets.all(), [])
  assert.equal(m.store.tokens.all(), [])
  const topics = await m.host.fetch(new Request('http://host/topics?prefix=a.'))
  assert.equal(await topics.json(), { items: [] })
  // Whoever gets the name next finds nothing, and the old token opens nothing.
  const next = await tenant(m, 'a')
  assert.equal((await next('GET', '/v1/pipelines')).body.items, [])
  assert.is((await a('GET', '/v1/pipelines')).status, 401)
})

tenants('a removal that a crash cut short is finished at the next start', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['write', 'read', 'ingest'])
  await fill(m.as(token))
  const [row] = m.store.tenants.all().filter(({ id }) => id === 'a')
  m.store.tenants.put({ ...row!, state: 'removing' })
  await m.stop()
  Object.assign(m, await startManager({ folder: m.folder, adminToken: ADMIN_TOKEN }))
  assert.is((await m.as(token)('GET', '/v1/pipelines')).status, 401)
  assert.is((await m.ask('GET', '/v1/tenants/a')).status, 404)
  assert.equal(m.store.pipelines.all(), [])
  assert.is((await m.ask('POST', '/v1/tenants', { id: 'a' })).status, 201)
})

tenants('the default tenant is always there', async ({ m }) => {
  assert.is((await m.ask('GET', '/v1/tenants/default')).status, 200)
  assert.is((await m.ask('POST', '/v1/tenants', { id: 'default' })).status, 422)
  assert.is((await m.ask('DELETE', '/v1/tenants/default?force=true')).status, 409)
  assert.is((await m.ask('PUT', '/v1/tenants/default/quotas', { pipelines: 0 })).status, 200)
  assert.is((await m.ask('POST', '/v1/pipelines', document('p'))).status, 429)
})

tenants('a grant that is none is refused whole, and the ones before hold', async ({ m }) => {
  await m.ask('POST', '/v1/tenants', { id: 'a' })
  assert.is((await m.ask('PUT', '/v1/tenants/a/permissions', { net: ['example.com:443'] })).status, 200)
  for (const grants of [
    { net: ['not a host!'] },
    { topic: ['a=>b=>c'] },
    { read: [''] },
    { files: [] },
    { env: 'X' },
  ]) {
    const { status } = await m.ask('PUT', '/v1/tenants/a/permissions', grants)
    assert.ok(status === 400 || status === 422, `${JSON.stringify(grants)} → ${status}`)
  }
  assert.equal((await m.ask('GET', '/v1/tenants/a')).body.permissions, { net: ['example.com:443'] })
})

tenants('every change is in the audit log: who, what, when, from where; each tenant sees its own', async ({ m }) => {
  const began = Date.now()
  const token = await tokenOf(m, 'a', ['write', 'read', 'ingest', 'admin'])
  const a = m.as(token)
  const b = await tenant(m, 'b', ['admin'])
  await fill(a)
  await a('POST', '/v1/pipelines?dryRun=true', document('dry'))
  await a('POST', '/v1/pipelines', { id: 'wrong' })
  const own = (await a('GET', '/v1/audit')).body.items
  assert.equal(
    own.map(({ what, by, made }: { what: string; by: string; made?: string }) => [what, by, made]),
    [
      ['POST /v1/pipelines', token.slice(5, 21), '/v1/pipelines/p'],
      ['PUT /v1/operators/own/1.0.0', token.slice(5, 21), '/v1/operators/own/1.0.0'],
      ['POST /v1/topics', token.slice(5, 21), '/v1/topics/mine'],
      ['POST /v1/tenants/a/tokens', 'admin', `/v1/tenants/a/tokens/${token.slice(5, 21)}`],
      ['POST /v1/tenants', 'admin', '/v1/tenants/a'],
    ],
  )
  for (const { at, from, tenant: whose } of own) {
    assert.ok(at >= began && at <= Date.now())
    assert.equal([from, whose], ['in-process', 'a'])
  }
  assert.equal((await b('GET', '/v1/audit')).body.items.length, 2)
  assert.is((await (await tenant(m, 'b', ['read']))('GET', '/v1/audit')).status, 403)
  const all: { number: number }[] = []
  let after: string | undefined
  do {
    const page = (await m.ask('GET', `/v1/audit?limit=3${after === undefined ? '' : `&after=${after}`}`)).body
    all.push(...page.items)
    after = page.next
  } while (after !== undefined)
  assert.is(all.length, 8)
  assert.equal(
    [...all].sort((x, y) => y.number - x.number),
    all,
  )
  assert.is((await m.ask('GET', '/v1/audit?tenant=b')).body.items.length, 3)
  assert.is((await m.ask('GET', '/v1/audit?after=x')).status, 422)
})

const audit = suite('Audit')

audit('is bounded by age, and per tenant by number', () => {
  const folder = scratch()
  const store = ControlStore.open(folder)
  const entry = { tenant: 'a', by: 'x', from: '::1', what: 'POST /x', status: 201 }
  store.audit.add([{ ...entry, at: 1 }, ...Array.from({ length: 20 }, () => ({ ...entry, at: 1000 }))])
  store.audit.add([{ ...entry, tenant: 'b', at: 1000 }])
  store.audit.trim(500, 15)
  assert.is(store.audit.list({ limit: 100 }).length, 16)
  assert.is(store.audit.list({ tenant: 'b', limit: 100 }).length, 1)
  assert.is(Math.min(...store.audit.list({ tenant: 'a', limit: 100 }).map(({ number }) => number)), 7)
  store.stop()
  remove(folder)
})

audit('keeps what was added before it is asked or ended', () => {
  const folder = scratch()
  const store = ControlStore.open(folder)
  const log = new Audit(store.audit, false)
  const entry = { at: Date.now(), tenant: 'default', by: 'local', from: '::1', what: 'POST /x', status: 201 }
  log.add(entry)
  assert.is(log.list('default', 10).length, 1)
  log.add(entry)
  log.stop()
  assert.is(store.audit.list({ limit: 10 }).length, 2)
  store.stop()
  remove(folder)
})

tenants.run()
audit.run()
