// `spqr manager` and `spqr host` as processes: what a user sees of them, and what is left when either is killed.

import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../../support/client.ts'
import { Cluster } from '../../support/cluster.ts'
import { counting, pushCounting } from '../../support/delivery.ts'

const test = suite<{ cluster: Cluster }>('manager and host')
test.before.each(async (context) => {
  context.cluster = await Cluster.start()
})
test.after.each(({ cluster }) => cluster.remove())

const SECRET_ENV = { SPQR_HOST_TOKEN: 'another secret of at least 32 chars' }

const pause = (): Promise<undefined> => new Promise((done) => setTimeout(() => done(undefined), 200))

/** Reads a stream until it has said this. */
async function reads(url: string, wanted: string): Promise<string> {
  const abort = new AbortController()
  const response = await fetch(url, { signal: abort.signal })
  let text = ''
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString()
    if (text.includes(wanted)) break
  }
  abort.abort()
  return text
}

test('a manager waits for a host; then all that flows goes through it', async ({ cluster }) => {
  const { client, url } = cluster
  assert.is((await client.ask('GET', '/readyz')).status, 503)
  const early = await client.ask('POST', '/v1/pipelines', counting('p', 'a', 'b'))
  assert.equal([early.status, early.body.code], [503, 'TRANSPORT_UNAVAILABLE'])
  assert.match(early.body.detail, /spqr host --manager/)
  await cluster.startHost()
  await cluster.ready()
  const made = await client.ok('POST', '/v1/pipelines', {
    id: 'p',
    components: [
      { id: 'in', source: 'http' },
      { id: 'f', operator: 'json-filter', from: 'in', settings: { where: [{ path: 'n', gt: 1 }] } },
      { id: 'd', emitter: 'sse', from: 'f' },
    ],
  })
  assert.equal([made.state, made.hosts], ['running', ['one']])
  const tap = reads(`${url}/v1/pipelines/p/tap/f`, '"n":3')
  const out = reads(`${url}/v1/pipelines/p/out/d`, '"n":3')
  await until(async () => {
    const answer = await client.ask('POST', '/v1/pipelines/p/ingest/in', '{"n":1}\n{"n":3}', 'application/x-ndjson')
    assert.equal([answer.status, answer.body], [202, { accepted: 2 }])
    return Promise.race([Promise.all([tap, out]), pause()])
  })
  const events = reads(`${url}/v1/pipelines/p/events`, 'paused')
  await until(async () => {
    await client.ok('POST', '/v1/pipelines/p/pause')
    await client.ok('POST', '/v1/pipelines/p/resume')
    return Promise.race([events, pause()])
  })
  // The host itself answers nobody.
  assert.is((await fetch(`${cluster.hostUrl()}/pipelines`)).status, 401)
  assert.is((await fetch(`${cluster.hostUrl()}/tenants/default`, { method: 'DELETE' })).status, 401)
  const [host] = (await client.ok('GET', '/v1/hosts')).items
  assert.equal([host.id, host.state, host.pipelines], ['one', 'present', 1])
  for (const process of [cluster.hosts.get('one')!, cluster.manager!]) assert.is(await process.end('SIGTERM'), 0)
})

test('a host that was killed goes on from its checkpoint; a manager that was killed changes nothing', async (context) => {
  const { cluster } = context
  const { client } = cluster
  await cluster.startHost()
  await client.topics('in', 'out')
  await pushCounting(client)
  for (const id of ['p', 'paused', 'stopped']) {
    await client.ok(
      'POST',
      '/v1/pipelines',
      counting(id, 'in', id === 'p' ? 'out' : 'in', { delivery: 'exactly-once' }),
    )
    if (id !== 'p') await client.ok('POST', `/v1/pipelines/${id}/${id === 'paused' ? 'pause' : 'stop'}`)
  }
  const states = async (): Promise<string[]> =>
    (await client.ok('GET', '/v1/pipelines')).items.map(({ state }: { state: string }) => state)
  const countsTo = async (count: number): Promise<void> => {
    const counts = (await client.recordsOnce('out', count)).map(({ value }) => value.count)
    assert.equal(
      counts,
      Array.from({ length: count }, (_, i) => i + 1),
    )
  }
  await client.feed('in', 0, 100)
  await countsTo(100)
  await cluster.killHost()
  await until(async () => (await client.ok('GET', '/v1/pipelines/p')).state === 'starting' || undefined)
  await until(async () => (await client.ask('GET', '/readyz')).status === 503 || undefined)
  assert.is((await client.ask('POST', '/v1/pipelines/p/pause')).status, 503)
  await cluster.startHost()
  await cluster.ready()
  await client.feed('in', 100, 100)
  await countsTo(200)
  assert.equal(await states(), ['running', 'paused', 'stopped'])

  const before = (await client.ok('GET', '/v1/pipelines/p/stats')).components.c
  await cluster.killManager()
  await cluster.startManager()
  await cluster.ready()
  // The very same run: its counters go on, where a start would have begun them anew.
  assert.equal((await client.ok('GET', '/v1/pipelines/p/stats')).components.c, before)
  assert.equal(await states(), ['running', 'paused', 'stopped'])
  await client.feed('in', 200, 100)
  await countsTo(300)
  await client.ok('POST', '/v1/pipelines/paused/resume')
  await client.ok('DELETE', '/v1/pipelines/stopped')
  assert.equal(await states(), ['running', 'running'])
})

test('who may not be a host is told why, in one line', async ({ cluster }) => {
  const refused = async (id: string, env: Record<string, string>, flags: string[] = []): Promise<string> => {
    const host = await cluster.launchHost(id, flags, env)
    assert.is(await host.closed, 1, host.log)
    return host.log
  }
  assert.match(await refused('stranger', SECRET_ENV), /does not know this host's SPQR_HOST_TOKEN/)
  assert.match(await refused('short', { SPQR_HOST_TOKEN: 'short' }), /which can be guessed/)
  await cluster.startHost()
  assert.match(await refused('second', {}), /a host with the embedded transport is the only one of its manager/)
  assert.match(await refused('open', {}, ['--listen', '0.0.0.0']), /add --url/)
  const folder = ['--data', join(cluster.folder, 'one')]
  assert.match(await refused('other-name', {}, folder), /another process is using it/)
  await cluster.killHost()
  assert.match(await refused('other-name', {}, folder), /is of the host "one"/)
})

test.run()
