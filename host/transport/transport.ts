// The durable, partitioned log under everything: topics, offsets, transactions, checkpoints. Two implementations:
// embedded (host/transport/embedded) and Kafka (host/transport/kafka). One test suite runs against both.
// Runs on: bridge and control threads. Every byte handed in belongs to the transport until the promise settles.

import { SpqrError } from '../../schemas/errors.ts'
import type { RecordBuffer } from '../record/record.ts'

export interface TopicSpec {
  name: string
  /** 1 unless given; 1 … 1,024. */
  partitions?: number
  retentionMs?: number
  retentionBytes?: number
  compact?: boolean
}

export interface TopicInfo {
  name: string
  partitions: number
  retentionMs?: number
  retentionBytes?: number
  compact: boolean
  createdAt: number
}

export interface PartitionOffsets {
  partition: number
  earliest: bigint
  /** The offset that the next committed record gets. */
  latest: bigint
}

/** Where a reader begins. */
export type ReadFrom =
  | { at: 'earliest' }
  | { at: 'latest' }
  | { at: 'offset'; offset: bigint }
  | { at: 'time'; timestampMs: number }

export interface ReadResult {
  /** Whole data records; `sourceOffset` of each is its offset, `source` is 0. The caller owns the bytes, which begin their memory. */
  frames: Uint8Array
  records: number
  /** Read on from here; may skip offsets. */
  next: bigint
  /** The offset after the last committed record at the time of the read. */
  latest: bigint
}

/** Names one slot of one pipeline in one incarnation: transactions and checkpoints belong to it. */
export interface SlotId {
  tenant: string
  pipeline: string
  slot: number
}

/** The state of one operator instance between two calls. */
export interface Snapshot {
  component: string
  /** 0 … parallelism - 1 */
  instance: number
  digest: string
  /** Values of the exported mutable globals by export name; i64 as decimal text. */
  globals: Record<string, number | string>
  /** Linear memory, a multiple of 64 KiB; given away: transferred, or released (ring/image-memory.ts) when it is stored. */
  memory: Uint8Array
}

/** A durable, consistent pair {source positions, operator states} at one barrier. */
export interface Checkpoint {
  epoch: number
  /** ms since 1970 */
  createdAt: number
  revision: number
  /** Bytes of the states as kept (after page comparison and compression). */
  bytes: number
  /** JSON: positions of sources and emitters, sequences, ended inputs, timers, settings, reason … of the slot's owner. */
  meta: unknown
  snapshots: Snapshot[]
}

export type CheckpointSummary = Omit<Checkpoint, 'meta' | 'snapshots'> & { savepoint?: string }

export interface PublishedOffset {
  group: string
  topic: string
  partition: number
  offset: bigint
  /** As which member: the whole commit is refused where the group has gone on without it. Absent: the group has none. */
  membership?: Membership
}

/** A member of a consumer group for as long as its members are the same. */
export interface Membership {
  id: string
  generation: number
}

/** What a group tells a member; one call after another, none after `leave`. */
export interface GroupListener {
  /** These partitions are the member's until `revoked`; possibly none. */
  assigned(membership: Membership, partitions: number[]): void
  /**
   * The group shares its partitions out anew. Resolves when nothing more is read of them, and the offset of all that was
   * read is published. Who takes longer than a minute is put out.
   */
  revoked(): Promise<void>
  /** It was put out of the group, and others may read its partitions: what it has not published, it is not to. It has left. */
  lost(error: SpqrError): void
  /** The group does not answer, which is tried again, or refuses (not `retriable`). */
  trouble(error: SpqrError): void
}

export interface GroupMember {
  /** Offsets that the group has for these partitions. Waits for a transaction that is about to publish some. */
  committed(partitions: number[]): Promise<Map<number, bigint>>
  /** Publishes offsets by partition. @throws SpqrError INVALID_STATE where the group has gone on without this membership */
  publish(membership: Membership, offsets: Map<number, bigint>): Promise<void>
  /** Others get its partitions at once. */
  leave(): Promise<void>
}

export interface SlotCommit {
  slot: SlotId
  epoch: number
  revision: number
  meta: unknown
  snapshots: Snapshot[]
  /** Keeps it under this name until it is removed. */
  savepoint?: string
  /** The appends staged under this id become visible in the same transaction. */
  transaction?: string
  /** Offsets published under a group's name: for people and tools that look at the group, and for its other members. */
  offsets?: PublishedOffset[]
  /** Nobody waits for it: it may wait a moment for others, to share their way to the disk. */
  patient?: boolean
  /** How many checkpoints stay besides savepoints; 3 unless given. */
  keep?: number
  /** Of which run of the slot it is, by any number: within one nobody else stores checkpoints of it. Absent: others may have. */
  run?: number
}

export interface AppendOptions {
  /** Staged: invisible until a `commit` names the same id; gone with `abort` or a crash. */
  transaction?: string
  /** A pipeline's own topic, made with one partition on its first write. */
  create?: boolean
}

export interface Transport {
  readonly kind: 'embedded' | 'kafka'
  /** The id that a cluster has; the embedded log is its data folder's. */
  clusterId?(): Promise<string>

  /** @throws SpqrError ALREADY_EXISTS */
  createTopic(spec: TopicSpec): Promise<TopicInfo>
  /** @throws SpqrError NOT_FOUND */
  deleteTopic(name: string): Promise<void>
  /** Topics whose name begins with `prefix`, by name; none missing, none twice. */
  listTopics(prefix: string): Promise<TopicInfo[]>
  topic(name: string): Promise<TopicInfo | undefined>
  /**
   * Bytes that topics whose name begins with `prefix` hold: uncompressed in the embedded log, as one broker keeps them in Kafka;
   * absent where the transport does not know.
   */
  topicBytes?(prefix: string): Promise<Map<string, number>>

  /**
   * Adds whole data records to one partition, in order, all or none.
   * @param frames records in the layout of wasm-operators/abi.ts; sequence, source and port are ignored
   * @returns the offset of the first, once a crash no longer loses them (staged ones: once staged, 0n)
   * @throws SpqrError NOT_FOUND, TRANSPORT_UNAVAILABLE (retriable), RECORD_TOO_LARGE
   */
  append(
    topic: string,
    partition: number,
    frames: Uint8Array,
    records: number,
    options?: AppendOptions,
  ): Promise<bigint>

  /**
   * What is there now from `offset`, possibly nothing; never waits. An offset before the earliest reads from the earliest,
   * one past the latest is an error.
   * @param into memory that the transport may use for the frames in place of new one: they are valid until it is used again
   * @throws SpqrError NOT_FOUND, INVALID_STATE (offset out of range), TRANSPORT_UNAVAILABLE (retriable)
   */
  read(topic: string, partition: number, offset: bigint, bytesMax: number, into?: RecordBuffer): Promise<ReadResult>

  /** The offset where reading from there begins. @throws SpqrError NOT_FOUND */
  offsetOf(topic: string, partition: number, from: ReadFrom): Promise<bigint>

  /** Earliest and latest of every partition. @throws SpqrError NOT_FOUND */
  offsets(topic: string): Promise<PartitionOffsets[]>

  /**
   * Calls `onAppend` soon after records became readable in the topic (which need not exist yet); at times also without, as where
   * the watching begins: what came just before may be new to who has read just before. @returns ends it
   */
  watch(topic: string, onAppend: (partition: number) => void): () => void

  /**
   * Lets records before this offset go, soon and as far as whole batches do, except those appended within the last
   * `notYoungerThanMs`. It may be lost with a crash: say it again.
   * @throws SpqrError NOT_FOUND
   */
  trim(topic: string, partition: number, before: bigint, notYoungerThanMs: number): Promise<void>

  /** Committed offsets of a group in a topic. */
  groupOffsets(group: string, topic: string): Promise<Map<number, bigint>>

  /**
   * Joins a consumer group, whose members share the partitions of the topic: at once and without waiting, again and again
   * until the group answers.
   */
  joinGroup(group: string, topic: string, listener: GroupListener): GroupMember

  /** Stores a checkpoint, publishes a transaction's records and a group's offsets: all of it or nothing. */
  commit(commit: SlotCommit): Promise<CheckpointSummary>
  /** Drops what is staged under the id. */
  abort(transaction: string): Promise<void>
  /** Ends what any other holder of the slot has staged, wherever it is; before anybody looks at how far it came. */
  fence?(slot: SlotId): Promise<void>

  /** The named, or the newest, checkpoint that is whole. @throws SpqrError NOT_FOUND, INVALID_STATE (damaged, says which) */
  checkpoint(slot: SlotId, which?: { savepoint: string } | { epoch: number }): Promise<Checkpoint | undefined>
  checkpoints(slot: SlotId): Promise<CheckpointSummary[]>
  /** Copies a savepoint (or the newest checkpoint) of one slot to another, under the same name or the one of `as`. */
  copyCheckpoint(from: SlotId, to: SlotId, savepoint?: string, as?: string): Promise<CheckpointSummary>
  /** Removes every checkpoint and savepoint of the pipeline's slots, or just one savepoint. */
  deleteCheckpoints(tenant: string, pipeline: string, savepoint?: string): Promise<void>

  /** Drains and closes. */
  stop(): Promise<void>
}

/** The partition of a record with this key; the same as Kafka's default partitioner (murmur2). */
export type Partitioner = (key: Uint8Array, partitions: number) => number

/** Who takes longer to let its partitions go is put out of its group. */
export const REBALANCE_MS = 60_000

/** What is read as a member is to be given up with the epoch: others read it again. */
export function putOut(group: string, why: string, cause?: unknown): SpqrError {
  const text = `Group "${group}" has gone on without this reader (${why}): it goes back to its last checkpoint and joins again.`
  return new SpqrError('INVALID_STATE', text, { cause, extra: { fenced: true, epochLost: true } })
}

/**
 * Which partitions of a topic each member gets, by its place among the members.
 * @param members how many; at least 1
 * @param first the member that gets partition 0
 */
export function sharedOut(members: number, partitions: number, first = 0): number[][] {
  const shares: number[][] = Array.from({ length: members }, () => [])
  for (let partition = 0; partition < partitions; partition++) shares[(partition + first) % members]!.push(partition)
  return shares
}
