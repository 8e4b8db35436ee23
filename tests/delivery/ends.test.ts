import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
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
