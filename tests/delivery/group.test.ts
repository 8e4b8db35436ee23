import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/client.ts'
import { Product } from '../support/delivery.ts'
import { makeTopics, PARTITIONS, passing, readBy, whatCame } from '../support/rebalance.ts'

const group = suite('a source in a group')
const product = await Product.start()
const { client, host } = product

group.after(() => product.remove())

/** Numbers `from` … over all partitions. */
async function feed(tag: string, from: number, count: number): Promise<void> {
  const numbers = Array.from({ length: count }, (_, i) => from + i)
  const records = numbers.map((n) => ({ value: { n }, partition: n % PARTITIONS }))
  await client.ok('POST', `/v1/topics/${tag}-in/records`, { records })
}

const committed = async (tag: string): Promise<string> => {
  const offsets = await host.transport.groupOffsets(`${tag}-group`, `${tag}-in`)
  return [...offsets].sort(([a], [b]) => a - b).join(' ')
}

group(
  'begins where the group is; a group without an offset begins at from, which is kept before it is read',
  async () => {
    await makeTopics(client, 'begin')
    await feed('begin', 0, 40)
    await client.ok('POST', '/v1/pipelines', passing('begin', 'begin', 'at-least-once', { from: 'latest' }))
    await until(
      async () => ((await committed('begin')) === '0,10 1,10 2,10 3,10' ? true : undefined),
      () => 'the beginning is not published',
    )
    await feed('begin', 40, 40)
    await client.recordsOnce('begin-out', 40)
    await client.ok('DELETE', '/v1/pipelines/begin?drain=true')
    await feed('begin', 80, 40)
    // Another pipeline, without any checkpoint: it goes on where the group is.
    await client.ok('POST', '/v1/pipelines', passing('behind', 'begin', 'at-least-once'))
    const came = (await client.recordsOnce('begin-out', 80)).map(({ value }) => value.n).sort((a, b) => a - b)
    assert.equal(
      came,
      Array.from({ length: 80 }, (_, i) => 40 + i),
    )
  },
)

group('a paused member lets others read their share, and keeps its own', async () => {
  await makeTopics(client, 'pause')
  await feed('pause', 0, 400)
  await client.ok('POST', '/v1/pipelines', passing('pause-a', 'pause', 'exactly-once'))
  await client.recordsOnce('pause-out', 400)
  await client.ok('POST', '/v1/pipelines/pause-a/pause')
  await client.ok('POST', '/v1/pipelines', passing('pause-b', 'pause', 'exactly-once'))
  await feed('pause', 400, 400)
  await client.recordsOnce('pause-out', 600)
  await until(
    async () => ((await readBy(client, 'pause-b')) === 200 ? true : undefined),
    () => 'b has read something else than two partitions',
  )
  await client.ok('POST', '/v1/pipelines/pause-a/resume')
  const counts = await whatCame(client, 'pause-out', 800)
  assert.ok(counts.every((count) => count === 1))
})

group('a stop hands over, a restart goes where it is told, with the state of a savepoint', async () => {
  await makeTopics(client, 'again')
  await feed('again', 0, 40)
  await client.ok('POST', '/v1/pipelines', passing('again', 'again', 'exactly-once'))
  await client.recordsOnce('again-out', 40)
  await client.ok('POST', '/v1/pipelines/again/savepoints', { name: 'forty' })
  await feed('again', 40, 40)
  await client.recordsOnce('again-out', 80)
  await client.ok('POST', '/v1/pipelines/again/stop')
  assert.is(await committed('again'), '0,20 1,20 2,20 3,20')
  await client.ok('POST', '/v1/pipelines/again/resume')
  await client.ok('POST', '/v1/pipelines/again/restart', { from: 'savepoint:forty' })
  const fromSavepoint = (await client.recordsOnce('again-out', 120)).slice(80).map(({ value }) => value.n)
  assert.is(Math.min(...fromSavepoint), 40)
  await client.ok('POST', '/v1/pipelines/again/restart', { from: 'offset:18' })
  const fromOffset = (await client.recordsOnce('again-out', 128)).slice(120).map(({ value }) => value.n)
  assert.is(Math.min(...fromOffset), 72)
  const wrong = await client.ask('POST', '/v1/pipelines/again/restart', { from: 'offset:99' })
  assert.is(wrong.status, 422)
  await feed('again', 80, 4)
  await client.recordsOnce('again-out', 132)
})

group('what it reads as one of a group changes only where it is stopped; a fork reads for itself', async () => {
  await makeTopics(client, 'change')
  await feed('change', 0, 40)
  await client.ok('POST', '/v1/pipelines', passing('change', 'change', 'exactly-once'))
  await client.recordsOnce('change-out', 40)
  const path = '/v1/pipelines/change'
  for (const settings of [{ group: 'another' }, { group: null }]) {
    const refused = await client.ask('PATCH', `${path}/components/in`, { settings })
    assert.is(refused.status, 409, JSON.stringify(refused.body))
    assert.match(refused.body.detail, /stop it, change it, and resume it/)
  }
  await client.ok('PATCH', `${path}/components/in`, { settings: { from: 'latest' } })
  const forked = await client.ok('POST', `${path}/fork`, { id: 'change-fork' })
  assert.is(forked.state, 'running')
  const { document } = await client.ok('GET', '/v1/pipelines/change-fork')
  assert.is(document.components[0].settings.group, undefined)
  await feed('change', 40, 40)
  // Each of the two has read each record.
  await client.recordsOnce('change-out', 120)
  await client.ok('DELETE', '/v1/pipelines/change-fork')
  await client.ok('POST', `${path}/stop`)
  await client.ok('PUT', path, passing('change', 'change', 'exactly-once', { group: 'another' }))
  await client.ok('POST', `${path}/resume`)
  await feed('change', 80, 40)
  assert.is((await client.recordsOnce('change-out', 160)).length, 160, 'it goes on where it was')
})

group('operators that keep state by key behind it are named in a warning, which strict makes a refusal', async () => {
  await makeTopics(client, 'warn')
  const document = passing('warn', 'warn', 'at-least-once') as { components: object[] }
  document.components.splice(1, 1, {
    id: 'all',
    operator: 'json-aggregate',
    from: 'in',
    settings: { fields: [{ as: 'n', fn: 'count' }] },
  })
  const { warnings } = await client.ok('POST', '/v1/pipelines?dryRun=true', document)
  assert.is(warnings[0].pointer, '/components/0/settings/group')
  assert.match(warnings[0].message, /"all" does not follow/)
  assert.is((await client.ask('POST', '/v1/pipelines?dryRun=true', { ...document, strict: true })).status, 422)
})

group.run()
