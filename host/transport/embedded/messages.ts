// What passes between an EmbeddedTransport and the log thread. Offsets are numbers here (below 2^53); bytes are transferred.
// Runs on: control and bridge threads on one side, the log thread on the other.

import type { MessagePort } from 'node:worker_threads'
import type { ErrorMessage } from '../../../schemas/errors.ts'
import type {
  Checkpoint,
  CheckpointSummary,
  PublishedOffset,
  SlotId,
  Snapshot,
  TopicInfo,
  TopicSpec,
} from '../transport.ts'

/** A `SlotCommit` on its way; `meta` is JSON text. */
export interface CommitBody {
  slot: SlotId
  epoch: number
  revision: number
  meta: string
  snapshots: Snapshot[]
  savepoint?: string
  transaction?: string
  patient: boolean
  offsets: OffsetBody[]
  keep: number
}

/** A `PublishedOffset` on its way. */
export type OffsetBody = Omit<PublishedOffset, 'offset'> & { offset: number }

export type WhichCheckpoint = { savepoint: string } | { epoch: number }

/** Everything that changes the log: done in the order of arrival, many in one commit. */
export type WriteBody =
  | { op: 'createTopic'; spec: TopicSpec }
  | { op: 'deleteTopic'; name: string }
  | {
      op: 'append'
      topic: string
      partition: number
      frames: Uint8Array
      records: number
      transaction?: string
      create: boolean
    }
  | { op: 'commit'; commit: CommitBody }
  | { op: 'publish'; offsets: OffsetBody[] }
  | { op: 'abort'; transaction: string }
  | { op: 'copyCheckpoint'; from: SlotId; to: SlotId; savepoint?: string; as?: string }
  | { op: 'deleteCheckpoints'; tenant: string; pipeline: string; savepoint?: string }

/** What is answered at once from what is committed. */
export type ReadBody =
  | { op: 'listTopics'; prefix: string }
  | { op: 'topic'; name: string }
  | { op: 'topicBytes'; prefix: string }
  | { op: 'read'; topic: string; partition: number; offset: number; bytesMax: number }
  | { op: 'offsetOf'; topic: string; partition: number; from: FromBody }
  | { op: 'offsets'; topic: string }
  | { op: 'groupOffsets'; group: string; topic: string }
  | { op: 'trim'; topic: string; partition: number; before: number; notYoungerThanMs: number }
  | { op: 'checkpoint'; slot: SlotId; which?: WhichCheckpoint }
  | { op: 'checkpoints'; slot: SlotId }

export type FromBody =
  | { at: 'earliest' }
  | { at: 'latest' }
  | { at: 'offset'; offset: bigint }
  | { at: 'time'; timestampMs: number }

/** What each operation answers with. */
export interface Results {
  createTopic: TopicInfo
  deleteTopic: undefined
  append: number
  commit: CheckpointSummary
  publish: undefined
  abort: undefined
  copyCheckpoint: CheckpointSummary
  deleteCheckpoints: undefined
  listTopics: TopicInfo[]
  topic: TopicInfo | undefined
  topicBytes: [topic: string, bytes: number][]
  read: ReadAnswer
  offsetOf: number
  offsets: { partition: number; earliest: number; latest: number }[]
  groupOffsets: [partition: number, offset: number][]
  trim: undefined
  checkpoint: (Omit<Checkpoint, 'meta'> & { meta: string }) | undefined
  checkpoints: CheckpointSummary[]
}

export interface ReadAnswer {
  frames: Uint8Array
  records: number
  next: number
  latest: number
}

export type Operation = keyof Results
export type Request = (WriteBody | ReadBody) & { id: number }

/** One tick's requests of a thread, a wish to be told of new records in a topic, or what a member tells its group. */
export type ToLog =
  | { kind: 'requests'; requests: Request[] }
  | { kind: 'watch' | 'unwatch'; topic: string }
  | { kind: 'group-join'; member: string; group: string; topic: string }
  /** It has let its partitions go. */
  | { kind: 'group-released' | 'group-leave'; member: string }

/** What a group tells a member. */
export type GroupEvent =
  | { type: 'assigned'; generation: number; partitions: number[] }
  | { type: 'revoke' }
  /** It is no member any more. */
  | { type: 'lost' }

export type Reply = { id: number; value: unknown } | { id: number; error: ErrorMessage }

export type FromLog =
  | { kind: 'replies'; replies: Reply[] }
  /** Records became readable here. */
  | { kind: 'appended'; partitions: [topic: string, partition: number][] }
  | { kind: 'group'; member: string; event: GroupEvent }
  /** Nothing will be answered any more. */
  | { kind: 'failed'; error: ErrorMessage }

/** From the thread that started the log. */
export type ControlMessage = { kind: 'connect'; port: MessagePort } | { kind: 'stop' }
/** To the thread that started the log. */
export type ControlReply = { kind: 'ready' } | { kind: 'failed'; error: ErrorMessage }

export interface LogOptions {
  /** Folder of log.db; made if missing. */
  dataDir: string
  /** Staged records kept in memory over all transactions; what is above goes to a table. 64 MiB unless given. */
  stagedBytesMax?: number
  /** Uncompressed batches kept for readers. 64 MiB unless given. */
  cacheBytes?: number
  /** How often retention by time and compaction are looked at. 1,000 ms unless given. */
  housekeepingEveryMs?: number
}
