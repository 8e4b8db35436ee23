// Several hosts of one manager, on a real Kafka: pipelines are spread, stay, and go elsewhere when their host is removed.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../../support/client.ts'
import { Cluster } from '../../support/cluster.ts'
import { counting, pushCounting } from '../../support/delivery.ts'
import { skipWithoutKafka, startKafka, type TestKafka } from '../../support/kafka.ts'

const isSkipped = skipWithoutKafka('several hosts')
const test = suite<{ kafka: TestKafka; cluster: Cluster }>('several hosts')
const hosts: typeof test = isSkipped ? (test.skip as typeof test) : test

test.before.each(async (context) => {
  if (isSkipped) return
  context.kafka = await startKafka()
  context.cluster = await Cluster.start()
})
test.after.each(async ({ kafka, cluster }) => {
  await cluster?.remove()
  await kafka?.stop()
})

hosts('what ran on a host that is removed goes on at another, from its checkpoint', async ({ kafka, cluster }) => {
  const { client } = cluster
  const flags = ['--kafka', kafka.brokers.join()]
  await Promise.all([cluster.startHost('a', flags), cluster.startHost('b', flags)])
  const name = `t${process.pid}`
  const topics = { in: `${name}-in`, p: `${name}-p`, q: `${name}-q` }
  await client.topics(...Object.values(topics))
  await pushCounting(client)
  const placeOf = async (id: string): Promise<string> => (await client.ok('GET', `/v1/pipelines/${id}`)).hosts[0]
  for (const id of ['p', 'q'] as const) {
    await client.ok('POST', '/v1/pipelines', counting(id, topics.in, topics[id], { delivery: 'exactly-once' }))
  }
  const before = [await placeOf('p'), await placeOf('q')]
  assert.equal([...before].sort(), ['a', 'b'])
  const countsTo = async (count: number): Promise<void> => {
    for (const id of ['p', 'q'] as const) {
      const counts = (await client.recordsOnce(topics[id], count)).map(({ value }) => value.count)
      assert.equal(
        counts,
        Array.from({ length: count }, (_, i) => i + 1),
        id,
      )
    }
  }
  await client.feed(topics.in, 1, 50)
  await countsTo(50)

  // One that is gone for good.
  const [gone, stays] = before as [string, string]
  await cluster.killHost(gone)
  await client.ok('DELETE', `/v1/hosts/${gone}`)
  await until(async () => ((await placeOf('p')) === stays && (await placeOf('q')) === stays) || undefined)
  await cluster.ready()
  await client.feed(topics.in, 51, 50)
  await countsTo(100)
  const only = await client.ask('DELETE', `/v1/hosts/${stays}`)
  assert.equal([only.status, only.body.code], [409, 'INVALID_STATE'])

  // It was not gone for good: it has nothing any more, and is given what the other had.
  await cluster.startHost(gone, flags)
  await client.ok('DELETE', `/v1/hosts/${stays}`)
  await until(async () => ((await placeOf('p')) === gone && (await placeOf('q')) === gone) || undefined)
  await client.feed(topics.in, 101, 50)
  await countsTo(150)
  // The removed one lets go, and is there again with nothing.
  const items = await until(async () => {
    const listed = (await client.ok('GET', '/v1/hosts')).items
    return listed.length === 2 ? listed : undefined
  })
  assert.equal(
    items.map(({ id, pipelines }: { id: string; pipelines: number }) => [id, pipelines]),
    [
      ['a', gone === 'a' ? 2 : 0],
      ['b', gone === 'b' ? 2 : 0],
    ],
  )
})

test.run()
