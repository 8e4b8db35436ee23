// One Kafka cluster as this thread sees it: brokers, who leads what, who coordinates what, and the one way in which
// anything is tried again. One set of connections per thread, cluster and credentials.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import {
  type ClusterMetadata,
  type CoordinatorType,
  findCoordinatorRequest,
  metadataRequest,
  type TopicMetadata,
} from './admin-requests.ts'
import { asSpqrError, ConnectionLost, check, FAULT, isFault, isRetriable, KafkaFault } from './kafka-fault.ts'
import { BrokerConnections, type ConnectionSettings } from './kafkajs-inside.ts'
import type { KafkaRequest } from './request.ts'

/** `waiting`: no broker answers, which is tried again. */
export type ClusterState = 'connecting' | 'connected' | 'waiting' | 'stopped'

export interface ClusterOptions extends ConnectionSettings {
  /** `host:port` of some of the brokers; the rest is learned from them. */
  brokers: readonly string[]
  /** How long a call is tried, twice at least, before it fails as TRANSPORT_UNAVAILABLE. */
  patienceMs: number
  /** Of one request, unless it says another. */
  requestTimeoutMs: number
  onState?(state: ClusterState, detail: string): void
}

/** What a connection is for. A broker answers the requests of one connection one after the other, so what waits has its own. */
export type Purpose = 'command' | 'fetch' | 'poll-a' | 'poll-b' | MemberLink
/** Of one member of a group. */
export type MemberLink = `member ${number}`
const PURPOSES: Record<Exclude<Purpose, MemberLink>, { link: string; lane: number }> = {
  command: { link: 'work', lane: 0 },
  fetch: { link: 'work', lane: 1 },
  'poll-a': { link: 'poll', lane: 0 },
  'poll-b': { link: 'poll', lane: 1 },
}

const METADATA_AGE_MAX_MS = 300_000
const RETRY_FIRST_MS = 5
const RETRY_MAX_MS = 500

export class Cluster {
  readonly options: ClusterOptions
  readonly #links = new Map<string, BrokerConnections>()
  readonly #nodes = new Map<number, { host: string; port: number }>()
  readonly #topics = new Map<string, { metadata: TopicMetadata; at: number }>()
  readonly #asked = new Map<string, Promise<TopicMetadata>>()
  readonly #coordinators = new Map<string, number>()
  #state: ClusterState = 'connecting'

  constructor(options: ClusterOptions) {
    this.options = options
  }

  get state(): ClusterState {
    return this.#state
  }

  get isStopped(): boolean {
    return this.#state === 'stopped'
  }

  /** `a:9092, b:9092`: for error messages. */
  get names(): string {
    const nodes = [...this.#nodes.values()].map(({ host, port }) => `${host}:${port}`)
    return (nodes.length > 0 ? nodes : this.options.brokers).join(', ')
  }

  /** Ids of the brokers that are known. */
  get nodes(): number[] {
    return [...this.#nodes.keys()]
  }

  /**
   * Tries something until it works, is refused, or patience ends.
   * @param action what it is, as the rest of "Cannot …"
   * @throws SpqrError, TRANSPORT_UNAVAILABLE naming the brokers where patience ended
   */
  async attempt<T>(action: string, act: () => Promise<T>, patienceMs = this.options.patienceMs): Promise<T> {
    const began = Date.now()
    for (let waitMs = RETRY_FIRST_MS; ; waitMs = Math.min(waitMs * 2, RETRY_MAX_MS)) {
      if (this.isStopped) throw this.#stoppedError(action)
      try {
        const value = await act()
        return value
      } catch (thrown) {
        if (this.isStopped) throw this.#stoppedError(action)
        if (!isRetriable(thrown)) throw asSpqrError(action, thrown)
        // A connection that has silently died takes all patience before that shows: another one may be good.
        const isFirst = waitMs === RETRY_FIRST_MS
        const tookMs = Date.now() - began
        if (!isFirst && tookMs + waitMs > patienceMs) throw this.#outOfPatience(action, thrown, tookMs)
        // A transaction that ends is over in a few milliseconds: worth asking often.
        const isShort = isFault(thrown, FAULT.CONCURRENT_TRANSACTIONS)
        await sleep(isShort ? Math.min(waitMs, 10) / 5 : waitMs * (0.75 + Math.random() / 2))
      }
    }
  }

  /** Sends to one broker. @throws ConnectionLost, KafkaFault */
  async send<T>(node: number, request: KafkaRequest<T>, purpose: Purpose = 'command', timeoutMs?: number): Promise<T> {
    const address = this.#nodes.get(node)
    if (!address) throw new ConnectionLost(`broker ${node}`, 'it is not known')
    return this.#sendTo(address, request, purpose, timeoutMs)
  }

  /** Sends to the leader of a partition. @throws ConnectionLost, KafkaFault, SpqrError NOT_FOUND */
  async sendToLeader<T>(
    topic: string,
    partition: number,
    request: KafkaRequest<T>,
    purpose: Purpose = 'command',
  ): Promise<T> {
    const node = await this.leader(topic, partition)
    try {
      return await this.send(node, request, purpose)
    } catch (thrown) {
      if (thrown instanceof ConnectionLost) this.forgetTopic(topic)
      throw thrown
    }
  }

  /** Sends to the coordinator of a group or transaction, and looks for it again where it has moved. */
  async sendToCoordinator<T>(
    type: CoordinatorType,
    key: string,
    request: KafkaRequest<T>,
    purpose: Purpose = 'command',
    timeoutMs?: number,
  ): Promise<T> {
    const name = `${type} ${key}`
    let node = this.#coordinators.get(name)
    if (node === undefined) {
      const found = await this.sendToAny(findCoordinatorRequest(type, key))
      this.#nodes.set(found.id, { host: found.host, port: found.port })
      node = found.id
      this.#coordinators.set(name, node)
    }
    try {
      return await this.send(node, request, purpose, timeoutMs)
    } catch (thrown) {
      const moved = thrown instanceof KafkaFault && [14, 15, FAULT.NOT_COORDINATOR].includes(thrown.code)
      if (moved || thrown instanceof ConnectionLost) this.#coordinators.delete(name)
      throw thrown
    }
  }

  /** Sends to the first broker that can be reached. @throws ConnectionLost of the last */
  async sendToAny<T>(request: KafkaRequest<T>): Promise<T> {
    const known = [...this.#nodes.values()].map(({ host, port }) => `${host}:${port}`)
    let lost: ConnectionLost | undefined
    for (const name of new Set([...shuffled(known), ...this.options.brokers])) {
      const colon = name.lastIndexOf(':')
      const address = { host: name.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(name.slice(colon + 1)) }
      try {
        return await this.#sendTo(address, request, 'command')
      } catch (thrown) {
        if (!(thrown instanceof ConnectionLost)) throw thrown
        lost = thrown
      }
    }
    throw lost ?? new ConnectionLost('Kafka', 'no broker is named')
  }

  /** Asks for metadata anew. @param topics null: of all */
  async metadata(topics: readonly string[] | null): Promise<ClusterMetadata> {
    const metadata = await this.sendToAny(metadataRequest(topics))
    const seen = new Set<number>()
    for (const { id, host, port } of metadata.brokers) {
      this.#nodes.set(id, { host, port })
      seen.add(id)
    }
    if (seen.size > 0) for (const id of this.#nodes.keys()) if (!seen.has(id)) this.#nodes.delete(id)
    const at = Date.now()
    for (const topic of metadata.topics) {
      if (topic.error === 0) this.#topics.set(topic.name, { metadata: topic, at })
      else this.#topics.delete(topic.name)
    }
    return metadata
  }

  /**
   * Metadata of a topic, as known for some minutes.
   * @throws SpqrError NOT_FOUND, INVALID_BODY; ConnectionLost, KafkaFault
   */
  async topic(name: string): Promise<TopicMetadata> {
    const known = this.#topics.get(name)
    if (known && Date.now() - known.at < METADATA_AGE_MAX_MS) return known.metadata
    let asked = this.#asked.get(name)
    if (!asked) {
      asked = this.metadata([name])
        .then(({ topics }) => {
          const found = topics.find((topic) => topic.name === name)
          const code = found?.error ?? FAULT.UNKNOWN_TOPIC_OR_PARTITION
          if (code === FAULT.UNKNOWN_TOPIC_OR_PARTITION || code === FAULT.INVALID_TOPIC) throw noTopic(name)
          check(code, `topic "${name}"`)
          return found!
        })
        .finally(() => this.#asked.delete(name))
      this.#asked.set(name, asked)
    }
    return asked
  }

  /** What is known of a topic without asking. */
  knownTopic(name: string): TopicMetadata | undefined {
    return this.#topics.get(name)?.metadata
  }

  /** Ask again at next need: its leaders have moved, or it is gone. */
  forgetTopic(name: string): void {
    this.#topics.delete(name)
  }

  /** Node id of the leader. @throws SpqrError NOT_FOUND; ConnectionLost, KafkaFault */
  async leader(topic: string, partition: number): Promise<number> {
    const { leaders } = await this.topic(topic)
    const leader = leaders[partition]
    if (leader === undefined) throw noPartition(topic, partition, leaders.length)
    if (leader < 0 || !this.#nodes.has(leader)) {
      this.forgetTopic(topic)
      throw new KafkaFault(5, `partition ${partition} of topic "${topic}"`)
    }
    return leader
  }

  /** Closes the connections of a member that has left. */
  closeLink(link: MemberLink): void {
    for (const [key, connections] of this.#links) {
      if (!key.endsWith(` ${link}`)) continue
      this.#links.delete(key)
      connections.close()
    }
  }

  /** At once: nothing is waited for. */
  stop(): Promise<void> {
    this.#setState('stopped', '')
    for (const connections of this.#links.values()) connections.close()
    this.#links.clear()
    return Promise.resolve()
  }

  async #sendTo<T>(
    address: { host: string; port: number },
    request: KafkaRequest<T>,
    purpose: Purpose,
    timeoutMs = this.options.requestTimeoutMs,
  ): Promise<T> {
    if (this.isStopped) throw this.#stoppedError(`send ${request.apiName}`)
    const { link, lane } = isMemberLink(purpose) ? { link: purpose, lane: 0 } : PURPOSES[purpose]
    const name = `${address.host}:${address.port}`
    const key = `${name} ${link}`
    let connections = this.#links.get(key)
    if (!connections) {
      connections = new BrokerConnections(address.host, address.port, this.options)
      this.#links.set(key, connections)
    }
    try {
      const answer = await connections.send(request, lane, timeoutMs)
      if (this.#state !== 'connected') this.#setState('connected', name)
      return answer
    } catch (thrown) {
      // A refusal by the broker, or an answer that cannot be read: the connection is good.
      if (thrown instanceof KafkaFault || thrown instanceof SpqrError || thrown instanceof RangeError) throw thrown
      if (this.#links.get(key) === connections) {
        this.#links.delete(key)
        connections.close()
      }
      if (isSaslFailure(thrown)) throw saslError(name, thrown)
      throw new ConnectionLost(name, thrown)
    }
  }

  #outOfPatience(action: string, thrown: unknown, tookMs: number): SpqrError {
    if (thrown instanceof ConnectionLost) this.#setState('waiting', thrown.message)
    const seconds = Math.round(tookMs / 100) / 10
    const problem = thrown instanceof Error ? thrown.message : String(thrown)
    const text = `Cannot ${action}: ${problem}. It was tried for ${seconds} s (brokers: ${this.names}); try again when they answer.`
    return new SpqrError('TRANSPORT_UNAVAILABLE', text, { retriable: true, cause: thrown })
  }

  #stoppedError(action: string): SpqrError {
    return new SpqrError('TRANSPORT_UNAVAILABLE', `Cannot ${action}: the transport is stopped.`)
  }

  #setState(state: ClusterState, detail: string): void {
    if (this.#state === state || this.isStopped) return
    this.#state = state
    this.options.onState?.(state, detail)
  }

  /** Says that brokers do not answer, while it is tried again. */
  waiting(detail: string): void {
    this.#setState('waiting', detail)
  }
}

function isMemberLink(purpose: Purpose): purpose is MemberLink {
  return purpose.startsWith('member ')
}

export function noTopic(name: string): SpqrError {
  return new SpqrError('NOT_FOUND', `Cannot find the topic "${name}": there is none of this name; create it first.`)
}

function noPartition(topic: string, partition: number, partitions: number): SpqrError {
  const text = `Cannot find partition ${partition} of topic "${topic}": it has ${partitions}, counted from 0.`
  return new SpqrError('NOT_FOUND', text)
}

function isSaslFailure(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'KafkaJSSASLAuthenticationError'
}

function saslError(broker: string, thrown: unknown): SpqrError {
  const text = `Cannot log in at Kafka's broker ${broker}: ${(thrown as Error).message}; check user, password and mechanism.`
  return new SpqrError('UNAUTHENTICATED', text, { cause: thrown })
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item)
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
