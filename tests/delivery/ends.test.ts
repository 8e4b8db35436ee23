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
