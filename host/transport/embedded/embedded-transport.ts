// The embedded transport as every thread sees it: checks what it is given and passes it to the log thread.
// Runs on: control, bridge. Bytes handed in are copied (snapshots moved); bytes answered belong to the caller.

import type { MessagePort } from 'node:worker_threads'
import { SpqrError } from '../../../schemas/errors.ts'
import { movableBuffers, movableImage } from '../../ring/image-memory.ts'
import { checkFrames } from '../check-frames.ts'
import { PIECE_BYTES } from '../memory-pages.ts'
import { checkTopicSpec, topicNameProblem } from '../topic-spec.ts'
import type {
  AppendOptions,
  Checkpoint,
  CheckpointSummary,
  GroupListener,
  GroupMember,
  PartitionOffsets,
  ReadFrom,
  ReadResult,
  SlotCommit,
  SlotId,
  TopicInfo,
  TopicSpec,
  Transport,
} from '../transport.ts'
import { EmbeddedMember } from './embedded-member.ts'
import { LogClient } from './log-client.ts'
import type { CommitBody, WhichCheckpoint } from './messages.ts'

const KEEP_CHECKPOINTS = 3

/** @example const transport = new EmbeddedTransport(log.connect()) */
export class EmbeddedTransport implements Transport {
  readonly kind = 'embedded'
  readonly #log: LogClient
  readonly #watchers = new Map<string, Set<(partition: number) => void>>()
  readonly #members = new Map<string, EmbeddedMember>()

  /** @param port from `EmbeddedLog.connect()`; this transport's alone from now on */
  constructor(port: MessagePort) {
    const onAppended = (topic: string, partition: number): void => {
      for (const onAppend of this.#watchers.get(topic) ?? []) onAppend(partition)
    }
    this.#log = new LogClient(port, onAppended, (member, event) => this.#members.get(member)?.told(event))
  }

  async createTopic(spec: TopicSpec): Promise<TopicInfo> {
    checkTopicSpec(spec)
    const { name, partitions, retentionMs, retentionBytes, compact } = spec
    return this.#log.call('createTopic', {
      op: 'createTopic',
      spec: { name, partitions, retentionMs, retentionBytes, compact },
    })
  }

  async deleteTopic(name: string): Promise<void> {
    await this.#log.call('deleteTopic', { op: 'deleteTopic', name })
  }

  listTopics(prefix: string): Promise<TopicInfo[]> {
    return this.#log.call('listTopics', { op: 'listTopics', prefix })
  }

  topic(name: string): Promise<TopicInfo | undefined> {
    return this.#log.call('topic', { op: 'topic', name })
  }

  async topicBytes(prefix: string): Promise<Map<string, number>> {
    return new Map(await this.#log.call('topicBytes', { op: 'topicBytes', prefix }))
  }

  async append(
    topic: string,
    partition: number,
    frames: Uint8Array,
    records: number,
    options: AppendOptions = {},
  ): Promise<bigint> {
    const { transaction, create = false } = options
    const problem = create ? topicNameProblem(topic) : undefined
    if (problem) throw new SpqrError('INVALID_BODY', `Cannot create topic "${topic}": the name of a topic ${problem}.`)
    checkFrames(topic, frames, records)
    // The caller goes on using its memory; a copy of just these bytes can be moved to the log thread.
    const copy = new Uint8Array(frames.length)
    copy.set(frames)
    const body = { op: 'append', topic, partition, frames: copy, records, transaction, create } as const
    return BigInt(await this.#log.call('append', body, [copy.buffer]))
  }

  async read(topic: string, partition: number, offset: bigint, bytesMax: number): Promise<ReadResult> {
    const body = { op: 'read', topic, partition, offset: Number(offset), bytesMax } as const
    const { frames, records, next, latest } = await this.#log.call('read', body)
    return { frames, records, next: BigInt(next), latest: BigInt(latest) }
  }

  async offsetOf(topic: string, partition: number, from: ReadFrom): Promise<bigint> {
    return BigInt(await this.#log.call('offsetOf', { op: 'offsetOf', topic, partition, from }))
  }

  async offsets(topic: string): Promise<PartitionOffsets[]> {
    const all = await this.#log.call('offsets', { op: 'offsets', topic })
    return all.map(({ partition, earliest, latest }) => {
      return { partition, earliest: BigInt(earliest), latest: BigInt(latest) }
    })
  }

  watch(topic: string, onAppend: (partition: number) => void): () => void {
    // A wrapper of its own, so that the same function may watch twice.
    const watcher = (partition: number): void => onAppend(partition)
    let watchers = this.#watchers.get(topic)
    if (!watchers) {
      watchers = new Set()
      this.#watchers.set(topic, watchers)
      this.#log.post({ kind: 'watch', topic })
    }
    watchers.add(watcher)
    return () => {
      const set = this.#watchers.get(topic)
      if (!set?.delete(watcher) || set.size > 0) return
      this.#watchers.delete(topic)
      this.#log.post({ kind: 'unwatch', topic })
    }
  }

  async trim(topic: string, partition: number, before: bigint, notYoungerThanMs: number): Promise<void> {
    await this.#log.call('trim', { op: 'trim', topic, partition, before: Number(before), notYoungerThanMs })
  }

  async groupOffsets(group: string, topic: string): Promise<Map<number, bigint>> {
    const offsets = await this.#log.call('groupOffsets', { op: 'groupOffsets', group, topic })
    return new Map(offsets.map(([partition, offset]) => [partition, BigInt(offset)]))
  }

  joinGroup(group: string, topic: string, listener: GroupListener): GroupMember {
    const member = new EmbeddedMember(this.#log, group, topic, listener, () => this.#members.delete(member.id))
    this.#members.set(member.id, member)
    member.join()
    return member
  }

  async commit(commit: SlotCommit): Promise<CheckpointSummary> {
    const { slot, epoch, revision, snapshots, savepoint, transaction } = commit
    for (const { component, memory } of snapshots) {
      if (memory.length % PIECE_BYTES === 0) continue
      throw new RangeError(`Cannot store the state of "${component}": ${memory.length} bytes are no whole pages`)
    }
    const body: CommitBody = {
      slot,
      epoch,
      revision,
      meta: JSON.stringify(commit.meta ?? null),
      snapshots: snapshots.map((snapshot) => ({ ...snapshot, memory: movableImage(snapshot.memory) })),
      savepoint,
      transaction,
      patient: commit.patient ?? false,
      offsets: (commit.offsets ?? []).map((one) => ({ ...one, offset: Number(one.offset) })),
      keep: Math.max(1, commit.keep ?? KEEP_CHECKPOINTS),
    }
    const transfer = movableBuffers(body.snapshots.map((snapshot) => snapshot.memory))
    return this.#log.call('commit', { op: 'commit', commit: body }, transfer)
  }

  async abort(transaction: string): Promise<void> {
    await this.#log.call('abort', { op: 'abort', transaction })
  }

  async checkpoint(slot: SlotId, which?: WhichCheckpoint): Promise<Checkpoint | undefined> {
    const found = await this.#log.call('checkpoint', { op: 'checkpoint', slot, which })
    return found && { ...found, meta: JSON.parse(found.meta) as unknown }
  }

  checkpoints(slot: SlotId): Promise<CheckpointSummary[]> {
    return this.#log.call('checkpoints', { op: 'checkpoints', slot })
  }

  copyCheckpoint(from: SlotId, to: SlotId, savepoint?: string, as?: string): Promise<CheckpointSummary> {
    return this.#log.call('copyCheckpoint', { op: 'copyCheckpoint', from, to, savepoint, as })
  }

  async deleteCheckpoints(tenant: string, pipeline: string, savepoint?: string): Promise<void> {
    await this.#log.call('deleteCheckpoints', { op: 'deleteCheckpoints', tenant, pipeline, savepoint })
  }

  async stop(): Promise<void> {
    this.#watchers.clear()
    await this.#log.stop()
  }
}
