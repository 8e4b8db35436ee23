// What a member of a consumer group asks its coordinator: to join, to be told its share, to be kept, to leave. And the
// `consumer` protocol, in which members of any client tell each other their topics and shares.
// Runs on: bridge.

import { check } from './kafka-fault.ts'
import type { KafkaRequest } from './request.ts'
import { WireReader, WireWriter } from './wire.ts'

/** Who one is in a group. */
export interface GroupIdentity {
  group: string
  member: string
  generation: number
}

export interface Joined {
  /** 0; or 79: the same again, with the member that is named. */
  error: number
  generation: number
  /** The way of sharing out that all members know. */
  protocol: string
  leader: string
  member: string
  /** Told to the leader alone. */
  members: { member: string; topics: string[] }[]
}

/** Waits at the broker until all members are there. */
export function joinGroupRequest(
  { group, member }: Pick<GroupIdentity, 'group' | 'member'>,
  topic: string,
  protocols: readonly string[],
  limits: { sessionMs: number; rebalanceMs: number },
): KafkaRequest<Joined> {
  const subscription = new WireWriter()
  subscription.i16(0).i32(1).string(topic).i32(-1)
  const out = new WireWriter()
  out.string(group).i32(limits.sessionMs).i32(limits.rebalanceMs).string(member).string(null).string('consumer')
  out.array(protocols, (protocol) => {
    out.string(protocol).bytes32(subscription.bytes)
  })
  return {
    apiKey: 11,
    apiVersion: 5,
    apiName: 'JoinGroup',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      const error = from.i16()
      if (error !== MEMBER_ID_REQUIRED) check(error)
      const generation = from.i32()
      const protocol = from.string()
      const leader = from.string()
      const own = from.string()
      const members = from.array(() => {
        const name = from.string()
        from.nullableString()
        return { member: name, topics: topicsOf(from.bytes32()) }
      })
      return { error, generation, protocol, leader, member: own, members }
    },
  }
}

export const MEMBER_ID_REQUIRED = 79

/** Partitions by topic. */
export type Share = ReadonlyMap<string, readonly number[]>

/**
 * Tells what everyone gets, and is told the own share.
 * @param shares by member; of the leader alone
 */
export function syncGroupRequest(
  { group, member, generation }: GroupIdentity,
  shares: ReadonlyMap<string, Share>,
): KafkaRequest<Share> {
  const out = new WireWriter()
  out.string(group).i32(generation).string(member).string(null)
  out.array([...shares], ([name, share]) => {
    const body = new WireWriter()
    body.i16(0).array([...share], ([topic, partitions]) => {
      body.string(topic).array(partitions, (partition) => {
        body.i32(partition)
      })
    })
    out.string(name).bytes32(body.i32(-1).bytes)
  })
  return {
    apiKey: 14,
    apiVersion: 3,
    apiName: 'SyncGroup',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      check(from.i16())
      return shareOf(from.bytes32())
    },
  }
}

export function heartbeatRequest({ group, member, generation }: GroupIdentity): KafkaRequest<void> {
  return {
    apiKey: 12,
    apiVersion: 3,
    apiName: 'Heartbeat',
    body: new WireWriter().string(group).i32(generation).string(member).string(null).bytes,
    read: (from) => {
      from.throttle()
      check(from.i16())
    },
  }
}

export function leaveGroupRequest(group: string, member: string): KafkaRequest<void> {
  return {
    apiKey: 13,
    apiVersion: 1,
    apiName: 'LeaveGroup',
    body: new WireWriter().string(group).string(member).bytes,
    read: (from) => {
      from.throttle()
      check(from.i16())
    },
  }
}

/** What another member wrote, whatever its client: what cannot be read is no topics. */
function topicsOf(subscription: Uint8Array): string[] {
  const from = new WireReader(subscription)
  try {
    from.i16()
    return from.array(() => from.string())
  } catch {
    return []
  }
}

/** Of a member that is given nothing, some leaders write nothing. */
function shareOf(assignment: Uint8Array): Share {
  if (assignment.length === 0) return new Map()
  const from = new WireReader(assignment)
  from.i16()
  return new Map(from.array(() => [from.string(), from.array(() => from.i32())] as const))
}
