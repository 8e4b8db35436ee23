import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Compiler } from '../../manager/operators/compiler.ts'
import type { SpqrError } from '../../schemas/errors.ts'
import { until } from '../support/client.ts'
import { remove, startManager } from '../support/manager.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const files = { operatorsFolder: join(root, 'wasm-operators'), asconfig: join(root, 'asconfig.json') }

const source = `import { Operator, Record, Emitter, register } from 'spqr'
class Twice extends Operator {
  process(record: Record, out: Emitter): void { out.emit(record); out.emit(record) }
}
register(new Twice())
`

/** Each function is copied into the next one twice: of 26, sixty million calls. */
function bombed(functions: number): string {
  const copies = Array.from({ length: functions }, (_, i) => {
    const twice = i === 0 ? 'n' : `f${i - 1}(n + 1) * f${i - 1}(n)`
    return `@inline function f${i}(n: i32): i32 { return ${twice} }\n`
  })
  return copies.join('') + source.replace('{ out', `{ f${functions - 1}(0); out`)
}

test('a source becomes an operator with its source map; the same again is 200, another 409', async () => {
  const m = await startManager()
  try {
    const push = (text: string, more = {}): Promise<{ status: number; body: ReturnType<typeof JSON.parse> }> =>
      m.ask('POST', '/v1/operators', { name: 'twice', version: '1.0.0', source: text, ...more })
    const made = await push(source, { manifest: { description: 'Twice' } })
    assert.is(made.status, 201, JSON.stringify(made.body))
    assert.is(made.body.description, 'Twice')
    assert.ok(m.host.asked.includes(`PUT /modules/${made.body.digest}/source-map`))
    assert.ok(m.store.operators.files(made.body.digest)!.sourceMap!.includes('twice.ts'))
    assert.is((await push(source, { manifest: { description: 'Twice' } })).status, 200)
    assert.is((await push(source)).status, 409, 'another manifest')
    assert.is((await push(`${source}\n`)).status, 409)
    assert.is((await m.ask('GET', '/v1/operators/twice/1.0.0')).body.source, source)
    const wrong = await m.ask('POST', '/v1/operators', {
      name: 'wrong',
      version: '1.0.0',
      source: source.replace('out.emit(record); out', 'ouch'),
    })
    assert.equal([wrong.status, wrong.body.code], [422, 'COMPILE_FAILED'])
    assert.ok(wrong.body.issues.some((i: { line: number }) => i.line === 3))
    assert.is((await m.ask('POST', '/v1/operators', { name: 'json-filter', version: '9.0.0', source })).status, 409)
  } finally {
    await m.stop()
    remove(m.folder)
  }
})

test('a source that takes too long is ended, and the next one is compiled', async () => {
  const late = new Compiler(files, 1)
  try {
    await late.compile('t', { name: 'twice', version: '1.0.0', source })
    assert.unreachable()
  } catch (error) {
    assert.is((error as SpqrError).code, 'COMPILE_FAILED')
    assert.match(JSON.stringify((error as SpqrError).issues), /limit of 0\.001 s/)
  } finally {
    await late.stop()
  }
  const compiler = new Compiler(files)
  const [one, two] = await Promise.all(
    ['one', 'two'].map((name) => compiler.compile('t', { name, version: '1.0.0', source })),
  )
  assert.ok(WebAssembly.validate(one!.wasm as Uint8Array<ArrayBuffer>) && two!.sourceMap.includes('two.ts'))
  await compiler.stop()
})

test('a source that is too much for the compiler is refused, and nothing else ends', async () => {
  // With little memory it falls sooner.
  const compiler = new Compiler(files, 60_000, 60_000, 160)
  const [refusal, sound] = await Promise.allSettled([
    compiler.compile('t', { name: 'bomb', version: '1.0.0', source: bombed(26) }),
    compiler.compile('t', { name: 'twice', version: '1.0.0', source }),
  ])
  await compiler.stop()
  const refused = (refusal as PromiseRejectedResult).reason as SpqrError
  assert.is(refused.code, 'COMPILE_FAILED')
  assert.match(JSON.stringify(refused.issues), 'its process ended')
  assert.is(sound!.status, 'fulfilled')
})

test('tenants take turns: who pushes many sources waits behind those of others', async () => {
  const compiler = new Compiler(files)
  const done: string[] = []
  const push = async (tenant: string, name: string): Promise<void> => {
    await compiler.compile(tenant, { name, version: '1.0.0', source: '?' }).catch(() => done.push(name))
  }
  await Promise.all([...['a-1', 'a-2', 'a-3'].map((n) => push('a', n)), push('b', 'b-1'), push('c', 'c-1')])
  // The next ones begin with nobody owed anything.
  await Promise.all([push('a', 'a-4'), push('a', 'a-5'), push('b', 'b-2')])
  await compiler.stop()
  assert.equal(done, ['a-1', 'b-1', 'c-1', 'a-2', 'a-3', 'a-4', 'b-2', 'a-5'])
})

test('a compile ends when its manager is killed', async () => {
  const compilerUrl = new URL('../../manager/operators/compiler.js', import.meta.url)
  // A manager whose only work is a source without end.
  const script = `
    const { Compiler } = await import(${JSON.stringify(compilerUrl.href)})
    const compiler = new Compiler(${JSON.stringify(files)})
    await compiler.compile('t', { name: 'bomb', version: '1.0.0', source: ${JSON.stringify(bombed(40))} })`
  const manager = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const children = `/proc/${manager.pid}/task/${manager.pid}/children`
  const child = await until(() => Number(readFileSync(children, 'utf8').trim()) || undefined)
  // Some processor time: it is past its start, and compiles.
  await until(
    () => (processorMs(child) > 3000 ? true : undefined),
    () => 'the compile does not begin',
  )
  manager.kill('SIGKILL')
  await until(
    () => (processorMs(child) < 0 ? true : undefined),
    () => `the compiler ${child} goes on without its manager`,
  )
})

/** Of a process in ms; -1: there is none any more. */
function processorMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    if (fields[0] === 'Z') return -1
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return -1
  }
}

test.run()
