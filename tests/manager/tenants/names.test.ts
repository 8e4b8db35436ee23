import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { remove, startManager, type TestManager } from '../../support/manager.ts'
import { ADMIN_TOKEN, tenant } from '../../support/tenants.ts'

interface Context {
  m: TestManager
}

const names = suite<Context>('namespaces')
names.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
})
names.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

const toTopic = (id: string, topic: string): object => ({
  id,
  components: [
    { id: 'in', source: 'http' },
    { id: 'out', emitter: 'topic', from: 'in', settings: { topic } },
  ],
})
const ofTopic = (id: string, settings: object): object => ({
  id,
  components: [
    { id: 'in', source: 'topic', settings },
    { id: 'out', emitter: 'discard', from: 'in' },
  ],
})
const items = async (ask: TestManager['ask'], path: string): Promise<string[]> =>
  (await ask('GET', path)).body.items.map((item: { id?: string; name?: string }) => item.id ?? item.name)

names('the same names mean other things to other tenants', async ({ m }) => {
  const a = await tenant(m, 'a')
  const b = await tenant(m, 'b')
  for (const ask of [a, b]) {
    assert.is((await ask('POST', '/v1/topics', { name: 'mine' })).status, 201)
    assert.is((await ask('POST', '/v1/pipelines', toTopic('p', 'mine'))).status, 201)
    const source = "import { Operator, register } from 'spqr'\nclass X extends Operator {}\nregister(new X())\n"
    if (ask === a)
      assert.is((await ask('POST', '/v1/operators', { name: 'own', version: '1.0.0', source })).status, 201)
  }
  await a('POST', '/v1/topics/mine/records', { records: [{ value: 'of a' }] })
  assert.is((await a('GET', '/v1/topics/mine/records')).body.records.length, 1)
  assert.is((await b('GET', '/v1/topics/mine/records')).body.records.length, 0)
  assert.equal(await items(b, '/v1/pipelines'), ['p'])
  assert.ok((await items(a, '/v1/operators')).includes('own'))
  assert.not.ok((await items(b, '/v1/operators')).includes('own'))
  assert.ok((await items(b, '/v1/operators')).includes('json-filter'))
  assert.is((await b('GET', '/v1/operators/own/1.0.0')).status, 404)
  const borrowed = {
    id: 'x',
    components: [
      { id: 'in', source: 'http' },
      { id: 'o', operator: 'own', from: 'in' },
      { id: 'd', emitter: 'discard', from: 'o' },
    ],
  }
  assert.is((await b('POST', '/v1/pipelines', borrowed)).status, 422)
})

names('default sees neither topics nor groups that begin with a tenant and a dot', async ({ m }) => {
  const a = await tenant(m, 'a')
  await a('POST', '/v1/topics', { name: 'mine' })
  await m.ask('POST', '/v1/topics', { name: 'of-default' })
  await m.ask('POST', '/v1/topics', { name: 'z.open' })
  assert.equal(await items(m.ask, '/v1/topics'), ['of-default', 'z.open'])
  for (const [method, path, body] of [
    ['GET', '/v1/topics/a.mine'],
    ['DELETE', '/v1/topics/a.mine'],
    ['GET', '/v1/topics/a.mine/records'],
    ['POST', '/v1/topics/a.mine/records', { records: [{ value: 1 }] }],
  ] as const) {
    assert.is((await m.ask(method, path, body)).status, 404, `${method} ${path}`)
  }
  assert.is((await m.ask('POST', '/v1/topics', { name: 'a.more' })).status, 422)
  const written = await m.ask('POST', '/v1/pipelines', toTopic('w', 'a.mine'))
  assert.equal([written.status, written.body.issues[0].pointer], [422, '/components/1/settings/topic'])
  assert.is((await m.ask('POST', '/v1/pipelines', ofTopic('r', { topic: 'a.mine' }))).status, 422)
  const group = await m.ask('POST', '/v1/pipelines', ofTopic('g', { topic: 'of-default', group: 'a.p' }))
  assert.equal([group.status, group.body.issues[0].pointer], [422, '/components/0/settings/group'])
  assert.equal((await a('GET', '/v1/topics/mine/records')).body.records, [])
})

names('a pipeline of default that is called as a tenant keeps its own topics to itself', async ({ m }) => {
  assert.is((await m.ask('POST', '/v1/pipelines', toTopic('a', 'x'))).status, 422)
  await m.ask('POST', '/v1/topics', { name: 'x' })
  assert.is((await m.ask('POST', '/v1/pipelines', toTopic('a', 'x'))).status, 201)
  await m.ask('POST', '/v1/pipelines/a/ingest/in', '{"n":1}\n', 'application/x-ndjson')
  const a = await tenant(m, 'a')
  assert.equal(await items(a, '/v1/topics'), [])
  for (const name of ['ingest.in', 'dead-letters']) {
    assert.is((await a('GET', `/v1/topics/${name}/records`)).status, 404, name)
    assert.is((await a('POST', '/v1/pipelines', ofTopic('r', { topic: name }))).status, 422, name)
  }
  assert.is((await a('POST', '/v1/pipelines', toTopic('ingest', 'y'))).status, 422)
  assert.is((await m.ask('GET', '/v1/topics/a.ingest.in/records')).body.records.length, 1)
  // What a tenant has below such a name stays when the pipeline of default goes.
  assert.is((await a('POST', '/v1/topics', { name: 'ingest.in.kept' })).status, 201)
  assert.is((await m.ask('DELETE', '/v1/pipelines/a')).status, 204)
  assert.equal(await items(a, '/v1/topics'), ['ingest.in.kept'])
})

names('a tenant is not made over topics that are there', async ({ m }) => {
  await m.ask('POST', '/v1/topics', { name: 'shop.orders' })
  const refused = await m.ask('POST', '/v1/tenants', { id: 'shop' })
  assert.equal([refused.status, refused.body.code], [409, 'IN_USE'])
  assert.ok(refused.body.detail.includes('shop.orders'))
  await m.ask('DELETE', '/v1/topics/shop.orders')
  assert.is((await m.ask('POST', '/v1/tenants', { id: ' Shop ' })).body.id, 'shop')
  assert.is((await m.ask('POST', '/v1/tenants', { id: 'shop' })).status, 409)
})

names("an alias leads to another's topic where the administrator and the host allow it", async ({ m }) => {
  const a = await tenant(m, 'a')
  await m.ask('POST', '/v1/topics', { name: 'company.orders' })
  assert.is((await a('POST', '/v1/pipelines', ofTopic('p', { topic: 'orders' }))).status, 422)
  await m.ask('PUT', '/v1/tenants/a/permissions', { topic: ['orders=>company.orders'] })
  // Known now; this host was started without --allow-topic, which bounds every grant.
  const { status, body } = await a('POST', '/v1/pipelines', ofTopic('p', { topic: 'orders' }))
  assert.equal([status, body.code], [403, 'PERMISSION_DENIED'])
  assert.ok(body.detail.includes('--allow-topic=company.orders'), body.detail)
})

names.run()
