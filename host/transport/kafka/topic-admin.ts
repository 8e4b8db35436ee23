// Topics as Kafka keeps them: made, removed, described by their own settings. Nothing of them is kept elsewhere.
// Runs on: bridge, control.

import { SpqrError } from '../../../schemas/errors.ts'
import { checkTopicSpec, topicNameProblem } from '../topic-spec.ts'
import type { TopicInfo, TopicSpec } from '../transport.ts'
import {
  createTopicRequest,
  deleteTopicRequest,
  describeLogDirsRequest,
  describeTopicsRequest,
  metadataRequest,
} from './admin-requests.ts'
import { type Cluster, noTopic, sleep } from './cluster.ts'
import { check, FAULT, isFault } from './kafka-fault.ts'

const COMMAND_MS = 10_000
/** How long all brokers may take to hear of a change. */
const SPREAD_MS = 5_000
const DESCRIBED_AT_ONCE = 200
const SETTINGS_AGE_MS = 60_000
const BYTES_AGE_MS = 500
/** As brokers have it, where a topic does not say and they do not tell. */
const MAX_MESSAGE_BYTES = 1_048_588
const FOREVER = '9223372036854775807'
const OWN_TOPIC_RETENTION_MS = 7 * 86_400_000
/** Of a pipeline's own topics: a record of a megabyte still fits when it stands in a dead letter. */
const OWN_TOPIC_BATCH_BYTES = 4 << 20
const SETTINGS = ['cleanup.policy', 'retention.ms', 'retention.bytes', 'max.message.bytes']

/** Topics of the product's own, which nobody is shown. */
export const HIDDEN_TOPICS = new Set(['spqr.checkpoints', 'spqr.checkpoints.pages'])

export class TopicAdmin {
  readonly #cluster: Cluster
  readonly #batchBytes = new Map<string, { value: Promise<number>; at: number }>()
  readonly #onChange: (topic: string) => void
  #bytes: Promise<Map<string, number>> = Promise.resolve(new Map())
  #bytesAt = 0

  /** @param onChange a topic was made or removed here */
  constructor(cluster: Cluster, onChange: (topic: string) => void) {
    this.#cluster = cluster
    this.#onChange = onChange
  }

  async create(spec: TopicSpec): Promise<TopicInfo> {
    checkTopicSpec(spec)
    const settings: Record<string, string> = {
      'cleanup.policy': spec.compact ? 'compact' : 'delete',
      'retention.ms': String(spec.retentionMs ?? -1),
      // Timestamps are the records' own: the past of a file, the clock of a sensor.
      'message.timestamp.after.max.ms': FOREVER,
    }
    if (spec.retentionBytes !== undefined) settings['retention.bytes'] = String(spec.retentionBytes)
    await this.make(spec.name, spec.partitions ?? 1, settings)
    const info = await this.info(spec.name)
    if (!info) throw noTopic(spec.name)
    return info
  }

  /** A pipeline's own topic, unless it is there. */
  async createOwn(name: string): Promise<void> {
    const problem = topicNameProblem(name)
    if (problem) throw new SpqrError('INVALID_BODY', `Cannot create topic "${name}": the name of a topic ${problem}.`)
    const settings = {
      'retention.ms': String(OWN_TOPIC_RETENTION_MS),
      'max.message.bytes': String(OWN_TOPIC_BATCH_BYTES),
      'message.timestamp.after.max.ms': FOREVER,
    }
    await this.makeIfMissing(name, 1, settings)
  }

  async makeIfMissing(name: string, partitions: number, settings: Record<string, string>): Promise<void> {
    try {
      await this.make(name, partitions, settings)
    } catch (thrown) {
      if (!(thrown instanceof SpqrError) || thrown.code !== 'ALREADY_EXISTS') throw thrown
      await this.#untilSpread(name, (error) => error === 0)
    }
  }

  /** @throws SpqrError ALREADY_EXISTS */
  async make(name: string, partitions: number, settings: Record<string, string>): Promise<void> {
    let isRepeated = false
    await this.#cluster.attempt(`create topic "${name}"`, async () => {
      try {
        const { controller } = await this.#cluster.metadata([])
        const request = createTopicRequest(name, partitions, -1, settings, COMMAND_MS)
        await this.#cluster.send(controller, request)
      } catch (thrown) {
        // What a lost answer had made already is made.
        if (isFault(thrown, FAULT.TOPIC_ALREADY_EXISTS) && isRepeated) return
        if (isFault(thrown, FAULT.TOPIC_ALREADY_EXISTS)) {
          const text = `Cannot create topic "${name}": there is one of this name.`
          throw new SpqrError('ALREADY_EXISTS', text, { cause: thrown })
        }
        isRepeated = true
        throw thrown
      }
    })
    await this.#untilSpread(name, (error) => error === 0)
    this.#onChange(name)
  }

  /** @throws SpqrError NOT_FOUND */
  async delete(name: string): Promise<void> {
    let isRepeated = false
    await this.#cluster.attempt(`delete topic "${name}"`, async () => {
      try {
        const { controller } = await this.#cluster.metadata([])
        await this.#cluster.send(controller, deleteTopicRequest(name, COMMAND_MS))
      } catch (thrown) {
        if (isFault(thrown, FAULT.UNKNOWN_TOPIC_OR_PARTITION)) {
          if (isRepeated) return
          throw noTopic(name)
        }
        isRepeated = true
        throw thrown
      }
    })
    this.#batchBytes.delete(name)
    await this.#untilSpread(name, (error) => error === FAULT.UNKNOWN_TOPIC_OR_PARTITION)
    this.#onChange(name)
  }

  async info(name: string): Promise<TopicInfo | undefined> {
    if (topicNameProblem(name) || HIDDEN_TOPICS.has(name)) return undefined
    const infos = await this.#describe([name])
    return infos[0]
  }

  /** By name. */
  async list(prefix: string): Promise<TopicInfo[]> {
    const metadata = await this.#cluster.attempt('list topics', () => this.#cluster.metadata(null))
    const names = metadata.topics
      .filter((topic) => topic.error === 0 && !topic.isInternal && topic.name.startsWith(prefix))
      .map((topic) => topic.name)
      .filter((name) => !HIDDEN_TOPICS.has(name))
      .sort()
    const infos: TopicInfo[] = []
    for (let at = 0; at < names.length; at += DESCRIBED_AT_ONCE) {
      infos.push(...(await this.#describe(names.slice(at, at + DESCRIBED_AT_ONCE))))
    }
    return infos
  }

  /** Bytes of each topic's log, one replica of each partition; as of the last second. */
  async bytes(prefix: string): Promise<Map<string, number>> {
    if (Date.now() - this.#bytesAt >= BYTES_AGE_MS) {
      this.#bytesAt = Date.now()
      this.#bytes = this.#cluster.attempt('ask what topics hold', () => this.#askBytes())
      this.#bytes.catch(() => {
        this.#bytesAt = 0
      })
    }
    const all = await this.#bytes
    return new Map([...all].filter(([name]) => name.startsWith(prefix) && !HIDDEN_TOPICS.has(name)))
  }

  /** Replicas differ by what is on its way: the largest counts, and a broker that is away has no say. */
  async #askBytes(): Promise<Map<string, number>> {
    await this.#cluster.metadata([])
    const answers = await Promise.allSettled(
      this.#cluster.nodes.map((node) => this.#cluster.send(node, describeLogDirsRequest())),
    )
    const given = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    const [first] = answers
    if (given.length === 0 && first?.status === 'rejected') throw first.reason
    const partitions = new Map<string, Map<number, number>>()
    for (const { topic, partition, bytes } of given.flat()) {
      const known = partitions.get(topic) ?? new Map<number, number>()
      known.set(partition, Math.max(known.get(partition) ?? 0, bytes))
      partitions.set(topic, known)
    }
    return new Map([...partitions].map(([topic, known]) => [topic, [...known.values()].reduce((a, b) => a + b, 0)]))
  }

  /** The largest batch that a topic takes. */
  batchBytesMax(name: string): Promise<number> {
    const known = this.#batchBytes.get(name)
    if (known && Date.now() - known.at < SETTINGS_AGE_MS) return known.value
    const value = this.#settings([name]).then(
      (all) => Number(all.get(name)?.get('max.message.bytes') ?? MAX_MESSAGE_BYTES),
      // It is the brokers' to refuse, and Kafka may not let us ask.
      () => MAX_MESSAGE_BYTES,
    )
    this.#batchBytes.set(name, { value, at: Date.now() })
    return value
  }

  async #describe(names: string[]): Promise<TopicInfo[]> {
    const metadata = await this.#cluster.attempt('describe topics', () => this.#cluster.metadata(names))
    const found = metadata.topics.filter((topic) => topic.error === 0)
    if (found.length === 0) return []
    const settings = await this.#settings(found.map((topic) => topic.name))
    return found.map(({ name, leaders }) => {
      const own = settings.get(name) ?? new Map<string, string>()
      // Kafka does not keep when a topic was made.
      const info: TopicInfo = { name, partitions: leaders.length, compact: false, createdAt: 0 }
      info.compact = own.get('cleanup.policy')?.split(',').includes('compact') ?? false
      const retentionMs = Number(own.get('retention.ms') ?? -1)
      const retentionBytes = Number(own.get('retention.bytes') ?? -1)
      if (retentionMs >= 0 && !info.compact) info.retentionMs = retentionMs
      if (retentionBytes >= 0 && !info.compact) info.retentionBytes = retentionBytes
      return info
    })
  }

  #settings(names: string[]): Promise<Map<string, Map<string, string>>> {
    const request = describeTopicsRequest(names, SETTINGS)
    return this.#cluster.attempt('describe topics', () => this.#cluster.sendToAny(request))
  }

  /** Each broker hears of a change a little later; until then it would answer that it knows nothing of it. */
  async #untilSpread(name: string, isSpread: (error: number) => boolean): Promise<void> {
    const until = Date.now() + SPREAD_MS
    this.#cluster.forgetTopic(name)
    for (const node of this.#cluster.nodes) {
      while (Date.now() < until) {
        const answer = await this.#cluster.send(node, metadataRequest([name])).catch(() => undefined)
        // A broker that does not answer will know when it does.
        if (!answer) break
        const topic = answer.topics.find((one) => one.name === name)
        const hasLeaders = topic?.leaders.every((leader) => leader >= 0) ?? true
        if (isSpread(topic?.error ?? FAULT.UNKNOWN_TOPIC_OR_PARTITION) && hasLeaders) break
        await sleep(5)
      }
    }
    // One that did not answer may not know yet either.
    await this.#cluster.attempt('describe topics', async () => {
      const { topics } = await this.#cluster.metadata([name])
      for (const { name: topic, error } of topics) if (!isSpread(error)) check(error, topic)
    })
  }
}
