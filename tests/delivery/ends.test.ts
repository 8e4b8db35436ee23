import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/client.ts'
import { counting, DELIVERIES, makeFolder, Product, pushCounting } from '../support/delivery.ts'

const ends = suite('sources that end')
const folder = makeFolder()
const product = await Product.start({ flags: [`--allow-read=${folder}`] })
const { client } = product
await pushCounting(client)
ends.after(async () => {
  await product.remove()
  rmSync(folder, { recursive: true, force: true })
})

const COUNTED = { fields: [{ as: 'n', fn: 'count' }] }

/** @returns whether it was stored, instead of waiting for somebody for ever */
async function savepoint(id: string, name: string): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((done) => (timer = setTimeout(done, 10_000, false)))
  const stored = client.ok('POST', `/v1/pipelines/${id}/savepoints`, { name }).then(() => true)
  const inTime = await Promise.race([stored, late])
  clearTimeout(timer)
  return inTime
}

ends('have everything flow before the pipeline is complete, whatever the delivery', async () => {
  for (const delivery of DELIVERIES) {
    for (const count of [1, 20_000]) {
      const id = `${delivery}-${count}`
      await client.topics(id)
      const path = join(folder, `${id}.ndjson`)
      writeFileSync(path, Array.from({ length: count }, (_, n) => `{"n":${n}}\n`).join(''))
      const components = [
        { id: 'in', source: 'file', settings: { path } },
        { id: 'out', emitter: 'topic', from: 'in', settings: { topic: id } },
      ]
      await client.ok('POST', '/v1/pipelines', { id, delivery, components })
      await client.state(id, 'completed')
      const numbers = (await client.records(id)).map(({ value }) => value.n)
      assert.equal(numbers, [...Array(count).keys()], id)
    }
  }
})

ends('have every dead letter written before the pipeline is complete', async () => {
  const path = join(folder, 'ragged.csv')
  writeFileSync(path, `a,b\n${'1,2\n3\n'.repeat(50)}`)
  for (const delivery of DELIVERIES) {
    const id = `ragged-${delivery}`
    await client.topics(id)
    const components = [
      { id: 'in', source: 'file', settings: { path } },
      { id: 'out', emitter: 'topic', from: 'in', settings: { topic: id } },
    ]
    await client.ok('POST', '/v1/pipelines', { id, delivery, components })
    await client.state(id, 'completed')
    const counts = [(await client.records(id)).length, (await client.records(`${id}.dead-letters`)).length]
    assert.equal(counts, [50, 50], delivery)
  }
})

ends('one before the other: an emitter that has no ring is waited for by no later checkpoint', async () => {
  const path = join(folder, 'short.ndjson')
  writeFileSync(path, '{"n":0}\n')
  for (const delivery of ['at-least-once', 'exactly-once']) {
    const id = `early-${delivery}`
    const [input, output] = [`${id}-from`, `${id}-to`]
    await client.topics(input, output)
    const document = (level: string): unknown => ({
      id,
      delivery,
      checkpointEveryMs: 20,
      components: [
        { id: 'short', source: 'file', settings: { path } },
        { id: 'counted', emitter: 'discard', from: 'short' },
        { id: 'in', source: 'topic', settings: { topic: input, from: 'earliest' } },
        { id: 'f', operator: 'json-filter', from: 'in', settings: { where: [{ path: 'n', gte: 0 }] } },
        { id: 'out', emitter: 'topic', from: 'f', settings: { topic: output } },
        ...(level === 'more' ? [{ id: 'all', emitter: 'discard', from: 'in' }] : []),
      ],
    })
    await client.ok('POST', '/v1/pipelines', document(''))
    const counted = async (): Promise<number> =>
      (await client.ok('GET', `/v1/pipelines/${id}/stats`)).components.counted.recordsIn
    await until(
      async () => ((await counted()) === 1 ? true : undefined),
      () => 'the short source is not read',
    )
    // Savepoints are stored one after another; the end may still be in time for the first.
    for (const [round, name] of ['a', 'b', 'c'].entries()) {
      await client.feed(input, round * 10, 10)
      await client.recordsOnce(output, (round + 1) * 10)
      assert.ok(await savepoint(id, name), `${id}: savepoint "${name}"`)
    }
    // What has ended stays ended where other components change, and the pipeline still comes to its end.
    await client.ok('PUT', `/v1/pipelines/${id}`, document('more'))
    assert.ok(await savepoint(id, 'd'), `${id}: the savepoint behind the change`)
    await client.ok('DELETE', `/v1/pipelines/${id}?drain=true`)
  }
})

ends('can be put behind by others while the pipeline is stopped: what had ended goes on with its state', async () => {
  const path = join(folder, 'three.ndjson')
  writeFileSync(path, '{"n":0}\n{"n":1}\n{"n":2}\n')
  for (const parallelism of [1, 2]) {
    const id = `revived-${parallelism}`
    const [input, output] = [`${id}-from`, `${id}-to`]
    await client.topics(input, output, `${id}-end`)
    const split = parallelism > 1 ? { parallelism, partitionBy: 'same' } : {}
    const document = (from: string): unknown => ({
      id,
      checkpointEveryMs: 20,
      components: [
        { id: 'short', source: 'file', settings: { path } },
        { id: 'in', source: 'topic', settings: { topic: input, from: 'earliest' } },
        { id: 'c', operator: 'counting@1', from, ...split },
        { id: 'behind', operator: 'json-filter', from: 'c', settings: { where: [] } },
        { id: 'out', emitter: 'topic', from: 'behind', settings: { topic: output } },
        { id: 'counted', emitter: 'discard', from: 'in' },
        // Emits once its source has ended.
        { id: 'end', operator: 'json-aggregate', from: 'short', settings: COUNTED, emitWhen: { everyMs: 3_600_000 } },
        { id: 'told', emitter: 'topic', from: 'end', settings: { topic: `${id}-end` } },
      ],
    })
    await client.ok('POST', '/v1/pipelines', document('short'))
    await client.recordsOnce(output, 3)
    await client.recordsOnce(`${id}-end`, 1)
    assert.ok(await savepoint(id, 'a'))
    const live = await client.ask('PUT', `/v1/pipelines/${id}`, document('in'))
    assert.equal([live.status, live.body.code], [409, 'INVALID_STATE'])
    assert.match(live.body.detail, /stop the pipeline, change it, and resume it/)

    await client.ok('POST', `/v1/pipelines/${id}/stop`)
    await client.ok('PUT', `/v1/pipelines/${id}`, document('in'))
    await client.ok('POST', `/v1/pipelines/${id}/resume`)
    // More than the ring of the source holds: whoever did not read would hold up all.
    await client.feed(input, 3, 20_000, (n) => ({ n, pad: 'x'.repeat(200) }))
    const counts = (await client.recordsOnce(output, 20_003)).map(({ value }) => value.count)
    assert.equal(
      counts,
      [...Array(20_003).keys()].map((n) => n + 1),
      id,
    )

    // What nothing reaches any more stays ended.
    assert.ok(await savepoint(id, 'c'))
    await client.ok('POST', `/v1/pipelines/${id}/stop`)
    await client.ok('PUT', `/v1/pipelines/${id}`, document('short'))
    await client.ok('POST', `/v1/pipelines/${id}/resume`)
    assert.ok(await savepoint(id, 'd'))
    await client.ok('DELETE', `/v1/pipelines/${id}?drain=true`)
  }
})

ends('by DELETE with drain=true deliver what they have read, whatever the delivery', async () => {
  for (const delivery of DELIVERIES) {
    const [input, output] = [`${delivery}-from`, `${delivery}-to`]
    await client.topics(input, output)
    await client.feed(input, 0, 5000)
    await client.ok('POST', '/v1/pipelines', counting(`drained-${delivery}`, input, output, { delivery }))
    await client.recordsOnce(output, 5000)
    await client.feed(input, 5000, 100)
    await client.recordsOnce(output, 5001)
    await client.ok('DELETE', `/v1/pipelines/drained-${delivery}?drain=true`)
    // What was not read yet stays in the topic: there is no gap before.
    const numbers = (await client.records(output)).map(({ value }) => value.n)
    assert.equal(numbers, [...Array(numbers.length).keys()], delivery)
  }
})

ends.run()
