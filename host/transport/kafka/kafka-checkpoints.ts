// Checkpoints of slots in two compacted topics: a small one that says which there are, and one of pages, in which nobody
// looks but by offset. Pages that did not change are not written again.
// Runs on: bridge.

import { hash, randomBytes } from 'node:crypto'
import { SpqrError } from '../../../schemas/errors.ts'
import { RECORD_HEADER_BYTES, RecordBuffer } from '../../record/record.ts'
import { decodeState, encodeState, type KeptState } from '../checkpoint-state.ts'
import { type ChunkRef, hashPages, loadPages, type PageTable, PIECE_BYTES } from '../memory-pages.ts'
import { asBuffer, pack } from '../pack.ts'
import { partitionOf } from '../partitioner.ts'
import type { Checkpoint, CheckpointSummary, SlotCommit, SlotId, Snapshot } from '../transport.ts'
import { CheckpointIndex } from './checkpoint-index.ts'
import { digestOf, encodeManifest, type Manifest, type PlaceRef, slotKey } from './checkpoint-manifest.ts'
import { readValues, unpackValue } from './checkpoint-pages.ts'
import type { Cluster } from './cluster.ts'
import { giveMemory, takeMemory } from './frame-memory.ts'
import { PagePacker } from './page-packer.ts'
import type { TopicPartition } from './request.ts'
import type { TopicAdmin } from './topic-admin.ts'

const INDEX_TOPIC = 'spqr.checkpoints'
const PAGES_TOPIC = 'spqr.checkpoints.pages'
const PARTITIONS = 4
const KEEP = 3
/** A packed state up to this size stands in the index itself. */
const INLINE_BYTES_MAX = 16 << 10

export type WhichCheckpoint = { savepoint: string } | { epoch: number }
/** Writes records to one partition. @returns the offset of the first */
export type AppendTo = (place: TopicPartition, frames: Uint8Array, records: number) => Promise<number>

export type NewCheckpoint = Pick<
  SlotCommit,
  'slot' | 'epoch' | 'revision' | 'meta' | 'snapshots' | 'savepoint' | 'keep' | 'run'
> & { createdAt: number }

/** The page tables of the newest checkpoint, and which one that is. */
interface Tables {
  key: string
  byName: Map<string, PageTable>
  places: Map<number, PlaceRef>
}

interface Stored {
  manifest: Manifest
  renamed: Manifest[]
  tables: Tables
}

interface Opened {
  state: KeptState
  snapshots: Snapshot[]
}

interface Loaded {
  checkpoint: Checkpoint
  manifest: Manifest
  opened: Opened
  isNewest: boolean
}

export class KafkaCheckpoints {
  readonly #cluster: Cluster
  readonly #admin: TopicAdmin
  readonly #append: AppendTo
  readonly #index: CheckpointIndex
  readonly #tables = new Map<string, Tables>()
  /** By slot: the run for which all checkpoints that others have stored before it are known. */
  readonly #known = new Map<string, number>()
  readonly #queues = new Map<string, Promise<unknown>>()
  /** Keys are this process's own: nobody else makes the same. */
  readonly #incarnation = randomBytes(8).toString('base64url')
  #keys = 0
  #partitions: Promise<number> | undefined
  #cleaning: Promise<unknown> = Promise.resolve()
  readonly #packer = new PagePacker()

  /** @param append at least once, outside of any transaction */
  constructor(cluster: Cluster, admin: TopicAdmin, append: AppendTo) {
    this.#cluster = cluster
    this.#admin = admin
    this.#append = append
    this.#index = new CheckpointIndex(cluster, INDEX_TOPIC)
  }

  /** Makes the topics where they are missing: once, before the first checkpoint is written. */
  #makeTopics(): Promise<number> {
    if (!this.#partitions) {
      const settings = {
        'cleanup.policy': 'compact',
        'max.message.bytes': String(4 << 20),
        'min.cleanable.dirty.ratio': '0.2',
      }
      this.#partitions = Promise.all(
        [INDEX_TOPIC, PAGES_TOPIC].map((topic) => this.#admin.makeIfMissing(topic, PARTITIONS, settings)),
      ).then(() => this.#countPartitions())
      this.#partitions.catch(() => {
        this.#partitions = undefined
      })
    }
    return this.#partitions
  }

  async #countPartitions(): Promise<number> {
    const { leaders } = await this.#cluster.attempt('read checkpoints', () => this.#cluster.topic(INDEX_TOPIC))
    return leaders.length
  }

  /** @returns undefined: nobody has written a checkpoint yet */
  async #partitionOf(tenant: string, pipeline: string): Promise<number | undefined> {
    const partitions = await (this.#partitions ?? this.#countPartitions()).catch((thrown) => {
      if (thrown instanceof SpqrError && thrown.code === 'NOT_FOUND') return 0
      throw thrown
    })
    return partitions === 0 ? undefined : partitionOf(Buffer.from(`${tenant}/${pipeline}`), partitions)
  }

  /**
   * Stores a checkpoint. It counts when `append` of its last record has settled, or the transaction that it is in.
   * @param append where to: plainly, or inside a transaction
   * @param seal ends the transaction
   */
  store(checkpoint: NewCheckpoint, append: AppendTo, seal?: () => Promise<void>): Promise<CheckpointSummary> {
    const slot = slotKey(checkpoint.slot)
    return this.#inOrder(slot, async () => {
      await this.#makeTopics()
      const partition = (await this.#partitionOf(checkpoint.slot.tenant, checkpoint.slot.pipeline))!
      // What comes next must be newer than all that others have stored, or nobody would go on from it.
      const { run } = checkpoint
      if (run === undefined || this.#known.get(slot) !== run) await this.#index.catchUp(partition)
      if (run !== undefined) this.#known.set(slot, run)
      const stored = await this.#write(slot, partition, checkpoint, append)
      await seal?.()
      for (const manifest of [...stored.renamed, stored.manifest]) this.#index.put(manifest)
      this.#tables.set(slot, stored.tables)
      this.#prune(slot, partition, Math.max(1, checkpoint.keep ?? KEEP))
      return summaryOf(stored.manifest)
    })
  }

  /**
   * What it read is not compared with what this thread stores next: whoever goes on from it does so on another thread.
   * @throws SpqrError NOT_FOUND, INVALID_STATE
   */
  async load(slotId: SlotId, which?: WhichCheckpoint): Promise<Checkpoint | undefined> {
    return (await this.#load(slotId, which))?.checkpoint
  }

  async #load(slotId: SlotId, which: WhichCheckpoint | undefined): Promise<Loaded | undefined> {
    const found = await this.#newestFirst(slotId)
    const index = which ? found.findIndex((one) => matches(one, which)) : 0
    const manifest = found[index]
    if (!manifest && !which) return undefined
    if (!manifest) throw new SpqrError('NOT_FOUND', `The pipeline "${slotId.pipeline}" has no ${nameOf(which!)}.`)
    const opened = await this.#open(slotId, manifest)
    if (!opened) throw await this.#damaged(slotId, manifest, found.slice(index + 1))
    const { epoch, createdAt, revision, bytes } = manifest
    const meta: unknown = JSON.parse(opened.state.meta)
    const checkpoint = { epoch, createdAt, revision, bytes, meta, snapshots: opened.snapshots }
    return { checkpoint, manifest, opened, isNewest: index === 0 }
  }

  async list(slotId: SlotId): Promise<CheckpointSummary[]> {
    return (await this.#newestFirst(slotId)).map(summaryOf)
  }

  async copy(from: SlotId, to: SlotId, savepoint?: string, as = savepoint): Promise<CheckpointSummary> {
    const loaded = await this.#load(from, savepoint === undefined ? undefined : { savepoint })
    if (!loaded) throw new SpqrError('NOT_FOUND', `Cannot copy a checkpoint of ${textOf(from)}: there is none yet.`)
    // Beside itself it shares all its pages.
    if (loaded.isNewest && slotKey(from) === slotKey(to)) this.#noteTables(loaded.manifest, loaded.opened)
    const { epoch, createdAt, revision, meta, snapshots } = loaded.checkpoint
    return this.store({ slot: to, epoch, createdAt, revision, meta, snapshots, savepoint: as }, this.#append)
  }

  /** Removes everything of a pipeline, or one savepoint. */
  async delete(tenant: string, pipeline: string, savepoint?: string): Promise<void> {
    const partition = await this.#partitionOf(tenant, pipeline)
    if (partition === undefined) return
    await this.#index.catchUp(partition)
    const slots = this.#index.slotsOf(`${tenant}/${pipeline}/`)
    await Promise.all(slots.map((slot) => this.#inOrder(slot, () => this.#deleteOf(slot, partition, savepoint))))
  }

  async #deleteOf(slot: string, partition: number, savepoint: string | undefined): Promise<void> {
    const all = [...this.#index.of(slot)]
    if (savepoint === undefined) {
      this.#tables.delete(slot)
      this.#known.delete(slot)
      await this.#remove(slot, partition, all)
      return
    }
    const named = all.find((one) => one.savepoint === savepoint)
    if (!named) return
    // The newest is where the pipeline goes on: it only loses its name.
    if (named !== all.at(-1)) {
      await this.#remove(slot, partition, [named])
      return
    }
    const renamed = { ...named, savepoint: undefined }
    const { frames, records } = framesOf([{ key: renamed.key, value: encodeManifest(renamed) }])
    await this.#append({ topic: INDEX_TOPIC, partition }, frames, records)
    this.#index.put(renamed)
  }

  /** What runs in the background is over. */
  async stop(): Promise<void> {
    await Promise.allSettled([...this.#queues.values()])
    await this.#cleaning.catch(() => {})
    await this.#packer.stop()
  }

  async #write(slot: string, partition: number, checkpoint: NewCheckpoint, append: AppendTo): Promise<Stored> {
    const { epoch, createdAt, revision, meta, savepoint } = checkpoint
    const before = this.#index.of(slot)
    const known = this.#tables.get(slot)
    // Another host may have written since: what it let go of must not be named again.
    const reused = known && known.key === before.at(-1)?.key ? known : undefined
    let bytes = 0
    const tables: Tables = { key: this.#key(slot), byName: new Map(), places: new Map() }
    const state: KeptState = { meta: JSON.stringify(meta ?? null), snapshots: [] }
    for (const { component, instance, digest, globals, memory } of checkpoint.snapshots) {
      const name = tableName(component, instance)
      const { table, values } = await this.#packer.pack(memory, reused?.byName.get(name))
      const added = table.chunks.filter(({ id }) => id < 0)
      for (const [i, value] of values.entries()) {
        const place = await this.#writePage(partition, this.#key(slot), value, append)
        bytes += value.length
        added[i]!.id = place.offset
        tables.places.set(place.offset, place)
      }
      for (const { id } of table.chunks) {
        const place = reused?.places.get(id)
        if (place) tables.places.set(id, place)
      }
      tables.byName.set(name, table)
      state.snapshots.push({ component, instance, digest, globals, table })
    }
    const { codec, data } = pack(encodeState(state))
    bytes += data.length
    const isInline = data.length <= INLINE_BYTES_MAX
    const statePlace = isInline ? undefined : await this.#writePage(partition, this.#key(slot), data, append)
    const manifest: Manifest = {
      slot,
      key: tables.key,
      seq: (before.at(-1)?.seq ?? 0) + 1,
      epoch,
      createdAt,
      revision,
      bytes,
      savepoint,
      codec,
      digest: digestOf(epoch, createdAt, revision, data),
      state: statePlace,
      chunks: [...tables.places.values()],
      inline: isInline ? data : undefined,
    }
    const renamed = before
      .filter((one) => savepoint !== undefined && one.savepoint === savepoint)
      .map((one) => ({ ...one, savepoint: undefined }))
    const entries = [...renamed, manifest].map((one) => ({ key: one.key, value: encodeManifest(one) }))
    const { frames, records } = framesOf(entries)
    await append({ topic: INDEX_TOPIC, partition }, frames, records)
    return { manifest, renamed, tables }
  }

  /** One after the other, so that records get their turn between two. */
  async #writePage(partition: number, key: string, value: Uint8Array, append: AppendTo): Promise<PlaceRef> {
    const { frames, records } = framesOf([{ key, value }])
    const offset = await append({ topic: PAGES_TOPIC, partition }, frames, records)
    giveMemory(frames.buffer)
    return { key, offset }
  }

  #prune(slot: string, partition: number, keep: number): void {
    const plain = this.#index.of(slot).filter((one) => one.savepoint === undefined)
    const victims = plain.slice(0, Math.max(0, plain.length - keep))
    if (victims.length === 0) return
    // Nobody waits for it; what a crash leaves is pruned by the next one.
    const removed = this.#remove(slot, partition, victims).catch(() => {})
    this.#cleaning = Promise.all([this.#cleaning, removed])
  }

  /** Removes checkpoints and the chunks that only they name. */
  async #remove(slot: string, partition: number, victims: readonly Manifest[]): Promise<void> {
    if (victims.length === 0) return
    for (const victim of victims) this.#index.remove(slot, victim.key)
    const named = new Set(this.#index.of(slot).flatMap((one) => placesOf(one).map(({ key }) => key)))
    const gone = new Set(victims.flatMap((one) => placesOf(one).map(({ key }) => key)).filter((key) => !named.has(key)))
    const tombs = framesOf(victims.map(({ key }) => ({ key })))
    // First what names the chunks, then the chunks.
    await this.#append({ topic: INDEX_TOPIC, partition }, tombs.frames, tombs.records)
    if (gone.size === 0) return
    const pages = framesOf([...gone].map((key) => ({ key })))
    await this.#append({ topic: PAGES_TOPIC, partition }, pages.frames, pages.records)
  }

  async #newestFirst({ tenant, pipeline, slot }: SlotId): Promise<Manifest[]> {
    const partition = await this.#partitionOf(tenant, pipeline)
    if (partition === undefined) return []
    await this.#index.catchUp(partition)
    return [...this.#index.of(slotKey({ tenant, pipeline, slot }))].reverse()
  }

  /** @returns undefined where anything of it is damaged */
  async #open({ tenant, pipeline }: SlotId, manifest: Manifest): Promise<Opened | undefined> {
    const partition = (await this.#partitionOf(tenant, pipeline))!
    const place = { topic: PAGES_TOPIC, partition }
    const offsets = placesOf(manifest).map(({ offset }) => offset)
    const values = offsets.length > 0 ? await readValues(this.#cluster, place, offsets) : new Map<number, Uint8Array>()
    try {
      const data = manifest.inline ?? values.get(manifest.state!.offset)
      const { epoch, createdAt, revision, codec } = manifest
      if (!data || digestOf(epoch, createdAt, revision, data) !== manifest.digest) return undefined
      // The codec of the state stands in the manifest, that of a chunk before it.
      const state = decodeState(asBuffer(unpackValue(Buffer.concat([Uint8Array.of(codec), data]))))
      const snapshots = state.snapshots.map(({ table, component, instance, digest, globals }): Snapshot => {
        return { component, instance, digest, globals, memory: loadPages(table, (chunk) => chunkOf(values, chunk)) }
      })
      return { state, snapshots }
    } catch (thrown) {
      if (thrown instanceof DamagedChunk) return undefined
      throw thrown
    }
  }

  /** The next checkpoint that this thread stores of the slot adds the difference only. */
  #noteTables(manifest: Manifest, { state, snapshots }: Opened): void {
    const tables: Tables = { key: manifest.key, byName: new Map(), places: new Map() }
    for (const [i, { component, instance, table }] of state.snapshots.entries()) {
      const hashes = hashPages(snapshots[i]!.memory)
      tables.byName.set(tableName(component, instance), { ...table, hashes })
    }
    for (const place of manifest.chunks) tables.places.set(place.offset, place)
    this.#tables.set(manifest.slot, tables)
  }

  async #damaged(slotId: SlotId, manifest: Manifest, older: Manifest[]): Promise<SpqrError> {
    let whole: Manifest | undefined
    for (const one of older) {
      if (!(await this.#open(slotId, one))) continue
      whole = one
      break
    }
    const offer = whole
      ? `the one before, of epoch ${whole.epoch}, is whole: restart from "checkpoint:${whole.epoch}"`
      : 'none before it is whole'
    const text = `Cannot load the checkpoint of epoch ${manifest.epoch} of ${textOf(slotId)}: it is damaged; ${offer}.`
    const extra = { epoch: manifest.epoch, ...(whole ? { wholeEpoch: whole.epoch } : {}) }
    return new SpqrError('INVALID_STATE', text, { extra })
  }

  #key(slot: string): string {
    return `${slot} ${this.#incarnation}${(++this.#keys).toString(36)}`
  }

  /** One after the other for each slot. */
  #inOrder<T>(slot: string, act: () => Promise<T>): Promise<T> {
    const done = (this.#queues.get(slot) ?? Promise.resolve()).then(act, act)
    const settled = done
      .catch(() => {})
      .then(() => {
        if (this.#queues.get(slot) === settled) this.#queues.delete(slot)
      })
    this.#queues.set(slot, settled)
    return done
  }
}

class DamagedChunk extends Error {}

function chunkOf(values: Map<number, Uint8Array>, ref: ChunkRef): Uint8Array {
  const value = values.get(ref.id)
  if (!value || hash('sha256', value) !== ref.digest) throw new DamagedChunk()
  const data = unpackValue(value)
  if (data.length !== ref.pieces * PIECE_BYTES) throw new DamagedChunk()
  return data
}

function placesOf(manifest: Manifest): PlaceRef[] {
  return manifest.state ? [...manifest.chunks, manifest.state] : manifest.chunks
}

function framesOf(entries: readonly { key: string; value?: Uint8Array }[]): { frames: Uint8Array; records: number } {
  const bytes = entries.reduce(
    (sum, { key, value }) => sum + RECORD_HEADER_BYTES + key.length + (value?.length ?? 0) + 8,
    0,
  )
  const buffer = new RecordBuffer(0)
  // Pages of a large state are many megabytes: memory that was used before costs a tenth of new.
  buffer.bytes = takeMemory(bytes)
  buffer.view = new DataView(buffer.bytes.buffer)
  const timestamp = Date.now()
  for (const { key, value } of entries) buffer.add({ key: Buffer.from(key), value, timestamp })
  return { frames: buffer.bytes.subarray(0, buffer.length), records: buffer.records }
}

function summaryOf({ epoch, createdAt, revision, bytes, savepoint }: Manifest): CheckpointSummary {
  return { epoch, createdAt, revision, bytes, ...(savepoint === undefined ? {} : { savepoint }) }
}

function tableName(component: string, instance: number): string {
  return `${instance} ${component}`
}

function matches(manifest: Manifest, which: WhichCheckpoint): boolean {
  return 'savepoint' in which ? manifest.savepoint === which.savepoint : manifest.epoch === which.epoch
}

function nameOf(which: WhichCheckpoint): string {
  return 'savepoint' in which ? `savepoint "${which.savepoint}"` : `checkpoint of epoch ${which.epoch}`
}

function textOf(slot: SlotId): string {
  return `the pipeline "${slot.pipeline}"`
}
