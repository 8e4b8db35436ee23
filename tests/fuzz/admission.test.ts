// A short run of the fuzzer; a long one is started by hand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fuzzAdmission } from './admission.ts'

const fuzz = suite('fuzzAdmission')

fuzz('finds no mutation of a module that breaks admission or what it admits', async () => {
  const result = await fuzzAdmission(1500, 20_24)
  assert.is(result.admitted + result.refused, 1500)
  assert.ok(result.admitted > 50, `${result.admitted} admitted`)
  assert.ok(result.refused > 500, `${result.refused} refused`)
})

fuzz.run()
