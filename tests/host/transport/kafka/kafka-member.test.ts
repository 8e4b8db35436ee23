import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SESSION_MS } from '../../../../host/transport/kafka/kafka-member.ts'
import { KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { until } from '../../../support/client.ts'
import { skipWithoutKafka, startKafka, type TestKafka } from '../../../support/kafka.ts'
import { TestMember } from '../suite.ts'

const isSkipped = skipWithoutKafka('KafkaMember')
const test = suite<{ kafka: TestKafka; transport: KafkaTransport }>('KafkaMember')
const member: typeof test = isSkipped ? (test.skip as typeof test) : test

test.before.each(async (context) => {
  if (isSkipped) return
  context.kafka = await startKafka()
  context.transport = await KafkaTransport.start({ brokers: context.kafka.brokers })
})

test.after.each(async ({ kafka, transport }) => {
  await transport?.stop()
  await kafka?.stop()
})

member('a member that takes longer than its session to let go stays one', async ({ transport }) => {
  const topic = `slow-${process.pid}`
  await transport.createTopic({ name: topic, partitions: 2 })
  const slow = new TestMember(transport, topic, topic)
  await slow.assigned()
  const other = new TestMember(transport, topic, topic)
  const letGo = await slow.revoked()
  const since = Date.now()
  await until(
    () => (Date.now() - since > SESSION_MS + 1_000 ? true : undefined),
    () => 'time stands still',
  )
  assert.is(other.membership, undefined)
  await slow.member.publish(slow.membership!, new Map([[0, 3n]]))
  letGo()
  assert.equal([...(await slow.assigned()), ...(await other.assigned())].sort(), [0, 1])
  assert.equal(await other.member.committed([0]), new Map([[0, 3n]]))
  assert.equal([slow.troubles, other.troubles], [[], []])
  await Promise.all([slow.member.leave(), other.member.leave()])
})

member('one that leaves while it joins leaves nobody behind who holds the others up', async ({ transport }) => {
  const topic = `hasty-${process.pid}`
  await transport.createTopic({ name: topic, partitions: 2 })
  const stays = new TestMember(transport, topic, topic)
  assert.equal(await stays.assigned(), [0, 1])
  const hasty = new TestMember(transport, topic, topic)
  // It waits in its join until the first lets go.
  const letGo = await stays.revoked()
  const left = hasty.member.leave()
  letGo()
  await left
  for (let share = await stays.assigned(); share.length < 2; share = await stays.assigned()) {
    const again = await stays.revoked()
    again()
  }
  assert.is(hasty.membership, undefined)
  await stays.member.leave()
})

test.run()
