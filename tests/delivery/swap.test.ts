import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/client.ts'
import { Product } from '../support/delivery.ts'

const swap = suite('a source replaced by one of another type under the same id')
const product = await Product.start()
const { client } = product
await client.topics('swap-in')
await client.feed('swap-in', 0, 3)
swap.after(() => product.remove())

/** Makes `in` a source of this kind, into the topic of the pipeline's name. */
function document(id: string, source: object): object {
  const components = [
    { id: 'in', ...source },
    { id: 'f', operator: 'json-filter', from: 'in', settings: { where: [] } },
    { id: 'out', emitter: 'topic', from: 'f', settings: { topic: id } },
  ]
  return { id, checkpointEveryMs: 20, components }
}

const topic = { source: 'topic', settings: { topic: 'swap-in', from: 'earliest' } }
const generator = { source: 'generator', settings: { template: { g: { $seq: 0 } }, count: 2, seed: 1 } }
const http = { source: 'http' }
const values = async (id: string, count: number): Promise<unknown[]> =>
  (await client.recordsOnce(id, count)).map(({ value }) => value)
const numbers = [{ n: 0 }, { n: 1 }, { n: 2 }]
const made = [{ g: 0 }, { g: 1 }]

for (const how of ['running', 'paused', 'stopped']) {
  swap(`begins anew where the pipeline is ${how}`, async () => {
    const id = `swap-${how}`
    await client.topics(id)
    await client.ok('POST', '/v1/pipelines', document(id, topic))
    await client.recordsOnce(id, 3)
    if (how !== 'running') await client.ok('POST', `/v1/pipelines/${id}/${how === 'paused' ? 'pause' : 'stop'}`)
    await client.ok('PUT', `/v1/pipelines/${id}`, document(id, http))
    if (how !== 'running') await client.ok('POST', `/v1/pipelines/${id}/resume`)
    await client.ok('POST', `/v1/pipelines/${id}/ingest/in`, '{"h":1}\n', 'application/x-ndjson')
    assert.equal(await values(id, 4), [...numbers, { h: 1 }])
    if (how !== 'running') await client.ok('POST', `/v1/pipelines/${id}/${how === 'paused' ? 'pause' : 'stop'}`)
    await client.ok('PUT', `/v1/pipelines/${id}`, document(id, generator))
    if (how !== 'running') await client.ok('POST', `/v1/pipelines/${id}/resume`)
    await client.state(id, 'completed')
    assert.equal(await values(id, 6), [...numbers, { h: 1 }, ...made])
  })
}

for (const delivery of ['at-most-once', 'at-least-once']) {
  swap(`new settings of a source hold from the record that is told, ${delivery}`, async () => {
    const id = `told-${delivery}`
    await client.topics(id)
    const of = (v: number): object => ({ template: { v }, recordsPerSecond: 2000, seed: 1 })
    await client.ok('POST', '/v1/pipelines', {
      ...document(id, { source: 'generator', settings: of(1) }),
      delivery,
    })
    await client.recordsOnce(id, 500)
    const patched = await client.ok('PATCH', `/v1/pipelines/${id}/components/in`, { settings: of(2) })
    const { component, sequence } = patched.fromSequence
    assert.is(component, 'in')
    const values = (await client.recordsOnce(id, sequence + 500)).map(({ value }) => value.v)
    assert.equal([values.indexOf(2), values.lastIndexOf(1)], [sequence - 1, sequence - 2])
    await client.ok('DELETE', `/v1/pipelines/${id}`)
  })
}

swap('what has ended is not given records again: that is said, and what runs goes on', async () => {
  const id = 'ended'
  await client.topics(id)
  const of = (from: string | string[]): object => ({
    id,
    checkpointEveryMs: 20,
    components: [
      { id: 'once', ...generator },
      { id: 'in', ...http },
      { id: 'f', operator: 'json-filter', from, settings: { where: [] } },
      { id: 'out', emitter: 'topic', from: 'f', settings: { topic: id } },
      { id: 'rest', emitter: 'discard', from: 'in' },
    ],
  })
  const send = (): Promise<unknown> =>
    client.ok('POST', `/v1/pipelines/${id}/ingest/in`, '{"h":1}\n', 'application/x-ndjson')
  const rest = async (): Promise<number> =>
    (await client.ok('GET', `/v1/pipelines/${id}/stats`)).components.rest.recordsIn as number
  await client.ok('POST', '/v1/pipelines', of('once'))
  // The end comes behind the last record; until it is there a change is taken.
  const refused = await until(async () => {
    await client.recordsOnce(id, 2)
    const answer = await client.ask('PUT', `/v1/pipelines/${id}`, of(['once', 'in']))
    if (answer.status === 409) return answer
    await client.ok('PUT', `/v1/pipelines/${id}`, of('once'))
    return undefined
  })
  assert.match(refused.body.detail, /Cannot give "f" records of "in": it has ended/)
  await send()
  await until(async () => ((await rest()) === 1 ? true : undefined))
  assert.is((await client.ok('GET', `/v1/pipelines/${id}`)).state, 'running')
})

swap.run()
