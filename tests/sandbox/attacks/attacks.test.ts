// Modules that try to run without end, to fill memory or stack, or to undo their own metering; each runs for real.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { admit } from '../../../host/sandbox/admit.ts'
import { admitted, attack } from '../../support/attack.ts'
import { FUNCREF, I32, I64, op, operatorModule, u32, V128, withProcess } from '../../support/module-builder.ts'
import type { AttackOutcome } from './attack.worker.ts'

const attacks = suite('attacks')

async function run(module: Uint8Array, fuel?: number): Promise<AttackOutcome> {
  const [outcome] = await attack(admitted(module).module, [{ name: 'process', args: [1] }], fuel)
  return outcome!
}

function outOfFuel(outcome: AttackOutcome): void {
  assert.match(outcome.trap ?? 'returned', /unreachable/)
  assert.ok(outcome.fuel < 0, `fuel is ${outcome.fuel}`)
}

function tooDeep(outcome: AttackOutcome, depthLimit: number): void {
  assert.match(outcome.trap ?? 'returned', /unreachable/)
  assert.ok(outcome.fuel >= 0, 'fuel is left')
  assert.ok(outcome.depth > depthLimit, `depth is ${outcome.depth}`)
}

attacks('an endless loop', async () => outOfFuel(await run(withProcess([...op.loop(op.br(0)), ...op.get(0)]))))

attacks('an endless loop with an empty body and a conditional branch', async () => {
  outOfFuel(await run(withProcess([...op.loop(op.i32(1), op.brIf(0)), ...op.get(0)])))
})

attacks('an endless loop in a block in a loop', async () => {
  outOfFuel(await run(withProcess([...op.loop(op.block(op.loop(op.i32(1), op.brIf(2), op.br(0)))), ...op.get(0)])))
})

attacks('an endless loop of a branch table', async () => {
  const code = [...op.loop(op.block(op.get(0), op.brTable([1, 1, 0, 1], 1)), op.br(0)), ...op.get(0)]
  outOfFuel(await run(withProcess(code)))
})

attacks('a loop that carries a value round', async () => {
  // (loop (param i32) (result i32) …): the charge stands between the operands and the body.
  const spec = { functions: [{ params: [I32], results: [I32], code: op.get(0) }] }
  const code = [...op.get(0), 0x03, 0, ...op.i32(1), ...op.add, ...op.br(0), 0x0b]
  outOfFuel(await run(withProcess(code, spec)))
})

attacks('an endless loop at the top level', async () => {
  const module = operatorModule({ functions: [{ export: 'spqr_start', code: op.loop(op.br(0)) }] })
  const [outcome] = await attack(admitted(module).module, [{ name: 'spqr_start', args: [] }])
  outOfFuel(outcome!)
})

attacks('functions that each call the next twice: a small module, exponential work, no loop', async () => {
  const depth = 40
  const functions = Array.from({ length: depth }, (_, i) => ({
    code: i + 1 < depth ? [...op.call(i + 1), ...op.call(i + 1)] : op.nop,
  }))
  const module = withProcess([...op.call(0), ...op.get(0)], { functions })
  assert.ok(module.length < 700, `${module.length} bytes`)
  outOfFuel(await run(module))
})

attacks('the same through the table', async () => {
  const depth = 30
  const types = Array.from({ length: depth }, (_, i) => i)
  const functions = types.map((i) => ({
    code: i + 1 < depth ? [...op.i32(i + 1), ...op.callIndirect(0), ...op.i32(i + 1), ...op.callIndirect(0)] : op.nop,
  }))
  const elements = [[0, ...op.i32(0), 0x0b, depth, ...types]]
  const module = withProcess([...op.call(0), ...op.get(0)], { functions, table: [FUNCREF, 0, depth], elements })
  const outcome = await run(module)
  assert.match(outcome.trap ?? 'returned', /unreachable/)
  assert.ok(outcome.fuel < 0 || outcome.depth > 0)
})

attacks('small functions that are folded into their callers, in a loop', async () => {
  const functions = [
    { code: op.nop },
    { code: [...op.call(0), ...op.call(0)] },
    { code: [...op.call(1), ...op.call(1)] },
  ]
  outOfFuel(await run(withProcess([...op.loop(op.call(2), op.br(0)), ...op.get(0)], { functions })))
})

attacks('a recursion without end', async () => {
  const admission = admitted(withProcess([...op.get(0), ...op.call(0), ...op.i32(1), ...op.add]))
  assert.is(admission.report.countedFunctions, 1)
  const [outcome] = await attack(admission.module, [{ name: 'process', args: [1] }], 2_000_000_000)
  tooDeep(outcome!, admission.report.depthLimit)
})

attacks('a mutual recursion', async () => {
  const functions = [
    { params: [I32], results: [I32], code: [...op.get(0), ...op.call(1), ...op.i32(1), ...op.add] },
    { params: [I32], results: [I32], code: [...op.get(0), ...op.call(2), ...op.i32(1), ...op.add] },
  ]
  const admission = admitted(withProcess([...op.get(0), ...op.call(0)], { functions }))
  assert.is(admission.report.countedFunctions, 3)
  const [outcome] = await attack(admission.module, [{ name: 'process', args: [1] }], 2_000_000_000)
  tooDeep(outcome!, admission.report.depthLimit)
})

attacks('a recursion through the table', async () => {
  const functions = [
    {
      params: [I32],
      results: [I32],
      code: [...op.get(0), ...op.i32(0), ...op.callIndirect(0), ...op.i32(1), ...op.add],
    },
  ]
  const spec = { functions, table: [FUNCREF, 0, 1], elements: [[0, ...op.i32(0), 0x0b, 1, 0]] }
  const admission = admitted(withProcess([...op.get(0), ...op.call(0)], spec))
  const [outcome] = await attack(admission.module, [{ name: 'process', args: [1] }], 2_000_000_000)
  tooDeep(outcome!, admission.report.depthLimit)
})

attacks('a recursion with frames as large as may be', async () => {
  for (const [type, count] of [
    [I64, 1900],
    [V128, 1900],
    [I32, 300],
  ] as const) {
    // Every local lives over the call: no compiler keeps them anywhere but on the stack.
    const value = type === I64 ? [...op.get(0), 0xad] : type === V128 ? [...op.get(0), 0xfd, 0x11] : op.get(0)
    const xor = type === I64 ? [0x85] : type === V128 ? [0xfd, 0x51] : [0x73]
    const low = type === I64 ? [0xa7] : type === V128 ? [0xfd, 0x1b, 0] : []
    const locals = new Array<number>(count).fill(type)
    const names = locals.map((_, i) => i + 1)
    const code = [
      ...names.flatMap((n) => [...value, ...op.set(n)]),
      ...[...op.get(0), ...op.call(0), ...op.set(0)],
      ...op.get(1),
      ...names.slice(1).flatMap((n) => [...op.get(n), ...xor]),
      ...low,
    ]
    const admission = admitted(withProcess(code, {}, locals))
    const [outcome] = await attack(admission.module, [{ name: 'process', args: [1] }], 2_000_000_000)
    tooDeep(outcome!, admission.report.depthLimit)
  }
})

attacks('a chain of large frames without recursion', async () => {
  const depth = 60
  const locals = new Array<number>(1900).fill(I64)
  const names = locals.map((_, i) => i + 1)
  const frame = (next: number): number[] => [
    ...names.flatMap((n) => [...op.get(0), 0xad, ...op.set(n)]),
    ...(next <= depth ? [...op.get(0), ...op.call(next), ...op.set(0)] : []),
    ...op.get(1),
    ...names.slice(1).flatMap((n) => [...op.get(n), 0x85]),
    0xa7,
  ]
  const functions = Array.from({ length: depth + 1 }, (_, i) => ({
    params: [I32],
    results: [I32],
    locals,
    code: frame(i + 1),
  }))
  const admission = admitted(withProcess([...op.get(0), ...op.call(0)], { functions }))
  assert.ok(admission.report.countedFunctions > 0, 'calls are counted')
  const [outcome] = await attack(admission.module, [{ name: 'process', args: [1] }], 2_000_000_000)
  tooDeep(outcome!, admission.report.depthLimit)
})

attacks('a return from everywhere leaves the depth as it was', async () => {
  // f(n): if n = 0 return 0; else return f(n − 1), by return, by a branch to the outermost label, by falling through.
  const ways = [
    [...op.get(0), ...op.i32(1), ...op.sub, ...op.call(0), ...op.return],
    [...op.get(0), ...op.i32(1), ...op.sub, ...op.call(0), ...op.br(0)],
    [...op.get(0), ...op.i32(1), ...op.sub, ...op.call(0), ...op.get(0), ...op.brTable([0], 0)],
    [...op.get(0), ...op.i32(1), ...op.sub, ...op.call(0)],
  ]
  for (const way of ways) {
    const code = [...op.get(0), 0x45, ...op.if(op.i32(7), op.return), ...way]
    const admission = admitted(withProcess(code))
    const calls = Array.from({ length: 50 }, () => ({ name: 'process', args: [300] }))
    for (const outcome of await attack(admission.module, calls)) {
      assert.is(outcome.trap, undefined)
      assert.is(outcome.result, 7)
      assert.is(outcome.depth, 0)
    }
  }
})

attacks('work behind every look at the fuel does not wrap it around', async () => {
  const times = (count: number, code: number[]): number[] => Array.from({ length: count }, () => code).flat()
  const product = (weight: number): number[] => [
    ...op.globalGet(0),
    ...times((weight - 4) >> 1, [...op.i32(3), 0x6c]),
    ...op.globalSet(0),
  ]
  const globals = [[I32, 1, ...op.i32(1), 0x0b]]
  // A hundred thousand calls of what is too small to look, or might seem so: above 2^31 together.
  for (const [weight, count] of [
    [200, 130_000],
    [19_400, 113_000],
  ] as const) {
    const functions = [{ code: product(weight) }, { code: times(count, op.call(0)) }]
    outOfFuel(await run(withProcess([...op.call(1), ...op.get(0)], { functions, globals }), 8_000_000))
  }
  // f(n): f(n − 1), and 12 million behind it, which every level still has before it when fuel is used up.
  const rest = times(60_000, op.call(0))
  for (const results of [[], [I32, I64]]) {
    const left = results.length > 0 ? [...op.i32(1), 0x42, 1] : []
    const drops = results.flatMap(() => op.drop)
    const recur = [...op.get(0), ...op.i32(1), ...op.sub, ...op.call(1), ...drops]
    const code = [...op.get(0), ...op.if(recur), ...rest, ...left]
    const functions = [{ code: product(200) }, { params: [I32], results, code }]
    const module = withProcess([...op.i32(300), ...op.call(1), ...drops, ...op.get(0)], { functions, globals })
    const outcome = await run(module, 300_000_000)
    outOfFuel(outcome)
    assert.ok(outcome.fuel > -100_000_000, `fuel is ${outcome.fuel}`)
  }
})

attacks('memory without end', async () => {
  const outcome = await run(withProcess([...op.loop(op.i32(1), op.grow, ...[op.drop], op.br(0)), ...op.get(0)]))
  outOfFuel(outcome)
  assert.is(outcome.pages, 256)
  assert.is(outcome.growFailed, 1)
})

attacks('memory by four billion pages', async () => {
  const outcome = await run(withProcess([...op.i32(-1), ...op.grow]), 2_000_000_000)
  assert.is(outcome.pages, 1)
  assert.is(outcome.result, -1)
  assert.is(outcome.growFailed, 1)
  outOfFuel(await run(withProcess([...op.i32(-1), ...op.grow])))
})

attacks('a memory filled over and over', async () => {
  const module = withProcess([...op.loop(op.i32(0), op.i32(0), op.i32(65_536 * 16), op.fill, op.br(0)), ...op.get(0)], {
    memory: [0, 16],
  })
  const outcome = await run(module, 2_000_000)
  outOfFuel(outcome)
})

attacks('a memory copied over and over', async () => {
  const module = withProcess([...op.loop(op.i32(0), op.i32(1), op.i32(65_536 * 15), op.copy, op.br(0)), ...op.get(0)], {
    memory: [0, 16],
  })
  outOfFuel(await run(module, 2_000_000))
})

attacks('a length of 2^32 − 1 that would wrap the fuel around', async () => {
  for (const bulk of [op.fill, op.copy, op.init(0)]) {
    const spec = { dataCount: 1, data: [[1, 1, 7]] }
    const outcome = await run(
      withProcess([...op.i32(0), ...op.i32(0), ...op.i32(-1), ...bulk, ...op.get(0)], spec),
      1000,
    )
    outOfFuel(outcome)
  }
})

attacks('calls out of the sandbox without end', async () => {
  const module = withProcess([...op.loop(op.call(0), op.br(0)), ...op.get(0)], { imports: [{ name: 'flush_now' }] })
  outOfFuel(await run(module))
})

attacks('writing the fuel by its index is refused, by its name too', () => {
  const set = admit(withProcess([...op.i32(2_000_000_000), ...op.globalSet(0), ...op.get(0)]))
  assert.not(set.ok)
  const named = admit(
    operatorModule({ globals: [[I32, 1, ...op.i32(0), 0x0b]], exports: [{ name: 'spqr:fuel', kind: 3, index: 0 }] }),
  )
  assert.not(named.ok)
  const local = admit(withProcess([...op.i32(-1), ...op.set(1), ...op.loop(op.br(0)), ...op.get(0)]))
  assert.not(local.ok)
})

attacks("overwriting a register that holds fuel is refused where it is not the module's", async () => {
  // Its own local behind which admission puts the fuel: what it writes there changes nothing.
  const code = [...op.loop(op.i32(2_000_000_000), op.set(1), op.br(0)), ...op.get(0)]
  outOfFuel(await run(withProcess(code, {}, [I32])))
})

attacks('a data segment dropped and used again has the same bytes', async () => {
  const spec = { dataCount: 1, data: [[1, 1, 42]] }
  const code = [...op.dataDrop(0), ...op.i32(8), ...op.i32(0), ...op.i32(1), ...op.init(0), ...op.i32(8), ...op.load]
  const outcome = await run(withProcess(code, spec))
  assert.is(outcome.result, 42)
})

attacks('a decompression bomb of locals is compiled within limits or refused', () => {
  const bodies = Array.from({ length: 50 }, () => ({ locals: [], code: op.nop }))
  assert.ok(admit(operatorModule({ functions: bodies })).ok)
  const many = admit(withProcess(op.get(0), {}, new Array<number>(3000).fill(I64)))
  assert.not(many.ok)
})

attacks('a call costs the same fuel every time, and what the sum of its parts is', async () => {
  const code = [...op.loop(op.get(1), op.i32(1), op.add, op.tee(1), op.get(0), [0x49], op.brIf(0)), ...op.get(1)]
  const { module } = admitted(withProcess(code, {}, [I32]))
  const calls = [10, 10, 20, 1000].map((n) => ({ name: 'process', args: [n] }))
  const used = (await attack(module, calls)).map((outcome) => 20_000_000 - outcome.fuel)
  assert.is(used[0], used[1])
  const perIteration = (used[2]! - used[0]!) / 10
  assert.ok(perIteration >= 7, `${perIteration} per iteration`)
  assert.is(used[3], used[0]! + 990 * perIteration)
})

attacks('a table call out of range traps and costs no more than itself', async () => {
  const spec = { table: [FUNCREF, 0, 1], functions: [{ code: op.nop }] }
  const outcome = await run(withProcess([...op.i32(100_000), ...op.callIndirect(0), ...op.get(0)], spec))
  assert.match(outcome.trap ?? '', /table index is out of bounds|table/)
  assert.ok(outcome.fuel > 0)
})

attacks('a module of many functions that each call all is admitted or refused quickly enough to test it', () => {
  const count = 300
  const all = Array.from({ length: count }, (_, i) => op.call(i)).flat()
  const admission = admit(operatorModule({ functions: Array.from({ length: count }, () => ({ code: all })) }))
  assert.ok(admission.ok)
  if (admission.ok) assert.is(admission.report.countedFunctions, count)
})

attacks('what is small when it is pushed does not become large where it is kept', () => {
  const times = (count: number, code: number[]): number[] => Array.from({ length: count }, () => code).flat()
  // Each instruction is metered by several, and has a place in the map.
  const codes = [
    [250_000, op.unreachable],
    [250_000, op.return],
    [50_000, [...op.i32(0), ...op.grow, ...op.drop]],
  ] as const
  for (const [count, instruction] of codes) {
    const code = [...op.loop(), ...times(count, [...instruction])]
    const admission = admit(operatorModule({ functions: Array.from({ length: 15 }, () => ({ code })) }))
    assert.not.ok(admission.ok)
    if (!admission.ok) assert.match(JSON.stringify(admission.issues), /limits: .* make it smaller/)
  }

  // Half a million names of functions that are not there.
  const names = Array.from({ length: 500_000 }, (_, i) => [...u32(1000 + i), 1, 0x78])
  const named = [...u32(names.length), ...names.flat()]
  const custom = [{ name: 'name', bytes: [1, ...u32(named.length), ...named] }]
  const admission = admitted(operatorModule({ custom }))
  assert.is(Object.keys(admission.functionNames).length, 6)
})

attacks('table calls of one type by thousands of functions make no product of edges', () => {
  const count = 1900
  const indices = Array.from({ length: count }, (_, i) => u32(i)).flat()
  const admission = admit(
    operatorModule({
      functions: Array.from({ length: count }, () => ({ code: [...op.i32(0), ...op.callIndirect(0)] })),
      table: [FUNCREF, 0, ...u32(count)],
      elements: [[0, ...op.i32(0), 0x0b, ...u32(count), ...indices]],
    }),
  )
  assert.ok(admission.ok)
  if (admission.ok) assert.is(admission.report.countedFunctions, count)
})

attacks.run()
