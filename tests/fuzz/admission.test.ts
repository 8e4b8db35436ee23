// Short runs of the fuzzers; long ones are started by hand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fuzzAdmission } from './admission.ts'
import { fuzzPrograms } from './programs.ts'

const fuzz = suite('fuzzAdmission')

fuzz('finds no mutation of a module that breaks admission or what it admits', async () => {
  const result = await fuzzAdmission(1500, 20_24)
  assert.is(result.admitted + result.refused, 1500)
  assert.ok(result.admitted > 50, `${result.admitted} admitted`)
  assert.ok(result.refused > 500, `${result.refused} refused`)
})

const programs = suite('fuzzPrograms')

programs('finds no program that does something else once it is admitted', async () => {
  const result = await fuzzPrograms(400, 20_24)
  assert.ok(result.compared > 100, `${result.compared} compared`)
  assert.ok(result.outOfFuel > 0, `${result.outOfFuel} out of fuel`)
})

fuzz.run()
programs.run()
