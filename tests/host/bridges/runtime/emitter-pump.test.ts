// An emitter that stays at a barrier until its owner has it pass: also where the owner says so at once.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Emitter } from '../../../../host/bridges/bridge.ts'
import { type EmitterOwner, EmitterPump } from '../../../../host/bridges/runtime/emitter-pump.ts'
import { Slabs } from '../../../../host/compute/counters.ts'
import { KIND_BARRIER, RecordBuffer } from '../../../../host/record/record.ts'
import { ChannelWriter } from '../../../../host/ring/channel.ts'

const test = suite('emitter pump at a barrier')

/** A record, a barrier, a record, in the ring of a pump that stays at barriers. */
function started(holdsAt: EmitterOwner['holdsAt']): { pump: EmitterPump; written: () => number } {
  let written = 0
  const emitter: Emitter = {
    open: () => Promise.resolve(),
    write: (_bytes, from, to) => {
      written++
      return to - from
    },
    flush: () => Promise.resolve(undefined),
    stop: () => Promise.resolve(),
  }
  const owner: EmitterOwner = {
    signal: () => undefined,
    flushed: () => undefined,
    emitterFailed: () => undefined,
    mayWrite: () => true,
    holdsAt,
  }
  const spec = { component: '', type: 'topic', settings: {}, channel: 0, counters: 0 }
  const slabs = new Slabs()
  slabs.add(0, new SharedArrayBuffer(1 << 20))
  const pump = new EmitterPump(spec, emitter, slabs.block(0), 6, owner)
  const channel = new ChannelWriter(1 << 16, (memory) => pump.announced(memory))
  const record = new RecordBuffer(1024)
  record.add({ value: Uint8Array.of(1), timestamp: 1 })
  const words = new Int32Array(record.bytes.buffer)
  channel.push(record.bytes, words, 0, record.length)
  channel.pushControl(KIND_BARRIER, 7)
  channel.push(record.bytes, words, 0, record.length)
  return { pump, written: () => written }
}

function turnAll(pump: EmitterPump): void {
  while (pump.turn());
}

test('nothing behind it is written before it passes', () => {
  const { pump, written } = started(() => true)
  turnAll(pump)
  assert.equal([written(), pump.epochPassed], [1, 6])
  void pump.pass(7)
  turnAll(pump)
  assert.equal([written(), pump.epochPassed], [2, 7])
})

test('an owner whom it was the last to reach has it pass at once', () => {
  const { pump, written } = started((held, epoch) => {
    void held.pass(epoch)
    return true
  })
  turnAll(pump)
  assert.equal([written(), pump.epochPassed], [2, 7])
})

test('an owner who does not wait is told when it has flushed', () => {
  const { pump, written } = started(() => false)
  turnAll(pump)
  assert.equal([written(), pump.epochPassed], [2, 7])
})

test.run()
