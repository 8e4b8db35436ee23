// An epoch under exactly-once that could not be stored: what it wrote is gone, so none may be stored behind it, until the slot is
// dropped and goes on from the checkpoint before.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { FromBridge } from '../../../../host/bridges/runtime/messages.ts'
import { SlotCheckpoints } from '../../../../host/bridges/runtime/slot-checkpoints.ts'
import { type ComputeLink, type SlotContext, SlotParts } from '../../../../host/bridges/runtime/slot-parts.ts'
import type { SourcePump } from '../../../../host/bridges/runtime/source-pump.ts'
import { Permissions } from '../../../../host/permissions/permissions.ts'
import type { SlotCommit, Transport } from '../../../../host/transport/transport.ts'
import type { Delivery } from '../../../../schemas/document.ts'
import { SpqrError } from '../../../../schemas/errors.ts'

const test = suite('checkpoints of a slot')

interface Started {
  checkpoints: SlotCheckpoints
  /** What was to be stored, by epoch. */
  commits: SlotCommit[]
  told: FromBridge[]
  /** Of a source that answers to barriers only when it is told to. */
  source: SourcePump
  asked: number[]
}

/** A slot with one source and nothing else, on a transport that refuses the first commit. */
function started(delivery: Delivery): Started {
  const commits: SlotCommit[] = []
  const told: FromBridge[] = []
  const asked: number[] = []
  const commit = (one: SlotCommit): Promise<unknown> => {
    commits.push(one)
    if (commits.length === 1) return Promise.reject(new SpqrError('TRANSPORT_UNAVAILABLE', 'no', { retriable: true }))
    return Promise.resolve({ epoch: one.epoch, createdAt: 0, revision: 1, bytes: 0 })
  }
  const context = {
    transport: { commit } as unknown as Transport,
    permissions: Permissions.parse([]),
    schedule: () => undefined,
    toControl: (message: FromBridge) => told.push(message),
  } as unknown as SlotContext
  const spec = {
    tenant: 'default',
    id: 'p',
    revision: 1,
    delivery,
    checkpointEveryMs: 60_000,
    sources: [],
    operators: [],
    emitters: [],
    deadLetters: { channel: 0, counters: 0 },
    tenantIndex: 0,
  }
  const parts = new SlotParts(1, spec, context, {} as ComputeLink)
  const source = {
    spec: { component: 'in', type: 'topic', settings: {}, index: 0, channel: 0, counters: 0 },
    source: {},
    position: 'here',
    sequence: 1,
    ended: false,
    requestBarrier: (epoch: number) => asked.push(epoch),
  } as unknown as SourcePump
  parts.sources.set('in', source)
  return { checkpoints: new SlotCheckpoints(parts), commits, told, source, asked }
}

async function refused(work: Promise<unknown>): Promise<SpqrError> {
  try {
    await work
  } catch (thrown) {
    return thrown as SpqrError
  }
  throw new Error('it went through')
}

/** One epoch was to be stored, none behind it, and the pipeline was told once to go back. */
function onlyTheFirst({ commits, told }: Started): void {
  assert.equal(
    commits.map(({ epoch }) => epoch),
    [1],
  )
  assert.equal(
    told.map(({ type }) => type),
    ['fell-back'],
  )
}

test('no epoch begins behind one that was lost under exactly-once', async () => {
  const slot = started('exactly-once')
  const { checkpoints, source, asked } = slot
  const first = checkpoints.take()
  // Behind it in the queue, as the one of the clock is.
  const second = checkpoints.take()
  await Promise.resolve().then(() => undefined)
  checkpoints.barrierSent(source, 1)
  assert.is((await refused(first)).code, 'TRANSPORT_UNAVAILABLE')
  const error = await refused(second)
  assert.is(error.code, 'INVALID_STATE')
  assert.ok(error.retriable)
  assert.equal(asked, [1], 'a second barrier was sent')
  onlyTheFirst(slot)
})

test('nor does the end of its sources complete it', async () => {
  const slot = started('exactly-once')
  const { checkpoints, source } = slot
  const first = checkpoints.take()
  await Promise.resolve().then(() => undefined)
  checkpoints.barrierSent(source, 1)
  // The end comes while the epoch is being stored.
  source.ended = true
  checkpoints.sourceEnded(source)
  await refused(first)
  await checkpoints.settled()
  onlyTheFirst(slot)
})

test('under at-least-once the next one holds all that the one before it did', async () => {
  const { checkpoints, commits, source, asked } = started('at-least-once')
  const first = checkpoints.take()
  const second = checkpoints.take()
  await Promise.resolve().then(() => undefined)
  checkpoints.barrierSent(source, 1)
  await refused(first)
  await new Promise((soon) => setImmediate(soon))
  assert.equal(asked, [1, 2])
  checkpoints.barrierSent(source, 2)
  assert.is((await second).epoch, 2)
  assert.is(commits.length, 2)
})

test('a stop whose checkpoint could not be stored is told so, and ends nothing else', async () => {
  const unheard: unknown[] = []
  const hear = (reason: unknown): unknown => unheard.push(reason)
  process.on('unhandledRejection', hear)
  try {
    const { checkpoints, source } = started('at-least-once')
    const stop = checkpoints.quiesce(60_000)
    await Promise.resolve().then(() => undefined)
    checkpoints.barrierSent(source, 1)
    assert.is((await refused(stop)).code, 'TRANSPORT_UNAVAILABLE')
    // Nobody else waits: what nobody hears of would end the thread, with all that runs on it.
    await new Promise((soon) => setImmediate(soon))
    assert.equal(unheard, [])
  } finally {
    process.off('unhandledRejection', hear)
  }
})

test.run()
