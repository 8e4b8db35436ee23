import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { document, remove, startManager, startOver, type TestManager } from '../support/manager.ts'
import { problem, RecordedHost } from '../support/recorded-host.ts'

interface Context {
  m: TestManager
}

const test = suite<Context>('pipelines')
test.before.each(async (context) => {
  context.m = await startManager()
})
test.after.each(async ({ m }) => {
  await m.stop()
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

test('changes one after the other each begin with the one before', async ({ m }) => {
  const settingsNow = async (): Promise<unknown[]> => {
    const { body } = await m.ask('GET', '/v1/pipelines/p')
    return [body.revision, ...body.document.components.map((c: { settings?: unknown }) => c.settings)]
  }
  const patch = (id: string, settings: unknown) => m.ask('PATCH', `/v1/pipelines/p/components/${id}`, { settings })
  const where = (equals: unknown) => ({ where: [{ path: 'a', equals }] })
  const inSettings = { maxRecordBytes: 2048 }
  assert.is((await m.ask('POST', '/v1/pipelines', document('p'))).status, 201)
  assert.is((await patch('f', where(2))).body.revision, 2)
  assert.is((await patch('in', inSettings)).body.revision, 3)
  assert.equal(await settingsNow(), [3, inSettings, where(2), undefined])
  for (const settings of [{ where: 3 }, { nothing: 1 }]) {
    const wrong = await patch('f', settings)
    assert.equal([wrong.status, wrong.body.issues[0].pointer.startsWith('/settings/')], [422, true])
  }
  m.host.refuse = () => problem(422, 'INVALID_DOCUMENT', 'no')
  assert.is((await patch('f', where(3))).status, 422)
  m.host.refuse = () => undefined
  assert.equal(await settingsNow(), [3, inSettings, where(2), undefined])
  assert.is((await patch('f', where(4))).body.revision, 4)
  assert.equal(await settingsNow(), [4, inSettings, where(4), undefined])
  assert.is((await m.ask('PUT', '/v1/pipelines/p', document('p'))).body.revision, 5)
  assert.is((await patch('in', inSettings)).body.revision, 6)
  assert.equal(await settingsNow(), [6, inSettings, where(1), undefined])
  // One of the same name at the same revision is another.
  assert.is((await m.ask('DELETE', '/v1/pipelines/p')).status, 204)
  assert.is((await m.ask('POST', '/v1/pipelines', document('p'))).status, 201)
  assert.is((await patch('in', inSettings)).body.revision, 2)
  assert.equal(await settingsNow(), [2, inSettings, where(1), undefined])
})

test('the same id again is 409; of two at once one is made', async ({ m }) => {
  const both = await Promise.all([
    m.ask('POST', '/v1/pipelines', document('p')),
    m.ask('POST', '/v1/pipelines', document('p')),
  ])
  assert.equal(both.map((r) => r.status).sort(), [201, 409])
  assert.is((await m.ask('POST', '/v1/pipelines', document('p'))).body.code, 'ALREADY_EXISTS')
  const fork = await m.ask('POST', '/v1/pipelines/p/fork', { id: 'p' })
  assert.equal([fork.status, fork.body.code], [409, 'ALREADY_EXISTS'])
  assert.match(fork.body.detail, /give the fork another id/)
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
  assert.equal([patched.body.revision, patched.body.fromSequence.component, patched.body.stateReset], [2, 'f', false])
  const { document: now } = (await m.ask('GET', '/v1/pipelines/p')).body
  assert.equal(now.components[1], {
    ...(document('p').components as object[])[1],
    settings: { where: [{ path: 'b', gt: 2 }] },
  })
  const wrong = await m.ask('PATCH', '/v1/pipelines/p/components/f', { settings: { where: 3 } })
  assert.equal([wrong.status, wrong.body.issues[0].pointer], [422, '/settings/where'])
  assert.is((await m.ask('PATCH', '/v1/pipelines/p/components/nope', { settings: {} })).status, 404)
  assert.is((await m.ask('PATCH', '/v1/pipelines/p/components/f', {})).status, 422)
  assert.is((await m.ask('GET', '/v1/pipelines/p')).body.revision, 2)
})

test('what has ended is not patched', async ({ m }) => {
  const settings = { template: { a: 1 }, count: 3 }
  const components = [
    { id: 'in', source: 'generator', settings },
    { id: 'd', emitter: 'discard', from: 'in' },
  ]
  await m.ask('POST', '/v1/pipelines', { id: 'p', components })
  await m.state('p', 'completed')
  const refused = await m.ask('PATCH', '/v1/pipelines/p/components/d', { settings: {} })
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
      { id: 'out', emitter: 'topic', from: 'in', settings: { topic: 'kept' } },
    ],
  })
  const missing = await m.ask('POST', '/v1/pipelines', named('q'))
  assert.is(missing.status, 422)
  assert.equal(
    missing.body.issues.map((i: { pointer: string }) => i.pointer),
    ['/components/0/settings/topic', '/components/1/settings/topic'],
  )
  for (const name of ['orders', 'kept']) await m.ask('POST', '/v1/topics', { name })
  const made = await m.ask('POST', '/v1/pipelines', named('q'))
  assert.is(made.status, 201, JSON.stringify(made.body))
})

test('pause, stop and resume are remembered over a crash, and so are documents', async ({ m }) => {
  for (const id of ['runs', 'paused', 'stopped']) await m.ask('POST', '/v1/pipelines', document(id))
  assert.is((await m.ask('POST', '/v1/pipelines/paused/pause')).body.state, 'paused')
  assert.is((await m.ask('POST', '/v1/pipelines/stopped/stop')).body.state, 'stopped')
  await m.stop()
  const again = await startManager({ folder: m.folder })
  try {
    const states = (await again.ask('GET', '/v1/pipelines')).body.items.map((p: { state: string }) => p.state)
    assert.equal(states, ['paused', 'running', 'stopped'])
    assert.is(again.host.plans.has('stopped'), false)
    assert.is((await again.ask('GET', '/readyz')).status, 200)
    assert.equal(Object.keys((await again.ask('GET', '/v1/pipelines/stopped/stats')).body.components), ['in', 'f', 'd'])
    assert.is((await again.ask('POST', '/v1/pipelines/stopped/resume')).body.state, 'running')
    assert.is((await again.ask('POST', '/v1/pipelines/paused/resume')).body.state, 'running')
  } finally {
    await again.stop()
  }
})

test('one that cannot start again says why and holds up no other', async ({ m }) => {
  for (const id of ['a', 'b']) await m.ask('POST', '/v1/pipelines', document(id))
  await m.stop()
  const host = await RecordedHost.start(m.folder)
  host.refuse = (plan) => (plan.id === 'a' ? problem(403, 'PERMISSION_DENIED', 'not allowed') : undefined)
  const again = await startOver(m.folder, host)
  try {
    const a = (await again.ask('GET', '/v1/pipelines/a')).body
    assert.equal([a.state, a.reason], ['failed', { code: 'PERMISSION_DENIED', message: 'not allowed' }])
    assert.is((await again.ask('GET', '/v1/pipelines/b')).body.state, 'running')
    assert.is((await again.ask('GET', '/readyz')).status, 200)
    assert.is((await again.ask('POST', '/v1/pipelines/a/ingest/in', '{}', 'application/x-ndjson')).status, 409)
    assert.is((await again.ask('POST', '/v1/pipelines/a/fork', { id: 'c' })).status, 409)
    host.refuse = () => undefined
    assert.is((await again.ask('POST', '/v1/pipelines/a/resume')).body.state, 'running')
  } finally {
    await again.stop()
  }
})

test('one whose transport is away is tried again until it runs', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  await m.stop()
  const host = await RecordedHost.start(m.folder)
  host.refuse = () => problem(503, 'TRANSPORT_UNAVAILABLE', 'away')
  const again = await startOver(m.folder, host)
  try {
    assert.is((await again.ask('GET', '/v1/pipelines/p')).body.state, 'starting')
    assert.is((await again.ask('GET', '/readyz')).status, 503)
    host.refuse = () => undefined
    await again.state('p', 'running')
    assert.is((await again.ask('GET', '/readyz')).status, 200)
  } finally {
    await again.stop()
  }
})

test('a removal that a crash cut off is finished', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  m.store.pipelines.setWanted('default', 'p', 'deleting')
  await m.stop()
  const again = await startManager({ folder: m.folder })
  try {
    assert.is((await again.ask('GET', '/v1/pipelines/p')).status, 404)
    assert.ok(again.host.asked.includes('DELETE /pipelines/default/p'))
  } finally {
    await again.stop()
  }
})

test('a restart names its place to the host; a fork follows the ingest of the original', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const kept = await m.ask('POST', '/v1/pipelines/p/savepoints', { name: 'half' })
  assert.equal([kept.status, kept.body.name], [201, 'half'])
  assert.is((await m.ask('GET', '/v1/pipelines/p/savepoints')).body.items[0].name, 'half')
  assert.is((await m.ask('POST', '/v1/pipelines/p/restart', { from: 'savepoint:half' })).status, 200)
  assert.is(m.host.plans.get('p')!.startFrom, 'savepoint:half')
  assert.is((await m.ask('POST', '/v1/pipelines/p/restart', { from: 'savepoint:nope' })).status, 404)
  assert.is((await m.ask('GET', '/v1/pipelines/p')).body.state, 'running')
  assert.is((await m.ask('POST', '/v1/pipelines/p/restart', { from: 'somewhere' })).status, 422)
  const fork = { id: 'q', savepoint: 'half', components: [{ id: 'f', settings: { where: [] } }] }
  const forked = await m.ask('POST', '/v1/pipelines/p/fork', fork)
  assert.is(forked.status, 201, JSON.stringify(forked.body))
  const plan = m.host.plans.get('q')!
  assert.equal([plan.forkOf, plan.components[1]!.settings.where], ['p', []])
  assert.is((await m.ask('POST', '/v1/pipelines/q/fork', { id: 'r' })).status, 201)
  assert.is(m.host.plans.get('r')!.forkOf, 'p')
  assert.is((await m.ask('POST', '/v1/pipelines/q/ingest/in', '{}', 'application/x-ndjson')).status, 409)
  assert.is((await m.ask('POST', '/v1/pipelines/p/fork', fork)).status, 409)
  const missing = await m.ask('POST', '/v1/pipelines/p/fork', { id: 's', savepoint: 'nope' })
  assert.equal([missing.status, (await m.ask('GET', '/v1/pipelines/s')).status], [404, 404])
  const unknown = await m.ask('POST', '/v1/pipelines/p/fork', { id: 's', components: [{ id: 'nope', settings: {} }] })
  assert.equal([unknown.status, unknown.body.issues[0].pointer], [422, '/components/0/id'])
})

test('a fork under at-most-once is told that it gets nothing of what is sent to the original', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', { ...document('p'), delivery: 'at-most-once' })
  const forked = await m.ask('POST', '/v1/pipelines/p/fork', { id: 'q' })
  assert.is(forked.status, 201)
  assert.match(forked.body.warnings[0].message, /"in" is sent is kept nowhere/)
})

test('dead letters are listed with every digit, page by page, and given to their source again once', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  assert.equal((await m.ask('GET', '/v1/pipelines/p/dead-letters')).body, { items: [] })
  const deep = `{"n":12345678901234567890,"deep":${'['.repeat(600)}${']'.repeat(600)}}`
  const lines = `${deep}\n{"a":\n"\n`
  assert.is((await m.ask('POST', '/v1/pipelines/p/ingest/in', lines, 'application/x-ndjson')).body.accepted, 3)
  const letters = async (query = ''): Promise<{ items: { offset: string }[]; next?: string }> =>
    (await m.ask('GET', `/v1/pipelines/p/dead-letters${query}`)).body
  while ((await letters()).items.length < 3) await new Promise((done) => setTimeout(done, 5))
  const first = await m.manager.fetch(new Request('http://localhost/v1/pipelines/p/dead-letters?limit=2'))
  const text = await first.text()
  assert.ok(text.includes('12345678901234567890'))
  assert.is(JSON.parse(text).next, '1')
  assert.is((await letters('?limit=2&after=1')).items[0]!.offset, '2')
  assert.is((await m.ask('GET', '/v1/pipelines/p/dead-letters?after=x')).status, 422)
  assert.equal((await m.ask('POST', '/v1/pipelines/p/dead-letters/replay')).body, { replayed: 3, skipped: 0 })
  while ((await letters()).items.length < 6) await new Promise((done) => setTimeout(done, 5))
  // What failed again waits for the next replay, and that takes no letter twice.
  assert.equal((await m.ask('POST', '/v1/pipelines/p/dead-letters/replay')).body, { replayed: 3, skipped: 0 })
})

test('a listing goes page by page', async ({ m }) => {
  for (const id of ['c', 'a', 'b']) await m.ask('POST', '/v1/pipelines', document(id))
  const ids = (r: { body: { items: { id: string }[] } }): string[] => r.body.items.map((p) => p.id)
  const first = await m.ask('GET', '/v1/pipelines?limit=2')
  assert.equal([ids(first), first.body.next], [['a', 'b'], 'b'])
  const second = await m.ask('GET', '/v1/pipelines?limit=2&after=b')
  assert.equal([ids(second), second.body.next], [['c'], undefined])
})

test('a savepoint of what does not run names where it stands, and moves nothing', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const send = (n: number): Promise<unknown> =>
    m.ask('POST', '/v1/pipelines/p/ingest/in', `{"a":1,"n":${n}}`, 'application/x-ndjson')
  const passed = async (): Promise<number> =>
    (await m.ask('GET', '/v1/pipelines/p/stats')).body.components.f.recordsOut as number
  await send(1)
  while ((await passed()) < 1) await new Promise((done) => setTimeout(done, 5))
  const first = await m.ask('POST', '/v1/pipelines/p/savepoints', { name: 'then' })
  await send(2)
  while ((await passed()) < 2) await new Promise((done) => setTimeout(done, 5))
  await m.ask('POST', '/v1/pipelines/p/stop')
  const again = await m.ask('POST', '/v1/pipelines/p/savepoints', { name: 'then' })
  assert.is(again.status, 201)
  assert.ok(again.body.epoch > first.body.epoch, 'it is the present one')
  assert.is((await m.ask('POST', '/v1/pipelines/p/savepoints', { name: 'other' })).status, 201)
  await m.ask('POST', '/v1/pipelines/p/resume')
  await send(3)
  while ((await passed()) < 3) await new Promise((done) => setTimeout(done, 5))
  assert.is(await passed(), 3, 'nothing is read again')
  const names = (await m.ask('GET', '/v1/pipelines/p/savepoints')).body.items.map((s: { name: string }) => s.name)
  assert.equal(names, ['other', 'then'])
  const { body } = await m.ask('GET', '/v1/pipelines/p/savepoints?limit=1')
  assert.equal([body.items.length, body.next], [1, 'other'])
  assert.is((await m.ask('GET', '/v1/pipelines/p/savepoints?limit=1&after=other')).body.items[0].name, 'then')
})

test('what is stopped says so to who sends and who reads', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  await m.ask('POST', '/v1/pipelines/p/stop')
  const sent = await m.ask('POST', '/v1/pipelines/p/ingest/in', '1', 'application/x-ndjson')
  const read = await m.ask('GET', '/v1/pipelines/p/out/d')
  for (const { status, body } of [sent, read]) {
    assert.equal([status, body.detail], [409, 'The pipeline "p" is stopped; resume it first.'])
  }
})

test('a stopped pipeline is forked and kept after a restart of the manager too', async (context) => {
  await context.m.ask('POST', '/v1/pipelines', document('p'))
  await context.m.ask('POST', '/v1/pipelines/p/ingest/in', '{"a":1}', 'application/x-ndjson')
  await context.m.ask('POST', '/v1/pipelines/p/stop')
  const { folder } = context.m
  await context.m.stop()
  context.m = await startManager({ folder })
  const { m } = context
  assert.is((await m.ask('POST', '/v1/pipelines/p/savepoints', { name: 'later' })).status, 201)
  assert.is((await m.ask('POST', '/v1/pipelines/p/fork', { id: 'q' })).status, 201)
  assert.is((await m.ask('POST', '/v1/pipelines/p/fork', { id: 'r', savepoint: 'later' })).status, 201)
  assert.is((await m.ask('GET', '/v1/pipelines/q')).body.state, 'running')
})

test('problems of a fork stand where the request has them', async ({ m }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const fork = async (components: object[]): Promise<unknown[]> => {
    const { status, body } = await m.ask('POST', '/v1/pipelines/p/fork', { id: 'q', components })
    return [status, body.issues?.map((issue: { pointer: string }) => issue.pointer)]
  }
  assert.equal(await fork([{ id: 'd' }, { id: 'f', settings: { wher: [] } }]), [422, ['/components/1/settings/wher']])
  assert.equal(await fork([{ id: 'f' }, { id: 'd' }, { id: 'f' }]), [422, ['/components/2/id']])
})

test('what is completed stays so when it is stopped', async ({ m }) => {
  const components = [
    { id: 'in', source: 'generator', settings: { template: { n: { $seq: 0 } }, count: 3, seed: 1 } },
    { id: 'd', emitter: 'discard', from: 'in' },
  ]
  await m.ask('POST', '/v1/pipelines', { id: 'p', components })
  await m.state('p', 'completed')
  const stopped = await m.ask('POST', '/v1/pipelines/p/stop')
  assert.equal([stopped.status, stopped.body.state], [200, 'completed'])
  assert.is((await m.ask('GET', '/v1/pipelines/p')).body.state, 'completed')
  assert.is((await m.ask('POST', '/v1/pipelines/p/restart', { from: 'earliest' })).status, 200)
})

test.run()
