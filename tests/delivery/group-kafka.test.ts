// A pipeline beside members of other kinds, and one that the brokers put out.

import { AssignerProtocol, Kafka, logLevel, type PartitionAssigner } from 'kafkajs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PipelineEvent } from '../../host/pipeline/events.ts'
import { Cluster } from '../../host/transport/kafka/cluster.ts'
import { leaveGroupRequest } from '../../host/transport/kafka/group-requests.ts'
import { until } from '../support/client.ts'
import { Product } from '../support/delivery.ts'
import { skipWithoutKafka, startKafka, type TestKafka } from '../support/kafka.ts'
import { Feeder, makeTopics, PARTITIONS, passing, readBy, whatCame } from '../support/rebalance.ts'

/** EVICTIONS=60 node dist/tests/run.js delivery/group-kafka for more. */
const EVICTIONS = Number(process.env.EVICTIONS ?? 8)
/** They come at all moments of an epoch. */
const SPREAD_MS = 150

const isSkipped = skipWithoutKafka('a source in a group of Kafka')
const test = suite('a source in a group of Kafka')
const group: typeof test = isSkipped ? (test.skip as typeof test) : test
const kafka: TestKafka | undefined = isSkipped ? undefined : await startKafka()
const brokers = kafka?.brokers ?? []
const flags = ['--allow-net=127.0.0.1,localhost']
const product: Product | undefined = isSkipped ? undefined : await Product.start({ brokers, flags })
const js = new Kafka({ brokers: brokers.length > 0 ? brokers : ['none:1'], logLevel: logLevel.NOTHING })

test.after(async () => {
  await product?.remove()
  await kafka?.stop()
})

group('shares with a consumer that is plain kafkajs: whoever reads a record, somebody does', async () => {
  const { client } = product!
  const tag = `js-${process.pid}`
  await makeTopics(client, tag)
  const feeder = new Feeder(client, `${tag}-in`)
  await client.ok('POST', '/v1/pipelines', passing('js', tag, 'exactly-once'))
  await client.recordsOnce(`${tag}-out`, 500)
  const elsewhere: number[] = []
  for (let i = 0; i < 2; i++) {
    const consumer = js.consumer({ groupId: `${tag}-group`, heartbeatInterval: 300, rebalanceTimeout: 20_000 })
    await consumer.connect()
    await consumer.subscribe({ topic: `${tag}-in` })
    const before = elsewhere.length
    await consumer.run({
      eachMessage: ({ message }) => {
        elsewhere.push(JSON.parse(message.value!.toString()).n)
        return Promise.resolve()
      },
    })
    await until(
      () => (elsewhere.length > before ? true : undefined),
      () => 'kafkajs is given nothing',
    )
    const seen = await readBy(client, 'js')
    await until(
      async () => ((await readBy(client, 'js')) > seen ? true : undefined),
      () => 'the pipeline is left nothing',
    )
    await consumer.disconnect()
  }
  await whatCame(client, `${tag}-out`, await feeder.end(), elsewhere)
  await client.ok('DELETE', '/v1/pipelines/js')
})

group('one that the brokers have put out goes back to its last checkpoint and joins again, visibly', async () => {
  const { client, host } = product!
  const tag = `out-${process.pid}`
  await makeTopics(client, tag)
  const feeder = new Feeder(client, `${tag}-in`)
  await client.ok('POST', '/v1/pipelines', passing('out', tag, 'exactly-once'))
  const admin = js.admin()
  await admin.connect()
  const cluster = new Cluster({
    brokers,
    clientId: 'test',
    connectTimeoutMs: 3_000,
    patienceMs: 10_000,
    requestTimeoutMs: 10_000,
  })
  const memberOf = async (): Promise<string | undefined> => {
    const { groups } = await admin.describeGroups([`${tag}-group`])
    return groups[0]?.state === 'Stable' ? groups[0].members[0]?.memberId : undefined
  }
  let told = 0
  let isPutOut = false
  const faults: string[] = []
  /** For who reads of a failure. */
  const story: string[] = []
  const take = ({ kind, state, text }: PipelineEvent): void => {
    story.push(`${(performance.now() / 1000).toFixed(2)} s: ${kind} ${state ?? text}`)
    if (kind === 'fault') faults.push(String(text))
    if (kind === 'fault' && /has gone on without this reader/.test(String(text))) isPutOut = true
    // It is said by who finds out, and by the pipeline that goes back.
    if (kind === 'state' && state === 'starting' && isPutOut) told++
    if (kind === 'state' && state === 'running') isPutOut = false
  }
  const unwatch = host.events.watch('default', 'out', take, () => undefined)
  let last: string | undefined
  await until(
    async () => {
      if (told >= EVICTIONS) return true
      const member = await memberOf()
      if (member === undefined || member === last) return undefined
      last = member
      await new Promise((soon) => setTimeout(soon, (told * 37) % SPREAD_MS))
      await cluster.attempt('put a member out', () => {
        return cluster.sendToCoordinator('group', `${tag}-group`, leaveGroupRequest(`${tag}-group`, member))
      })
      return undefined
    },
    () => `it was told ${told} times`,
  )
  const counts = await whatCame(client, `${tag}-out`, await feeder.end()).catch(async (thrown) => {
    const { components } = await client.ok('GET', '/v1/pipelines/out/stats')
    throw new Error([thrown.message, ...story, JSON.stringify(components)].join('\n'))
  })
  unwatch()
  assert.equal(
    faults.filter((text) => /Cannot go on with the transaction/.test(text)),
    [],
    'it fences itself',
  )
  assert.is(counts.filter((times) => times > 1).length, 0, 'some came twice')
  await cluster.stop()
  await admin.disconnect()
  await client.ok('DELETE', '/v1/pipelines/out')
})

group('a group whose members share out in another way is refused in one sentence', async () => {
  const { client } = product!
  const tag = `odd-${process.pid}`
  await makeTopics(client, tag)
  const odd: PartitionAssigner = () => ({
    name: 'odd',
    version: 0,
    protocol: ({ topics }) => ({
      name: 'odd',
      metadata: AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
    }),
    assign: () => Promise.resolve([]),
  })
  const consumer = js.consumer({ groupId: `${tag}-group`, partitionAssigners: [odd] })
  await consumer.connect()
  await consumer.subscribe({ topic: `${tag}-in` })
  const joined = new Promise((done) => consumer.on('consumer.group_join', done))
  await consumer.run({ eachMessage: () => Promise.resolve() })
  await joined
  await client.ok('POST', '/v1/pipelines', passing('odd', tag, 'at-least-once'))
  const { reason } = await client.state('odd', 'failed')
  assert.match(reason.message, /have them offer one of these/)
  await consumer.disconnect()
  await client.ok('DELETE', '/v1/pipelines/odd')
})

group('the source `kafka` joins a group of another cluster', async () => {
  const { client } = product!
  const tag = `far-${process.pid}`
  await makeTopics(client, tag)
  const document = (id: string, delivery: string): object => {
    const made = passing(id, tag, 'at-least-once') as { components: object[] }
    const settings = { brokers, topic: `${tag}-in`, group: `${tag}-group` }
    made.components[0] = { id: 'in', source: 'kafka', settings }
    return { ...made, delivery }
  }
  const refused = await client.ask('POST', '/v1/pipelines', document('far-a', 'exactly-once'))
  assert.is(refused.status, 422)
  assert.match(JSON.stringify(refused.body), /cannot hold exactly-once/)
  const feeder = new Feeder(client, `${tag}-in`)
  for (const id of ['far-a', 'far-b']) await client.ok('POST', '/v1/pipelines', document(id, 'at-least-once'))
  for (const id of ['far-a', 'far-b']) {
    await until(
      async () => ((await readBy(client, id)) > 0 ? true : undefined),
      () => `${id} reads nothing`,
    )
  }
  await client.ok('DELETE', '/v1/pipelines/far-b')
  const fed = await feeder.end()
  await whatCame(client, `${tag}-out`, fed)
  const published = (): Promise<Map<number, bigint>> =>
    product!.host.transport.groupOffsets(`${tag}-group`, `${tag}-in`)
  await until(
    async () => {
      const sum = [...(await published()).values()].reduce((a, b) => a + b, 0n)
      return sum === BigInt(fed) ? true : undefined
    },
    () => `the group has not all of ${fed} in ${PARTITIONS} partitions`,
  )
  await client.ok('DELETE', '/v1/pipelines/far-a')
})

test.run()
