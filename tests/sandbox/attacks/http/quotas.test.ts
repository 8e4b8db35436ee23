// Tenants that try to get more than they were given, and to be heard after they are gone.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { document, moduleWith, remove, startManager, type TestManager } from '../../../support/manager.ts'
import { ADMIN_TOKEN, tenant, tokenOf } from '../../../support/tenants.ts'

interface Context {
  m: TestManager
  a: TestManager['ask']
}

const evasions = suite<Context>('more than was given')
evasions.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
  context.a = await tenant(context.m, 'a', ['admin', 'write', 'read', 'ingest'])
})
evasions.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

type Component = { id: string; operator?: string; limits?: object; settings?: object }

/** The document with something changed in its operator. */
function withOperator(id: string, change: Partial<Component>): Record<string, unknown> {
  const made = document(id)
  Object.assign((made.components as Component[])[1]!, change)
  return made
}

evasions(
  'memory that is asked for little by little: by PUT, by another module, by a fork, by a resume',
  async (context) => {
    const { m, a } = context
    await a('PUT', '/v1/operators/own/1.0.0', moduleWith({ description: 'one' }), 'application/wasm')
    await m.ask('PUT', '/v1/tenants/a/quotas', { memoryMiB: 8 })
    assert.is((await a('POST', '/v1/pipelines', withOperator('p', { limits: { memoryMiB: 8 } }))).status, 201)
    const attempts: [string, string, unknown][] = [
      ['PUT', '/v1/pipelines/p', withOperator('p', { limits: { memoryMiB: 9 } })],
      ['PUT', '/v1/pipelines/p', document('p')],
      ['PUT', '/v1/pipelines/p', withOperator('p', { operator: 'own@1.0.0', limits: {} })],
      ['POST', '/v1/pipelines', withOperator('q', { limits: { memoryMiB: 1 } })],
      ['POST', '/v1/pipelines/p/fork', { id: 'q' }],
    ]
    for (const [method, path, body] of attempts) {
      const answer = await a(method, path, body)
      assert.equal([answer.status, answer.body.code], [429, 'QUOTA_EXCEEDED'], `${method} ${path}`)
    }
    for (const patch of [{ limits: { memoryMiB: 64 } }, { settings: {}, limits: { memoryMiB: 64 } }]) {
      assert.ok([400, 422].includes((await a('PATCH', '/v1/pipelines/p/components/f', patch)).status))
    }
    assert.is((await a('GET', '/v1/tenants/a')).body.used.memoryMiB, 8)
  },
)

evasions('a quota, a grant, a tenant or a token that the tenant itself would give', async ({ m, a }) => {
  const before = (await m.ask('GET', '/v1/tenants/a')).body
  const attempts: [string, string, unknown][] = [
    ['PUT', '/v1/tenants/a/quotas', { pipelines: 1_000_000 }],
    ['PUT', '/v1/tenants/a/permissions', { read: ['/'], net: ['*'] }],
    ['POST', '/v1/tenants', { id: 'b' }],
    ['DELETE', '/v1/tenants/a', undefined],
    ['POST', '/v1/hosts', { url: 'http://127.0.0.1:1' }],
    ['PUT', '/v1/tenants/default/quotas', {}],
    ['POST', '/v1/tenants/default/tokens', { scopes: ['admin'] }],
  ]
  for (const [method, path, body] of attempts) {
    const { status } = await a(method, path, body)
    assert.ok(status === 403 || status === 404, `${method} ${path} → ${status}`)
  }
  const after = (await m.ask('GET', '/v1/tenants/a')).body
  assert.equal([after.quotas, after.permissions], [before.quotas, before.permissions])
})

evasions('savepoints without end', async ({ a }) => {
  await a('POST', '/v1/pipelines', document('p'))
  let refused: { status: number; body: { code: string; detail: string } } | undefined
  for (let i = 0; i <= 100 && refused === undefined; i++) {
    const answer = await a('POST', '/v1/pipelines/p/savepoints', { name: `s${i}` })
    if (answer.status !== 201) refused = answer
  }
  assert.equal([refused?.status, refused?.body.code], [429, 'QUOTA_EXCEEDED'])
  assert.match(refused?.body.detail ?? '', 'has 100 already')
  assert.is((await a('POST', '/v1/pipelines/p/savepoints', { name: 's0' })).status, 201)
  assert.is((await a('DELETE', '/v1/pipelines/p/savepoints/s1')).status, 204)
  assert.is((await a('DELETE', '/v1/pipelines/p/savepoints/s1')).status, 404)
  const { items } = (await a('GET', '/v1/pipelines/p/savepoints?limit=1000')).body
  assert.is(items.length, 99)
  assert.not.ok(items.some(({ name }: { name: string }) => name === 's1'))
  assert.is((await a('POST', '/v1/pipelines/p/savepoints', { name: 'another' })).status, 201)
})

evasions('modules of others by their digest, and a module of one’s own that is another’s too', async ({ m, a }) => {
  const b = await tenant(m, 'b', ['write', 'read'])
  const module = moduleWith({ description: 'shared by chance' })
  const { digest } = (await a('PUT', '/v1/operators/own/1.0.0', module, 'application/wasm')).body
  for (const operator of [digest, `own@${digest}`, `sha256:${digest}`, 'a/own', 'a.own@1.0.0', `own@1.0.0`]) {
    assert.is((await b('POST', '/v1/pipelines', withOperator('p', { operator }))).status, 422, operator)
  }
  await b('PUT', '/v1/operators/own/1.0.0', module, 'application/wasm')
  assert.is((await a('POST', '/v1/pipelines', withOperator('p', { operator: 'own@1.0.0' }))).status, 201)
  assert.is((await b('DELETE', '/v1/operators/own/1.0.0')).status, 204)
  await a('POST', '/v1/pipelines/p/stop')
  assert.is((await a('POST', '/v1/pipelines/p/resume')).status, 200)
})

evasions('state of another tenant under the same names', async ({ m, a }) => {
  const b = await tenant(m, 'b', ['write', 'read', 'ingest'])
  await a('POST', '/v1/pipelines', document('p'))
  await a('POST', '/v1/pipelines/p/ingest/in', '{"a":1,"of":"a"}\n', 'application/x-ndjson')
  await a('POST', '/v1/pipelines/p/savepoints', { name: 's' })
  assert.is((await b('POST', '/v1/pipelines', document('p'))).status, 201)
  assert.equal((await b('GET', '/v1/pipelines/p/savepoints')).body.items, [])
  for (const [path, body] of [
    ['/v1/pipelines/p/restart', { from: 'savepoint:s' }],
    ['/v1/pipelines/p/fork', { id: 'q', savepoint: 's' }],
    ['/v1/pipelines/p/restart', { from: 'savepoint:../a/p/s' }],
  ] as const) {
    const { status } = await b('POST', path, body)
    assert.ok(status >= 400 && status < 500, `${path} ${JSON.stringify(body)} → ${status}`)
  }
  assert.is((await b('GET', '/v1/pipelines/p/stats')).body.components.in.recordsOut, 0)
  assert.equal((await b('GET', '/v1/pipelines/p/dead-letters')).body.items, [])
  assert.equal((await b('GET', '/v1/topics/p.ingest.in/records')).body.records, [])
})

evasions('a consumer group of the same name, over a topic that both were granted', async ({ m, a }) => {
  const b = await tenant(m, 'b', ['write', 'read', 'ingest'])
  await m.ask('POST', '/v1/topics', { name: 'company' })
  const values = Array.from({ length: 20 }, (_, value) => ({ value }))
  await m.ask('POST', '/v1/topics/company/records', { records: values })
  for (const id of ['a', 'b']) await m.ask('PUT', `/v1/tenants/${id}/permissions`, { topic: ['shared=>company'] })
  const reads = {
    id: 'r',
    components: [
      { id: 'in', source: 'topic', settings: { topic: 'shared', group: 'same', from: 'earliest' } },
      { id: 'd', emitter: 'discard', from: 'in' },
    ],
  }
  const seen: string[] = []
  for (const ask of [a, b]) {
    const made = await ask('POST', '/v1/pipelines', reads)
    if (made.status !== 201) {
      // The host itself grants nothing: then neither of the two reaches it.
      assert.is(made.status, 403)
      seen.push('refused')
      continue
    }
    for (let turn = 0; turn < 500; turn++) {
      const count = (await ask('GET', '/v1/pipelines/r/stats')).body.components.d.recordsIn
      if (count === 20) break
      await new Promise((done) => setTimeout(done, 20))
    }
    seen.push(String((await ask('GET', '/v1/pipelines/r/stats')).body.components.d.recordsIn))
  }
  assert.is(seen[0], seen[1], seen.join())
})

const gone = suite<Context>('tenants that are gone')
gone.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
})
gone.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

gone('their tokens open nothing, not even for the next of that name, and nothing is left for it', async ({ m }) => {
  const token = await tokenOf(m, 'a', ['admin', 'write', 'read', 'ingest'])
  const old = m.as(token)
  await old('POST', '/v1/pipelines', document('p'))
  await old('POST', '/v1/pipelines/p/savepoints', { name: 's' })
  await old('POST', '/v1/topics', { name: 't' })
  await old('PUT', '/v1/tenants/a/secrets/s', { value: 'x' })
  await old('PUT', '/v1/operators/own/1.0.0', moduleWith({ description: 'x' }), 'application/wasm')
  assert.is((await m.ask('DELETE', '/v1/tenants/a?force=true')).status, 204)
  const next = await tenant(m, 'a', ['admin', 'write', 'read', 'ingest'])
  for (const path of ['/v1/pipelines', '/v1/topics', '/v1/tenants/a/secrets', '/v1/tenants/a', '/v1/audit']) {
    assert.is((await old('GET', path)).status, 401, path)
  }
  assert.is((await old('POST', '/v1/pipelines', document('p'))).status, 401)
  assert.equal((await next('GET', '/v1/pipelines')).body.items, [])
  assert.equal((await next('GET', '/v1/topics')).body.items, [])
  assert.equal((await next('GET', '/v1/tenants/a/secrets')).body.items, [])
  assert.is((await next('GET', '/v1/operators/own/1.0.0')).status, 404)
  assert.is((await next('POST', '/v1/pipelines', document('p'))).status, 201)
  assert.equal((await next('GET', '/v1/pipelines/p/savepoints')).body.items, [])
  assert.is((await next('GET', '/v1/pipelines/p/stats')).body.components.in.recordsOut, 0)
})

evasions.run()
gone.run()
