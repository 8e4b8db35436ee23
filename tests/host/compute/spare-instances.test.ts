// Spares: as many as were taken at once, never the same instance twice, and a bound over all modules.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeSpare, takeInstance } from '../../../host/compute/spare-instances.ts'
import { probe } from '../../support/probe-operator.ts'

const { module } = await probe()
const test = suite('spare instances')

/** @returns how many were missing */
function fill(): number {
  let made = 0
  while (makeSpare()) made++
  return made
}

test('there are none of a module that nobody has used', () => {
  fill()
  assert.is(fill(), 0)
})

test('as many are made as were taken at once, and each is given once', () => {
  const first = [takeInstance(module), takeInstance(module), takeInstance(module)]
  assert.is(fill(), 3)
  const second = [takeInstance(module), takeInstance(module), takeInstance(module)]
  assert.is(new Set([...first, ...second]).size, 6)
  assert.is(fill(), 3)
})

test('a spare has run nothing', () => {
  const taken = takeInstance(module)
  fill()
  const spare = takeInstance(module)
  assert.equal(memoryOf(spare), memoryOf(taken))
  assert.is.not(memoryOf(spare), memoryOf(taken))
})

test('however many are taken, and of however many modules, no more than 16 are kept', () => {
  for (let i = 0; i < 40; i++) takeInstance(module)
  assert.is(fill(), 16)
  const other = new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))
  takeInstance(other)
  assert.is(fill(), 1)
  takeInstance(module)
  // The one that was taken, of what room the other has left.
  assert.is(fill(), 1)
})

function memoryOf({ exports }: WebAssembly.Instance): Uint8Array {
  return new Uint8Array((exports.memory as WebAssembly.Memory).buffer)
}

test.run()
