// A member of a consumer group of the embedded log, as its thread has it.
// Runs on: bridge.

import { randomUUID } from 'node:crypto'
import { SpqrError } from '../../../schemas/errors.ts'
import { type GroupListener, type GroupMember, type Membership, putOut } from '../transport.ts'
import type { LogClient } from './log-client.ts'
import type { GroupEvent } from './messages.ts'

export class EmbeddedMember implements GroupMember {
  readonly id = randomUUID()
  readonly #log: LogClient
  readonly #group: string
  readonly #topic: string
  readonly #listener: GroupListener
  readonly #onEnd: () => void
  #hasLeft = false

  /** @param onEnd it is no member any more */
  constructor(log: LogClient, group: string, topic: string, listener: GroupListener, onEnd: () => void) {
    this.#log = log
    this.#group = group
    this.#topic = topic
    this.#listener = listener
    this.#onEnd = onEnd
  }

  join(): void {
    this.#log.post({ kind: 'group-join', member: this.id, group: this.#group, topic: this.#topic })
  }

  told(event: GroupEvent): void {
    switch (event.type) {
      case 'assigned':
        this.#listener.assigned({ id: this.id, generation: event.generation }, event.partitions)
        return
      case 'revoke':
        this.#listener.revoked().then(
          () => this.#post('group-released'),
          (thrown: unknown) => this.#lose(SpqrError.from(thrown).message),
        )
        return
      case 'lost':
        this.#lose('it did not let its partitions go in time')
    }
  }

  async committed(partitions: number[]): Promise<Map<number, bigint>> {
    const body = { op: 'groupOffsets', group: this.#group, topic: this.#topic } as const
    const offsets = await this.#log.call('groupOffsets', body)
    return new Map(offsets.filter(([p]) => partitions.includes(p)).map(([p, offset]) => [p, BigInt(offset)]))
  }

  async publish(membership: Membership, offsets: Map<number, bigint>): Promise<void> {
    const all = [...offsets].map(([partition, offset]) => {
      return { group: this.#group, topic: this.#topic, partition, offset: Number(offset), membership }
    })
    await this.#log.call('publish', { op: 'publish', offsets: all })
  }

  leave(): Promise<void> {
    this.#post('group-leave')
    this.#end()
    return Promise.resolve()
  }

  #lose(why: string): void {
    if (this.#hasLeft) return
    this.#post('group-leave')
    this.#end()
    this.#listener.lost(putOut(this.#group, why))
  }

  #end(): void {
    this.#hasLeft = true
    this.#onEnd()
  }

  #post(kind: 'group-released' | 'group-leave'): void {
    if (!this.#hasLeft) this.#log.post({ kind, member: this.id })
  }
}
