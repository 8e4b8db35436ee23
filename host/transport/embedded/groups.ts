// Consumer groups of the embedded log: who its members are, and which partitions of the topic each has. Members come and go;
// each time all let go what they have, in their own time, and get their shares anew under the next generation.
// Runs on: log thread. Nothing of it is stored: members end with their threads.

import type { Membership } from '../transport.ts'
import { REBALANCE_MS, sharedOut } from '../transport.ts'
import type { GroupEvent } from './messages.ts'

interface Member {
  id: string
  group: Group
  owner: object
  /** It has been given partitions and has not let them go. */
  isHolding: boolean
}

interface Group {
  name: string
  topic: string
  generation: number
  /** In the order in which they came. */
  members: Member[]
  /** Runs while partitions are let go. */
  timer: NodeJS.Timeout | undefined
}

export interface GroupsOwner {
  /** How many partitions a topic has. */
  partitions(topic: string): number
  /** Tells a member of this owner. */
  tell(owner: object, member: string, event: GroupEvent): void
}

export class Groups {
  readonly #owner: GroupsOwner
  readonly #rebalanceMs: number
  readonly #groups = new Map<string, Group>()
  readonly #members = new Map<string, Member>()

  /** @param rebalanceMs who takes longer to let its partitions go is put out */
  constructor(owner: GroupsOwner, rebalanceMs = REBALANCE_MS) {
    this.#owner = owner
    this.#rebalanceMs = rebalanceMs
  }

  /** @param id never given before, by anybody */
  join(owner: object, id: string, name: string, topic: string): void {
    const key = `${name} ${topic}`
    let group = this.#groups.get(key)
    if (!group) {
      group = { name, topic, generation: 0, members: [], timer: undefined }
      this.#groups.set(key, group)
    }
    const member: Member = { id, group, owner, isHolding: false }
    group.members.push(member)
    this.#members.set(id, member)
    this.#shareAnew(group)
  }

  /** It has let go what it had. */
  released(id: string): void {
    const member = this.#members.get(id)
    // One that was told nothing has nothing to let go.
    if (!member?.isHolding || !member.group.timer) return
    member.isHolding = false
    this.#assign(member.group)
  }

  leave(id: string): void {
    const member = this.#members.get(id)
    if (!member) return
    this.#remove(member)
    this.#shareAnew(member.group)
  }

  /** Its thread is gone. */
  dropOwner(owner: object): void {
    for (const member of [...this.#members.values()]) if (member.owner === owner) this.leave(member.id)
  }

  /** Whether a member may still publish what it has read. */
  isCurrent({ id, generation }: Membership): boolean {
    const member = this.#members.get(id)
    return member?.isHolding === true && member.group.generation === generation
  }

  stop(): void {
    for (const group of this.#groups.values()) clearTimeout(group.timer)
    this.#groups.clear()
    this.#members.clear()
  }

  #remove(member: Member): void {
    const { group, id } = member
    member.isHolding = false
    group.members = group.members.filter((one) => one !== member)
    this.#members.delete(id)
  }

  #shareAnew(group: Group): void {
    if (!group.timer) {
      group.timer = setTimeout(() => this.#putOut(group), this.#rebalanceMs)
      for (const { owner, id, isHolding } of group.members) {
        if (isHolding) this.#owner.tell(owner, id, { type: 'revoke' })
      }
    }
    this.#assign(group)
  }

  /** Gives everyone a share, once nobody holds one. */
  #assign(group: Group): void {
    if (group.members.some((member) => member.isHolding)) return
    clearTimeout(group.timer)
    group.timer = undefined
    if (group.members.length === 0) {
      this.#groups.delete(`${group.name} ${group.topic}`)
      return
    }
    group.generation++
    const { generation } = group
    const shares = sharedOut(group.members.length, this.#owner.partitions(group.topic))
    group.members.forEach((member, i) => {
      member.isHolding = true
      this.#owner.tell(member.owner, member.id, { type: 'assigned', generation, partitions: shares[i]! })
    })
  }

  /** Who has not let go in time is waited for no longer. */
  #putOut(group: Group): void {
    for (const member of group.members.filter(({ isHolding }) => isHolding)) {
      this.#remove(member)
      this.#owner.tell(member.owner, member.id, { type: 'lost' })
    }
    this.#assign(group)
  }
}
