// Pipelines that name one group share the partitions of a topic, and come and go while records flow: the same on every
// transport. Five times in the tests; REBALANCES=20 node dist/tests/run.js delivery/rebalance for as many.

import * as assert from 'uvu/assert'
import { type Client, until } from './client.ts'
import type { Delivery, Product } from './delivery.ts'

export const REBALANCES = Number(process.env.REBALANCES ?? 5)
export const PARTITIONS = 4
const STEP = 500
const REST_MS = 5

/** Passes what comes through a group, unchanged. */
export const passing = (id: string, tag: string, delivery: Delivery, settings: object = {}): object => ({
  id,
  delivery,
  checkpointEveryMs: 50,
  components: [
    {
      id: 'in',
      source: 'topic',
      settings: { topic: `${tag}-in`, from: 'earliest', group: `${tag}-group`, ...settings },
    },
    { id: 'all', operator: 'json-filter', from: 'in', settings: { where: [] } },
    { id: 'out', emitter: 'topic', from: 'all', settings: { topic: `${tag}-out` } },
  ],
})

export async function makeTopics(client: Client, tag: string): Promise<void> {
  await client.ok('POST', '/v1/topics', { name: `${tag}-in`, partitions: PARTITIONS })
  await client.ok('POST', '/v1/topics', { name: `${tag}-out` })
}

/** Feeds numbers, over all partitions, until it is told to end. */
export class Feeder {
  fed = 0
  #isEnding = false
  readonly #done: Promise<void>

  constructor(client: Client, topic: string) {
    this.#done = this.#feed(client, topic)
  }

  /** @returns how many there are */
  async end(): Promise<number> {
    this.#isEnding = true
    await this.#done
    return this.fed
  }

  async #feed(client: Client, topic: string): Promise<void> {
    while (!this.#isEnding) {
      const numbers = Array.from({ length: STEP }, (_, i) => this.fed + i)
      const records = numbers.map((n) => ({ value: { n }, partition: n % PARTITIONS }))
      await client.ok('POST', `/v1/topics/${topic}/records`, { records })
      this.fed += STEP
      await new Promise((rest) => setTimeout(rest, REST_MS))
    }
  }
}

/** What a pipeline's source has read since it started. */
export async function readBy(client: Client, id: string): Promise<number> {
  const { components } = await client.ok('GET', `/v1/pipelines/${id}/stats`)
  return components.in.recordsIn
}

/**
 * How often each number has come out, once all that were fed have.
 * @param elsewhere what others of the group have taken
 */
export function whatCame(
  client: Client,
  topic: string,
  fed: number,
  elsewhere: readonly number[] = [],
): Promise<number[]> {
  let missing = 0
  return until(
    async () => {
      const counts = new Array<number>(fed).fill(0)
      for (const { value } of await client.records(topic)) counts[value.n]!++
      for (const n of elsewhere) counts[n]!++
      missing = counts.filter((count) => count === 0).length
      return missing === 0 ? counts : undefined
    },
    () => `${missing} of ${fed} are missing`,
  )
}

/** One pipeline stays, another joins it and leaves, again and again: none missing; doubled only where it may be. */
export async function comeAndGo(products: Product[], tag: string, delivery: Delivery): Promise<void> {
  const stays = products[0]!.client
  const comes = products.at(-1)!.client
  await makeTopics(stays, tag)
  const feeder = new Feeder(stays, `${tag}-in`)
  await stays.ok('POST', '/v1/pipelines', passing(`${tag}-a`, tag, delivery))
  for (let i = 0; i < REBALANCES; i++) {
    await comes.ok('POST', '/v1/pipelines', passing(`${tag}-b`, tag, delivery))
    await until(
      async () => ((await readBy(comes, `${tag}-b`)) > 0 ? true : undefined),
      () => `b reads nothing, join ${i}`,
    )
    // By turns: it ends in order, or at once, with what is under way (which at-most-once may lose).
    if (i % 2 === 0 || delivery === 'at-most-once') await comes.ok('POST', `/v1/pipelines/${tag}-b/stop`)
    await comes.ok('DELETE', `/v1/pipelines/${tag}-b`)
  }
  const counts = await whatCame(stays, `${tag}-out`, await feeder.end())
  const doubled = counts.filter((count) => count > 1).length
  if (delivery !== 'at-least-once') assert.is(doubled, 0, `${doubled} came twice`)
  await stays.ok('DELETE', `/v1/pipelines/${tag}-a`)
}
