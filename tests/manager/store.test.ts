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

/** Without what the driver adds to a row. */
const kept = (store: ControlStore, id: string): object =>
  Object.fromEntries(Object.entries(store.pipelines.get('default', id)!).filter(([field]) => field !== '_metadata'))

test('a change keeps what was before until it is settled, also in the file', () => {
  const folder = scratch()
  const next = { revision: 2, document: '{"a":2}', plan: '{"b":"\\"2"}', modules: [], changedAt: 2 }
  const first = ControlStore.open(folder)
  const { revision, document, plan, modules, changedAt } = row('a')
  const before = { revision, document, plan, modules, changedAt }
  for (const id of ['a', 'b', 'c']) {
    first.pipelines.put(row(id))
    first.pipelines.change('default', id, next, true)
    assert.equal(kept(first, id), { ...row(id), ...next, before })
  }
  first.pipelines.settle('default', 'a')
  assert.equal(kept(first, 'a'), { ...row('a'), ...next })
  first.pipelines.goBack('default', 'b')
  assert.equal(kept(first, 'b'), row('b'))
  first.stop()
  const second = ControlStore.open(folder)
  assert.equal(kept(second, 'a'), { ...row('a'), ...next })
  assert.equal(kept(second, 'b'), row('b'))
  assert.equal(kept(second, 'c'), { ...row('c'), ...next, before })
  second.stop()
  remove(folder)
})

test('of a change after one that is settled, what was before is that one', () => {
  const folder = scratch()
  const store = ControlStore.open(folder)
  const next = (revision: number) => ({ revision, document: '{}', plan: '{}', modules: [], changedAt: 2 })
  store.pipelines.put(row('a'))
  store.pipelines.change('default', 'a', next(2), true)
  store.pipelines.settle('default', 'a')
  store.pipelines.change('default', 'a', next(3), true)
  assert.is(store.pipelines.get('default', 'a')!.before!.revision, 2)
  store.stop()
  const again = ControlStore.open(folder)
  assert.is(again.pipelines.get('default', 'a')!.before!.revision, 2)
  again.stop()
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
