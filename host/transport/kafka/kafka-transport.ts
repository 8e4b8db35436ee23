// The transport over Apache Kafka (3.7 and later): topics, records, groups and transactions are Kafka's own.
// Runs on: bridge, control. Each thread has one of its own, with connections of its own.

import type { ConnectionOptions } from 'node:tls'
import type { SASLOptions } from 'kafkajs'
import { SpqrError } from '../../../schemas/errors.ts'
import type { RecordBuffer } from '../../record/record.ts'
import { releaseImage } from '../../ring/image-memory.ts'
import { checkFrames } from '../check-frames.ts'
import { PIECE_BYTES } from '../memory-pages.ts'
import type {
  AppendOptions,
  Checkpoint,
  CheckpointSummary,
  GroupListener,
  GroupMember,
  PartitionOffsets,
  PublishedOffset,
  ReadFrom,
  ReadResult,
  SlotCommit,
  SlotId,
  TopicInfo,
  TopicSpec,
  Transport,
} from '../transport.ts'
import { deleteRecordsRequest } from './admin-requests.ts'
import { Cluster, type ClusterState, noTopic, sleep } from './cluster.ts'
import { type CodecName, loadCodecs } from './codecs.ts'
import { EARLIEST, LATEST } from './data-requests.ts'
import { IdempotentProducer } from './identity.ts'
import { KafkaCheckpoints, type WhichCheckpoint } from './kafka-checkpoints.ts'
import { KafkaMember, publishOffsets } from './kafka-member.ts'
import type { ConnectionGuard } from './kafkajs-inside.ts'
import { LogReader } from './log-reader.ts'
import { PartitionWriter } from './partition-writer.ts'
import { RecordBatchWriter } from './record-batch-writer.ts'
import { keyOf, type TopicPartition } from './request.ts'
import { SegmentCache } from './segment-cache.ts'
import { type GroupPublication, SlotTransactions } from './slot-transactions.ts'
import { TailPoller } from './tail-poller.ts'
import { HIDDEN_TOPICS, TopicAdmin } from './topic-admin.ts'
import { offsetFetchRequest } from './transaction-requests.ts'

export interface KafkaOptions {
  /** `host:port` of some of the brokers. */
  brokers: readonly string[]
  clientId?: string
  tls?: ConnectionOptions
  sasl?: SASLOptions
  /** Asked before each connection. */
  guard?: ConnectionGuard
  /** Of what is written; `none` unless given. Reading takes any. */
  compression?: CodecName
  /** How long brokers may be absent at the start; 30,000 unless given. */
  startMs?: number
  /** How long a call is tried before it fails as TRANSPORT_UNAVAILABLE; 15,000 unless given. */
  patienceMs?: number
  /** Bytes of records kept to be read, again or for the first time; 64 MiB unless given. */
  cacheBytes?: number
  /** Says whether brokers answer. */
  onState?(state: ClusterState, detail: string): void
}

const CACHE_BYTES = 64 << 20
const REQUEST_MS = 30_000
const CONNECT_MS = 3_000
const TRIM_MS = 10_000
const START_RETRY_MS = 250

/** @example const transport = await KafkaTransport.start({ brokers: ['localhost:9092'] }) */
export class KafkaTransport implements Transport {
  readonly kind = 'kafka'
  readonly #cluster: Cluster
  readonly #admin: TopicAdmin
  readonly #reader: LogReader
  readonly #poller: TailPoller
  readonly #producer: IdempotentProducer
  readonly #batches: RecordBatchWriter
  readonly #writers = new Map<string, PartitionWriter>()
  readonly #transactions: SlotTransactions
  readonly #checkpoints: KafkaCheckpoints
  readonly #members = new Set<KafkaMember>()
  /** Calls under way: `stop` waits for them. */
  #underWay = 0
  #isStopping = false
  #onIdle: (() => void) | undefined

  /** Connects. @throws SpqrError TRANSPORT_UNAVAILABLE where no broker answered in `startMs`; UNAUTHENTICATED */
  static async start(options: KafkaOptions): Promise<KafkaTransport> {
    await loadCodecs()
    const transport = new KafkaTransport(options)
    await transport.#connect(options.startMs ?? 30_000)
    return transport
  }

  private constructor(options: KafkaOptions) {
    if (options.brokers.length === 0) throw new RangeError('brokers must name at least one host:port')
    this.#cluster = new Cluster({
      brokers: options.brokers,
      clientId: options.clientId ?? 'spqr',
      tls: options.tls,
      sasl: options.sasl,
      guard: options.guard,
      connectTimeoutMs: CONNECT_MS,
      requestTimeoutMs: REQUEST_MS,
      patienceMs: options.patienceMs ?? 15_000,
      onState: options.onState,
    })
    const cache = new SegmentCache(options.cacheBytes ?? CACHE_BYTES)
    this.#poller = new TailPoller(this.#cluster, cache, () => this.#reader)
    this.#reader = new LogReader(this.#cluster, cache, this.#poller)
    this.#admin = new TopicAdmin(this.#cluster, (topic) => this.#poller.changed(topic))
    this.#producer = new IdempotentProducer(this.#cluster)
    this.#batches = new RecordBatchWriter(options.compression)
    const batchBytesMax = (topic: string): Promise<number> => this.#admin.batchBytesMax(topic)
    this.#transactions = new SlotTransactions(this.#cluster, { batches: this.#batches, batchBytesMax })
    this.#checkpoints = new KafkaCheckpoints(this.#cluster, this.#admin, (place, frames, records) => {
      return this.#writer(place).append(frames, records)
    })
  }

  clusterId(): Promise<string> {
    return this.#call('ask for the cluster', async () => {
      const { clusterId } = await this.#cluster.attempt('ask for the cluster', () => this.#cluster.metadata([]))
      return clusterId ?? ''
    })
  }

  createTopic(spec: TopicSpec): Promise<TopicInfo> {
    return this.#call('create a topic', () => this.#admin.create(spec))
  }

  deleteTopic(name: string): Promise<void> {
    return this.#call('delete a topic', async () => {
      const info = await this.#admin.info(name)
      if (!info) throw noTopic(name)
      await this.#admin.delete(name)
      this.#reader.forget(name)
      for (let partition = 0; partition < info.partitions; partition++) this.#writers.delete(keyOf(name, partition))
    })
  }

  listTopics(prefix: string): Promise<TopicInfo[]> {
    return this.#call('list topics', () => this.#admin.list(prefix))
  }

  topicBytes(prefix: string): Promise<Map<string, number>> {
    return this.#call('ask what topics hold', () => this.#admin.bytes(prefix))
  }

  topic(name: string): Promise<TopicInfo | undefined> {
    return this.#call('describe a topic', () => this.#admin.info(name))
  }

  append(
    topic: string,
    partition: number,
    frames: Uint8Array,
    records: number,
    options: AppendOptions = {},
  ): Promise<bigint> {
    const { transaction, create = false } = options
    return this.#call(`append to "${topic}"`, async () => {
      checkFrames(topic, frames, records)
      await this.#mayAppend(topic, partition, create)
      if (records === 0) return 0n
      const place = { topic, partition }
      if (transaction !== undefined) {
        await this.#transactions.append(transaction, place, frames, records)
        return 0n
      }
      return BigInt(await this.#writer(place).append(frames, records))
    })
  }

  read(topic: string, partition: number, offset: bigint, bytesMax: number, into?: RecordBuffer): Promise<ReadResult> {
    return this.#call(`read "${topic}"`, async () => {
      this.#isOurs(topic)
      return this.#reader.read(topic, partition, Number(offset), bytesMax, into)
    })
  }

  offsetOf(topic: string, partition: number, from: ReadFrom): Promise<bigint> {
    return this.#call(`find an offset of "${topic}"`, async () => {
      this.#isOurs(topic)
      const list = (timestamp: number): Promise<number> => this.#reader.list(topic, partition, timestamp)
      if (from.at === 'earliest') return BigInt(await list(EARLIEST))
      if (from.at === 'latest') return BigInt(await list(LATEST))
      if (from.at === 'time') {
        const found = await list(Math.max(0, Math.ceil(from.timestampMs)))
        return BigInt(found < 0 ? await list(LATEST) : found)
      }
      const latest = BigInt(await list(LATEST))
      if (from.offset > latest) {
        const text = `Cannot begin at offset ${from.offset} of partition ${partition} of topic "${topic}": its records end at ${latest}.`
        throw new SpqrError('INVALID_STATE', text)
      }
      const earliest = BigInt(await list(EARLIEST))
      return from.offset < earliest ? earliest : from.offset
    })
  }

  offsets(topic: string): Promise<PartitionOffsets[]> {
    return this.#call(`find the offsets of "${topic}"`, async () => {
      this.#isOurs(topic)
      const { leaders } = await this.#cluster.attempt('find offsets', () => this.#cluster.topic(topic))
      return Promise.all(
        Array.from({ length: leaders.length }, async (_, partition) => {
          const [earliest, latest] = await Promise.all(
            [EARLIEST, LATEST].map((timestamp) => this.#reader.list(topic, partition, timestamp)),
          )
          return { partition, earliest: BigInt(earliest!), latest: BigInt(latest!) }
        }),
      )
    })
  }

  watch(topic: string, onAppend: (partition: number) => void): () => void {
    return this.#poller.watch(topic, onAppend)
  }

  /** By the time in the records, which of an ingest topic is that of their arrival. */
  trim(topic: string, partition: number, before: bigint, notYoungerThanMs: number): Promise<void> {
    return this.#call(`trim "${topic}"`, async () => {
      this.#isOurs(topic)
      const young = await this.#reader.list(topic, partition, Math.max(0, Date.now() - notYoungerThanMs))
      const bound = young < 0 ? Number(before) : Math.min(Number(before), young)
      if (bound <= (await this.#reader.list(topic, partition, EARLIEST))) return
      const request = deleteRecordsRequest(topic, partition, bound, TRIM_MS)
      await this.#cluster.attempt(`trim "${topic}"`, () => this.#cluster.sendToLeader(topic, partition, request))
    })
  }

  groupOffsets(group: string, topic: string): Promise<Map<number, bigint>> {
    return this.#call(`find the offsets of group "${group}"`, async () => {
      const action = `find the offsets of group "${group}"`
      const metadata = await this.#cluster.attempt(action, () => this.#cluster.metadata([topic]))
      const partitions = metadata.topics[0]?.leaders.length ?? 0
      if (partitions === 0) return new Map()
      const request = offsetFetchRequest(
        group,
        topic,
        Array.from({ length: partitions }, (_, p) => p),
      )
      const found = await this.#cluster.attempt(action, () => {
        return this.#cluster.sendToCoordinator('group', group, request)
      })
      return new Map([...found].map(([partition, offset]) => [partition, BigInt(offset)]))
    })
  }

  joinGroup(group: string, topic: string, listener: GroupListener): GroupMember {
    const member = new KafkaMember(this.#cluster, group, topic, listener, () => this.#members.delete(member))
    this.#members.add(member)
    member.join()
    return member
  }

  commit(commit: SlotCommit): Promise<CheckpointSummary> {
    return this.#call('store a checkpoint', async () => {
      for (const { component, memory } of commit.snapshots) {
        if (memory.length % PIECE_BYTES === 0) continue
        throw new RangeError(`Cannot store the state of "${component}": ${memory.length} bytes are no whole pages`)
      }
      const offsets = publications(commit.offsets ?? [])
      const checkpoint = { ...commit, createdAt: Date.now() }
      const { transaction } = commit
      try {
        if (transaction !== undefined) return await this.#commitTransaction(transaction, checkpoint, offsets)
        // At least once: an offset that is published is covered by a checkpoint.
        const summary = await this.#checkpoints.store(checkpoint, (place, frames, records) => {
          return this.#writer(place).append(frames, records)
        })
        for (const { group, offsets: list, membership } of offsets) {
          await publishOffsets(this.#cluster, group, list, membership)
        }
        return summary
      } finally {
        for (const { memory } of commit.snapshots) releaseImage(memory)
      }
    })
  }

  async fence(slot: SlotId): Promise<void> {
    await this.#call('fence a slot', () => this.#transactions.fence(slot))
  }

  async abort(transaction: string): Promise<void> {
    await this.#call('abort a transaction', () => this.#transactions.abort(transaction))
  }

  checkpoint(slot: SlotId, which?: WhichCheckpoint): Promise<Checkpoint | undefined> {
    return this.#call('load a checkpoint', () => this.#checkpoints.load(slot, which))
  }

  checkpoints(slot: SlotId): Promise<CheckpointSummary[]> {
    return this.#call('list checkpoints', () => this.#checkpoints.list(slot))
  }

  copyCheckpoint(from: SlotId, to: SlotId, savepoint?: string, as?: string): Promise<CheckpointSummary> {
    return this.#call('copy a checkpoint', () => this.#checkpoints.copy(from, to, savepoint, as))
  }

  deleteCheckpoints(tenant: string, pipeline: string, savepoint?: string): Promise<void> {
    return this.#call('delete checkpoints', () => this.#checkpoints.delete(tenant, pipeline, savepoint))
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return
    this.#isStopping = true
    this.#poller.stop()
    await Promise.all([...this.#members].map((member) => member.leave()))
    if (this.#underWay > 0) {
      await new Promise<void>((done) => {
        this.#onIdle = done
      })
    }
    await this.#checkpoints.stop()
    await this.#cluster.stop()
  }

  async #connect(startMs: number): Promise<void> {
    const until = Date.now() + startMs
    for (;;) {
      try {
        await this.#cluster.metadata([])
        return
      } catch (thrown) {
        const isFinal = thrown instanceof SpqrError || Date.now() + START_RETRY_MS > until
        const problem = thrown instanceof Error ? thrown.message : String(thrown)
        if (!isFinal) {
          this.#cluster.waiting(problem)
          await sleep(START_RETRY_MS)
          continue
        }
        await this.#cluster.stop()
        if (thrown instanceof SpqrError) throw thrown
        const text = `Cannot reach Kafka at ${this.#cluster.names}: ${problem}. It was tried for ${startMs / 1000} s; start a broker there, or name others.`
        throw new SpqrError('TRANSPORT_UNAVAILABLE', text, { retriable: true, cause: thrown })
      }
    }
  }

  /** Every call goes through here: refused once it is stopped, waited for by `stop`. */
  async #call<T>(action: string, act: () => Promise<T>): Promise<T> {
    if (this.#isStopping) {
      throw new SpqrError('TRANSPORT_UNAVAILABLE', `Cannot ${action}: the transport is stopped.`)
    }
    this.#underWay++
    try {
      return await act()
    } finally {
      this.#underWay--
      if (this.#underWay === 0) this.#onIdle?.()
    }
  }

  async #mayAppend(topic: string, partition: number, create: boolean): Promise<void> {
    this.#isOurs(topic)
    const known = this.#cluster.knownTopic(topic)
    if (known && partition < known.leaders.length) return
    const find = (): Promise<number> => {
      return this.#cluster.attempt(`append to "${topic}"`, () => this.#cluster.leader(topic, partition))
    }
    try {
      await find()
    } catch (thrown) {
      const isMissing = thrown instanceof SpqrError && thrown.code === 'NOT_FOUND'
      if (!isMissing || !create || partition !== 0 || this.#cluster.knownTopic(topic)) throw thrown
      await this.#admin.createOwn(topic)
    }
  }

  /** @throws SpqrError NOT_FOUND of topics that nobody is shown */
  #isOurs(topic: string): void {
    if (HIDDEN_TOPICS.has(topic)) throw noTopic(topic)
  }

  #writer(place: TopicPartition): PartitionWriter {
    const key = keyOf(place.topic, place.partition)
    let writer = this.#writers.get(key)
    if (!writer) {
      const batchBytesMax = (): Promise<number> => this.#admin.batchBytesMax(place.topic)
      writer = new PartitionWriter(this.#cluster, place, this.#producer.identity(), this.#batches, batchBytesMax)
      this.#writers.set(key, writer)
    }
    return writer
  }

  async #commitTransaction(
    transaction: string,
    checkpoint: SlotCommit & { createdAt: number },
    offsets: GroupPublication[],
  ): Promise<CheckpointSummary> {
    const inside = (place: TopicPartition, frames: Uint8Array, records: number): Promise<number> => {
      return this.#transactions.append(transaction, place, frames, records)
    }
    try {
      return await this.#checkpoints.store(checkpoint, inside, () => this.#transactions.commit(transaction, offsets))
    } catch (thrown) {
      await this.#transactions.abort(transaction).catch(() => {})
      throw thrown
    }
  }
}

/** By group and member: a request names one of each. */
function publications(offsets: readonly PublishedOffset[]): GroupPublication[] {
  const all = new Map<string, GroupPublication>()
  for (const { group, topic, partition, offset, membership } of offsets) {
    const key = `${group} ${membership?.id ?? ''}`
    const publication = all.get(key) ?? { group, membership, offsets: [] }
    publication.offsets.push({ topic, partition, offset: Number(offset) })
    all.set(key, publication)
  }
  return [...all.values()]
}
