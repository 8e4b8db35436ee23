// Hosts of a group that stand still for longer than the brokers wait, and come back, or are killed: exactly once, on Kafka.

import { rmSync } from 'node:fs'
import { Kafka, logLevel } from 'kafkajs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/client.ts'
import { DevProcess, makeFolder, Product } from '../support/delivery.ts'
import { skipWithoutKafka, startKafka } from '../support/kafka.ts'
import { Feeder, makeTopics, PARTITIONS, passing, readBy, whatCame } from '../support/rebalance.ts'

const isSkipped = skipWithoutKafka('hosts of a group that stand still or die')
const test = suite('hosts of a group that stand still or die')
const zombie: typeof test = isSkipped ? (test.skip as typeof test) : test

/** Of an event stream, up to the line that holds this. */
async function eventsUntil(url: string, text: string): Promise<string> {
  const { body } = await fetch(url, { signal: AbortSignal.timeout(10_000) })
  let seen = ''
  for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
    seen += chunk
    if (seen.includes(text) && seen.endsWith('\n\n')) break
  }
  return seen
}

zombie('what others have taken over is not written again by who comes back', async () => {
  const kafka = await startKafka()
  const stays = await Product.start({ brokers: kafka.brokers })
  const admin = new Kafka({ brokers: kafka.brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const folder = makeFolder()
  const flags = ['--kafka', kafka.brokers.join()]
  let dies = await DevProcess.start({ folder, flags })
  const tag = `zombie-${process.pid}`
  try {
    const { client } = stays
    await makeTopics(client, tag)
    const feeder = new Feeder(client, `${tag}-in`)
    await client.ok('POST', '/v1/pipelines', passing('stays', tag, 'exactly-once'))
    await dies.client.ok('POST', '/v1/pipelines', passing('dies', tag, 'exactly-once'))
    const both = (what: string): Promise<true> =>
      until(
        async () => {
          const { groups } = await admin.describeGroups([`${tag}-group`])
          return groups[0]?.state === 'Stable' && groups[0].members.length === 2 ? true : undefined
        },
        () => `they are not two, ${what}`,
      )
    await both('at first')
    await until(
      async () => ((await readBy(dies.client, 'dies')) > 0 ? true : undefined),
      () => 'who may die reads nothing',
    )
    dies.child.kill('SIGSTOP')
    const offsets = (): Promise<Map<number, bigint>> => stays.host.transport.groupOffsets(`${tag}-group`, `${tag}-in`)
    const before = await offsets()
    await until(
      async () => {
        const now = await offsets()
        const moved = [...now].filter(([partition, offset]) => offset > (before.get(partition) ?? 0n))
        return moved.length === PARTITIONS ? true : undefined
      },
      () => 'nobody takes its partitions over',
    )
    dies.child.kill('SIGCONT')
    await both('after one came back')
    assert.match(await eventsUntil(`${dies.url}/v1/pipelines/dies/events`, 'has gone on without'), 'joins again')
    await dies.end('SIGKILL')
    dies = await DevProcess.start({ folder, flags })
    await both('after one was killed')
    const counts = await whatCame(client, `${tag}-out`, await feeder.end())
    assert.is(counts.filter((count) => count > 1).length, 0, 'some came twice')
  } finally {
    await dies.end('SIGKILL')
    await admin.disconnect()
    await stays.remove()
    rmSync(folder, { recursive: true, force: true })
    await kafka.stop()
  }
})

test.run()
