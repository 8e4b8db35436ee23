// Kills what can be killed of a whole SPQR on three brokers, by a seed: the host, the manager, one broker, or host and broker at
// once, with SIGKILL and within the same processes over all rounds. Numbers go in through the API all the while; what came out is
// judged by kafkajs alone. A number that is a multiple of 89 is poison.

import { seeded } from '../support/client.ts'
import { Cluster } from '../support/cluster.ts'
import { counting, pushCounting } from '../support/delivery.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { KafkaReader } from './kafka-reader.ts'

const INPUT = 'numbers'
const PIPELINES = [
  { id: 'once', delivery: 'exactly-once', output: 'once-out' },
  { id: 'least', delivery: 'at-least-once', output: 'least-out' },
] as const
const VICTIMS = ['host', 'host', 'manager', 'broker', 'broker', 'host and broker'] as const
const BROKERS = 3
const FEED_MAX = 300
const CAUSES_TOLD = 10

interface Numbered {
  n: number
}

interface Counted extends Numbered {
  count: number
}

interface Letter {
  source: { offset: string }
}

export interface KafkaOutcome {
  rounds: number
  sent: number
  repeated: number
  problems: string[]
}

const numberAt = (n: number): Numbered => ({ n: n % 89 === 0 ? -n - 1 : n })
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

/** @param log one line per round */
export async function kafkaRounds(rounds: number, seed: number, log: (line: string) => void): Promise<KafkaOutcome> {
  const kafka = await startKafka(BROKERS)
  const cluster = await Cluster.start()
  const round = new Rounds(kafka, cluster, seeded(seed))
  try {
    await round.setUp()
    for (let number = 1; number <= rounds && round.problems.length === 0; number++) {
      const started = Date.now()
      const victim = await round.play()
      log(`kafka round ${number}: ${victim}, ${round.sent} records, ${((Date.now() - started) / 1000).toFixed(1)} s`)
    }
    return { rounds, sent: round.sent, repeated: round.repeated, problems: round.problems }
  } catch (error) {
    const logs = [...cluster.hosts.values(), cluster.manager!].map((process) => process.log.slice(-3000))
    throw new Error(`${(error as Error).message}\n${logs.join('\n---\n')}`, { cause: error })
  } finally {
    // Nothing outlives rounds that could not be played.
    await cluster.remove()
    await kafka.stop()
  }
}

class Rounds {
  readonly problems: string[] = []
  repeated = 0
  readonly #kafka: TestKafka
  readonly #cluster: Cluster
  readonly #random: (n: number) => number
  readonly #reader: KafkaReader
  readonly #flags: string[]
  readonly #acknowledged = new Set<number>()
  #lastAcknowledged = 0
  /** What was counted of a topic so far, and up to which of its records. */
  readonly #distinct = new Map<string, { seen: Set<unknown>; upTo: number }>()
  #next = 0

  constructor(kafka: TestKafka, cluster: Cluster, random: (n: number) => number) {
    this.#kafka = kafka
    this.#cluster = cluster
    this.#random = random
    this.#flags = ['--kafka', kafka.brokers.join()]
    const outputs = PIPELINES.flatMap(({ id, output }) => [output, `${id}.dead-letters`])
    this.#reader = new KafkaReader(kafka.brokers, [INPUT, ...outputs])
  }

  /** Records of the input. */
  get sent(): number {
    return this.#reader.values(INPUT).length
  }

  async setUp(): Promise<void> {
    const { client } = this.#cluster
    await this.#cluster.startHost('one', this.#flags)
    await client.topics(INPUT, ...PIPELINES.map(({ output }) => output))
    await pushCounting(client)
    for (const { id, delivery, output } of PIPELINES) {
      await client.ok('POST', '/v1/pipelines', counting(id, INPUT, output, { delivery }))
    }
    await this.#cluster.ready()
  }

  /** @returns who was killed */
  async play(): Promise<string> {
    const victim = VICTIMS[this.#random(VICTIMS.length)]!
    const broker = this.#random(BROKERS)
    const [beforeMs, awayMs] = [50 + this.#random(800), this.#random(600)]
    const feeding = { isOver: false }
    const fed = this.#feed(feeding)
    await pause(beforeMs)
    const isIn = (part: string): boolean => victim.includes(part)
    await Promise.all([
      ...(isIn('host') ? [this.#cluster.killHost()] : []),
      ...(isIn('manager') ? [this.#cluster.killManager()] : []),
      ...(isIn('broker') ? [this.#kafka.kill(broker)] : []),
    ])
    await pause(awayMs)
    await Promise.all([
      ...(isIn('host') ? [this.#cluster.launchHost('one', this.#flags)] : []),
      ...(isIn('manager') ? [this.#cluster.startManager()] : []),
      ...(isIn('broker') ? [this.#kafka.restart(broker)] : []),
    ])
    await this.#cluster.ready()
    feeding.isOver = true
    await fed
    await this.#judge()
    return isIn('broker') ? `${victim} ${broker}` : victim
  }

  /** Sends numbers, none twice; until the end, and one more that is acknowledged. */
  async #feed(feeding: { isOver: boolean }): Promise<void> {
    for (let isLast = false; !isLast; ) {
      isLast = feeding.isOver
      const [from, count] = [this.#next, 1 + this.#random(FEED_MAX)]
      this.#next += count
      try {
        await this.#cluster.client.feed(INPUT, from, count, numberAt)
        for (let n = from; n < from + count; n++) this.#acknowledged.add(numberAt(n).n)
        this.#lastAcknowledged = numberAt(from + count - 1).n
      } catch {
        // It may be there or not.
        isLast = false
        await pause(20)
      }
    }
  }

  async #judge(): Promise<void> {
    const wanted = this.#lastAcknowledged
    const end = (): number | undefined => (this.#reader.values(INPUT).at(-1) as Numbered | undefined)?.n
    await this.#reader.readUntil(
      () => end() === wanted,
      () => `the input ends with ${end()}, not ${wanted}`,
    )
    const input = (this.#reader.values(INPUT) as Numbered[]).map(({ n }) => n)
    this.#checkInput(input)
    const good = input.filter((n) => n >= 0)
    const poison = input.flatMap((n, i) => (n < 0 ? [i] : []))
    const outputs = PIPELINES.flatMap(({ id, output }) => [
      { topic: output, count: () => this.#count(output, (value) => (value as Counted).n), wanted: good.length },
      {
        topic: `${id}.dead-letters`,
        count: () => this.#count(`${id}.dead-letters`, (value) => (value as Letter).source.offset),
        wanted: poison.length,
      },
    ])
    await this.#reader
      .readUntil(
        () => outputs.every(({ count, wanted: all }) => count() >= all),
        () => outputs.map(({ topic, count, wanted: all }) => `${topic} has ${count()} of ${all}`).join(', '),
      )
      .catch((error: Error) => this.#report(error.message))
    this.repeated = this.#counted('least-out').length - good.length
    for (const { id, delivery, output } of PIPELINES) {
      this.#checkCounts(id, good, this.#counted(output))
      if (delivery !== 'exactly-once') continue
      const out = this.#counted(output)
      const wrong = out.findIndex(({ n, count }, i) => n !== good[i] || count !== i + 1)
      if (wrong >= 0) this.#report(`record ${wrong} of ${output} is ${JSON.stringify(out[wrong])}, not ${good[wrong]}`)
      if (out.length !== good.length) this.#report(`${output} has ${out.length} records for ${good.length}`)
      const letters = this.#reader.values(`${id}.dead-letters`).length
      if (letters !== poison.length) this.#report(`${id} has ${letters} dead letters for ${poison.length}`)
    }
  }

  #counted(topic: string): Counted[] {
    return this.#reader.values(topic) as Counted[]
  }

  /** How many different records a topic has, by what each is known by. */
  #count(topic: string, nameOf: (value: unknown) => unknown): number {
    const values = this.#reader.values(topic)
    const counted = this.#distinct.get(topic) ?? { seen: new Set(), upTo: 0 }
    this.#distinct.set(topic, counted)
    for (; counted.upTo < values.length; counted.upTo++) counted.seen.add(nameOf(values[counted.upTo]))
    return counted.seen.size
  }

  /** What was acknowledged is there, and nothing is there twice. */
  #checkInput(input: number[]): void {
    const seen = new Set(input)
    if (seen.size !== input.length) this.#report(`the input has ${input.length - seen.size} numbers twice`)
    const lost = [...this.#acknowledged].filter((n) => !seen.has(n))
    if (lost.length > 0) this.#report(`${lost.length} numbers that were acknowledged are lost, the first is ${lost[0]}`)
  }

  /** Every number is there, each with the count that its place in the input gives it. */
  #checkCounts(id: string, good: number[], out: Counted[]): void {
    const placeOf = new Map(good.map((n, i) => [n, i + 1]))
    const seen = new Set<number>()
    for (const { n, count } of out) {
      seen.add(n)
      const place = placeOf.get(n)
      if (place !== count) this.#report(`${id}: ${n} came out with the count ${count}, not ${place}`)
    }
    const lost = good.filter((n) => !seen.has(n))
    if (lost.length > 0) this.#report(`${id}: ${lost.length} of ${good.length} are lost, the first is ${lost[0]}`)
  }

  #report(problem: string): void {
    if (this.problems.length < CAUSES_TOLD) this.problems.push(problem)
  }
}
