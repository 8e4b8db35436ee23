// Modules that are admitted away from the control thread, hostile ones among them.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Admissions } from '../../../host/pipeline/admissions.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { op, operatorModule, withProcess } from '../../support/module-builder.ts'

const made: Admissions[] = []
const admissions = suite('Admissions')

admissions.after.each(async () => {
  for (const one of made.splice(0)) await one.stop()
})

function fresh(timeLimitMs?: number): Admissions {
  const one = new Admissions(timeLimitMs)
  made.push(one)
  return one
}

/** A megabyte of loops: the most that is admitted, and a third of a second of work. */
function loops(): Uint8Array {
  const body = Array.from({ length: 20_000 }, () => op.loop()).flat()
  return operatorModule({ functions: Array.from({ length: 16 }, () => ({ code: body })) })
}

async function refused(work: Promise<unknown>): Promise<SpqrError> {
  const thrown = await work.then(
    () => undefined,
    (error) => error,
  )
  assert.instance(thrown, SpqrError)
  return thrown as SpqrError
}

admissions('compile what they admit, and pass on every broken rule of what they do not', async () => {
  const of = fresh()
  const good = await of.admit(operatorModule(), 16)
  assert.ok(good.ok && good.compiled instanceof WebAssembly.Module)
  const bad = await of.admit(withProcess([...op.i32(1), ...op.globalSet(0), ...op.get(0)]), 16)
  assert.ok(!bad.ok && bad.issues.length > 0)
})

admissions('leave the control thread to others while a hostile module is read', async () => {
  const module = loops()
  let turns = 0
  let isOver = false
  const turn = (): void => {
    turns++
    if (!isOver) setTimeout(turn)
  }
  turn()
  const admission = await fresh().admit(module, 16)
  isOver = true
  assert.ok(admission.ok)
  assert.ok(turns > 20, `${turns} turns`)
})

admissions('end what takes longer than the limit, and go on with the next', async () => {
  const of = fresh(1)
  const error = await refused(of.admit(loops(), 16))
  assert.is(error.code, 'MODULE_REFUSED')
  assert.match(error.message, 'took longer than')
  const patient = fresh()
  const [first, second] = await Promise.all([patient.admit(operatorModule(), 16), patient.admit(operatorModule(), 16)])
  assert.ok(first.ok && second.ok)
})

admissions('take so many at a time, and say so to the next', async () => {
  const of = fresh()
  const taken = Array.from({ length: 64 }, () => of.admit(operatorModule(), 16))
  const error = await refused(of.admit(operatorModule(), 16))
  assert.is(error.code, 'BACK_PRESSURE')
  assert.ok((await Promise.all(taken)).every((one) => one.ok))
  assert.ok((await of.admit(operatorModule(), 16)).ok)
})

admissions('fail what waits when they stop', async () => {
  const of = fresh()
  const waiting = [of.admit(loops(), 16), of.admit(operatorModule(), 16)].map(refused)
  await of.stop()
  for (const error of await Promise.all(waiting)) assert.ok(error.message.length > 0)
})

admissions.run()
