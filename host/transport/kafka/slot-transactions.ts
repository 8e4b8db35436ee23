// Transactions of slots. A slot has two transactional ids, for its odd and its even epochs, so that what belongs to the next
// epoch can be written while this one commits; either fences whoever had the slot before.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import type { SlotId } from '../transport.ts'
import { type Membership, putOut } from '../transport.ts'
import { type Cluster, sleep } from './cluster.ts'
import { ConnectionLost, FAULT, isFault, KafkaFault } from './kafka-fault.ts'
import { hasMembers, isPutOut } from './kafka-member.ts'
import { PartitionWriter, type Stamp, type WriterIdentity } from './partition-writer.ts'
import type { RecordBatchWriter } from './record-batch-writer.ts'
import { keyOf, type TopicPartition } from './request.ts'
import {
  addOffsetsToTxnRequest,
  addPartitionsToTxnRequest,
  describeTransactionRequest,
  endTxnRequest,
  type GroupOffset,
  initProducerIdRequest,
  type TransactionState,
  type Transactor,
  txnOffsetCommitRequest,
} from './transaction-requests.ts'

/** How long a transaction may stay open: the broker ends it then. A successor does not wait for that, it fences. */
const TRANSACTION_MS = 300_000
/** How long a commit waits until readers see it. It holds in any case. */
const VISIBLE_WAIT_MS = 5_000

/** Kafka's names for what the product calls by `tenant/pipeline[/slot]/epoch`. */
export interface TransactionNames {
  /** The id that this transaction uses. */
  own: string
  /** All ids of the slot: fenced together. */
  slot: string[]
}

/** @param transaction `tenant/pipeline/epoch`, `tenant/pipeline/slot/epoch`, or any other name, which has an id of its own */
export function transactionNames(transaction: string): TransactionNames {
  const parts = /^([^/]+)\/([^/]+)(?:\/(\d+))?\/(\d+)$/.exec(transaction)
  if (!parts) {
    const own = `spqr.tx.${transaction}`
    return { own, slot: [own] }
  }
  const [, tenant, pipeline, slot = '0', epoch] = parts
  const base = `spqr.${tenant}.${pipeline}.${slot}`
  const slotIds = [`${base}.even`, `${base}.odd`]
  return { own: slotIds[Number(epoch) % 2]!, slot: slotIds }
}

type Holder = Transactor & Stamp

/** One open transaction: a writer's identity, and what is part of it. */
class SlotTransaction implements WriterIdentity {
  readonly transactionalId: string
  readonly who: Holder
  /** Set when it cannot be committed any more. */
  doomed: SpqrError | undefined
  /** Something was not answered: it may have been taken, or still be on its way. */
  isUncertain = false
  readonly topics = new Set<string>()
  readonly #cluster: Cluster
  readonly #added = new Map<string, Promise<void>>()
  readonly #writers = new Map<string, PartitionWriter>()

  constructor(cluster: Cluster, who: Holder) {
    this.#cluster = cluster
    this.transactionalId = who.transactionalId
    this.who = who
  }

  async ready(place: TopicPartition): Promise<Stamp> {
    if (this.doomed) throw this.doomed
    const key = keyOf(place.topic, place.partition)
    let added = this.#added.get(key)
    if (!added) {
      // Its existence is asked for first: Kafka would wait for a topic that is not there.
      added = this.#cluster
        .leader(place.topic, place.partition)
        .then(() => this.request(addPartitionsToTxnRequest(this.who, [place])))
      this.#added.set(key, added)
      added.then(
        () => this.topics.add(place.topic),
        (thrown) => {
          this.#added.delete(key)
          if (isFault(thrown, FAULT.UNKNOWN_TOPIC_OR_PARTITION)) this.#cluster.forgetTopic(place.topic)
        },
      )
    }
    await added
    return this.who
  }

  lost(_place: TopicPartition, fault: Error): void {
    this.doom(fault)
    throw this.doomed
  }

  unanswered(): void {
    this.isUncertain = true
  }

  writer(place: TopicPartition, make: () => PartitionWriter): PartitionWriter {
    const key = keyOf(place.topic, place.partition)
    let writer = this.#writers.get(key)
    if (!writer) {
      writer = make()
      this.#writers.set(key, writer)
    }
    return writer
  }

  /** To the transaction's coordinator. @throws what cannot be tried again dooms it */
  async request(request: Parameters<Cluster['sendToCoordinator']>[2]): Promise<void> {
    try {
      await this.#cluster.sendToCoordinator('transaction', this.transactionalId, request)
    } catch (thrown) {
      if (thrown instanceof ConnectionLost) this.unanswered()
      if (thrown instanceof KafkaFault && thrown.isIdentityLost) {
        this.doom(thrown)
        throw this.doomed
      }
      throw thrown
    }
  }

  doom(fault: Error): void {
    this.doomed ??= lostError(this.transactionalId, fault)
  }
}

/** Offsets of one group, as one of its members. */
export interface GroupPublication {
  group: string
  membership: Membership | undefined
  offsets: GroupOffset[]
}

export interface TransactionalAppends {
  batches: RecordBatchWriter
  batchBytesMax(topic: string): Promise<number>
}

export class SlotTransactions {
  readonly #cluster: Cluster
  readonly #appends: TransactionalAppends
  /** By transactional id: the identity that this thread holds. */
  readonly #held = new Map<string, Promise<Holder>>()
  /** By the product's name. */
  readonly #open = new Map<string, Promise<SlotTransaction>>()
  /** By transactional id: the name of the transaction that is open under it, and those that wait for its end. */
  readonly #busy = new Map<string, { name: string; ended: Promise<void>; end(): void }>()

  constructor(cluster: Cluster, appends: TransactionalAppends) {
    this.#cluster = cluster
    this.#appends = appends
  }

  /** Writes inside a transaction, which begins with its first write. @returns the offset of the first record */
  async append(name: string, place: TopicPartition, frames: Uint8Array, records: number): Promise<number> {
    const transaction = await this.#begin(name)
    const { batches, batchBytesMax } = this.#appends
    const writer = transaction.writer(place, () => {
      return new PartitionWriter(this.#cluster, place, transaction, batches, () => batchBytesMax(place.topic))
    })
    return writer.append(frames, records)
  }

  /**
   * Ends a transaction well.
   * @param offsets published with it
   * @throws SpqrError; nothing of it is seen then
   */
  async commit(name: string, offsets: readonly GroupPublication[]): Promise<void> {
    const transaction = await this.#begin(name)
    try {
      // Markers can be written only where the topics still are.
      await Promise.all([...transaction.topics].map((topic) => this.#exists(topic)))
      for (const publication of offsets) await this.#addOffsets(transaction, publication)
      if (transaction.doomed) throw transaction.doomed
      await this.#end(transaction, true)
    } catch (thrown) {
      await this.abort(name).catch(() => {})
      throw thrown
    }
    // What comes late must not be taken for the next one's, which it would end, or give older offsets.
    if (transaction.isUncertain) this.#held.delete(transaction.transactionalId)
    this.#forget(name, transaction.transactionalId)
  }

  /** Drops what was written under the name; what this thread has not open: fences who has. */
  async abort(name: string): Promise<void> {
    const names = transactionNames(name)
    const open = this.#open.get(name)
    if (!open) {
      if (names.slot.length === 1) return
      // Of an epoch that the slot never reached by its checkpoints: it would hold up all that come after it.
      const left = this.#busy.get(names.own)
      if (left) return this.abort(left.name)
      // Whoever had the slot meanwhile has fenced the identity that this thread had.
      this.#held.delete(names.own)
      await Promise.all(names.slot.map((id) => this.#hold(id)))
      return
    }
    const transaction = await open.catch(() => undefined)
    try {
      if (transaction && !transaction.doomed) await this.#end(transaction, false)
    } catch {
      // A new identity ends what the old one left open.
    } finally {
      // Who still tries to write would begin it again.
      transaction?.doom(new Error('it was aborted'))
      // Whoever has the slot next fences this identity too.
      this.#held.delete(names.own)
      this.#forget(name, names.own)
    }
  }

  /**
   * Ends what anybody has open of a slot, in the order in which it was begun: readers are told of aborted transactions by their
   * ends, and kafkajs 2 takes that for the order of their beginnings and shows records that it should not (docs/delivery.md).
   */
  async fence({ tenant, pipeline, slot }: SlotId): Promise<void> {
    const ids = transactionNames(`${tenant}/${pipeline}/${slot}/1`).slot
    const found = await Promise.all(ids.map(async (id) => ({ id, begunAt: await this.#begunAt(id) })))
    for (const { id } of found.sort((a, b) => a.begunAt - b.begunAt)) {
      // Anew each time, and for whoever writes next to fence in turn.
      this.#held.delete(id)
      await this.#hold(id)
      this.#held.delete(id)
    }
  }

  /** ms since 1970; less than 0 where nothing is open, or the broker cannot tell. */
  async #begunAt(id: string): Promise<number> {
    try {
      const action = `look at the transaction "${id}"`
      const request = describeTransactionRequest(id)
      const ask = (): Promise<TransactionState> => this.#cluster.sendToCoordinator('transaction', id, request)
      return (await this.#cluster.attempt(action, ask)).begunAt
    } catch {
      return -1
    }
  }

  async #begin(name: string): Promise<SlotTransaction> {
    const known = this.#open.get(name)
    if (known) return known
    const { own, slot } = transactionNames(name)
    const busy = this.#busy.get(own)
    if (busy && busy.name !== name) {
      await busy.ended
      return this.#begin(name)
    }
    let end = (): void => {}
    const ended = new Promise<void>((done) => {
      end = done
    })
    this.#busy.set(own, { name, ended, end })
    const opened = Promise.all(slot.map((id) => this.#hold(id))).then((all) => {
      const who = all.find((one) => one.transactionalId === own)!
      return new SlotTransaction(this.#cluster, who)
    })
    this.#open.set(name, opened)
    opened.catch(() => this.#forget(name, own))
    return opened
  }

  #hold(transactionalId: string): Promise<Holder> {
    let held = this.#held.get(transactionalId)
    if (!held) {
      const request = initProducerIdRequest(transactionalId, TRANSACTION_MS)
      held = this.#cluster.attempt(`begin transactions as "${transactionalId}"`, async () => {
        const identity = await this.#cluster.sendToCoordinator('transaction', transactionalId, request)
        return { ...identity, transactionalId, sequences: new Map() }
      })
      this.#held.set(transactionalId, held)
      held.catch(() => this.#held.delete(transactionalId))
    }
    return held
  }

  async #exists(topic: string): Promise<void> {
    await this.#cluster.attempt(`commit to the topic "${topic}"`, () => this.#cluster.topic(topic))
  }

  async #addOffsets(transaction: SlotTransaction, { group, offsets, membership }: GroupPublication): Promise<void> {
    const action = `publish offsets of group "${group}"`
    await this.#cluster.attempt(action, () => transaction.request(addOffsetsToTxnRequest(transaction.who, group)))
    const request = txnOffsetCommitRequest(transaction.who, group, offsets, membership)
    await this.#cluster.attempt(action, async () => {
      try {
        await this.#cluster.sendToCoordinator('group', group, request)
      } catch (thrown) {
        if (thrown instanceof ConnectionLost) transaction.unanswered()
        if (!isPutOut(thrown)) throw thrown
        throw membership ? putOut(group, (thrown as Error).message, thrown) : hasMembers(group, thrown)
      }
    })
  }

  async #end(transaction: SlotTransaction, isCommit: boolean): Promise<void> {
    const { transactionalId, who } = transaction
    // Kafka knows of a transaction only once something is part of it.
    if (transaction.topics.size === 0 && !transaction.isUncertain) return
    const action = `${isCommit ? 'commit' : 'abort'} the transaction "${transactionalId}"`
    await this.#cluster.attempt(action, () => transaction.request(endTxnRequest(who, isCommit)))
    await this.#untilVisible(transactionalId)
  }

  /** The answer to EndTxn comes before the markers are written, and readers see nothing without them. */
  async #untilVisible(transactionalId: string): Promise<void> {
    const until = Date.now() + VISIBLE_WAIT_MS
    for (let waitMs = 1; Date.now() < until; waitMs = Math.min(waitMs * 2, 50)) {
      try {
        const request = describeTransactionRequest(transactionalId)
        const { state } = await this.#cluster.sendToCoordinator('transaction', transactionalId, request)
        if (!state.startsWith('Prepare')) return
      } catch (thrown) {
        // A broker that cannot tell is not asked again; it holds in any case.
        if (isFault(thrown, FAULT.TRANSACTIONAL_ID_NOT_FOUND) || isFault(thrown, 53)) return
      }
      await sleep(waitMs)
    }
  }

  #forget(name: string, transactionalId: string): void {
    this.#open.delete(name)
    const busy = this.#busy.get(transactionalId)
    if (busy?.name !== name) return
    this.#busy.delete(transactionalId)
    busy.end()
  }
}

function lostError(transactionalId: string, fault: Error): SpqrError {
  const isFenced =
    fault instanceof KafkaFault && (fault.code === FAULT.PRODUCER_FENCED || fault.code === FAULT.INVALID_PRODUCER_EPOCH)
  const reason = isFenced
    ? 'another host has the slot now, or the transaction was open for too long'
    : `it is lost (${fault.message})`
  const text = `Cannot go on with the transaction "${transactionalId}": ${reason}; go on from the last checkpoint.`
  return new SpqrError('INVALID_STATE', text, { cause: fault, extra: { fenced: isFenced, epochLost: true } })
}
