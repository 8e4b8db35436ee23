// The source and the emitter `kafka`: a topic of any cluster, by settings of their own. They are `topic` over another transport;
// what they connect to is asked of the permissions first, each broker of the cluster included.
// Runs on: bridge.

import { DEFAULT_TENANT } from '../../schemas/names.ts'
import type { Transport } from '../transport/transport.ts'
import {
  type BridgeContext,
  type Chunk,
  type Emitter,
  type EmitterType,
  type ENDED,
  type Source,
  type SourceType,
  WAIT,
} from './bridge.ts'
import { GroupSource } from './group-source.ts'
import { TopicEmitter } from './topic-emitter.ts'
import { TopicSource } from './topic-source.ts'

interface Settings {
  brokers: string[]
  topic: string
  tls?: boolean
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
  from?: string
  group?: string
  keyPath?: string
  compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
}

/** A pipeline waits so long for a cluster when it starts. */
const START_MS = 10_000
/** Of the records of a cluster that one pipeline reads. */
const CACHE_BYTES = 8 << 20

/** @throws SpqrError PERMISSION_DENIED, TRANSPORT_UNAVAILABLE, UNAUTHENTICATED */
async function connect(settings: Settings, context: BridgeContext): Promise<Transport> {
  const { brokers, tls, sasl, compression } = settings
  const who = `component "${context.component}" of pipeline "${context.pipeline}"`
  // Grants may change while it runs: the permissions of the moment are asked.
  const guard = {
    checkNet: (host: string, port: number) => context.permissions.askedBy(who).checkNet(host, port),
    netLookup: (port: number) => context.permissions.askedBy(who).netLookup(port),
  }
  for (const broker of brokers) {
    const at = broker.lastIndexOf(':')
    guard.checkNet(broker.slice(0, at).replace(/^\[|\]$/g, ''), Number(broker.slice(at + 1)))
  }
  const { KafkaTransport } = await import('../transport/kafka/kafka-transport.ts')
  return KafkaTransport.start({
    brokers,
    tls: tls ? {} : undefined,
    sasl,
    compression,
    guard,
    startMs: START_MS,
    cacheBytes: CACHE_BYTES,
    onState: (state, detail) =>
      context.log(state === 'connected' ? 'info' : 'warn', `Kafka: ${state} ${detail}`.trim()),
  })
}

/** The context as a topic of that cluster sees it: its names are as they are, and no transaction of ours spans it. */
function within(context: BridgeContext, transport: Transport): BridgeContext {
  return Object.create(context, {
    transport: { value: transport },
    tenant: { value: DEFAULT_TENANT },
    transaction: { value: () => undefined },
  }) as BridgeContext
}

/** Positions are kept one level down: offsets of another cluster are not to be published under a group of ours. */
class KafkaSource<T extends TopicSource | GroupSource> implements Source {
  readonly isReread = true
  protected topic: T | undefined
  readonly #settings: Settings
  readonly #context: BridgeContext
  readonly #make: (context: BridgeContext) => T
  #transport: Transport | undefined

  constructor(settings: Settings, context: BridgeContext, make: (context: BridgeContext) => T) {
    this.#settings = settings
    this.#context = context
    this.#make = make
  }

  async open(position: unknown): Promise<void> {
    this.#transport = await connect(this.#settings, this.#context)
    this.topic = this.#make(within(this.#context, this.#transport))
    await this.topic.open(inCluster(position))
  }

  begins(): unknown {
    return { cluster: this.topic?.begins() }
  }

  pull(): Chunk | typeof WAIT | typeof ENDED {
    const pulled = this.topic?.pull() ?? WAIT
    return typeof pulled === 'symbol' ? pulled : { ...pulled, position: { cluster: pulled.position } }
  }

  async stop(): Promise<void> {
    await this.topic?.stop()
    await this.#transport?.stop()
  }
}

/** As one of a group of that cluster. */
class KafkaGroupSource extends KafkaSource<GroupSource> {
  committed(position: unknown): void {
    this.topic?.committed(inCluster(position))
  }

  configure(): boolean {
    return true
  }

  async drain(): Promise<void> {
    await this.topic?.drain()
  }
}

function inCluster(position: unknown): unknown {
  return (position as { cluster?: unknown } | undefined)?.cluster
}

class KafkaEmitter implements Emitter {
  readonly #settings: Settings
  readonly #context: BridgeContext
  #transport: Transport | undefined
  #topic: TopicEmitter | undefined

  constructor(settings: Settings, context: BridgeContext) {
    this.#settings = settings
    this.#context = context
  }

  async open(): Promise<void> {
    const { topic, keyPath } = this.#settings
    this.#transport = await connect(this.#settings, this.#context)
    this.#topic = new TopicEmitter({ topic, keyPath }, within(this.#context, this.#transport))
    await this.#topic.open()
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    return this.#topic?.write(bytes, from, to) ?? 0
  }

  async flush(): Promise<unknown> {
    return this.#topic?.flush()
  }

  async stop(): Promise<void> {
    await this.#topic?.stop()
    await this.#transport?.stop()
  }
}

export const kafkaSource: SourceType = {
  create(given, context) {
    const { topic, from = 'earliest', group, ...settings } = given as unknown as Settings
    const options = { topic, name: topic, from, own: false }
    const all = { ...settings, topic }
    if (group !== undefined) {
      return new KafkaGroupSource(all, context, (far) => new GroupSource({ ...options, group, isForeign: true }, far))
    }
    return new KafkaSource(all, context, (far) => new TopicSource({ ...options, group: context.pipeline }, far))
  },
}

export const kafkaEmitter: EmitterType = {
  create: (settings, context) => new KafkaEmitter(settings as unknown as Settings, context),
}
