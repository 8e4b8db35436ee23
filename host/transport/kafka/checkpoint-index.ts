// Which checkpoints there are: the topic spqr.checkpoints in memory, read once and followed from then on.
// Runs on: bridge.

import { decodeRecord, RECORD_LENGTH } from '../../record/record.ts'
import { decodeManifest, type Manifest } from './checkpoint-manifest.ts'
import type { Cluster } from './cluster.ts'
import { EARLIEST, fetchRequest, LATEST, listOffsetsRequest } from './data-requests.ts'
import { ConnectionLost, check } from './kafka-fault.ts'
import { type BatchInfo, RecordSetReader } from './record-set-reader.ts'

const FETCH_BYTES = 4 << 20
const decoder = new TextDecoder()

interface Change {
  key: string
  manifest: Manifest | undefined
}

interface Followed {
  partition: number
  next: number
  /** Changes of transactions that are open, by producer. */
  pending: Map<number, Change[]>
  catchingUp: Promise<void> | undefined
}

export class CheckpointIndex {
  readonly #cluster: Cluster
  readonly #topic: string
  readonly #partitions = new Map<number, Followed>()
  /** By slot, oldest first. */
  readonly #slots = new Map<string, Manifest[]>()
  /** Removed here, and not yet read as removed. */
  readonly #removed = new Set<string>()

  constructor(cluster: Cluster, topic: string) {
    this.#cluster = cluster
    this.#topic = topic
  }

  /** Oldest first; as of the last `catchUp` and of what was done here. */
  of(slot: string): readonly Manifest[] {
    return this.#slots.get(slot) ?? []
  }

  /** Slots whose key begins so. */
  slotsOf(prefix: string): string[] {
    return [...this.#slots.keys()].filter((slot) => slot.startsWith(prefix))
  }

  /** Adds, or replaces by key. */
  put(manifest: Manifest): void {
    const others = this.of(manifest.slot).filter((one) => one.key !== manifest.key)
    this.#slots.set(
      manifest.slot,
      [...others, manifest].sort((a, b) => a.seq - b.seq),
    )
  }

  remove(slot: string, key: string): void {
    this.#removed.add(key)
    this.#drop(slot, key)
  }

  /** Reads on to where the partition ends now: what others have committed is known then. */
  async catchUp(partition: number): Promise<void> {
    let followed = this.#partitions.get(partition)
    if (!followed) {
      followed = { partition, next: -1, pending: new Map(), catchingUp: undefined }
      this.#partitions.set(partition, followed)
    }
    // One that is under way may have asked for the end too early for us.
    await followed.catchingUp?.catch(() => {})
    const mine = followed
    mine.catchingUp ??= this.#cluster
      .attempt('read checkpoints', () => this.#follow(mine))
      .finally(() => {
        mine.catchingUp = undefined
      })
    await mine.catchingUp
  }

  #drop(slot: string, key: string): void {
    const left = this.of(slot).filter((one) => one.key !== key)
    if (left.length > 0) this.#slots.set(slot, left)
    else this.#slots.delete(slot)
  }

  async #follow(followed: Followed): Promise<void> {
    if (followed.next < 0) followed.next = await this.#list(followed.partition, EARLIEST)
    // Uncommitted: an open transaction of any slot would hide what others have committed behind it.
    const end = await this.#list(followed.partition, LATEST)
    while (followed.next < end) {
      const place = { topic: this.#topic, partition: followed.partition, offset: followed.next, bytesMax: FETCH_BYTES }
      const options = { waitMs: 100, bytesMin: 1, bytesMax: FETCH_BYTES, isolation: 'uncommitted' as const }
      const answers = await this.#cluster.sendToLeader(
        this.#topic,
        followed.partition,
        fetchRequest([place], options),
        'fetch',
      )
      const fetched = answers[0]
      if (!fetched) throw new ConnectionLost(this.#cluster.names, 'the answer does not name the partition')
      if (fetched.error !== 0) this.#cluster.forgetTopic(this.#topic)
      if (fetched.error === 1) {
        followed.next = await this.#list(followed.partition, EARLIEST)
        continue
      }
      check(fetched.error)
      this.#take(followed, fetched.records)
    }
  }

  #take(followed: Followed, bytes: Uint8Array): void {
    const begun: { info: BatchInfo | undefined } = { info: undefined }
    const reader = new RecordSetReader(bytes, followed.next, undefined, (info) => {
      begun.info = info
      if (info.marker === undefined) return
      const changes = followed.pending.get(info.producerId) ?? []
      followed.pending.delete(info.producerId)
      if (info.marker === 'commit') for (const change of changes) this.#apply(change)
    })
    while (!reader.isAtEnd) {
      // Batch by batch: each may belong to another transaction.
      const { frames } = reader.read(FETCH_BYTES, 1)
      const changes = changesOf(frames)
      if (changes.length === 0) continue
      const { info } = begun
      if (!info?.isTransactional) for (const change of changes) this.#apply(change)
      else followed.pending.set(info.producerId, [...(followed.pending.get(info.producerId) ?? []), ...changes])
    }
    // Nothing whole came: offsets that compaction has emptied lie between.
    followed.next = reader.nextOffset > followed.next ? reader.nextOffset : followed.next + (bytes.length === 0 ? 1 : 0)
  }

  #apply({ key, manifest }: Change): void {
    if (!manifest) {
      this.#removed.delete(key)
      this.#drop(key.slice(0, key.indexOf(' ')), key)
    } else if (!this.#removed.has(key)) this.put(manifest)
  }

  async #list(partition: number, timestamp: number): Promise<number> {
    const request = listOffsetsRequest([{ topic: this.#topic, partition, timestamp }], 'uncommitted')
    const listed = (await this.#cluster.sendToLeader(this.#topic, partition, request))[0]
    if (!listed) throw new ConnectionLost(this.#cluster.names, 'the answer does not name the partition')
    if (listed.error !== 0) this.#cluster.forgetTopic(this.#topic)
    check(listed.error)
    return listed.offset
  }
}

function changesOf(frames: Uint8Array): Change[] {
  const changes: Change[] = []
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  for (let at = 0; at < frames.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
    const record = decodeRecord(frames, at)
    if (!record.key) continue
    const key = decoder.decode(record.key)
    const manifest = record.value && decodeManifest(key, record.value)
    // One that cannot be read is not taken for a removal.
    if (record.value && !manifest) continue
    changes.push({ key, manifest })
  }
  return changes
}
