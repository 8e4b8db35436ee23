// A trap of each way, in AssemblyScript compiled as operators are: the stack must name file and line of the source.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { locate, OffsetMapBuilder } from '../../../host/sandbox/offset-map.ts'
import { decodeStack, readSourceMap } from '../../../host/sandbox/stack.ts'
import { FUEL_EXPORT } from '../../../host/sandbox/write-module.ts'
import { admitted } from '../../support/attack.ts'
import { compileAssemblyScript } from '../../support/compile-assemblyscript.ts'

const SOURCE = `
let total: i64 = 0
function deep(n: i32): i32 {
  return deep(n + 1) + n // 4
}
function parts(n: i32): i32 {
  let sum = 0
  for (let i = 0; i < 10; i++) {
    if (i == 7) sum += 100 / (n - 5) // 9
    sum += i
  }
  return sum
}
const texts = new Map<string, i32>()
export function process(bytes: i32): i32 {
  texts.set('a' + bytes.toString(), bytes)
  memory.copy(64, 128, bytes)
  if (bytes == 1) throw new Error('no') // 18
  if (bytes == 2) unreachable() // 19
  if (bytes == 3) return load<i32>(0xfffff0) // 20
  if (bytes == 4) while (true) total++ // 21
  if (bytes == 5) return parts(bytes)
  if (bytes == 6) return deep(0)
  if (bytes == 7) return [1, 2, 3][bytes] // 24
  if (bytes == 8) return call_indirect<i32>(1000) // 25
  return texts.get('a' + bytes.toString())
}
`

const stacks = suite('decodeStack')

/** Runs `process(n)` of the admitted module. @returns the error it ended with */
function trapOf(module: Uint8Array<ArrayBuffer>, n: number): Error {
  const env = {
    abort: () => {
      throw new Error('abort')
    },
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { env })
  const fuel = exports[FUEL_EXPORT] as WebAssembly.Global
  fuel.value = 10_000_000
  ;(exports.spqr_start as () => void)()
  try {
    ;(exports.process as (n: number) => number)(n)
  } catch (error) {
    return error as Error
  }
  throw new Error(`process(${n}) returned`)
}

const WAYS: [what: string, n: number, line: number][] = [
  ['throw', 1, 18],
  ['unreachable', 2, 19],
  ['a load outside of the memory', 3, 20],
  ['fuel', 4, 21],
  ['a division by zero in a loop of another function', 5, 9],
  ['a recursion without end', 6, 4],
  ['an index outside of an array', 7, 24],
  ['a table call', 8, 25],
]

stacks('names file and line of each way to trap, at every level of optimisation', async () => {
  for (const level of ['-O3', '-O0']) {
    const { wasm, sourceMap } = await compileAssemblyScript(SOURCE, [level])
    const admission = admitted(wasm)
    for (const [what, n, line] of WAYS) {
      const lines = decodeStack(trapOf(admission.module, n), admission, sourceMap)
      const own = lines.find((l) => l.startsWith('operator.ts:'))
      assert.match(own ?? lines.join(), new RegExp(`^operator\\.ts:${line}:\\d+ \\(.+\\)$`), `${what} at ${level}`)
    }
  }
})

stacks('gives the same offset as the module that was pushed has', async () => {
  const { wasm } = await compileAssemblyScript(SOURCE, ['-O3'])
  const admission = admitted(wasm)
  const original = new WebAssembly.Instance(new WebAssembly.Module(wasm), { env: { abort: () => {} } })
  ;(original.exports.spqr_start as () => void)()
  for (const n of [2, 3, 5, 8]) {
    let stack = ''
    try {
      ;(original.exports.process as (n: number) => number)(n)
    } catch (error) {
      stack = (error as Error).stack ?? ''
    }
    const offsets = [...stack.matchAll(/wasm-function\[\d+\]:(0x[0-9a-f]+)/g)].map((m) => `wasm:${m[1]}`)
    assert.ok(offsets.length > 0)
    const decoded = decodeStack(trapOf(admission.module, n), admission).map((line) => line.split(' ')[0])
    assert.equal(decoded, offsets, `process(${n})`)
  }
})

stacks('names functions by the name section, else by the export', async () => {
  const debug = await compileAssemblyScript(SOURCE, ['--debug'])
  const named = admitted(debug.wasm)
  assert.match(decodeStack(trapOf(named.module, 5), named, debug.sourceMap).join(), /\(operator\/process\)/)
  const release = await compileAssemblyScript(SOURCE)
  const exported = admitted(release.wasm)
  assert.match(
    decodeStack(trapOf(exported.module, 2), exported, readSourceMap(release.sourceMap)).join(),
    /\(process\)/,
  )
})

stacks('takes a stack that crossed threads, a source map that is none, and an error without frames', async () => {
  const { wasm } = await compileAssemblyScript(SOURCE)
  const admission = admitted(wasm)
  const { stack } = trapOf(admission.module, 2)
  assert.match(
    decodeStack({ stack }, structuredClone(admission), 'no source map').join(),
    /^wasm:0x[0-9a-f]+ \(process\)$/,
  )
  assert.equal(decodeStack({}, admission), [])
  assert.equal(decodeStack(new Error('x'), admission), [])
})

const maps = suite('offset map')

maps('finds copied bytes one by one, inserted ones at their instruction, nothing before the code', () => {
  const builder = new OffsetMapBuilder()
  builder.copied(0, 10)
  builder.inserted(5, 15)
  builder.copied(9, 15)
  builder.copied(20, 40)
  const map = builder.take(100)
  const found = [99, 100, 104, 105, 108, 109, 112, 120, 121].map((offset) => locate(map, offset))
  assert.equal(found, [undefined, 10, 14, 15, 15, 15, 18, 40, 41])
})

stacks.run()
maps.run()
