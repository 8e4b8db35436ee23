// An operator that is added when all that were there before have ended: its dead letters come, and checkpoints with them.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { testFolder, until } from '../../support/bridge-driver.ts'
import { emitter, source, TestHost } from '../../support/test-host.ts'

const LETTERS = 'p.dead-letters'
/** About 2 MiB of dead letters. */
const POISON = 1500
const test = suite('an operator behind the end of the others')
let t: TestHost

test.before.each(async () => {
  t = await TestHost.start(testFolder(), ['--allow-read'], { checkpointMsMax: 5000 })
})
test.after.each(() => t.remove())

for (const hadLetters of [false, true]) {
  test(`of which ${hadLetters ? 'one' : 'none'} has left a dead letter`, async () => {
    const path = join(t.folder.path, 'few.txt')
    writeFileSync(path, hadLetters ? 'x\ntrap\n' : 'x\ny\n')
    const onError = { do: 'dead-letter', stopAbove: 1 } as const
    const components = [
      source('few', 'file', { path }),
      t.probe('first', ['few'], {}, { onError }),
      emitter('none', 'discard', ['first']),
      source('in', 'http'),
      emitter('all', 'discard', ['in']),
    ]
    await t.create(t.plan('p', components))
    const { bridge } = t.host.workers
    const { key } = t.host.pipeline('default', 'p')
    const ended = async (): Promise<boolean> => {
      const { checkpoint } = t.host.pipeline('default', 'p')
      const kept = checkpoint && (await t.host.transport.checkpoint({ tenant: 'default', pipeline: 'p', slot: 0 }))
      const meta = kept?.meta as { operators: Record<string, { ended: boolean }> } | undefined
      if (meta?.operators.first?.ended) return true
      await bridge.ask({ type: 'checkpoint', pipeline: key }).catch(() => undefined)
      return false
    }
    await until(ended, 'the first operator has ended')
    const second = t.probe('second', ['in'], {}, { onError })
    const changed = await t.put(
      t.plan('p', [...components, second, emitter('too', 'discard', ['second'])], { revision: 2 }),
    )
    assert.is(changed.status, 200)
    // More than may wait.
    await t.ingest('p', [...Array.from({ length: POISON }, () => `trap:${'0'.repeat(1000)}`), 'a'])
    await until(async () => (await t.stats('p')).second?.recordsOut === 1, 'what is no poison went through')
    await t.ok('POST', '/pipelines/default/p/savepoints', { name: 's' })
    const letters = POISON + (hadLetters ? 1 : 0)
    assert.is((await t.readAtLeast(LETTERS, letters)).length, letters)
  })
}

test.run()
