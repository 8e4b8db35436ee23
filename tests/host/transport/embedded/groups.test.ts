import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Groups } from '../../../../host/transport/embedded/groups.ts'
import type { GroupEvent } from '../../../../host/transport/embedded/messages.ts'
import { until } from '../../../support/client.ts'

const groups = suite('Groups')

/** The members that a test has made, and what each was told last. */
class Told {
  readonly groups: Groups
  readonly last = new Map<string, GroupEvent>()

  constructor(partitions: number, rebalanceMs?: number) {
    const tell = (_owner: object, member: string, event: GroupEvent): void => {
      this.last.set(member, event)
    }
    this.groups = new Groups({ partitions: () => partitions, tell }, rebalanceMs)
  }

  share(member: string): number[] {
    const event = this.last.get(member)
    return event?.type === 'assigned' ? event.partitions : []
  }

  generation(member: string): number {
    const event = this.last.get(member)
    return event?.type === 'assigned' ? event.generation : -1
  }
}

groups('no partition is ever two members’, and none is left over once all have let go', () => {
  const step = fc.record({ act: fc.constantFrom('join', 'leave', 'release'), member: fc.integer({ min: 0, max: 4 }) })
  const run = fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 6 }), (steps, partitions) => {
    const told = new Told(partitions)
    const owner = {}
    const names = new Map<number, string>()
    /** Partitions of a member until it was asked and has answered. */
    const held = new Map<string, number[]>()
    let joins = 0
    const look = (): void => {
      for (const name of names.values()) {
        const event = told.last.get(name)
        if (event?.type === 'assigned') held.set(name, event.partitions)
      }
      const all = [...held.values()].flat()
      assert.is(new Set(all).size, all.length, `held twice: ${JSON.stringify([...held])}`)
    }
    for (const { act, member } of steps) {
      const name = names.get(member)
      if (act === 'join' && !name) {
        const made = `m${++joins}`
        names.set(member, made)
        told.groups.join(owner, made, 'g', 't')
      } else if (act === 'leave' && name) {
        names.delete(member)
        held.delete(name)
        told.groups.leave(name)
      } else if (act === 'release' && name && told.last.get(name)?.type === 'revoke') {
        held.delete(name)
        told.last.delete(name)
        told.groups.released(name)
      }
      look()
    }
    for (const name of names.values()) {
      if (told.last.get(name)?.type !== 'revoke') continue
      held.delete(name)
      told.last.delete(name)
      told.groups.released(name)
    }
    look()
    if (names.size > 0) assert.is([...held.values()].flat().length, partitions)
    told.groups.stop()
  })
  fc.assert(run, { seed: 7, numRuns: 300 })
})

groups('who does not let go in time is put out, and may publish nothing', async () => {
  const told = new Told(2, 30)
  told.groups.join({}, 'slow', 'g', 't')
  const slow = { id: 'slow', generation: told.generation('slow') }
  assert.is(told.groups.isCurrent(slow), true)
  told.groups.join({}, 'quick', 'g', 't')
  assert.is(told.groups.isCurrent(slow), true, 'until then it may')
  await until(
    () => (told.share('quick').length === 2 ? true : undefined),
    () => 'quick gets nothing',
  )
  assert.equal(told.last.get('slow'), { type: 'lost' })
  assert.is(told.groups.isCurrent(slow), false)
  told.groups.stop()
})

groups('members of a thread that is gone are gone; a group of another topic is another one', () => {
  const told = new Told(4)
  const [dying, staying] = [{}, {}]
  told.groups.join(staying, 'a', 'g', 't')
  told.groups.join(dying, 'b', 'g', 'other')
  assert.equal([told.share('a').length, told.share('b').length], [4, 4])
  told.groups.join(dying, 'c', 'g', 't')
  told.groups.released('a')
  assert.equal([told.share('a').length, told.share('c').length], [2, 2])
  told.groups.dropOwner(dying)
  assert.equal(told.last.get('a'), { type: 'revoke' })
  told.groups.released('a')
  assert.is(told.share('a').length, 4)
  told.groups.stop()
})

groups.run()
