// kill -9 of the whole product while records flow; the long run is `node dist/tests/crash/run.js`.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { crashRounds } from './rounds.ts'

const test = suite('kill -9')

test('exactly once is exactly once, at least once loses nothing, and the state fits the records', async () => {
  const { problems, sent } = await crashRounds(3, 20_26, () => undefined)
  assert.equal(problems, [])
  assert.ok(sent > 100, `${sent} records`)
})

test.run()
