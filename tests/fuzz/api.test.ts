// A short run of the fuzzer of the API; long ones are started by hand.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fuzzApi } from './api.ts'

const fuzz = suite('fuzzApi')

fuzz('finds no request that is answered with 500 or not at all', async () => {
  const { statuses } = await fuzzApi(1500, 20_24)
  const sum = (from: number, to: number): number =>
    Object.entries(statuses).reduce((n, [status, count]) => (+status >= from && +status < to ? n + count : n), 0)
  assert.is(sum(0, 600), 1500)
  assert.ok(sum(200, 300) > 100, JSON.stringify(statuses))
  assert.ok(sum(400, 500) > 500, JSON.stringify(statuses))
})

fuzz.run()
