import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { moduleWith, remove, startManager, type TestManager } from '../support/manager.ts'

interface Context {
  m: TestManager
}

const test = suite<Context>('api')
test.before.each(async (context) => {
  context.m = await startManager()
})
test.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

test('health, readiness, metrics, OpenAPI, a page, hosts', async ({ m }) => {
  for (const path of ['/healthz', '/readyz']) assert.is((await m.ask('GET', path)).status, 200, path)
  assert.ok((await m.ask('GET', '/metrics')).body.includes('# TYPE spqr_pipelines gauge'))
  const { body } = await m.ask('GET', '/openapi.json')
  assert.ok(String(body.openapi).startsWith('3.1'))
  assert.ok((await m.ask('GET', '/docs')).body.includes('/v1/pipelines/{id}'))
  assert.equal((await m.ask('GET', '/v1/hosts')).body.items[0].id, 'local')
})

test('every path and method of the description is there', async ({ m }) => {
  const { paths } = (await m.ask('GET', '/openapi.json')).body as { paths: Record<string, object> }
  const later = /^\/v1\/hosts/
  let seen = 0
  for (const [path, item] of Object.entries(paths)) {
    if (later.test(path)) continue
    for (const method of Object.keys(item).filter((k) => ['get', 'post', 'put', 'patch', 'delete'].includes(k))) {
      const answer = await m.ask(method.toUpperCase(), path.replace(/\{\w+\}/g, 'x'))
      assert.is.not(answer.status, 405, `${method} ${path}`)
      assert.not.match(String(answer.body?.detail), /There is no \//, `${method} ${path}`)
      seen++
    }
  }
  assert.ok(seen > 20)
})

test('an unknown path is 404, an unknown method 405 with Allow; OPTIONS and HEAD are answered', async ({ m }) => {
  const unknown = await m.ask('GET', '/v2/x')
  assert.equal([unknown.status, unknown.body.code], [404, 'NOT_FOUND'])
  const method = await m.ask('PUT', '/v1/pipelines')
  assert.equal([method.status, method.body.code], [405, 'METHOD_NOT_ALLOWED'])
  assert.is(method.headers.get('allow'), 'GET, HEAD, OPTIONS, POST')
  const options = await m.ask('OPTIONS', '/v1/pipelines/x')
  assert.equal([options.status, options.headers.get('allow')], [204, 'DELETE, GET, HEAD, OPTIONS, PUT'])
  const head = await m.ask('HEAD', '/v1/pipelines')
  assert.equal([head.status, head.body], [200, ''])
})

test('a foreign Host or Origin is refused', async ({ m }) => {
  const ask = async (headers: Record<string, string>): Promise<number> =>
    (await m.manager.fetch(new Request('http://127.0.0.1/v1/pipelines', { headers }))).status
  assert.is(await ask({}), 200)
  assert.is(await ask({ host: '127.0.0.1:8400', origin: 'http://localhost:5173' }), 200)
  assert.is(await ask({ host: '[::1]:8400' }), 200)
  assert.is(await ask({ host: 'evil.example' }), 403)
  assert.is(await ask({ host: '127.0.0.1.evil.example' }), 403)
  assert.is(await ask({ origin: 'http://evil.example' }), 403)
  assert.is(await ask({ origin: 'null' }), 403)
})

test('an unknown query parameter is a problem at its pointer', async ({ m }) => {
  const answer = await m.ask('GET', '/v1/pipelines?limt=3&limit=0')
  assert.is(answer.status, 422)
  assert.equal(answer.body.issues.map((i: { pointer: string }) => i.pointer).sort(), ['/limit', '/limt'])
  assert.is((await m.ask('GET', '/v1/pipelines?limit=1&limit=2')).status, 422)
})

test('bodies over their limit are 413 and end the connection', async ({ m }) => {
  const post = async (path: string, bytes: number, type: string): Promise<Response> =>
    m.manager.fetch(
      new Request(`http://127.0.0.1${path}`, {
        method: 'POST',
        body: 'x'.repeat(bytes),
        headers: { 'content-type': type, 'content-length': String(bytes) },
      }),
    )
  const document = await post('/v1/pipelines', (1 << 20) + 1, 'application/json')
  assert.equal([document.status, document.headers.get('connection')], [413, 'close'])
  await m.ask('POST', '/v1/topics', { name: 't' })
  assert.is((await post('/v1/topics/t/records', (16 << 20) + 1, 'application/x-ndjson')).status, 413)
})

test('a compressed body is refused, not taken for records', async ({ m }) => {
  await m.ask('POST', '/v1/topics', { name: 'z' })
  const headers = { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' }
  const request = new Request('http://127.0.0.1/v1/topics/z/records', { method: 'POST', body: 'x', headers })
  const answer = await m.manager.fetch(request)
  assert.is(answer.status, 415)
  assert.match(await answer.text(), /Content-Encoding .*gzip.*: send it uncompressed/)
})

test('odd requests are never 500', async ({ m }) => {
  const bodies = [
    '',
    '{',
    '[]',
    'null',
    '"x"',
    '1e999',
    '{"id":{}}',
    '{"__proto__":{"a":1},"id":"a","components":[]}',
    '['.repeat(50_000),
    '\ufeff{}',
    '{"id":"a\\u0000b"}',
  ]
  const yamls = ['a: &a [*a]', '!!js/function "x"', '\t- a', '? {a: b}\n: c']
  for (const path of [
    '/v1/pipelines',
    '/v1/operators',
    '/v1/topics',
    '/v1/pipelines/x/fork',
    '/v1/pipelines/x/restart',
  ]) {
    for (const body of bodies) {
      const { status } = await m.ask('POST', path, body, 'application/json')
      assert.ok(status >= 400 && status < 500, `${path} ${body.slice(0, 20)} ${status}`)
    }
    for (const body of yamls) {
      const { status } = await m.ask('POST', path, body, 'application/yaml')
      assert.ok(status >= 400 && status < 500, `${path} ${body} ${status}`)
    }
  }
  for (const path of [
    '/v1/pipelines/%00',
    '/v1/pipelines/..%2f..',
    '/v1/pipelines/%ff',
    `/v1/pipelines/${'x'.repeat(5000)}`,
    '/v1/topics/x/records?from=offset:-1',
    '/v1/topics/x/records?limit=1e9',
    '/v1/topics/%ff',
    '/v1/operators/%ff/%00',
  ]) {
    const { status } = await m.ask('GET', path)
    assert.ok(status >= 400 && status < 500, `${path} ${status}`)
  }
  assert.equal(m.log, [])
})

test('topics are passed on; those of pipelines belong to pipelines', async ({ m }) => {
  assert.is((await m.ask('POST', '/v1/topics', { name: 'orders', partitions: 2 })).status, 201)
  assert.is((await m.ask('POST', '/v1/topics', { name: 'orders' })).status, 409)
  assert.is((await m.ask('GET', '/v1/topics/orders')).body.partitions, 2)
  assert.equal(
    (await m.ask('GET', '/v1/topics')).body.items.map((t: { name: string }) => t.name),
    ['orders'],
  )
  assert.is((await m.ask('POST', '/v1/topics', { name: 'p.dead-letters' })).status, 422)
  assert.is((await m.ask('GET', '/v1/topics/p.dead-letters')).status, 404)
  await m.ask('POST', '/v1/pipelines', {
    id: 'p',
    components: [
      { id: 'in', source: 'http' },
      { id: 'd', emitter: 'discard', from: 'in' },
    ],
  })
  assert.equal((await m.ask('GET', '/v1/topics/p.dead-letters')).body, { name: 'p.dead-letters', partitions: 1 })
  assert.equal((await m.ask('GET', '/v1/topics/p.ingest.in/records')).body, { records: [], next: { 0: '0' } })
  assert.is((await m.ask('DELETE', '/v1/topics/orders')).status, 204)
})

test('a pushed module is kept by its bytes, and not removed while it is used', async ({ m }) => {
  const settingsSchema = {
    type: 'object',
    properties: { factor: { type: 'integer', minimum: 1 } },
    additionalProperties: false,
  }
  const wasm = moduleWith({ ports: ['out'], permissions: ['clock'], settingsSchema })
  const put = (
    bytes: Uint8Array,
    path = '/v1/operators/twice/1.0.0',
  ): Promise<{ status: number; body: ReturnType<typeof JSON.parse> }> => m.ask('PUT', path, bytes, 'application/wasm')
  const made = await put(wasm)
  assert.is(made.status, 201, JSON.stringify(made.body))
  assert.match(made.body.digest, /^[0-9a-f]{64}$/)
  assert.equal([made.body.name, made.body.version, made.body.permissions], ['twice', '1.0.0', ['clock']])
  assert.is((await put(wasm)).status, 200)
  assert.equal((await put(moduleWith({ ports: ['out'] }))).body.code, 'ALREADY_EXISTS')
  assert.is((await put(new Uint8Array([1, 2]), '/v1/operators/bad/1.0.0')).body.code, 'MODULE_REFUSED')
  assert.is((await m.ask('GET', '/v1/operators/bad')).status, 404)
  assert.is((await put(wasm, '/v1/operators/json-filter/9.0.0')).status, 409)
  assert.is((await put(wasm, '/v1/operators/Odd_Name/1')).status, 422)
  const pipeline = (id: string, settings: object): object => ({
    id,
    components: [
      { id: 'in', source: 'http' },
      { id: 'x', operator: 'twice', from: 'in', settings },
      { id: 'd', emitter: 'discard', from: 'x' },
    ],
  })
  const wrong = await m.ask('POST', '/v1/pipelines', pipeline('p', { factor: 0, other: 1 }))
  assert.equal(wrong.body.issues.map((i: { pointer: string }) => i.pointer).sort(), [
    '/components/1/settings/factor',
    '/components/1/settings/other',
  ])
  assert.is((await m.ask('POST', '/v1/pipelines', pipeline('p', { factor: 2 }))).status, 201)
  const used = await m.ask('DELETE', '/v1/operators/twice/1.0.0')
  assert.equal([used.status, used.body.code], [409, 'IN_USE'])
  await m.ask('DELETE', '/v1/pipelines/p')
  assert.is((await m.ask('DELETE', '/v1/operators/twice/1.0.0')).status, 204)
  assert.is((await m.ask('GET', '/v1/operators/twice')).status, 404)
  assert.is((await m.ask('DELETE', '/v1/operators/json-filter/1.0.0')).body.code, 'IN_USE')
})

test('a shipped operator is described with its settings', async ({ m }) => {
  const { body } = await m.ask('GET', '/v1/operators/json-filter')
  assert.equal([body.origin, body.ports, body.items.length], ['shipped', ['out', 'rejected'], 1])
  assert.ok(JSON.stringify(body.settingsSchema).includes('"where"'))
})

test('a settings schema that could take long is refused', async ({ m }) => {
  const settingsSchema = { properties: { pattern: { type: 'string', pattern: '^(a+)+$' } }, allOf: [{ $ref: '#' }] }
  const refused = await m.ask(
    'PUT',
    '/v1/operators/slow/1.0.0',
    moduleWith({ ports: ['out'], settingsSchema }),
    'application/wasm',
  )
  assert.equal([refused.status, refused.body.code], [422, 'MODULE_REFUSED'])
  assert.equal(refused.body.issues.map((i: { pointer: string }) => i.pointer).sort(), [
    '/allOf/0/$ref',
    '/properties/pattern/pattern',
  ])
})

test('name@major is the newest at that moment; a patch of another component leaves it', async ({ m }) => {
  const push = (version: string): Promise<{ status: number }> =>
    m.ask(
      'PUT',
      `/v1/operators/mine/${version}`,
      moduleWith({ ports: ['out'], description: version }),
      'application/wasm',
    )
  await push('1.9.0')
  await push('1.10.0')
  await push('2.0.0')
  const components = [
    { id: 'in', source: 'http' },
    { id: 'x', operator: 'mine@1', from: 'in' },
    { id: 'y', operator: 'json-filter', from: 'x', settings: { where: [] } },
    { id: 'd', emitter: 'discard', from: 'y' },
  ]
  await m.ask('POST', '/v1/pipelines', { id: 'p', components })
  const versionOf = (): string => {
    const component = m.host.plans.get('p')!.components[1]!
    return component.kind === 'operator' ? component.version : ''
  }
  assert.is(versionOf(), '1.10.0')
  await push('1.11.0')
  await m.ask('PATCH', '/v1/pipelines/p/components/y', { settings: { where: [{ path: 'a', exists: true }] } })
  assert.is(versionOf(), '1.10.0')
  assert.is((await m.ask('DELETE', '/v1/operators/mine/1.10.0')).status, 409)
  await m.ask('POST', '/v1/pipelines/p/savepoints', { name: 's' })
  await m.ask('PATCH', '/v1/pipelines/p/components/x', { operator: 'mine@1' })
  assert.is(versionOf(), '1.11.0')
  assert.is((await m.ask('DELETE', '/v1/operators/mine/1.10.0')).status, 409, 'a savepoint names it')
  // What was found out about the document is from before this one was there.
  await push('1.12.0')
  const settings = { where: [{ path: 'b', exists: true }] }
  assert.is((await m.ask('PATCH', '/v1/pipelines/p/components/y', { settings })).status, 200)
  assert.is(versionOf(), '1.11.0')
  const names = (await m.ask('GET', '/v1/operators?after=json-map@1.0.0&limit=2')).body
  assert.equal(
    names.items.map((o: { version: string }) => o.version),
    ['1.9.0', '1.10.0'],
  )
  assert.is(names.next, 'mine@1.10.0')
  assert.is((await m.ask('GET', `/v1/operators?after=${names.next}`)).body.items[0].version, '1.11.0')
})

test('modules are sent to a host once, and again to one that was started anew', async ({ m }) => {
  const doc = (id: string): object => ({
    id,
    components: [
      { id: 'in', source: 'http' },
      { id: 'f', operator: 'json-filter', from: 'in', settings: { where: [] } },
      { id: 'd', emitter: 'discard', from: 'f' },
    ],
  })
  for (const id of ['a', 'b']) await m.ask('POST', '/v1/pipelines', doc(id))
  const { digest } = (await m.ask('GET', '/v1/operators/json-filter')).body
  const sent = (asked: string[]): number => asked.filter((line) => line === `PUT /modules/${digest}`).length
  assert.is(sent(m.host.asked), 1)
  await m.stop()
  const again = await startManager({ folder: m.folder })
  try {
    assert.is(sent(again.host.asked), 1)
    assert.is((await again.ask('GET', '/v1/pipelines/a')).body.state, 'running')
  } finally {
    await again.stop()
  }
})

test.run()
