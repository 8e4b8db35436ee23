// Who waits for a flush is always told how it ends, also where nothing will be delivered any more.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Flushes } from '../../../host/bridges/flushes.ts'
import { SpqrError } from '../../../schemas/errors.ts'

const test = suite('flushes')

test('a flush waits for what was closed before it, and for nothing later', async () => {
  const flushes = new Flushes()
  await flushes.wait()
  flushes.closed()
  const first = flushes.wait()
  flushes.closed()
  flushes.delivered()
  await first
})

test('once it is stopped, a flush fails instead of waiting for ever', async () => {
  const flushes = new Flushes()
  flushes.closed()
  const before = flushes.wait()
  flushes.stop(new SpqrError('INVALID_STATE', 'stopped'))
  for (const wait of [before, flushes.wait()]) {
    assert.is(await wait.catch((thrown: SpqrError) => thrown.message), 'stopped')
  }
})

test.run()
