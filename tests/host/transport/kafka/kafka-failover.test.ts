// Three brokers, one of which dies: nothing that was answered is lost, nothing is there twice, transactions and checkpoints
// go on.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { SpqrError } from '../../../../schemas/errors.ts'
import { skipWithoutKafka, startKafka, type TestKafka } from '../../../support/kafka.ts'
import { append, commit, readAll, slotId, snapshot, texts, topicName, values } from '../suite.ts'

const isSkipped =
  skipWithoutKafka('kafka failover') ||
  (process.env.KAFKA_BROKERS !== undefined &&
    process.stdout.write('SKIP kafka failover: these brokers are not ours to end\n'))
const test = suite<{ kafka: TestKafka; transport: KafkaTransport }>('kafka failover')
const failover: typeof test = isSkipped ? (test.skip as typeof test) : test

test.before.each(async (context) => {
  if (isSkipped) return
  context.kafka = await startKafka(3)
  context.transport = await KafkaTransport.start({ brokers: context.kafka.brokers, patienceMs: 30_000 })
})

test.after.each(async ({ kafka, transport }) => {
  await transport?.stop()
  await kafka?.stop()
})

failover('leaders die and come back under load', async ({ kafka, transport }) => {
  const [plain, exact] = [topicName(), topicName()]
  const partitions = [0, 1, 2]
  await transport.createTopic({ name: plain, partitions: 3 })
  await transport.createTopic({ name: exact, partitions: 3 })
  const state = { isEnding: false }

  // Numbered records, each append answered before the next: acknowledged is acknowledged.
  const acknowledged = partitions.map(() => 0)
  const writers = partitions.map(async (partition) => {
    while (!state.isEnding) {
      await append(transport, plain, values(acknowledged[partition]!, 20), {}, partition)
      acknowledged[partition]! += 20
    }
  })

  // Epochs of one slot, as its pipeline goes through them; what fails is done again from the last checkpoint.
  const slot = slotId()
  let taken = 0
  let epoch = 0
  let failures = 0
  const pipeline = async (): Promise<void> => {
    let holder = transport
    while (!state.isEnding) {
      const transaction = `${slot.tenant}/${slot.pipeline}/${epoch + 1}`
      try {
        for (const partition of partitions) {
          await append(holder, exact, values(taken, 10), { transaction }, partition)
        }
        const states = [snapshot(1, (memory) => memory.fill((epoch % 250) + 1, 0, 40_000))]
        await commit(holder, slot, epoch + 1, { transaction, meta: { taken: taken + 10 }, snapshots: states })
        taken += 10
        epoch++
      } catch (thrown) {
        assert.instance(thrown, SpqrError)
        failures++
        if (holder !== transport) await holder.stop()
        holder = await KafkaTransport.start({ brokers: kafka.brokers, patienceMs: 30_000 })
        await holder.abort(transaction)
        const found = await holder.checkpoint(slot)
        taken = (found?.meta as { taken: number } | undefined)?.taken ?? 0
        epoch = found?.epoch ?? 0
      }
    }
    if (holder !== transport) await holder.stop()
  }
  const running = pipeline()

  // One that watches all along sees every record once.
  const seen = partitions.map((): string[] => [])
  const offsets = partitions.map(() => 0n)
  const reading = new Set<number>()
  const readOn = async (partition: number): Promise<void> => {
    if (reading.has(partition)) return
    reading.add(partition)
    for (;;) {
      const offset = offsets[partition]!
      const rest = await readAll(transport, plain, offset, partition).catch(() => [])
      if (rest.length === 0) break
      seen[partition]!.push(...texts(rest))
      offsets[partition] = BigInt(rest.at(-1)!.sourceOffset! + 1)
    }
    reading.delete(partition)
  }
  const unwatch = transport.watch(plain, (partition) => void readOn(partition))

  const reached = async (more: number): Promise<void> => {
    const until = [...acknowledged.map((count) => count + more), epoch + 3]
    while (acknowledged.some((count, p) => count < until[p]!) || epoch < until[3]!) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  await reached(200)
  await kafka.kill(0)
  await reached(200)
  await kafka.restart(0)
  await reached(200)
  await kafka.kill(1)
  await reached(200)
  state.isEnding = true
  await Promise.all([...writers, running])

  for (const partition of partitions) {
    const all = texts(await readAll(transport, plain, 0n, partition))
    assert.equal(all, texts(values(0, acknowledged[partition]!)), `partition ${partition}`)
    await readOn(partition)
    while (reading.has(partition)) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(seen[partition]!.at(-1), all.at(-1))
    assert.is(new Set(seen[partition]).size, seen[partition]!.length)
    const exactly = texts(await readAll(transport, exact, 0n, partition))
    assert.equal(
      exactly,
      texts(values(0, taken)),
      `exactly once, partition ${partition}, ${failures} epochs done again`,
    )
  }
  unwatch()
  const found = await transport.checkpoint(slot)
  assert.equal(found?.meta, { taken })
  assert.is(found?.snapshots[0]?.memory[0], ((epoch - 1) % 250) + 1)
})

failover('without brokers a call says so in time, and goes through when they are back', async ({ kafka }) => {
  const states: string[] = []
  const transport = await KafkaTransport.start({
    brokers: kafka.brokers,
    patienceMs: 500,
    onState: (state) => states.push(state),
  })
  const topic = topicName()
  await transport.createTopic({ name: topic })
  for (const broker of [0, 1, 2]) await kafka.kill(broker)
  const error = await append(transport, topic, values(0, 1)).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, SpqrError)
  assert.equal([(error as SpqrError).code, (error as SpqrError).retriable], ['TRANSPORT_UNAVAILABLE', true])
  for (const name of kafka.brokers) assert.ok((error as SpqrError).message.includes(name), name)
  assert.ok(states.includes('waiting'), states.join())
  await transport.stop()
})

test.run()
