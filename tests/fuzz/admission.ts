// Mutates a real module and hands it to admission: it must answer, and what it admits must run within its limits and do what the
// module did before. Seeded, so a failure can be repeated. By hand: `node dist/tests/fuzz/admission.js [mutations] [seed]`.

import { fileURLToPath } from 'node:url'
import { type Admission, type Admitted, admit } from '../../host/sandbox/admit.ts'
import { attackAll } from '../support/attack.ts'
import { compileAssemblyScript } from '../support/compile-assemblyscript.ts'
import { type Pick, picker } from './picker.ts'

export interface FuzzResult {
  mutations: number
  admitted: number
  refused: number
  /** Calls of admitted modules that trapped, and of those by fuel. */
  traps: number
  outOfFuel: number
  slowestMs: number
}

const SOURCE = `
class Node { next: Node | null = null; constructor(public value: i32) {} }
const counts = new Map<i32, i32>()
const names: string[] = []
function walk(node: Node | null): i32 { return node ? node.value + walk(node.next) : 0 }
export function process(bytes: i32): i32 {
  let head: Node | null = null
  for (let i = 0; i < 20; i++) { const node = new Node(i); node.next = head; head = node }
  for (let i = 0; i < bytes; i++) counts.set(i % 7, (counts.has(i % 7) ? counts.get(i % 7) : 0) + 1)
  names.push('n' + bytes.toString())
  let lanes = i8x16.splat(34)
  let quotes = i8x16.bitmask(i8x16.eq(v128.load(1024), lanes))
  switch (bytes % 5) { case 0: quotes += 1; break; case 1: quotes += 2; break; case 2: quotes *= 3; break; case 3: quotes = 9; break; default: quotes ^= 5 }
  memory.fill(2048, 7, 64)
  return walk(head) + names.length + quotes
}
`
const FUEL = 2_000_000
/** Admitted modules that run in one thread. */
const BATCH = 100
const CALLS = ['spqr_start', 'process', 'flush'].map((name) => ({ name, args: name === 'process' ? [12] : [] }))

/** Bytes that mean something in many places. */
const TELLING = [0, 1, 0x0b, 0x0c, 0x10, 0x11, 0x23, 0x24, 0x40, 0x41, 0x60, 0x70, 0x7b, 0x7f, 0x80, 0xfc, 0xfd, 0xff]

function mutate(original: Uint8Array, pick: Pick): Uint8Array<ArrayBuffer> {
  let bytes = Uint8Array.from(original)
  for (let n = 1 + pick(3); n > 0; n--) {
    const at = pick(bytes.length)
    const kind = pick(7)
    if (kind === 0) bytes[at] = pick(256)
    else if (kind === 1) bytes[at] = TELLING[pick(TELLING.length)]!
    else if (kind === 2) bytes[at]! ^= 1 << pick(8)
    else if (kind === 3) bytes = bytes.slice(0, at + 1)
    else if (kind === 4) bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + 1 + pick(4))])
    else if (kind === 5) bytes = Uint8Array.from([...bytes.subarray(0, at), pick(256), ...bytes.subarray(at)])
    else {
      const from = pick(bytes.length)
      bytes.copyWithin(at, from, from + pick(16))
    }
    if (bytes.length === 0) return bytes
  }
  return bytes
}

/**
 * @throws Error with seed and number of the mutation that made admission throw, or an admitted module not come back
 */
export async function fuzzAdmission(mutations: number, seed: number): Promise<FuzzResult> {
  const { wasm } = await compileAssemblyScript(SOURCE)
  const pick = picker(seed)
  const result: FuzzResult = { mutations, admitted: 0, refused: 0, traps: 0, outOfFuel: 0, slowestMs: 0 }
  let batch: { n: number; bytes: Uint8Array<ArrayBuffer>; admission: Admitted }[] = []
  const runBatch = async (): Promise<void> => {
    const orders = batch.map(({ admission, bytes }) => {
      const { exports } = admission.report
      const calls = CALLS.filter(({ name }) => exports.some((e) => e.startsWith(`${name}:`)))
      return { module: admission.module, fuel: FUEL, calls, original: bytes }
    })
    const all = await attackAll(orders).catch((error: Error) => {
      throw new Error(`${error.message}: seed ${seed}, one of the mutations ${batch.map(({ n }) => n).join()}`)
    })
    for (const [i, outcomes] of all.entries()) {
      const { n, admission } = batch[i]!
      for (const outcome of outcomes) {
        if (outcome.trap !== undefined) result.traps++
        if (outcome.fuel < 0) result.outOfFuel++
        if (outcome.depth !== 0 && outcome.trap === undefined) throw new Error(`depth: seed ${seed}, mutation ${n}`)
        if (outcome.differs) throw new Error(`it differs in ${outcome.differs}: seed ${seed}, mutation ${n}`)
        if (outcome.pages > admission.report.memory.maximumPages) {
          throw new Error(`${outcome.pages} pages: seed ${seed}, mutation ${n}`)
        }
      }
    }
    batch = []
  }
  for (let n = 0; n < mutations; n++) {
    const bytes = mutate(wasm, pick)
    const started = performance.now()
    let admission: Admission
    try {
      admission = admit(bytes)
    } catch (error) {
      throw new Error(`admission threw: seed ${seed}, mutation ${n}`, { cause: error })
    }
    result.slowestMs = Math.max(result.slowestMs, performance.now() - started)
    if (admission.ok) {
      result.admitted++
      batch.push({ n, bytes, admission })
      if (batch.length === BATCH) await runBatch()
    } else {
      result.refused++
      if (admission.issues.length === 0) throw new Error(`refused without a word: seed ${seed}, mutation ${n}`)
    }
  }
  await runBatch()
  return result
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const result = await fuzzAdmission(Number(process.argv[2] ?? 10_000), Number(process.argv[3] ?? 1))
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
}
