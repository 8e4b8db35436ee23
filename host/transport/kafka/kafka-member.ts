// A member of a Kafka consumer group: joins, shares the partitions out where it leads, keeps its place by heartbeats however
// slow its pipeline is, and lets go and joins again when others come or go.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import { type GroupListener, type GroupMember, type Membership, putOut, REBALANCE_MS, sharedOut } from '../transport.ts'
import type { Cluster } from './cluster.ts'
import {
  heartbeatRequest,
  type Joined,
  joinGroupRequest,
  leaveGroupRequest,
  MEMBER_ID_REQUIRED,
  type Share,
  syncGroupRequest,
} from './group-requests.ts'
import { asSpqrError, FAULT, isFault, isRetriable, KafkaFault } from './kafka-fault.ts'
import type { KafkaRequest } from './request.ts'
import { offsetCommitRequest, stableOffsetsRequest } from './transaction-requests.ts'

/** The ways of sharing out that kafkajs, Java and librdkafka offer by themselves: one must be everyone's. */
const PROTOCOLS = ['RoundRobinAssigner', 'roundrobin', 'range']
/** Who is silent for so long is taken to be dead. */
export const SESSION_MS = 10_000
/** A connection that has silently died is given up within a session. */
const HEARTBEAT_ANSWER_MS = 5_000
/** So soon a member learns that others came or went. */
const HEARTBEAT_MS = 500
const AGAIN_MS = 500
/** A broker that is new, or that others take over from, is ready sooner. */
const TROUBLE_MS = 5_000
const LEAVE_MS = 2_000
/** A join is answered when the slowest member is there. */
const JOIN_MS = REBALANCE_MS + 10_000

let members = 0

interface LettingGo {
  isDone: boolean
  /** Why it did not. */
  failure: string | undefined
}

export class KafkaMember implements GroupMember {
  readonly #cluster: Cluster
  readonly #group: string
  readonly #topic: string
  readonly #listener: GroupListener
  readonly #onEnd: () => void
  /** A join holds up its connection until all are there, so each member has one of its own. */
  readonly #link = `member ${++members}` as const
  #member = ''
  #hasLeft = false
  /** Since when nothing was answered, ms since 1970; 0: it was. */
  #troubledAt = 0
  #isTold = false
  /** Ends a wait early. */
  #wake: () => void = () => {}

  /** @param onEnd it is no member any more */
  constructor(cluster: Cluster, group: string, topic: string, listener: GroupListener, onEnd: () => void) {
    this.#cluster = cluster
    this.#group = group
    this.#topic = topic
    this.#listener = listener
    this.#onEnd = onEnd
  }

  join(): void {
    void this.#run()
  }

  committed(partitions: number[]): Promise<Map<number, bigint>> {
    const action = `find the offsets of group "${this.#group}"`
    const request = stableOffsetsRequest(this.#group, this.#topic, partitions)
    return this.#cluster.attempt(action, async () => {
      const found = await this.#cluster.sendToCoordinator('group', this.#group, request)
      return new Map([...found].map(([partition, offset]) => [partition, BigInt(offset)]))
    })
  }

  async publish(membership: Membership, offsets: Map<number, bigint>): Promise<void> {
    const list = [...offsets].map(([partition, offset]) => {
      return { topic: this.#topic, partition, offset: Number(offset) }
    })
    await publishOffsets(this.#cluster, this.#group, list, membership)
  }

  async leave(): Promise<void> {
    if (this.#hasLeft) return
    this.#end()
    const request = leaveGroupRequest(this.#group, this.#member)
    // Not by its own connection, where a join may wait. Who is not heard is missed after a while, and holds up the others so long.
    const tell = (): Promise<void> => this.#cluster.sendToCoordinator('group', this.#group, request)
    const left = this.#member === '' ? undefined : this.#cluster.attempt('leave a group', tell, LEAVE_MS)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((done) => (timer = setTimeout(done, LEAVE_MS)))
    await Promise.race([left?.catch(() => {}), late])
    clearTimeout(timer)
    this.#cluster.closeLink(this.#link)
  }

  #end(): void {
    this.#hasLeft = true
    this.#onEnd()
    this.#wake()
  }

  async #run(): Promise<void> {
    while (!this.#hasLeft) {
      try {
        const membership = await this.#enter()
        if (membership) await this.#keep(membership)
      } catch (thrown) {
        if (this.#hasLeft) return
        if (thrown instanceof PutOut) {
          // The group has forgotten it: whoever joins again is somebody else.
          this.#end()
          this.#cluster.closeLink(this.#link)
          this.#listener.lost(putOut(this.#group, thrown.message, thrown))
          return
        }
        if (isFault(thrown, FAULT.UNKNOWN_MEMBER_ID)) this.#member = ''
        // Others came or went meanwhile: nothing is held, so it only begins again.
        else if (!isFault(thrown, FAULT.REBALANCE_IN_PROGRESS) && !isFault(thrown, FAULT.ILLEGAL_GENERATION)) {
          this.#trouble('join', thrown)
          await this.#rest(AGAIN_MS)
        }
      }
    }
  }

  /** Joins, and is given its partitions. */
  async #enter(): Promise<Membership | undefined> {
    let joined = await this.#join()
    if (joined.error === MEMBER_ID_REQUIRED && !this.#hasLeft) joined = await this.#join()
    if (this.#hasLeft) return undefined
    const { generation, member } = joined
    const identity = { group: this.#group, member, generation }
    const shares = joined.leader === member ? await this.#shareOut(joined) : new Map<string, Share>()
    const share = await this.#ask(syncGroupRequest(identity, shares))
    if (this.#hasLeft) return undefined
    const membership = { id: member, generation }
    this.#listener.assigned(membership, [...(share.get(this.#topic) ?? [])])
    return membership
  }

  async #join(): Promise<Joined> {
    const limits = { sessionMs: SESSION_MS, rebalanceMs: REBALANCE_MS }
    const request = joinGroupRequest({ group: this.#group, member: this.#member }, this.#topic, PROTOCOLS, limits)
    const joined = await this.#ask(request, JOIN_MS)
    // It has left while it waited: what it was let into it must leave too.
    if (this.#hasLeft && joined.error === 0) {
      await this.#cluster.sendToCoordinator('group', this.#group, leaveGroupRequest(this.#group, joined.member))
      this.#cluster.closeLink(this.#link)
    }
    this.#member = joined.member
    return joined
  }

  /** As the leader: each topic to those who read it, each beginning with another one. */
  async #shareOut({ members }: Joined): Promise<Map<string, Share>> {
    const shares = new Map(members.map(({ member }) => [member, new Map<string, number[]>()]))
    const topics = [...new Set(members.flatMap((one) => one.topics))].sort()
    const ids = [...shares.keys()].sort()
    for (const [i, topic] of topics.entries()) {
      const readers = ids.filter((id) => members.some((one) => one.member === id && one.topics.includes(topic)))
      const { topics: found } = await this.#cluster.metadata([topic])
      const partitions = found[0]?.error === 0 ? found[0].leaders.length : 1
      sharedOut(readers.length, partitions, i).forEach((share, place) => {
        shares.get(readers[place]!)!.set(topic, share)
      })
    }
    return shares
  }

  /** Stays until the group shares out anew and all is let go. @throws PutOut */
  async #keep({ id, generation }: Membership): Promise<void> {
    const request = heartbeatRequest({ group: this.#group, member: id, generation })
    let letGo: LettingGo | undefined
    while (!this.#hasLeft) {
      if (letGo?.isDone) return
      if (letGo?.failure) throw new PutOut(letGo.failure)
      await this.#rest(HEARTBEAT_MS)
      if (this.#hasLeft || letGo?.isDone) continue
      try {
        await this.#ask(request, HEARTBEAT_ANSWER_MS)
      } catch (thrown) {
        if (isPutOut(thrown)) throw new PutOut((thrown as Error).message)
        if (isFault(thrown, FAULT.REBALANCE_IN_PROGRESS)) letGo ??= this.#letGo()
        // Whether it still is a member the brokers will say when they answer.
        else this.#trouble('stay in', thrown)
      }
    }
  }

  #letGo(): LettingGo {
    const letGo: LettingGo = { isDone: false, failure: undefined }
    const revoked = this.#listener.revoked().then(
      () => {
        letGo.isDone = true
      },
      (reason: unknown) => {
        letGo.failure = reason instanceof Error ? reason.message : String(reason)
      },
    )
    void revoked.then(() => this.#wake())
    return letGo
  }

  async #ask<T>(request: KafkaRequest<T>, timeoutMs?: number): Promise<T> {
    const answer = await this.#cluster.sendToCoordinator('group', this.#group, request, this.#link, timeoutMs)
    this.#troubledAt = 0
    this.#isTold = false
    return answer
  }

  /** Told once, until brokers answer again; what is over soon is no trouble. */
  #trouble(action: string, thrown: unknown): void {
    this.#troubledAt ||= Date.now()
    const isBrief = isRetriable(thrown) && Date.now() - this.#troubledAt < TROUBLE_MS
    if (isBrief || this.#isTold || this.#hasLeft) return
    this.#isTold = true
    if (!isFault(thrown, FAULT.INCONSISTENT_GROUP_PROTOCOL)) {
      this.#listener.trouble(asSpqrError(`${action} the group "${this.#group}"`, thrown))
      return
    }
    const text = `Cannot join the group "${this.#group}": its members share out partitions in none of the ways ${PROTOCOLS.join(', ')}; have them offer one of these, or take another group.`
    this.#listener.trouble(new SpqrError('INVALID_STATE', text, { cause: thrown }))
  }

  #rest(ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, ms)
      this.#wake = () => {
        clearTimeout(timer)
        done()
      }
    })
  }
}

/** The coordinator goes on without it, or it did not let go. */
class PutOut extends Error {}

/** The coordinator does not know such a member in this generation any more. */
export function isPutOut(thrown: unknown): boolean {
  const codes: number[] = [FAULT.ILLEGAL_GENERATION, FAULT.UNKNOWN_MEMBER_ID]
  return thrown instanceof KafkaFault && codes.includes(thrown.code)
}

/**
 * Publishes offsets outside a transaction.
 * @param membership absent: as nobody, which a group refuses that has members
 * @throws SpqrError INVALID_STATE where the group has gone on without this membership, or has members
 */
export async function publishOffsets(
  cluster: Cluster,
  group: string,
  offsets: Parameters<typeof offsetCommitRequest>[1],
  membership?: Membership,
): Promise<void> {
  const request = offsetCommitRequest(group, offsets, membership)
  await cluster.attempt(`publish offsets of group "${group}"`, async () => {
    try {
      await cluster.sendToCoordinator('group', group, request)
    } catch (thrown) {
      if (!isPutOut(thrown)) throw thrown
      throw membership ? putOut(group, (thrown as Error).message, thrown) : hasMembers(group, thrown)
    }
  })
}

export function hasMembers(group: string, cause: unknown): SpqrError {
  const text = `Cannot publish offsets of group "${group}": it has members, who publish their own; name the group in the source's settings to join it, or end them.`
  return new SpqrError('INVALID_STATE', text, { cause })
}
