// Appends to one partition under one producer's identity: in order, one request under way, those that wait in one batch.
// Runs on: bridge. Frames belong to the writer until their promise settles.

import { SpqrError } from '../../../schemas/errors.ts'
import { RECORD_LENGTH } from '../../record/record.ts'
import type { Cluster } from './cluster.ts'
import { produceRequest } from './data-requests.ts'
import { giveMemory } from './frame-memory.ts'
import { ConnectionLost, FAULT, KafkaFault } from './kafka-fault.ts'
import { BATCH_HEAD_BYTES } from './record-batch.ts'
import type { RecordBatchWriter } from './record-batch-writer.ts'
import { keyOf, type TopicPartition } from './request.ts'
import type { ProducerIdentity } from './transaction-requests.ts'

/** Batches are gathered and cut to about this many bytes in Kafka's form, unless one record alone is larger. */
const BATCH_BYTES = 1_040_000
/** What a record has less there, at least. */
const RECORD_LESS_BYTES = 20
/** How long the broker may wait for its replicas. */
const REPLICA_WAIT_MS = 20_000

/** An identity, and how many records it has written where: the broker counts with it, over transactions too. */
export interface Stamp extends ProducerIdentity {
  readonly sequences: Map<string, number>
}

/** Under whose name a writer writes. */
export interface WriterIdentity {
  readonly transactionalId: string | null
  /** Ready to write to this partition: an id is there, and the partition is part of the transaction. */
  ready(place: TopicPartition): Promise<Stamp>
  /**
   * The broker does not accept the identity any more, or may have used it up. Afterwards `ready` gives another one.
   * @throws SpqrError where what was written under it is lost
   */
  lost(place: TopicPartition, fault: Error): void
  /** A batch was not answered: it was written again, and may still arrive once more. */
  unanswered(): void
}

/** Whole records, of one append or of several that waited together. */
interface Piece {
  frames: Uint8Array
  from: number
  to: number
  records: number
}

/** A batch that was built while the one before it was under way. */
interface Prepared {
  piece: Piece
  stamp: Stamp
  sequence: number
  batch: Uint8Array
}

interface Append extends Piece {
  done(offset: number): void
  fail(error: unknown): void
}

export class PartitionWriter {
  readonly #cluster: Cluster
  readonly #place: TopicPartition
  readonly #identity: WriterIdentity
  readonly #batches: RecordBatchWriter
  /** The largest batch that the topic takes. */
  readonly #batchBytesMax: () => Promise<number>
  #waiting: Append[] = []
  #isRunning = false
  /** The rest of the append in work. */
  #rest: Piece[] = []
  #prepared: Prepared | undefined
  /** What waits gathers here. */
  #gathered = new Uint8Array(0)

  constructor(
    cluster: Cluster,
    place: TopicPartition,
    identity: WriterIdentity,
    batches: RecordBatchWriter,
    batchBytesMax: () => Promise<number>,
  ) {
    this.#cluster = cluster
    this.#place = place
    this.#identity = identity
    this.#batches = batches
    this.#batchBytesMax = batchBytesMax
  }

  get isIdle(): boolean {
    return !this.#isRunning
  }

  /**
   * @param frames checked records, at least one
   * @returns the offset of the first
   * @throws SpqrError NOT_FOUND, RECORD_TOO_LARGE (nothing was written), TRANSPORT_UNAVAILABLE
   */
  append(frames: Uint8Array, records: number): Promise<number> {
    return new Promise((done, fail) => {
      this.#waiting.push({ frames, from: 0, to: frames.length, records, done, fail })
      if (!this.#isRunning) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup()
      try {
        const batchBytesMax = await this.#batchBytesMax()
        if (group.length > 1) await this.#writeTogether(group)
        else await this.#writeAlone(group[0]!, batchBytesMax)
      } catch (thrown) {
        for (const one of group) one.fail(thrown)
      }
    }
    // In one step with the look that found nothing: who appends after it starts anew.
    this.#isRunning = false
  }

  /** As many appends as one batch holds, at least one. */
  #takeGroup(): Append[] {
    let bytes = 0
    let count = 0
    while (count < this.#waiting.length) {
      bytes += wireBytes(this.#waiting[count]!)
      if (count > 0 && bytes > BATCH_BYTES) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #writeTogether(group: Append[]): Promise<void> {
    const bytes = group.reduce((sum, one) => sum + one.to, 0)
    if (this.#gathered.length < bytes) this.#gathered = new Uint8Array(Math.max(bytes, BATCH_BYTES))
    let at = 0
    let records = 0
    for (const one of group) {
      this.#gathered.set(one.frames, at)
      at += one.to
      records += one.records
    }
    let offset: number
    try {
      offset = await this.#write({ frames: this.#gathered, from: 0, to: at, records })
    } catch (thrown) {
      if (!isTooLarge(thrown)) throw thrown
      // Which of them it is shows when each is alone.
      const batchBytesMax = await this.#batchBytesMax()
      for (const one of group) await this.#writeAlone(one, batchBytesMax).catch((error: unknown) => one.fail(error))
      return
    }
    for (const one of group) {
      one.done(offset)
      offset += one.records
    }
  }

  async #writeAlone(append: Append, batchBytesMax: number): Promise<void> {
    const pieces = cut(append, Math.min(BATCH_BYTES, batchBytesMax - BATCH_HEAD_BYTES))
    // Looked at before any of it is written: an append is whole or not at all, as far as Kafka lets it.
    for (const piece of pieces) if (piece.records === 1) this.#checkSize(piece, batchBytesMax)
    let first = 0
    try {
      for (const [i, piece] of pieces.entries()) {
        this.#rest = pieces.slice(i + 1, i + 2)
        const offset = await this.#writeHalving(piece)
        if (i === 0) first = offset
      }
    } finally {
      this.#rest = []
    }
    append.done(first)
  }

  #checkSize(piece: Piece, batchBytesMax: number): void {
    if (wireBytes(piece) <= batchBytesMax - BATCH_HEAD_BYTES) return
    const { length } = this.#batches.write(piece.frames, piece.from, piece.to)
    if (length > batchBytesMax) throw this.#tooLarge(length, batchBytesMax)
  }

  #tooLarge(bytes: number, bytesMax: number | undefined): SpqrError {
    const limit = bytesMax === undefined ? 'more than its brokers take' : `its max.message.bytes is ${bytesMax}`
    const text = `Cannot append to "${this.#place.topic}": a record takes ${bytes} bytes, ${limit}.`
    return new SpqrError('RECORD_TOO_LARGE', text)
  }

  /** Where the limit was lowered since it was asked for, the halves may fit. */
  async #writeHalving(piece: Piece): Promise<number> {
    try {
      return await this.#write(piece)
    } catch (thrown) {
      if (!isTooLarge(thrown)) throw thrown
      if (piece.records === 1) throw this.#tooLarge(piece.to - piece.from, undefined)
      const [left, ...right] = cut(piece, wireBytes(piece) >> 1)
      const offset = await this.#writeHalving(left!)
      for (const half of right) await this.#writeHalving(half)
      return offset
    }
  }

  /** Writes one batch, again until it is known to be there. @throws SpqrError; a cause of MESSAGE_TOO_LARGE */
  async #write(piece: Piece): Promise<number> {
    const { topic, partition } = this.#place
    let batch: Uint8Array | undefined
    let stamp: Stamp | undefined
    const key = keyOf(topic, partition)
    let tries = 0
    const write = async (): Promise<number> => {
      tries++
      const identity = await this.#identity.ready(this.#place)
      if (!batch || stamp !== identity) {
        // The same bytes under the same sequence are written once, however often they come.
        stamp = identity
        batch = this.#takePrepared(piece, identity, identity.sequences.get(key) ?? 0)
      }
      const sequence = (identity.sequences.get(key) ?? 0) + piece.records
      const ahead = setImmediate(() => this.#prepare(identity, sequence % 0x80000000))
      const offset = await this.#send(batch).finally(() => clearImmediate(ahead))
      identity.sequences.set(key, sequence % 0x80000000)
      // A connection that failed may still hold what it was to send: only what went through at once is used again.
      if (tries === 1) giveMemory(batch.buffer)
      return offset
    }
    try {
      return await this.#cluster.attempt(`append to partition ${partition} of topic "${topic}"`, write)
    } catch (thrown) {
      // Whether it is there is not known: its sequence may be used up, and must not be given to other records.
      if (batch && thrown instanceof SpqrError && thrown.code === 'TRANSPORT_UNAVAILABLE') {
        this.#identity.lost(this.#place, thrown)
      }
      throw thrown
    }
  }

  #build(piece: Piece, stamp: Stamp, sequence: number): Uint8Array {
    const { id, epoch } = stamp
    const transactional = this.#identity.transactionalId !== null
    return this.#batches.write(piece.frames, piece.from, piece.to, { id, epoch, sequence, transactional })
  }

  /** Builds the next batch, where it is clear which that is, while one is under way. */
  #prepare(stamp: Stamp, sequence: number): void {
    const [next, other] = this.#waiting
    const isAlone = next && (!other || wireBytes(next) + wireBytes(other) > BATCH_BYTES)
    const piece = this.#rest[0] ?? (isAlone && wireBytes(next) <= BATCH_BYTES ? next : undefined)
    if (!piece) return
    this.#prepared = { piece, stamp, sequence, batch: this.#build(piece, stamp, sequence) }
  }

  #takePrepared(piece: Piece, stamp: Stamp, sequence: number): Uint8Array {
    const prepared = this.#prepared
    this.#prepared = undefined
    const isIt = prepared?.piece === piece && prepared.stamp === stamp && prepared.sequence === sequence
    return isIt ? prepared.batch : this.#build(piece, stamp, sequence)
  }

  async #send(batch: Uint8Array): Promise<number> {
    const { topic, partition } = this.#place
    const request = produceRequest(this.#place, batch, this.#identity.transactionalId, REPLICA_WAIT_MS)
    const answer = await this.#cluster.sendToLeader(topic, partition, request).catch((thrown) => {
      if (thrown instanceof ConnectionLost) this.#identity.unanswered()
      throw thrown
    })
    if (!answer) throw new ConnectionLost(this.#cluster.names, 'the answer does not name the partition')
    if (answer.error === 0 || answer.error === FAULT.DUPLICATE_SEQUENCE_NUMBER) return answer.baseOffset
    const fault = new KafkaFault(answer.error, `partition ${partition} of topic "${topic}"`)
    // A new identity is a new try; what was written under the old one before stays.
    if (fault.isIdentityLost) {
      this.#identity.lost(this.#place, fault)
      throw new ConnectionLost(this.#cluster.names, fault)
    }
    if (fault.isRetriable) this.#cluster.forgetTopic(topic)
    throw fault
  }
}

function isTooLarge(thrown: unknown): boolean {
  const cause = thrown instanceof SpqrError ? thrown.cause : thrown
  if (!(cause instanceof KafkaFault)) return false
  return cause.code === FAULT.MESSAGE_TOO_LARGE || cause.code === FAULT.RECORD_LIST_TOO_LARGE
}

/** At most so many bytes in Kafka's form, without the batch's head. */
function wireBytes(piece: Piece): number {
  return piece.to - piece.from - piece.records * RECORD_LESS_BYTES
}

/** Runs of whole records of at most `bytesMax`, unless one alone is larger. */
function cut(piece: Piece, bytesMax: number): Piece[] {
  if (wireBytes(piece) <= bytesMax || piece.records === 1) return [piece]
  const { frames } = piece
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  const pieces: Piece[] = []
  let from = piece.from
  let records = 0
  for (let at = from; at < piece.to; ) {
    const end = at + view.getUint32(at + RECORD_LENGTH, true)
    if (records > 0 && end - from - (records + 1) * RECORD_LESS_BYTES > bytesMax) {
      pieces.push({ frames, from, to: at, records })
      from = at
      records = 0
    }
    records++
    at = end
  }
  pieces.push({ frames, from, to: piece.to, records })
  return pieces
}
