// Producer identities, transactions and committed offsets: the requests that go to a coordinator.
// Runs on: bridge.

import type { Membership } from '../transport.ts'
import { check } from './kafka-fault.ts'
import { byTopic, type KafkaRequest, type TopicPartition } from './request.ts'
import { WireWriter } from './wire.ts'

export interface ProducerIdentity {
  id: number
  epoch: number
}

export interface Transactor extends ProducerIdentity {
  transactionalId: string
}

export interface GroupOffset extends TopicPartition {
  offset: number
}

/** @param transactionalId null: idempotent only. Otherwise its predecessor is fenced, and what it left open aborted */
export function initProducerIdRequest(
  transactionalId: string | null,
  timeoutMs: number,
): KafkaRequest<ProducerIdentity> {
  return {
    apiKey: 22,
    apiVersion: 1,
    apiName: 'InitProducerId',
    body: new WireWriter().string(transactionalId).i32(timeoutMs).bytes,
    read: (from) => {
      from.throttle()
      check(from.i16())
      return { id: from.i64(), epoch: from.i16() }
    },
  }
}

export function addPartitionsToTxnRequest(who: Transactor, places: readonly TopicPartition[]): KafkaRequest<void> {
  const out = new WireWriter()
  out.string(who.transactionalId).i64(who.id).i16(who.epoch)
  out.array(byTopic(places), ({ topic, items }) => {
    out.string(topic).array(items, ({ partition }) => {
      out.i32(partition)
    })
  })
  return {
    apiKey: 24,
    apiVersion: 1,
    apiName: 'AddPartitionsToTxn',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      const codes = from.array(() => {
        from.string()
        return from.array(() => {
          from.i32()
          return from.i16()
        })
      })
      // One that is refused makes the others OPERATION_NOT_ATTEMPTED (55).
      const bad = codes.flat().filter((code) => code !== 0)
      check(bad.find((code) => code !== 55) ?? bad[0] ?? 0)
    },
  }
}

export function addOffsetsToTxnRequest(who: Transactor, group: string): KafkaRequest<void> {
  return {
    apiKey: 25,
    apiVersion: 1,
    apiName: 'AddOffsetsToTxn',
    body: new WireWriter().string(who.transactionalId).i64(who.id).i16(who.epoch).string(group).bytes,
    read: (from) => {
      from.throttle()
      check(from.i16())
    },
  }
}

export function endTxnRequest(who: Transactor, isCommit: boolean): KafkaRequest<void> {
  return {
    apiKey: 26,
    apiVersion: 1,
    apiName: 'EndTxn',
    body: new WireWriter().string(who.transactionalId).i64(who.id).i16(who.epoch).bool(isCommit).bytes,
    read: (from) => {
      from.throttle()
      check(from.i16())
    },
  }
}

/**
 * Goes to the coordinator of the group.
 * @param membership as which member, so that one that was put out is fenced; absent: as a group without members
 * @throws KafkaFault of the first offset that is refused
 */
export function txnOffsetCommitRequest(
  who: Transactor,
  group: string,
  offsets: readonly GroupOffset[],
  membership?: Membership,
): KafkaRequest<void> {
  const out = new WireWriter()
  // A flexible version: the header ends with tagged fields, which a header of the older form has not.
  out.tags().compactString(who.transactionalId).compactString(group).i64(who.id).i16(who.epoch)
  out
    .i32(membership?.generation ?? -1)
    .compactString(membership?.id ?? '')
    .unsignedVarint(0)
  out.compactArray(byTopic(offsets), ({ topic, items }) => {
    out.compactString(topic)
    out.compactArray(items, ({ partition, offset }) => {
      out.i32(partition).i64(offset).i32(-1).compactString('').tags()
    })
    out.tags()
  })
  return {
    apiKey: 28,
    apiVersion: 3,
    apiName: 'TxnOffsetCommit',
    body: out.tags().bytes,
    read: (from) => {
      from.tags()
      from.throttle()
      from.compactArray(() => {
        const topic = from.compactString()
        from.compactArray(() => {
          const partition = from.i32()
          check(from.i16(), `partition ${partition} of topic "${topic}"`)
          from.tags()
        })
        from.tags()
      })
    },
  }
}

/** @param membership absent: as a group without members. @throws KafkaFault of the first offset that is refused */
export function offsetCommitRequest(
  group: string,
  offsets: readonly GroupOffset[],
  membership?: Membership,
): KafkaRequest<void> {
  const out = new WireWriter()
  out
    .string(group)
    .i32(membership?.generation ?? -1)
    .string(membership?.id ?? '')
  writeOffsets(out, offsets)
  return {
    apiKey: 8,
    apiVersion: 5,
    apiName: 'OffsetCommit',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      readOffsetCodes(from)
    },
  }
}

function writeOffsets(out: WireWriter, offsets: readonly GroupOffset[]): void {
  out.array(byTopic(offsets), ({ topic, items }) => {
    out.string(topic).array(items, ({ partition, offset }) => {
      out.i32(partition).i64(offset).string('')
    })
  })
}

function readOffsetCodes(from: { array<T>(read: () => T): T[]; string(): string; i32(): number; i16(): number }): void {
  from.array(() => {
    const topic = from.string()
    from.array(() => {
      const partition = from.i32()
      check(from.i16(), `partition ${partition} of topic "${topic}"`)
    })
  })
}

/** Every committed offset of a group in a topic. */
export function offsetFetchRequest(
  group: string,
  topic: string,
  partitions: readonly number[],
): KafkaRequest<Map<number, number>> {
  const out = new WireWriter()
  out.string(group).i32(1).string(topic)
  out.array(partitions, (partition) => {
    out.i32(partition)
  })
  return {
    apiKey: 9,
    apiVersion: 3,
    apiName: 'OffsetFetch',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      const offsets = new Map<number, number>()
      from.array(() => {
        from.string()
        from.array(() => {
          const partition = from.i32()
          const offset = from.i64()
          from.nullableString()
          const code = from.i16()
          if (code !== 3) check(code)
          if (offset >= 0) offsets.set(partition, offset)
        })
      })
      check(from.i16())
      return offsets
    },
  }
}

/** The same of some partitions. @throws KafkaFault UNSTABLE_OFFSET_COMMIT while a transaction is about to publish some */
export function stableOffsetsRequest(
  group: string,
  topic: string,
  partitions: readonly number[],
): KafkaRequest<Map<number, number>> {
  const out = new WireWriter()
  out.tags().compactString(group).unsignedVarint(2).compactString(topic)
  out.compactArray(partitions, (partition) => {
    out.i32(partition)
  })
  return {
    apiKey: 9,
    apiVersion: 7,
    apiName: 'OffsetFetch',
    body: out.tags().bool(true).tags().bytes,
    read: (from) => {
      from.tags()
      from.throttle()
      const offsets = new Map<number, number>()
      from.compactArray(() => {
        from.compactString()
        from.compactArray(() => {
          const partition = from.i32()
          const offset = from.i64()
          from.i32()
          from.compactString()
          const code = from.i16()
          if (code !== 3) check(code)
          if (offset >= 0) offsets.set(partition, offset)
          from.tags()
        })
        from.tags()
      })
      check(from.i16())
      return offsets
    },
  }
}

export interface TransactionState {
  /** `Empty`, `Ongoing`, `PrepareCommit`, `CompleteCommit` … */
  state: string
  /** ms since 1970; -1: nothing is open. */
  begunAt: number
}

export function describeTransactionRequest(transactionalId: string): KafkaRequest<TransactionState> {
  const out = new WireWriter()
  // The version is a flexible one: its header ends with tagged fields, which a header of the older form has not.
  out.unsignedVarint(0).unsignedVarint(2).compactString(transactionalId).unsignedVarint(0)
  return {
    apiKey: 65,
    apiVersion: 0,
    apiName: 'DescribeTransactions',
    body: out.bytes,
    read: (from) => {
      from.tags()
      from.throttle()
      const states = from.compactArray(() => {
        check(from.i16())
        from.compactString()
        const state = from.compactString()
        from.i32()
        const begunAt = from.i64()
        from.i64()
        from.i16()
        from.compactArray(() => {
          from.compactString()
          from.compactArray(() => from.i32())
          from.tags()
        })
        from.tags()
        return { state, begunAt }
      })
      return states[0] ?? { state: '', begunAt: -1 }
    },
  }
}
