import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { problem } from '../support/host-double.ts'
import { document, remove, startManager, type TestManager } from '../support/manager.ts'

interface Context {
  m: TestManager
}

const test = suite<Context>('pipelines')
test.before.each(async (context) => {
  context.m = await startManager()
})
test.after.each(async ({ m }) => {
  await m.crash()
  remove(m.folder)
})

test('a pipeline is made, described, listed and removed', async ({ m }) => {
  const made = await m.ask('POST', '/v1/pipelines', document(' Shop '))
  assert.is(made.status, 201, JSON.stringify(made.body))
  assert.is(made.body.id, 'shop')
  assert.is(made.body.state, 'running')
  assert.is(made.body.revision, 1)
  assert.equal(made.body.hosts, ['local'])
  for (const time of ['validateMs', 'placeMs', 'instantiateMs', 'totalMs'])
    assert.type(made.body.timings[time], 'number')
  const got = await m.ask('GET', '/v1/pipelines/SHOP')
  assert.equal([got.body.state, got.body.document.id, got.body.document.components.length], ['running', 'shop', 3])
  assert.equal(
    (await m.ask('GET', '/v1/pipelines')).body.items.map((p: { id: string }) => p.id),
    ['shop'],
  )
  assert.is((await m.ask('DELETE', '/v1/pipelines/shop?drain=true')).status, 204)
  assert.is((await m.ask('GET', '/v1/pipelines/shop')).status, 404)
  assert.ok(m.host.asked.includes('DELETE /pipelines/default/shop?drain=true'))
})

test('YAML is read; a dry run leaves nothing; another type is refused', async ({ m }) => {
  const yaml = 'id: y\ncomponents:\n  - { id: in, source: http }\n  - { id: d, emitter: discard, from: in }\n'
  const dry = await m.ask('POST', '/v1/pipelines?dryRun=true', yaml, 'application/yaml')
  assert.equal([dry.status, dry.body.valid], [200, true])
  assert.is((await m.ask('GET', '/v1/pipelines/y')).status, 404)
  assert.is((await m.ask('POST', '/v1/pipelines', yaml, 'application/yaml; charset=utf-8')).status, 201)
  const other = await m.ask('POST', '/v1/pipelines', yaml, 'text/plain')
  assert.equal([other.status, other.body.code], [415, 'UNSUPPORTED_MEDIA_TYPE'])
})

test('every problem comes at once; an unreadable body is 400 with its place', async ({ m }) => {
  const wrong = await m.ask('POST', '/v1/pipelines', { id: 'Bad Id!', components: [{ id: 'in', source: 'htpt' }] })
  assert.is(wrong.status, 422)
  assert.is(wrong.headers.get('content-type'), 'application/problem+json')
  const pointers = wrong.body.issues.map((i: { pointer: string }) => i.pointer)
  assert.ok(pointers.includes('/id') && pointers.includes('/components/0/source'), pointers.join())
  const broken = await m.ask('POST', '/v1/pipelines', '{"id": "a",,}', 'application/json')
  assert.equal([broken.status, broken.body.code, broken.body.issues[0].line], [400, 'INVALID_BODY', 1])
})

test('the same id again is 409; of two at once one is made', async ({ m }) => {
  const both = await Promise.all([
    m.ask('POST', '/v1/pipelines', document('p')),
    m.ask('POST', '/v1/pipelines', document('p')),
  ])
  assert.equal(both.map((r) => r.status).sort(), [201, 409])
  assert.is((await m.ask('POST', '/v1/pipelines', document('p'))).body.code, 'ALREADY_EXISTS')
})

test('what the host refuses leaves nothing, and its answer comes through', async ({ m }) => {
  m.host.refuse = () => problem(403, 'PERMISSION_DENIED', 'start with --allow-read=/etc')
  const refused = await m.ask('POST', '/v1/pipelines', document('p'))
  assert.equal(
    [refused.status, refused.body.code, refused.body.detail],
    [403, 'PERMISSION_DENIED', 'start with --allow-read=/etc'],
  )
  m.host.refuse = () => undefined
  assert.is((await m.ask('GET', '/v1/pipelines/p')).status, 404)
  assert.is((await m.ask('POST', '/v1/pipelines', document('p'))).status, 201)
})

test('settings are patched as RFC 7396 says; problems point into the patch', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const patched = await m.ask('PATCH', '/v1/pipelines/p/components/F', { settings: { where: [{ path: 'b', gt: 2 }] } })
  assert.is(patched.status, 200, JSON.stringify(patched.body))
  assert.equal(
    [patched.body.revision, patched.body.fromSequence, patched.body.stateReset],
    [2, { component: 'f', sequence: 7 }, false],
  )
  const { document: now } = (await m.ask('GET', '/v1/pipelines/p')).body
  assert.equal(now.components[1], {
    ...(document('p').components as object[])[1],
    settings: { where: [{ path: 'b', gt: 2 }] },
  })
  const wrong = await m.ask('PATCH', '/v1/pipelines/p/components/f', { settings: { where: 3 } })
  assert.equal([wrong.status, wrong.body.issues[0].pointer], [422, '/settings/where'])
  assert.is((await m.ask('PATCH', '/v1/pipelines/p/components/f?keepState=required', { settings: {} })).status, 409)
  assert.is((await m.ask('PATCH', '/v1/pipelines/p/components/nope', { settings: {} })).status, 404)
  assert.is((await m.ask('PATCH', '/v1/pipelines/p/components/f', {})).status, 422)
  assert.is((await m.ask('GET', '/v1/pipelines/p')).body.revision, 2)
})

test('what has ended is not patched', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  m.host.pipelines.get('default/p')!.state = 'completed'
  const refused = await m.ask('PATCH', '/v1/pipelines/p/components/f', { settings: {} })
  assert.equal([refused.status, refused.body.code], [409, 'INVALID_STATE'])
})

test('a document is replaced under its own id alone', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const replaced = await m.ask('PUT', '/v1/pipelines/p', document('p', { description: 'new' }))
  assert.equal([replaced.status, replaced.body.revision], [200, 2])
  assert.is((await m.ask('GET', '/v1/pipelines/p')).body.document.description, 'new')
  const other = await m.ask('PUT', '/v1/pipelines/p', document('q'))
  assert.equal([other.status, other.body.issues[0].pointer], [422, '/id'])
  assert.is((await m.ask('PUT', '/v1/pipelines/q', document('q'))).status, 404)
})

test('a topic that a document names must exist', async ({ m }) => {
  const named = (id: string): Record<string, unknown> => ({
    id,
    components: [
      { id: 'in', source: 'topic', settings: { topic: 'orders' } },
      { id: 'out', emitter: 'topic', from: 'in', settings: { topic: 'p.dead-letters' } },
    ],
  })
  const missing = await m.ask('POST', '/v1/pipelines', named('q'))
  assert.is(missing.status, 422)
  assert.equal(
    missing.body.issues.map((i: { pointer: string }) => i.pointer),
    ['/components/0/settings/topic', '/components/1/settings/topic'],
  )
  await m.ask('POST', '/v1/topics', { name: 'orders' })
  await m.ask('POST', '/v1/pipelines', document('p'))
  assert.is((await m.ask('POST', '/v1/pipelines', named('q'))).status, 201)
})

test('pause, stop and resume are remembered over a crash, and so are documents', async ({ m }) => {
  for (const id of ['runs', 'paused', 'stopped']) await m.ask('POST', '/v1/pipelines', document(id))
  assert.is((await m.ask('POST', '/v1/pipelines/paused/pause')).body.state, 'paused')
  assert.is((await m.ask('POST', '/v1/pipelines/stopped/stop')).body.state, 'stopped')
  await m.crash()
  const again = await startManager({ folder: m.folder })
  try {
    const states = (await again.ask('GET', '/v1/pipelines')).body.items.map((p: { state: string }) => p.state)
    assert.equal(states, ['paused', 'running', 'stopped'])
    assert.is(again.host.pipelines.has('default/stopped'), false)
    assert.is((await again.ask('GET', '/readyz')).status, 200)
    assert.equal(Object.keys((await again.ask('GET', '/v1/pipelines/stopped/stats')).body.components), ['in', 'f', 'd'])
    assert.is((await again.ask('POST', '/v1/pipelines/stopped/resume')).body.state, 'running')
    assert.is((await again.ask('POST', '/v1/pipelines/paused/resume')).body.state, 'running')
  } finally {
    await again.crash()
  }
})

test('one that cannot start again says why and holds up no other', async ({ m }) => {
  for (const id of ['a', 'b']) await m.ask('POST', '/v1/pipelines', document(id))
  await m.crash()
  m.host.pipelines.clear()
  m.host.refuse = (plan) => (plan.id === 'a' ? problem(403, 'PERMISSION_DENIED', 'not allowed') : undefined)
  const again = await startManager({ folder: m.folder, host: m.host })
  try {
    const a = (await again.ask('GET', '/v1/pipelines/a')).body
    assert.equal([a.state, a.reason], ['failed', 'PERMISSION_DENIED: not allowed'])
    assert.is((await again.ask('GET', '/v1/pipelines/b')).body.state, 'running')
    assert.is((await again.ask('GET', '/readyz')).status, 200)
    assert.is((await again.ask('POST', '/v1/pipelines/a/ingest/in', '{}', 'application/x-ndjson')).status, 409)
    m.host.refuse = () => undefined
    assert.is((await again.ask('POST', '/v1/pipelines/a/resume')).body.state, 'running')
  } finally {
    await again.crash()
  }
})

test('a removal that a crash cut off is finished', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  m.store.pipelines.setWanted('default', 'p', 'deleting')
  await m.crash()
  const again = await startManager({ folder: m.folder, host: m.host })
  try {
    assert.is((await again.ask('GET', '/v1/pipelines/p')).status, 404)
    assert.ok(m.host.asked.includes('DELETE /pipelines/default/p'))
  } finally {
    await again.crash()
  }
})

test('a restart names its place to the host; a fork follows the ingest of the original', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  assert.is((await m.ask('POST', '/v1/pipelines/p/restart', { from: 'savepoint:half' })).status, 200)
  assert.is(m.host.pipelines.get('default/p')!.plan.startFrom, 'savepoint:half')
  assert.is((await m.ask('POST', '/v1/pipelines/p/restart', { from: 'somewhere' })).status, 422)
  const fork = { id: 'q', savepoint: 'half', components: [{ id: 'f', settings: { where: [] } }] }
  assert.is((await m.ask('POST', '/v1/pipelines/p/fork', fork)).status, 201)
  const { plan } = m.host.pipelines.get('default/q')!
  assert.equal([plan.forkOf, plan.components[1]!.settings.where], ['p', []])
  assert.is((await m.ask('POST', '/v1/pipelines/q/fork', { id: 'r' })).status, 201)
  assert.is(m.host.pipelines.get('default/r')!.plan.forkOf, 'p')
  assert.is((await m.ask('POST', '/v1/pipelines/p/fork', fork)).status, 409)
  const unknown = await m.ask('POST', '/v1/pipelines/p/fork', { id: 's', components: [{ id: 'nope', settings: {} }] })
  assert.equal([unknown.status, unknown.body.issues[0].pointer], [422, '/components/0/id'])
})

test('dead letters are listed with every digit, page by page, and given to their source again once', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  assert.equal((await m.ask('GET', '/v1/pipelines/p/dead-letters')).body, { items: [] })
  const letter = (value: string): string =>
    `{"code":"INVALID_RECORD","source":{"topic":"p.ingest.in","partition":0,"offset":"1"},"record":{"key":null,"value":${value},"headers":{}}}`
  m.host.records.set('p.dead-letters', ['12345678901234567890', '"x"', '{"a":1}'].map(letter))
  const first = await m.manager.fetch(new Request('http://localhost/v1/pipelines/p/dead-letters?limit=2'))
  const text = await first.text()
  assert.ok(text.includes('12345678901234567890'))
  assert.is(JSON.parse(text).next, '1')
  assert.is((await m.ask('GET', '/v1/pipelines/p/dead-letters?limit=2&after=1')).body.items[0].offset, '2')
  assert.is((await m.ask('GET', '/v1/pipelines/p/dead-letters?after=x')).status, 422)
  assert.equal((await m.ask('POST', '/v1/pipelines/p/dead-letters/replay')).body, { replayed: 3, skipped: 0 })
  assert.equal((await m.ask('POST', '/v1/pipelines/p/dead-letters/replay')).body, { replayed: 0, skipped: 0 })
  assert.is(m.host.asked.filter((line) => line === 'POST /pipelines/default/p/ingest/in').length, 3)
})

test('a listing goes page by page', async ({ m }) => {
  for (const id of ['c', 'a', 'b']) await m.ask('POST', '/v1/pipelines', document(id))
  const ids = (r: { body: { items: { id: string }[] } }): string[] => r.body.items.map((p) => p.id)
  const first = await m.ask('GET', '/v1/pipelines?limit=2')
  assert.equal([ids(first), first.body.next], [['a', 'b'], 'b'])
  const second = await m.ask('GET', '/v1/pipelines?limit=2&after=b')
  assert.equal([ids(second), second.body.next], [['c'], undefined])
})

test.run()
