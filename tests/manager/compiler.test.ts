import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Compiler } from '../../manager/operators/compiler.ts'
import type { SpqrError } from '../../schemas/errors.ts'
import { remove, startManager } from '../support/manager.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const files = { operatorsFolder: join(root, 'wasm-operators'), asconfig: join(root, 'asconfig.json') }

const source = `import { Operator, Record, Emitter, register } from 'spqr'
class Twice extends Operator {
  process(record: Record, out: Emitter): void { out.emit(record); out.emit(record) }
}
register(new Twice())
`

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
    await late.compile({ name: 'twice', version: '1.0.0', source })
    assert.unreachable()
  } catch (error) {
    assert.is((error as SpqrError).code, 'COMPILE_FAILED')
    assert.match(JSON.stringify((error as SpqrError).issues), /limit of 0\.001 s/)
  } finally {
    await late.stop()
  }
  const compiler = new Compiler(files)
  const [one, two] = await Promise.all(
    ['one', 'two'].map((name) => compiler.compile({ name, version: '1.0.0', source })),
  )
  assert.ok(WebAssembly.validate(one!.wasm as Uint8Array<ArrayBuffer>) && two!.sourceMap.includes('two.ts'))
  await compiler.stop()
})

test('a source that is too much for the compiler is refused, and nothing else ends', async () => {
  // Each function is copied into the next one twice: sixty million calls.
  const bomb = Array.from({ length: 26 }, (_, i) => {
    const twice = i === 0 ? 'n' : `f${i - 1}(n + 1) * f${i - 1}(n)`
    return `@inline function f${i}(n: i32): i32 { return ${twice} }\n`
  }).join('')
  // With little memory it falls sooner.
  const compiler = new Compiler(files, 60_000, 60_000, 160)
  const [bombed, sound] = await Promise.allSettled([
    compiler.compile({ name: 'bomb', version: '1.0.0', source: bomb + source.replace('{ out', '{ f25(0); out') }),
    compiler.compile({ name: 'twice', version: '1.0.0', source }),
  ])
  await compiler.stop()
  const refused = (bombed as PromiseRejectedResult).reason as SpqrError
  assert.is(refused.code, 'COMPILE_FAILED')
  assert.match(JSON.stringify(refused.issues), 'its process ended')
  assert.is(sound!.status, 'fulfilled')
})

test.run()
