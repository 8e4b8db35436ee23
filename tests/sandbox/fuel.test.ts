// Fuel is deterministic: the same module and the same records, cut into the same calls, cost the same in every run and process.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const fuel = suite('fuel')
const script = fileURLToPath(new URL('../support/fuel-run.js', import.meta.url))

fuel('a hundred runs in two processes use the same fuel, to the unit', async () => {
  const runs = await Promise.all(
    [0, 1].map(async () => {
      const { stdout } = await promisify(execFile)(process.execPath, [script, '50'], { maxBuffer: 1 << 24 })
      return JSON.parse(stdout) as Record<string, number[]>
    }),
  )
  const operators = Object.keys(runs[0]!)
  assert.ok(operators.length >= 5)
  for (const operator of operators) {
    const used = runs.flatMap((run) => run[operator]!)
    assert.is(used.length, 100)
    assert.ok(used[0]! > 0)
    assert.equal([...new Set(used)], [used[0]], operator)
  }
})

fuel.run()
