// Pipelines on a Kafka behind a network that cuts, stalls, delays and loses answers, while members come and go and people change,
// pause, keep, stop and restart. Afterwards all that was fed has come, under exactly-once each once, and everything runs.
// By hand: SEED=7 TROUBLE_MS=20000 PHASES=10 node dist/tests/crash/faulty-kafka.js; TELL=1 tells what happens as it does.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PipelineEvent } from '../../host/pipeline/events.ts'
import { decodeRecord, RECORD_LENGTH, RecordBuffer } from '../../host/record/record.ts'
import { KafkaTransport } from '../../host/transport/kafka/kafka-transport.ts'
import { deadLetterTopic, topicName } from '../../schemas/names.ts'
import { seeded, until } from '../support/client.ts'
import { Product } from '../support/delivery.ts'
import { FaultyNetwork } from '../support/faulty-network.ts'
import { skipWithoutKafka, startKafkaBehind } from '../support/kafka.ts'
import { PARTITIONS, passing } from '../support/rebalance.ts'

const SEED = Number(process.env.SEED ?? 11)
const PHASES = Number(process.env.PHASES ?? 2)
const TROUBLE_MS = Number(process.env.TROUBLE_MS ?? 5_000)
const STALL_MS_MAX = Number(process.env.STALL_MS ?? 4_000)
/** Of records that are fed at once. */
const STEP = 50
const NAME = 'a Kafka behind a network that is not at its best'
const test = suite(NAME)
const isSkipped =
  skipWithoutKafka(NAME) ||
  (process.env.KAFKA_BROKERS !== undefined &&
    process.stdout.write(`SKIP ${NAME}: the brokers of KAFKA_BROKERS are behind a network of their own\n`))
const faulty: typeof test = isSkipped ? (test.skip as typeof test) : test

/** By output topic: those of a group write into one. */
const GROUPS = [
  { tag: 'once', delivery: 'exactly-once', ids: ['once'], group: false },
  { tag: 'least', delivery: 'at-least-once', ids: ['least'], group: false },
  { tag: 'once-g', delivery: 'exactly-once', ids: ['once-g-a', 'once-g-b'], group: true },
  { tag: 'least-g', delivery: 'at-least-once', ids: ['least-g-a', 'least-g-b'], group: true },
] as const

/** Counts numbers of topics as they come, by a transport that has no trouble. */
class Watched {
  readonly counts: number[] = []
  #next = 0n
  readonly #transport: KafkaTransport
  readonly #topic: string

  constructor(transport: KafkaTransport, topic: string) {
    this.#transport = transport
    this.#topic = topic
  }

  async readOn(): Promise<void> {
    for (;;) {
      const { frames, records, next } = await this.#transport.read(this.#topic, 0, this.#next, 1 << 20)
      this.#next = next
      if (records === 0) return
      const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
      for (let at = 0; at < frames.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
        const { n } = JSON.parse(Buffer.from(decodeRecord(frames, at).value!).toString()) as { n: number }
        this.counts[n] = (this.counts[n] ?? 0) + 1
      }
    }
  }

  missing(fed: number): number {
    let missing = 0
    for (let n = 0; n < fed; n++) if (this.counts[n] === undefined) missing++
    return missing
  }
}

faulty('loses nothing, doubles nothing under exactly-once, and goes on', async () => {
  const network = await FaultyNetwork.start(SEED)
  const kafka = await startKafkaBehind(network)
  const beside = await KafkaTransport.start({ brokers: kafka.brokers })
  const product = await Product.start({ brokers: kafka.behind })
  const { client, host } = product
  const random = seeded(SEED + 1)
  const story: string[] = []
  const began = performance.now()
  const tell = (text: string): void => {
    story.push(`${((performance.now() - began) / 1000).toFixed(2)} s: ${text}`)
    if (process.env.TELL) console.log(story.at(-1))
  }
  const pipelines = GROUPS.flatMap(({ tag, delivery, ids, group }) => {
    const settings = group ? { topic: 'in' } : { topic: 'in', group: undefined }
    return ids.map((id) => ({ id, document: passing(id, tag, delivery, settings) }))
  })
  try {
    await beside.createTopic({ name: 'in', partitions: PARTITIONS })
    for (const { tag } of GROUPS) await beside.createTopic({ name: `${tag}-out` })
    const watched = GROUPS.map(({ tag }) => new Watched(beside, `${tag}-out`))
    // Removed, it is followed again for when it is back.
    const follow = (id: string): void => {
      const take = ({ kind, state, text, reason }: PipelineEvent): void => {
        tell(`${id} ${kind} ${state ?? text} ${JSON.stringify(reason ?? '')}`)
      }
      host.events.watch('default', id, take, () => void setImmediate(() => follow(id)))
    }
    for (const { id, document } of pipelines) {
      follow(id)
      await client.ok('POST', '/v1/pipelines', document)
    }
    let fed = 0
    let isOver = false
    const feeding = (async () => {
      while (!isOver) {
        await Promise.all(
          Array.from({ length: PARTITIONS }, (_, partition) => {
            const buffer = new RecordBuffer(0)
            for (let i = 0; i < STEP; i++) {
              buffer.add({ value: Buffer.from(`{"n":${fed + partition * STEP + i}}`), timestamp: Date.now() })
            }
            return beside.append('in', partition, buffer.bytes.subarray(0, buffer.length), STEP)
          }),
        )
        fed += PARTITIONS * STEP
        await new Promise((rest) => setTimeout(rest, 20))
      }
    })()
    // Awaited below, unless something else fails first.
    feeding.catch(() => {})
    /** What people do meanwhile; what is refused is, but not with INTERNAL. */
    const ask = async (method: string, path: string, body?: object): Promise<void> => {
      const { status, body: answer } = await client.ask(method, `/v1/pipelines${path && '/'}${path}`, body)
      tell(`${method} ${path} → ${status} ${status < 300 ? '' : JSON.stringify(answer).slice(0, 300)}`)
      assert.ok(status !== 500, `${method} ${path} → ${JSON.stringify(answer)}`)
    }
    const meddle = async (ends: () => boolean): Promise<void> => {
      for (let i = 0; !ends(); i++) {
        const { id, document } = pipelines[random(pipelines.length)]!
        switch (random(7)) {
          case 0:
            await ask('PATCH', `${id}/components/all`, { settings: { where: [{ path: 'n', gte: -1 - i }] } })
            break
          case 1:
            await ask('POST', `${id}/pause`)
            await ask('POST', `${id}/resume`)
            break
          case 2:
            await ask('POST', `${id}/savepoints`, { name: `s${i}` })
            break
          case 3:
            await ask('POST', `${id}/stop`)
            await ask('POST', `${id}/resume`)
            break
          case 4:
            await ask('POST', `${id}/restart`, { from: 'checkpoint' })
            break
          case 5:
            // Only a member leaves nothing behind that its group has not.
            if (!id.includes('-g-')) break
            if (random(2) === 0) await ask('POST', `${id}/stop`)
            await ask('DELETE', id)
            await ask('POST', '', document)
            break
        }
        await new Promise((rest) => setTimeout(rest, random(500)))
      }
    }
    /** Whether all have come up to here; how much has not is told now and then. */
    let toldAt = 0
    const hasCome = async (upTo: number): Promise<true | undefined> => {
      for (const one of watched) await one.readOn()
      const missing = watched.map((one) => one.missing(upTo))
      if (missing.every((count) => count === 0)) return true
      if (performance.now() - toldAt > 1_000) {
        toldAt = performance.now()
        tell(`missing: ${GROUPS.map(({ tag }, i) => `${missing[i]} of ${tag}`).join(', ')}`)
      }
      return undefined
    }
    // Twice as long as others: of a member whose leaving was not heard a group knows only when its session has ended.
    const allCome = (upTo: number): Promise<true> => {
      const come = (): Promise<true> =>
        until(
          () => hasCome(upTo),
          () => `not all of ${upTo} came`,
        )
      return come().catch(come)
    }
    for (let phase = 1; phase <= PHASES; phase++) {
      let raging = true
      const meddling = Promise.all([meddle(() => !raging), meddle(() => !raging), meddle(() => !raging)])
      await network.rage(TROUBLE_MS, STALL_MS_MAX)
      raging = false
      tell(`phase ${phase}: it behaves`)
      await meddling
      tell(`phase ${phase}: nobody meddles`)
      const upTo = fed
      // Whoever was left stopped, or never made, runs again.
      for (const { id, document } of pipelines) {
        let seen = ''
        await until(
          async () => {
            const { status, body } = await client.ask('GET', `/v1/pipelines/${id}`)
            seen = `${status} ${body.state} ${JSON.stringify(body.reason ?? '')}`
            if (status === 404) await ask('POST', '', document)
            if (body.state === 'running') return true
            if (body.state === 'stopped' || body.state === 'paused') await ask('POST', `${id}/resume`)
            return body.state === 'failed' ? assert.unreachable(`${id} is ${seen}`) : undefined
          },
          () => `${id} is ${seen}, not running`,
        )
      }
      await allCome(upTo)
      tell(`phase ${phase}: all ${upTo} came`)
    }
    isOver = true
    await feeding
    await allCome(fed)
    for (const [i, { tag, delivery }] of GROUPS.entries()) {
      const doubled = watched[i]!.counts.filter((count) => count > 1).length
      tell(`${tag}: ${doubled} of ${fed} came more than once`)
      if (delivery === 'exactly-once') assert.is(doubled, 0, `${tag}: ${doubled} of ${fed} came more than once`)
    }
    for (const { id } of pipelines) {
      const { state } = await client.ok('GET', `/v1/pipelines/${id}`)
      assert.is(state, 'running', `${id}`)
      assert.is(await beside.topic(topicName('default', deadLetterTopic(id))), undefined)
    }
  } catch (thrown) {
    throw new Error([(thrown as Error).stack, `SEED=${SEED}`, ...story, ...network.story].join('\n'))
  } finally {
    await product.remove()
    await beside.stop()
    network.stop()
    await kafka.stop()
  }
})

test.run()
