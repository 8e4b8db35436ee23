// Connections that end at the worst moment: the broker has taken a request and its answer is lost, or the request arrives after
// it was sent again. Whatever request it is, an epoch is stored once, and the ones behind it as well.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Cluster } from '../../../../host/transport/kafka/cluster.ts'
import { SESSION_MS } from '../../../../host/transport/kafka/kafka-member.ts'
import { KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { FaultyNetwork } from '../../../support/faulty-network.ts'
import { skipWithoutKafka, startKafkaBehind } from '../../../support/kafka.ts'
import { append, commit, readAll, TestMember, texts, values } from '../suite.ts'

const NAME = 'requests that are not answered'
const test = suite(NAME)
const isSkipped =
  skipWithoutKafka(NAME) ||
  (process.env.KAFKA_BROKERS !== undefined &&
    process.stdout.write(`SKIP ${NAME}: the brokers of KAFKA_BROKERS are behind a network of their own\n`))
const unanswered: typeof test = isSkipped ? (test.skip as typeof test) : test
const network = await FaultyNetwork.start(1)
const kafka = isSkipped ? undefined : await startKafkaBehind(network)

test.after(async () => {
  network.stop()
  await kafka?.stop()
})

const REQUESTS = {
  Produce: 0,
  Metadata: 3,
  Heartbeat: 12,
  InitProducerId: 22,
  AddPartitionsToTxn: 24,
  AddOffsetsToTxn: 25,
  EndTxn: 26,
  TxnOffsetCommit: 28,
}

/** Of which each epoch has one, or the first. */
const IN_EPOCHS = [
  'Produce',
  'InitProducerId',
  'AddPartitionsToTxn',
  'AddOffsetsToTxn',
  'EndTxn',
  'TxnOffsetCommit',
] as const

/** One epoch after another, two ids in turn, as a slot writes them. */
class Epochs {
  readonly slot: { tenant: string; pipeline: string; slot: number }
  readonly #transport: KafkaTransport
  readonly #topic: string

  constructor(transport: KafkaTransport, topic: string) {
    this.#transport = transport
    this.#topic = topic
    this.slot = { tenant: 'default', pipeline: topic, slot: 0 }
  }

  name(epoch: number): string {
    return `default/${this.slot.pipeline}/${epoch}`
  }

  write(epoch: number): Promise<bigint> {
    return append(this.#transport, this.#topic, values(epoch * 10, 2), { transaction: this.name(epoch) })
  }

  commit(epoch: number): Promise<void> {
    const offset = { group: `${this.#topic}-group`, topic: this.#topic, partition: 0, offset: BigInt(epoch) }
    return commit(this.#transport, this.slot, epoch, { transaction: this.name(epoch), offsets: [offset], run: 1 })
  }
}

async function setUp(topic: string): Promise<{ transport: KafkaTransport; beside: KafkaTransport; epochs: Epochs }> {
  const [transport, beside] = await Promise.all([
    KafkaTransport.start({ brokers: kafka!.behind }),
    KafkaTransport.start({ brokers: kafka!.brokers }),
  ])
  await beside.createTopic({ name: topic })
  return { transport, beside, epochs: new Epochs(transport, topic) }
}

const expected = (epochs: number[]): string[] => texts(epochs.flatMap((epoch) => values(epoch * 10, 2)))

for (const how of ['unanswered', 'late'] as const) {
  for (const request of IN_EPOCHS) {
    const apiKey = REQUESTS[request]
    if (request === 'InitProducerId' && how === 'late') continue
    unanswered(`${request}, ${how}`, async () => {
      const topic = `${request.toLowerCase()}-${how}`
      const { transport, beside, epochs } = await setUp(topic)
      const happened = network.intercept(apiKey, how)
      for (const epoch of [1, 2]) {
        await epochs.write(epoch)
        await epochs.commit(epoch)
      }
      const deliver = await happened
      // The next one of the same id has begun when it arrives.
      await epochs.write(3)
      await deliver()
      assert.equal(texts(await readAll(beside, topic)), expected([1, 2]), 'the third came before it was committed')
      await epochs.commit(3)
      for (const epoch of [4, 5]) {
        await epochs.write(epoch)
        await epochs.commit(epoch)
      }
      assert.equal(texts(await readAll(beside, topic)), expected([1, 2, 3, 4, 5]))
      assert.is((await beside.checkpoint(epochs.slot))?.epoch, 5)
      assert.equal(await beside.groupOffsets(`${topic}-group`, topic), new Map([[0, 5n]]))
      await Promise.all([transport.stop(), beside.stop()])
    })
  }
}

unanswered('InitProducerId, late: it is fenced by itself, and goes on as one that goes back does', async () => {
  const { transport, beside, epochs } = await setUp('initproducerid-late')
  const happened = network.intercept(REQUESTS.InitProducerId, 'late')
  // Of either id, or of both: they are asked for at once, on one connection.
  for (const epoch of [1, 2]) await epochs.write(epoch)
  const deliver = await happened
  await deliver()
  const refused: number[] = []
  for (const epoch of [1, 2]) {
    await epochs.commit(epoch).catch((error) => {
      assert.is(error.extra?.epochLost, true)
      refused.push(epoch)
    })
  }
  assert.ok(refused.length > 0, 'it was not fenced')
  for (const epoch of [...refused, 3]) {
    await epochs.write(epoch)
    await epochs.commit(epoch)
  }
  assert.equal(texts(await readAll(beside, 'initproducerid-late')).sort(), expected([1, 2, 3]).sort())
  await Promise.all([transport.stop(), beside.stop()])
})

unanswered('what was aborted is not begun again by who still tries to write to it', async () => {
  const { transport, beside, epochs } = await setUp('aborted')
  const happened = network.intercept(REQUESTS.AddPartitionsToTxn, 'unanswered')
  const written = epochs.write(1).catch(() => undefined)
  await happened
  await transport.abort(epochs.name(1))
  await written
  // Nothing is left open that would hide what others write behind it.
  await append(beside, 'aborted', values(7, 1))
  assert.equal(texts(await readAll(beside, 'aborted')), texts(values(7, 1)))
  await Promise.all([transport.stop(), beside.stop()])
})

unanswered('a connection that silently died is given up for another one, by all who wait on it', async () => {
  const settings = { clientId: 'test', connectTimeoutMs: 3_000, patienceMs: 500, requestTimeoutMs: 1_000 }
  const cluster = new Cluster({ brokers: kafka!.behind, ...settings })
  const ask = async (): Promise<number> => {
    const { brokers } = await cluster.attempt('ask', () => cluster.metadata([]))
    return brokers.length
  }
  await ask()
  const happened = network.intercept(REQUESTS.Metadata, 'silent')
  // It takes all patience until that shows, and a connection is closed for the one while the other has just begun to wait.
  const first = ask()
  await happened
  await new Promise((later) => setTimeout(later, 600))
  assert.equal(await Promise.all([first, ask()]), [1, 1])
  await cluster.stop()
})

unanswered('a member whose connection silently died keeps its place', async () => {
  const { transport, beside } = await setUp('silent')
  const one = new TestMember(transport, 'silent-group', 'silent')
  await one.assigned()
  const { membership } = one
  await network.intercept(REQUESTS.Heartbeat, 'silent')
  await new Promise((later) => setTimeout(later, SESSION_MS + 2_000))
  await one.member.publish(membership!, new Map([[0, 0n]]))
  assert.is(one.membership, membership, 'it was put out')
  await Promise.all([transport.stop(), beside.stop()])
})

test.run()
