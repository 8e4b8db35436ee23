// Timers, the share of faults, counters, the log of calls.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CALL_FLUSH, CALL_LOG_BYTES_MAX, CALL_PROCESS, CallLog } from '../../../host/compute/call-log.ts'
import {
  type Counters,
  DEAD_LETTERS,
  makeSlab,
  RECORDS_IN,
  SLAB_BLOCKS,
  Slabs,
} from '../../../host/compute/counters.ts'
import { FaultShare } from '../../../host/compute/fault-share.ts'
import { type Timer, Timers } from '../../../host/compute/timers.ts'
import { seeded } from '../../support/client.ts'

const timers = suite('Timers')

timers('fire in the order of their times, cancelled ones never', () => {
  for (let seed = 1; seed < 40; seed++) {
    const random = seeded(seed)
    const wheel = new Timers()
    const waiting = new Map<Timer, number>()
    const fired: number[] = []
    let now = 0
    for (let step = 0; step < 400; step++) {
      const what = random(5)
      if (what < 3) {
        const due = now + random(100)
        const timer = wheel.add(due, () => {
          fired.push(due)
          waiting.delete(timer)
        })
        waiting.set(timer, due)
      } else if (what === 3) {
        const all = [...waiting.keys()]
        const one = all[random(all.length)]
        if (!one) continue
        wheel.cancel(one)
        wheel.cancel(one)
        waiting.delete(one)
      } else {
        now += random(40)
        fired.length = 0
        const due = [...waiting.values()].filter((time) => time <= now).sort((a, b) => a - b)
        wheel.run(now)
        assert.equal(fired, due, `seed ${seed}`)
        const next = Math.min(...waiting.values())
        assert.is(wheel.next(now), waiting.size === 0 ? Number.POSITIVE_INFINITY : next - now)
      }
    }
  }
})

timers('let go of what is cancelled, however far its time is', () => {
  const wheel = new Timers()
  for (let i = 0; i < 10_000; i++) wheel.cancel(wheel.add(1e9 + i, () => assert.unreachable()))
  assert.ok(wheel.size < 200, `${wheel.size}`)
  wheel.run(2e9)
  assert.is(wheel.size, 0)
})

timers('that fired may be cancelled, and may set others while they fire', () => {
  const wheel = new Timers()
  const order: string[] = []
  const first = wheel.add(1, () => {
    order.push('first')
    wheel.add(2, () => order.push('third'))
  })
  wheel.add(1.5, () => order.push('second'))
  wheel.run(3)
  wheel.cancel(first)
  assert.equal(order, ['first', 'second', 'third'])
})

timers.run()

const shares = suite('FaultShare')

shares('says nothing before 10,000 records were seen', () => {
  const share = new FaultShare()
  for (let i = 0; i < 9999; i++) assert.not(share.failed(0), `${i}`)
  assert.ok(share.failed(0))
})

shares('is above exactly where more than the share of the last 10,000 faulted', () => {
  const share = new FaultShare()
  share.passed(7000)
  for (let i = 0; i < 3000; i++) assert.not(share.failed(0.3))
  assert.ok(share.failed(0.3))
})

shares('forgets what is longer ago than 10,000 records, to a tenth of that', () => {
  const share = new FaultShare()
  for (let i = 0; i < 6000; i++) share.failed(1)
  share.passed(11_000)
  assert.not(share.failed(0.01))
  const slow = new FaultShare()
  for (let round = 0; round < 300; round++) {
    slow.passed(99)
    assert.not(slow.failed(0.02), `round ${round}`)
  }
})

shares.run()

const counters = suite('Counters')

function block(): Counters {
  const slabs = new Slabs()
  slabs.add(0, makeSlab())
  return slabs.block(5)
}

counters('of different blocks do not touch each other, over several slabs', () => {
  const slabs = new Slabs()
  for (const index of [0, 1]) slabs.add(index, makeSlab())
  const numbers = [0, 1, SLAB_BLOCKS - 1, SLAB_BLOCKS, SLAB_BLOCKS * 2 - 1]
  numbers.forEach((number, i) => {
    const { values } = slabs.block(number)
    values[RECORDS_IN] = i + 1
    slabs.block(number).took(10, i + 1)
  })
  numbers.forEach((number, i) => {
    assert.is(slabs.block(number).read().recordsIn, i + 1)
  })
  assert.throws(() => slabs.block(SLAB_BLOCKS * 2), /no counter block/)
  slabs.block(1).clear()
  assert.equal(slabs.block(1).read().latencyUs, { p50: null, p99: null })
  assert.is(slabs.block(0).read().recordsIn, 1)
})

counters('give percentiles within a quarter of an octave', () => {
  const made = block()
  for (let us = 1; us <= 10_000; us++) made.took(us, 1)
  const { p50, p99 } = made.read().latencyUs
  assert.ok(p50! >= 5000 && p50! <= 5000 * 1.19 * 1.01, String(p50))
  assert.ok(p99! >= 9900 && p99! <= 9900 * 1.19 * 1.01, String(p99))
})

counters('take times from nothing to the largest', () => {
  const made = block()
  for (const us of [0, 0.2, 1, 2 ** 31 - 1]) made.took(us, 1)
  made.values[DEAD_LETTERS] = 2 ** 40
  assert.is(made.read().deadLetters, 2 ** 40)
  assert.ok(made.read().latencyUs.p99! > 1e6)
})

counters.run()

const calls = suite('CallLog')

calls('keeps each call with its input, and takes the last one back', () => {
  const log = new CallLog()
  const inputs: number[][] = []
  for (let i = 0; i < 300; i++) {
    const input = Array.from({ length: (i * 7) % 50 }, () => i & 255)
    const at = log.add(i % 3 ? CALL_PROCESS : CALL_FLUSH, input.length, i, -i)
    log.bytes.set(input, at)
    if (i % 4 === 3) log.dropLast()
    else inputs.push(input)
  }
  assert.is(log.count, inputs.length)
  let from = 0
  inputs.forEach((input, i) => {
    assert.equal([...log.bytes.subarray(from, log.ends[i])], input)
    from = log.ends[i]!
  })
})

calls('is full after so many bytes or calls, but takes one input of any size', () => {
  const log = new CallLog()
  assert.ok(log.hasRoom(CALL_LOG_BYTES_MAX * 3))
  log.add(CALL_PROCESS, 8, 0, 0)
  assert.not(log.hasRoom(CALL_LOG_BYTES_MAX))
  log.clear()
  for (let i = 0; i < 4096; i++) {
    assert.ok(log.hasRoom(0))
    log.add(CALL_FLUSH, 0, 0, 0)
  }
  assert.not(log.hasRoom(0))
  log.free()
  assert.equal([log.count, log.length, log.bytes.length], [0, 0, 0])
})

calls.run()
