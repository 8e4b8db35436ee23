import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ControlStore } from '../../manager/store/control-store.ts'
import type { PipelineRow } from '../../manager/store/pipelines-table.ts'
import { remove, scratch } from '../support/manager.ts'

const row = (id: string): PipelineRow => ({
  tenant: 'default',
  id,
  revision: 1,
  wanted: 'running',
  document: '{}',
  plan: '{}',
  modules: [{ name: 'f', version: '1.0.0', digest: 'd' }],
  replayedTo: '0',
  createdAt: 1,
  changedAt: 1,
})

test('what was put is there after the file is opened again', () => {
  const folder = scratch()
  const first = ControlStore.open(folder)
  first.pipelines.put(row('a'))
  first.pipelines.put({ ...row('a'), revision: 2, replayedTo: '9' })
  first.pipelines.setReplayedTo('default', 'a', '4')
  first.pipelines.setWanted('default', 'a', 'paused')
  first.operators.put(
    { digest: 'd', report: '{}', createdAt: 1 },
    { wasm: new Uint8Array([1, 2, 3]), sourceMap: '{}' },
    { tenant: 'default', name: 'f', version: '1.0.0', digest: 'd', source: 'x', createdAt: 1 },
  )
  first.stop()
  const second = ControlStore.open(folder)
  const { revision, wanted, replayedTo, modules } = second.pipelines.get('default', 'a')!
  assert.equal([revision, wanted, replayedTo, modules], [2, 'paused', '4', row('a').modules])
  const files = second.operators.files('d')!
  assert.equal([[...files.wasm], files.sourceMap], [[1, 2, 3], '{}'])
  assert.is(second.operators.all()[0]!.source, 'x')
  second.operators.delete({ tenant: 'default', name: 'f', version: '1.0.0', digest: 'd' })
  assert.is(second.operators.files('d'), undefined)
  second.stop()
  remove(folder)
})

test('a module that two names share goes with the last', () => {
  const folder = scratch()
  const store = ControlStore.open(folder)
  for (const name of ['f', 'g']) {
    const operator = { tenant: 'default', name, version: '1.0.0', digest: 'd', source: null, createdAt: 1 }
    store.operators.put(
      { digest: 'd', report: '{}', createdAt: 1 },
      { wasm: new Uint8Array(1), sourceMap: null },
      operator,
    )
  }
  store.operators.delete({ tenant: 'default', name: 'f', version: '1.0.0', digest: 'd' })
  assert.ok(store.operators.files('d'))
  store.stop()
  remove(folder)
})

test('a second process is told which folder is in use; a killed one leaves no lock', async () => {
  const folder = scratch()
  const module = new URL('../../manager/store/control-store.js', import.meta.url).href
  const script = `import { ControlStore } from '${module}'; ControlStore.open(process.argv[1]); console.log('open'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((done) => child.stdout.once('data', done))
  assert.throws(
    () => ControlStore.open(folder),
    (error: Error) => error.message.includes(folder) && !error.message.includes('\n'),
  )
  const gone = new Promise((done) => child.once('close', done))
  child.kill('SIGKILL')
  await gone
  ControlStore.open(folder).stop()
  remove(folder)
})

test('a file of a newer version, and one that is no database, are refused by name', async () => {
  const folder = scratch()
  ControlStore.open(folder).stop()
  const { default: Database } = await import('libsql')
  const db = new Database(join(folder, 'control.db'))
  db.pragma('user_version = 99')
  db.close()
  assert.throws(() => ControlStore.open(folder), /newer SPQR/)
  remove(folder)
})

test.run()
