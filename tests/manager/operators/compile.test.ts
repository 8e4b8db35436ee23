// The compile driver: modules, manifests, diagnostics at the author's own lines, source maps, what may be read.

import { originalPositionFor, TraceMap } from '@jridgewell/trace-mapping'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type CompileInput, compileOperator, MANIFEST_SECTION } from '../../../manager/operators/compile.ts'
import { asconfig, operatorsFolder } from '../../support/guest.ts'

const source = `import { Operator, Record, Emitter, register } from 'spqr'
class Twice extends Operator {
  process(record: Record, out: Emitter): void { out.emit(record); out.emit(record) }
}
register(new Twice())
export function leaked(): i32 { return 1 }
`

const compile = (input: Partial<CompileInput> = {}): ReturnType<typeof compileOperator> =>
  compileOperator({ name: 'twice', version: '1.2.3', source, operatorsFolder, asconfig, ...input })

/** Sections of a module: number, name where it is custom, content. */
function sections(wasm: Uint8Array): { id: number; name?: string; at: number; bytes: Uint8Array }[] {
  const found: { id: number; name?: string; at: number; bytes: Uint8Array }[] = []
  let at = 8
  const leb = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[at++]!
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < wasm.length) {
    const id = wasm[at++]!
    const end = leb() + at
    let name: string | undefined
    if (id === 0) {
      const length = leb()
      name = new TextDecoder().decode(wasm.slice(at, at + length))
      at += length
    }
    found.push({ id, name, at, bytes: wasm.slice(at, end) })
    at = end
  }
  return found
}

const driver = suite('compileOperator')

driver('gives a module with its manifest inside, that exports the ABI and nothing of the author', async () => {
  const result = await compile({ manifest: { description: 'é', ports: ['a', 'b'], permissions: ['clock'] } })
  assert.ok('wasm' in result)
  const custom = sections(result.wasm).find((section) => section.name === MANIFEST_SECTION)
  assert.equal(JSON.parse(new TextDecoder().decode(custom!.bytes)), {
    name: 'twice',
    version: '1.2.3',
    description: 'é',
    ports: ['a', 'b'],
    permissions: ['clock'],
    abi: 1,
  })
  assert.not.ok(
    sections(result.wasm).some((section) => section.id === 8),
    'no start section',
  )
  const instance = new WebAssembly.Instance(new WebAssembly.Module(result.wasm), {
    env: { abort: () => {}, hand_over: () => {}, reject: () => {} },
  })
  assert.equal(Object.keys(instance.exports).sort(), [
    'allocate',
    'configure',
    'flush',
    'memory',
    'process',
    'spqr_abi',
    'spqr_start',
    'watermark',
  ])
})

driver('the same source gives the same bytes', async () => {
  const [first, second] = [await compile(), await compile()]
  assert.ok('wasm' in first && 'wasm' in second)
  assert.equal(first.wasm, second.wasm)
})

driver('names every error at the line and column of the author', async () => {
  const result = await compile({
    source: source.replace('out.emit(record); out', 'ouch').replace('new Twice', 'new Once'),
  })
  assert.ok('diagnostics' in result)
  assert.ok(result.diagnostics.length >= 1)
  const syntax = await compile({ source: source.replace('extends Operator {', 'extends Operator [') })
  assert.ok('diagnostics' in syntax)
  assert.is(syntax.diagnostics[0]!.line, 2)
  const unknown = await compile({ source: source.replace('out.emit(record); out', 'ouch') })
  assert.ok('diagnostics' in unknown)
  assert.equal(
    unknown.diagnostics.map(({ line, column }) => ({ line, column })),
    [{ line: 3, column: 49 }],
  )
  assert.match(unknown.diagnostics[0]!.message, /ouch/)
})

driver('the source map leads from the code back to the author, by file name and line', async () => {
  for (const debug of [true, false]) {
    const result = await compile({ source: source.replace('out.emit(record); out', '\n    unreachable(); out'), debug })
    assert.ok('wasm' in result)
    const map = new TraceMap(result.sourceMap)
    const code = sections(result.wasm).find((section) => section.id === 10)!
    const lines = new Set<string>()
    for (let at = 0; at < code.bytes.length; at++) {
      // A column of the map is an offset in the module.
      const place = originalPositionFor(map, { line: 1, column: code.at + at })
      if (place.source?.endsWith('twice.ts')) lines.add(`${place.line}`)
    }
    assert.ok(lines.has('4'), `${debug}: ${[...lines].join()}`)
  }
})

driver('reads nothing but the SDK and what it is handed', async () => {
  for (const path of [
    './other',
    '../../../../etc/passwd',
    '/etc/passwd',
    'fs',
    'spqr/../../../package',
    '../manager/operators/compile',
  ]) {
    const result = await compile({ source: `import { x } from '${path}'\n${source}` })
    assert.ok('diagnostics' in result, path)
    assert.match(result.diagnostics[0]!.message, /not found/, path)
  }
  const asked: string[] = []
  const result = await compile({
    source: `import { x } from './other.ts'\n${source.replace('out.emit(record);', 'if (x > 1) out.emit(record);')}`,
    readRelative: (path) => {
      asked.push(path)
      return path === 'other.ts' ? 'export const x: i32 = 2' : null
    },
  })
  assert.ok('wasm' in result)
  assert.ok(asked.includes('other.ts'))
})

driver('refuses names and sources that are none', async () => {
  for (const input of [{ name: '../x' }, { name: '' }, { source: 'x'.repeat((1 << 20) + 1) }]) {
    let message = ''
    await compile(input).catch((error: Error) => {
      message = error.message
    })
    assert.match(message, /Cannot compile/)
  }
})

driver.run()
