// A change whose row was written while the host was being asked: what a crash in between leaves behind is settled at the start.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PipelineRow } from '../../manager/store/pipelines-table.ts'
import { document, remove, scratch, startManager, type TestManager } from '../support/manager.ts'
import { problem } from '../support/recorded-host.ts'

let folder: string
let m: TestManager
const test = suite('an unsettled change')

test.before.each(async () => {
  folder = scratch()
  m = await startManager({ folder })
  assert.is((await m.ask('POST', '/v1/pipelines', document('p'))).status, 201)
})
test.after.each(async () => {
  await m.stop()
  remove(folder)
})

const settings = (equals: unknown): object => ({ settings: { where: [{ path: 'a', equals }] } })
const patch = (equals: unknown): ReturnType<TestManager['ask']> =>
  m.ask('PATCH', '/v1/pipelines/p/components/f', settings(equals))
const row = (): PipelineRow => m.store.pipelines.get('default', 'p')!

/** The row as it stands when the manager dies before the host has answered. */
async function dieWithin(plan: (plan: string) => string): Promise<void> {
  const { revision, document: before, plan: planBefore, modules, changedAt } = row()
  m.store.pipelines.put({
    ...row(),
    revision: revision + 1,
    document: before.replace('"equals":1', '"equals":2'),
    plan: plan(planBefore).replace(`"revision":${revision}`, `"revision":${revision + 1}`),
    before: { revision, document: before, plan: planBefore, modules, changedAt },
  })
  await m.stop()
  m = await startManager({ folder })
}

const equalsNow = async (): Promise<unknown> => {
  const { body } = await m.ask('GET', '/v1/pipelines/p')
  return [body.state, body.revision, body.document.components[1].settings.where[0].equals]
}

test('a change that was answered leaves nothing to settle', async () => {
  assert.is((await patch(2)).status, 200)
  assert.is(row().revision, 2)
  assert.is(row().before, undefined)
})

test('a change that the host refuses leaves the row as it was', async () => {
  const { revision, document: given, plan, changedAt } = row()
  m.host.refuse = () => problem(422, 'INVALID_DOCUMENT', 'no')
  assert.is((await patch(2)).status, 422)
  const now = row()
  assert.equal([now.revision, now.document, now.plan, now.changedAt], [revision, given, plan, changedAt])
  assert.is(now.before, undefined)
  assert.equal(await equalsNow(), ['running', 1, 1])
})

test('while the host is being asked the row says both revisions', async () => {
  const { pipelines } = m.store
  const settle = pipelines.settle.bind(pipelines)
  let seen: PipelineRow | undefined
  pipelines.settle = (tenant, id) => {
    seen = row()
    settle(tenant, id)
  }
  assert.is((await patch(2)).status, 200)
  assert.is(seen!.revision, 2)
  assert.is(seen!.before?.revision, 1)
  assert.match(seen!.before!.document, '"equals":1')
  assert.equal(await equalsNow(), ['running', 2, 2])
})

test('after a crash within a change it holds, where the host takes it', async () => {
  await dieWithin((plan) => plan.replace('"equals":1', '"equals":2'))
  assert.equal(await equalsNow(), ['running', 2, 2])
  assert.is(row().before, undefined)
})

test('after a crash within a change that the host refuses, what was before holds', async () => {
  await dieWithin((plan) => plan.replace('"equals":1', '"matches":"("'))
  assert.equal(await equalsNow(), ['running', 1, 1])
  assert.is(row().before, undefined)
  assert.is((await patch(3)).status, 200)
  assert.equal(await equalsNow(), ['running', 2, 3])
})

test.run()
