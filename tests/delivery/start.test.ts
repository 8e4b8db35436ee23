import { join } from 'node:path'
import Libsql from 'libsql'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/client.ts'
import { counting, countingSource, Product, pushCounting } from '../support/delivery.ts'

const start = suite('where a pipeline starts')
let product = await Product.start()
await pushCounting(product.client)
await pushCounting(product.client, '1.1.0', countingSource.replace('boom', 'bang'))

start.after(() => product.remove())

const numbers = (records: { value: { n: number } }[]): number[] => records.map(({ value }) => value.n)
const upTo = (to: number, from = 0): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** A pipeline of its own topics that has processed 0 … 99, with `from` of its source. */
async function started(id: string, from = 'earliest', more: object = {}): Promise<Record<string, unknown>> {
  const { client } = product
  await client.topics(`${id}-in`, `${id}-out`)
  await client.feed(`${id}-in`, 0, 100)
  const document = counting(id, `${id}-in`, `${id}-out`, more)
  const components = document.components as { settings?: object }[]
  components[0]!.settings = { topic: `${id}-in`, from }
  await client.ok('POST', '/v1/pipelines', document)
  return document
}

start('is the source’s from where there is no checkpoint', async () => {
  const { client } = product
  await started('a', 'earliest')
  assert.equal(numbers(await client.recordsOnce('a-out', 100)), upTo(100))
  await started('b', 'offset:40')
  assert.equal(numbers(await client.recordsOnce('b-out', 60)), upTo(100, 40))
  await started('c', 'latest')
  await client.feed('c-in', 100, 10)
  assert.equal(numbers(await client.recordsOnce('c-out', 10)), upTo(110, 100))
  await started('d', 'committed')
  assert.is((await client.recordsOnce('d-out', 100)).length, 100)
  const middle = new Date(Date.now() + 1).toISOString()
  await until(() => (Date.now() > Date.parse(middle) ? true : undefined))
  await client.feed('a-in', 100, 5)
  await client.topics('e-out')
  const document = counting('e', 'a-in', 'e-out')
  ;(document.components as { settings: object }[])[0]!.settings = { topic: 'a-in', from: `time:${middle}` }
  await client.ok('POST', '/v1/pipelines', document)
  assert.equal(numbers(await client.recordsOnce('e-out', 5)), upTo(105, 100))
})

/** Counts each number modulo 1,000 at a place of its own in 4 MiB. */
const LARGE = `import { Operator, Record, Emitter, register } from 'spqr'
const counts = new StaticArray<u32>(1 << 20)
class Large extends Operator {
  process(record: Record, out: Emitter): void {
    const n = <i32>record.json('n').f64
    const place = n % 1000 * 1048
    out.write('{"n":' + n.toString() + ',"count":' + counts[place].toString() + '}')
    counts[place] += 1
  }
}
register(new Large())
`

start('is a large state as the last of many checkpoints has it', async () => {
  const { client } = product
  await pushCounting(client, '2.0.0', LARGE)
  await client.topics('large-in', 'large-out')
  const document = counting('large', 'large-in', 'large-out', { checkpointEveryMs: 10 })
  ;(document.components as { operator?: string }[])[1]!.operator = 'counting@2'
  await client.ok('POST', '/v1/pipelines', document)
  for (let fed = 0; fed < 4000; fed += 500) {
    await client.feed('large-in', fed, 500)
    await client.recordsOnce('large-out', fed + 500)
    // From here on the state is another one, in memory of its own.
    if (fed % 2000 !== 1500) continue
    await client.ok('POST', '/v1/pipelines/large/stop')
    await client.ok('POST', '/v1/pipelines/large/resume')
  }
  const records = await client.recordsOnce('large-out', 4000)
  assert.equal(
    records.map(({ value }) => (value as { count: number }).count),
    upTo(4000).map((n) => Math.floor(n / 1000)),
  )
})

start('of a restart is what it says, with the state of that place', async () => {
  const { client } = product
  await started('r')
  await client.recordsOnce('r-out', 100)
  await client.ok('POST', '/v1/pipelines/r/savepoints', { name: 'hundred' })
  await client.feed('r-in', 100, 10)
  let seen = (await client.recordsOnce('r-out', 110)).length
  const next = async (count: number): Promise<{ n: number; count: number }[]> => {
    const all = await client.recordsOnce('r-out', seen + count)
    const values = all.slice(seen).map(({ value }) => value)
    seen = all.length
    assert.is(values.length, count)
    return values
  }
  const restart = (from: string): Promise<unknown> => client.ok('POST', '/v1/pipelines/r/restart', { from })
  await restart('earliest')
  assert.equal((await next(110))[0], { n: 0, count: 1 })
  await restart('offset:105')
  assert.equal((await next(5))[0], { n: 105, count: 1 })
  await restart('savepoint:hundred')
  assert.equal((await next(10))[0], { n: 100, count: 101 })
  await restart('latest')
  await client.feed('r-in', 110, 1)
  assert.equal(await next(1), [{ n: 110, count: 1 }])
  await restart('checkpoint')
  await client.feed('r-in', 111, 1)
  assert.equal((await next(1))[0]!.n, 111)
  for (const [from, status] of [
    ['savepoint:none', 404],
    ['checkpoint:999999', 404],
    ['offset:-1', 422],
    ['offset:5000', 422],
  ] as const) {
    assert.is((await client.ask('POST', '/v1/pipelines/r/restart', { from })).status, status, from)
  }
  await client.feed('r-in', 112, 1)
  assert.is((await next(1))[0]!.n, 112, 'what was refused changed nothing')
})

for (const delivery of ['at-most-once', 'exactly-once']) {
  start(`behind a stop is where it stopped, with its state, ${delivery}`, async () => {
    const { client } = product
    const id = `stop-${delivery}`
    await started(id, 'earliest', { delivery })
    for (let to = 200; to <= 600; to += 100) {
      await client.feed(`${id}-in`, to - 100, 100)
      await client.ok('POST', `/v1/pipelines/${id}/stop`)
      await client.ok('POST', `/v1/pipelines/${id}/resume`)
    }
    const values = (await client.recordsOnce(`${id}-out`, 600)).map(({ value }) => value)
    assert.equal(
      values,
      upTo(600).map((n) => ({ n, count: n + 1 })),
    )
  })
}

start('of a fork is the savepoint, with offsets of its own', async () => {
  const { client } = product
  await started('o')
  await client.recordsOnce('o-out', 100)
  await client.ok('POST', '/v1/pipelines/o/savepoints', { name: 's' })
  await client.topics('f-out')
  const components = [{ id: 'out', settings: { topic: 'f-out' } }]
  await client.ok('POST', '/v1/pipelines/o/fork', { id: 'f', savepoint: 's', components })
  await client.ok('POST', '/v1/pipelines/o/pause')
  await client.feed('o-in', 100, 10)
  const forked = (await client.recordsOnce('f-out', 10)).map(({ value }) => value)
  assert.equal([forked.length, forked[0]], [10, { n: 100, count: 101 }])
  await client.ok('POST', '/v1/pipelines/f/savepoints', { name: 'mine' })
  const offsets = (group: string): Promise<Map<number, bigint>> => product.host.transport.groupOffsets(group, 'o-in')
  assert.equal([(await offsets('o')).get(0), (await offsets('f')).get(0)], [100n, 110n])
  await client.ok('DELETE', '/v1/pipelines/o')
  await client.ok('POST', '/v1/pipelines/f/restart', { from: 'savepoint:s' })
  assert.equal((await client.recordsOnce('f-out', 20))[10]!.value, { n: 100, count: 101 })
})

start('from the state of another version is refused, unless the document changed since', async () => {
  const { client } = product
  const document = await started('v')
  await client.recordsOnce('v-out', 100)
  await client.ok('POST', '/v1/pipelines/v/savepoints', { name: 'old' })
  const patched = await client.ok('PATCH', '/v1/pipelines/v/components/c', { operator: 'counting@1.0.0' })
  assert.is(patched.stateReset, true, 'counting@1 was 1.1.0')
  await client.feed('v-in', 100, 1)
  assert.equal((await client.recordsOnce('v-out', 101))[100]!.value, { n: 100, count: 1 })
  const refused = await client.ask('POST', '/v1/pipelines/v/restart', { from: 'savepoint:old' })
  assert.is(refused.status, 409)
  assert.match(refused.body.detail, /"c".*another version of the operator.*counting@1\.0\.0/)
  await client.feed('v-in', 101, 1)
  assert.equal((await client.recordsOnce('v-out', 102))[101]!.value, { n: 101, count: 2 })
  await client.ok('PATCH', '/v1/pipelines/v/components/c', { operator: 'counting@1.1.0' })
  await client.ok('POST', '/v1/pipelines/v/restart', { from: 'savepoint:old' })
  assert.equal((await client.recordsOnce('v-out', 104)).slice(102)[0]!.value, { n: 100, count: 101 })
  await client.ok('POST', '/v1/pipelines/v/stop')
  const components = (document.components as { id: string }[]).map((c) => {
    return c.id === 'c' ? { ...c, operator: 'counting@1.0.0' } : c
  })
  await client.ok('PUT', '/v1/pipelines/v', { ...document, components })
  await client.ok('POST', '/v1/pipelines/v/resume')
  await client.feed('v-in', 102, 1)
  assert.equal((await client.recordsOnce('v-out', 105))[104]!.value, { n: 102, count: 1 })
})

start('from a damaged checkpoint is refused with a reason; the one before is offered', async () => {
  const { folder } = product
  {
    const { client } = product
    await started('x', 'earliest', { checkpointEveryMs: 3_600_000 })
    await client.recordsOnce('x-out', 100)
    await client.ok('POST', '/v1/pipelines/x/savepoints', { name: 'one' })
    await client.feed('x-in', 100, 10)
    await client.recordsOnce('x-out', 110)
    await client.ok('POST', '/v1/pipelines/x/stop')
  }
  await product.stop()
  const db = new Libsql(join(folder, 'log.db'))
  db.exec(`update checkpoint set digest = zeroblob(32)
    where id = (select max(c.id) from checkpoint c join slot s on s.id = c.slot where s.pipeline = 'x')`)
  db.close()
  product = await Product.start({ folder })
  const { client } = product
  const resumed = await client.ask('POST', '/v1/pipelines/x/resume')
  assert.is(resumed.status, 409)
  const offer = /restart from "(checkpoint:\d+)"/.exec(resumed.body.detail)
  assert.ok(offer, resumed.body.detail)
  await client.ok('POST', '/v1/pipelines/x/restart', { from: offer![1] })
  const values = (await client.recordsOnce('x-out', 120)).slice(110).map(({ value }) => value)
  assert.equal([values.length, values[0]], [10, { n: 100, count: 101 }])
})

start('at an offset that a topic no longer has is told; one past its end fails the pipeline', async () => {
  const { client, host } = product
  await started('t')
  await client.recordsOnce('t-out', 100)
  await client.ok('POST', '/v1/pipelines/t/stop')
  await client.feed('t-in', 100, 100)
  await until(async () => {
    await host.transport.trim('t-in', 0, 200n, 0)
    return (await host.transport.offsets('t-in'))[0]!.earliest === 200n ? true : undefined
  })
  const told: string[] = []
  host.events.watch(
    'default',
    't',
    (event) => told.push(String(event.text)),
    () => undefined,
  )
  await client.ok('POST', '/v1/pipelines/t/resume')
  await client.feed('t-in', 200, 1)
  assert.is((await client.recordsOnce('t-out', 101))[100]!.value.n, 200)
  assert.ok(
    told.some((text) => /100 records .*are gone/.test(text)),
    told.join('\n'),
  )
  await client.ok('POST', '/v1/pipelines/t/stop')
  await client.ok('DELETE', '/v1/topics/t-in')
  await client.topics('t-in')
  const resumed = await client.ask('POST', '/v1/pipelines/t/resume')
  const failed = await client.ok('GET', '/v1/pipelines/t')
  const reason = resumed.status === 200 ? (await client.state('t', 'failed')).reason.message : resumed.body.detail
  assert.match(reason, /offset 201/, JSON.stringify(failed))
})

start('fails whenever its source ends while it starts, whichever side is ready first', async () => {
  const { client } = product
  await started('early')
  await client.recordsOnce('early-out', 100)
  await client.ok('POST', '/v1/pipelines/early/stop')
  await client.ok('DELETE', '/v1/topics/early-in')
  await client.topics('early-in')
  for (let time = 0; time < 40; time++) {
    const resumed = await client.ask('POST', '/v1/pipelines/early/resume')
    if (resumed.status === 200) await client.state('early', 'failed')
    assert.match(
      JSON.stringify(resumed.body) + JSON.stringify(await client.ok('GET', '/v1/pipelines/early')),
      /offset 100/,
    )
    // It failed, so this time it is to be started again from its checkpoint.
    await client.ok('POST', '/v1/pipelines/early/stop')
  }
})

start('is refused at the setting that a source or emitter cannot use', async () => {
  const components = [
    { id: 'in', source: 'http' },
    { id: 'out', emitter: 'file', from: 'in', settings: { path: 'out.ndjson.gz' } },
  ]
  const refused = await product.client.ask('POST', '/v1/pipelines', { id: 'packed', components })
  assert.equal([refused.status, refused.body.issues[0].pointer], [422, '/components/1/settings/path'])
})

start.run()
