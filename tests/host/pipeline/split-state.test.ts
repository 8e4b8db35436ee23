// How a checkpoint names the state of a split operator, and what may go on from it.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { CheckpointMeta } from '../../../host/bridges/runtime/messages.ts'
import { asSplitNow, imagesOf, isSplitAnew } from '../../../host/pipeline/split-state.ts'
import { ofOtherVersions } from '../../../host/pipeline/starting-point.ts'
import type { Checkpoint } from '../../../host/transport/transport.ts'
import type { Plan, PlanOperator } from '../../../schemas/plan.ts'

const state = suite('the state of a split operator')

const digest = 'a'.repeat(64)
const standing = (sequence: number): CheckpointMeta['operators'][string] => ({ sequence, sinceFlush: 1, ended: false })

function operator(id: string, more: Partial<PlanOperator> = {}): PlanOperator {
  return {
    kind: 'operator',
    id,
    name: 'probe',
    version: '1.0.0',
    digest,
    ports: ['out'],
    from: [],
    settings: {},
    onError: { do: 'skip', stopAbove: 0.5 },
    limits: {},
    permissions: [],
    ...more,
  }
}

const plan = (...components: PlanOperator[]): Plan => ({
  tenant: 'default',
  id: 'p',
  revision: 1,
  delivery: 'at-least-once',
  checkpointEveryMs: 1000,
  isolation: 'thread',
  components,
})

const split = (parallelism: number, more: Partial<PlanOperator> = {}): PlanOperator =>
  operator('x', { parallelism, partitionBy: 'k', ...more })

const snapshot = (component: string, instance: number): Checkpoint['snapshots'][number] => ({
  component,
  instance,
  digest,
  globals: {},
  memory: new Uint8Array([instance]),
})

/** `x` in two instances by `k`, and `y` in one. */
const checkpoint: Checkpoint = {
  epoch: 3,
  createdAt: 0,
  revision: 1,
  bytes: 0,
  meta: {
    sources: {},
    emitters: {},
    operators: {
      x: { ...standing(30), split: { by: 'k', instances: 2 } },
      'x#0': standing(10),
      'x#1': standing(20),
      y: standing(5),
    },
    completed: false,
  } satisfies CheckpointMeta,
  snapshots: [snapshot('x', 0), snapshot('x', 1), snapshot('y', 0)],
}

state('is an image of each instance, and one of what they have in common', () => {
  const images = imagesOf(checkpoint).map(({ component, sequence, memory, split: by }) => [
    component,
    sequence,
    memory[0],
    by,
  ])
  assert.equal(images, [
    ['x#0', 10, 0, undefined],
    ['x#1', 20, 1, undefined],
    ['y', 5, 0, undefined],
    ['x', 30, undefined, { by: 'k', instances: 2 }],
  ])
})

state('is kept where it was split in the same way', () => {
  assert.is(asSplitNow(plan(split(2), operator('y')), checkpoint), checkpoint)
  assert.is(asSplitNow(plan(split(2, { discardState: true }), operator('y')), checkpoint), checkpoint)
  assert.is(asSplitNow(plan(operator('y')), checkpoint), checkpoint)
})

state('is refused where it was split in another way, and goes alone where the plan lets it', () => {
  const others = [split(3), split(1), operator('x'), split(2, { partitionBy: 'j' })]
  for (const other of others) {
    assert.throws(
      () => asSplitNow(plan(operator('y'), other), checkpoint),
      /Cannot split "x".*made by 2 instances by "k"/,
    )
    const letGo = asSplitNow(plan(operator('y'), { ...other, discardState: true }), checkpoint)
    assert.equal(
      imagesOf(letGo).map(({ component }) => component),
      ['y'],
    )
  }
  assert.throws(
    () => asSplitNow(plan(operator('y', { parallelism: 2, partitionBy: 'key' })), checkpoint),
    /by 1 instance, not by 2 instances by key/,
  )
  // What another version made is nobody's to keep.
  asSplitNow(plan(split(3, { digest: 'b'.repeat(64) })), checkpoint)
})

state('asks a running pipeline to be dealt out anew only where the split is another', () => {
  const before = plan(split(2), operator('y'))
  assert.is(isSplitAnew(before, plan(split(2, { settings: { a: 1 } }), operator('z'))), false)
  assert.is(isSplitAnew(before, plan(split(4, { discardState: true }))), true)
  assert.is(isSplitAnew(before, plan(split(4, { digest: 'b'.repeat(64) }))), true)
  assert.throws(() => isSplitAnew(before, plan(split(4))), /discardState: true/)
})

state('is of another version as soon as one instance is', () => {
  const next = 'b'.repeat(64)
  const mixed = {
    ...checkpoint,
    snapshots: [snapshot('x', 0), { ...snapshot('x', 1), digest: next }, snapshot('y', 0)],
  }
  assert.equal(
    ofOtherVersions(plan(split(2), operator('y')), mixed).map(({ id }) => id),
    ['x'],
  )
  assert.equal(ofOtherVersions(plan(split(2), operator('y')), checkpoint), [])
})

state.run()
