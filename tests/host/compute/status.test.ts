// Who is awake: what each thread says of itself, also where one ends without a word.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { BRIDGE_SLOT, makeStatus, Status, slotOf } from '../../../host/compute/status.ts'

const test = suite('status')

test('threads that wake and sleep are counted, each once', () => {
  const memory = makeStatus()
  const [bridge, first, third] = [BRIDGE_SLOT, slotOf(0), slotOf(2)].map((slot) => new Status(memory, slot))
  assert.is(bridge!.awake, 0)
  bridge!.woke()
  third!.woke()
  third!.woke()
  assert.is(first!.awake, 2)
  first!.woke()
  assert.is(bridge!.awake, 3)
  third!.slept()
  bridge!.slept()
  assert.is(bridge!.awake, 1)
})

test('a thread that died awake is not counted any more, nor is one that died asleep', () => {
  const memory = makeStatus()
  const control = new Status(memory)
  const [first, second] = [new Status(memory, slotOf(0)), new Status(memory, slotOf(1))]
  first.woke()
  second.woke()
  second.slept()
  control.died(slotOf(0))
  control.died(slotOf(1))
  assert.is(control.awake, 0)
  new Status(memory, slotOf(0)).woke()
  assert.is(control.awake, 1)
})

test.run()
