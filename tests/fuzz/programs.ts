// Random programs of every control structure that the rewriter touches: blocks, loops, branches to any label, returns of several
// values, calls among each other and through the table. What comes through with fuel must do what it did without.

import { admit } from '../../host/sandbox/admit.ts'
import { attackAll } from '../support/attack.ts'
import { FUNCREF, type FunctionSpec, I32, op, u32, withProcess } from '../support/module-builder.ts'
import { type Pick, picker } from './picker.ts'

const FUEL = 300_000
const FUNCTIONS = 4
const LOCALS = 3
/** Of each function: (i32) → i32, or → (i32, i32), which asks for a type of its own where the body is wrapped. */
const resultsOf = (index: number): number[] => (index % 2 === 0 ? [I32] : [I32, I32])

export interface ProgramsResult {
  programs: number
  /** Came through, and were compared with the program as it was. */
  compared: number
  outOfFuel: number
  tooDeep: number
}

/** @throws Error with seed and number of the program that differs */
export async function fuzzPrograms(programs: number, seed: number): Promise<ProgramsResult> {
  const pick = picker(seed)
  const result: ProgramsResult = { programs, compared: 0, outOfFuel: 0, tooDeep: 0 }
  const orders = Array.from({ length: programs }, (_, n) => {
    const original = program(pick)
    const admission = admit(original)
    if (!admission.ok) throw new Error(`program ${n} of seed ${seed}: ${admission.issues[0]?.message}`)
    const calls = [0, 1, 5].map((x) => ({ name: 'process', args: [x] }))
    return { module: admission.module, fuel: FUEL, calls, original }
  })
  for (const [n, outcomes] of (await attackAll(orders)).entries()) {
    const fault = outcomes.find((outcome) => outcome.trap !== undefined)
    if (!fault) result.compared++
    else if (fault.fuel < 0) result.outOfFuel++
    else if (fault.depth > 0) result.tooDeep++
    const differs = outcomes.find((outcome) => outcome.differs)?.differs
    if (differs) throw new Error(`program ${n} of seed ${seed} differs: ${differs}`)
    if (!fault && outcomes.some((outcome) => outcome.depth !== 0))
      throw new Error(`program ${n} of seed ${seed}: depth`)
  }
  return result
}

function program(pick: Pick): Uint8Array<ArrayBuffer> {
  const functions: FunctionSpec[] = Array.from({ length: FUNCTIONS }, (_, index) => ({
    params: [I32],
    results: resultsOf(index),
    locals: new Array<number>(LOCALS).fill(I32),
    code: [...statements(pick, 4, 0, resultsOf(index).length), ...values(pick, resultsOf(index).length)],
  }))
  const indices = Array.from({ length: FUNCTIONS }, (_, i) => u32(i)).flat()
  return withProcess([...op.get(0), ...op.call(0)], {
    functions,
    table: [FUNCREF, 0, FUNCTIONS],
    elements: [[0, ...op.i32(0), 0x0b, FUNCTIONS, ...indices]],
    memory: [1, 1, 2],
  })
}

/** @param labels blocks around, without the function @param results how many values the function returns */
function statements(pick: Pick, room: number, labels: number, results: number): number[] {
  const code: number[] = []
  for (let n = 1 + pick(4); n > 0; n--) code.push(...statement(pick, room, labels, results))
  return code
}

function statement(pick: Pick, room: number, labels: number, results: number): number[] {
  const inside = (): number[] => statements(pick, room - 1, labels + 1, results)
  const kind = pick(room > 0 ? 14 : 8)
  // A branch to the function itself carries its results.
  const carry = (label: number): number[] => (label === labels ? values(pick, results) : [])
  const drop = (label: number): number[] => (label === labels ? new Array<number>(results).fill(op.drop[0]!) : [])
  const label = pick(labels + 1)
  switch (kind) {
    case 0:
    case 1:
    case 2:
      return [...value(pick), ...op.set(pick(LOCALS + 1))]
    case 3:
      return [...carry(label), ...value(pick), ...op.brIf(label), ...drop(label)]
    case 4: {
      const callee = pick(FUNCTIONS)
      const call = pick(3) === 0 ? [...op.i32(callee), ...op.callIndirect(callee)] : op.call(callee)
      return [...value(pick), ...call, ...new Array<number>(resultsOf(callee).length).fill(op.drop[0]!)]
    }
    case 5:
      return [...op.i32(pick(64)), ...value(pick), ...op.store]
    case 6:
      return [...op.i32(pick(200)), ...op.i32(pick(200)), ...op.i32(pick(100)), ...(pick(2) ? op.fill : op.copy)]
    case 7:
      // Code behind it is never reached, and still must be rewritten soundly.
      if (pick(3) > 0) return op.nop
      return pick(2) ? [...values(pick, results), ...op.return] : [...carry(label), ...op.br(label)]
    case 8:
    case 9:
      return op.block(inside())
    case 10:
      return op.loop(inside())
    case 11:
      return [...value(pick), 0x04, 0x40, ...inside(), 0x05, ...inside(), 0x0b]
    case 12:
      return [...value(pick), ...op.if(inside())]
    default:
      return pick(4) === 0
        ? [...op.i32(pick(2)), ...op.grow, ...op.drop]
        : op.block(op.block(value(pick), op.brTable([0, 1, 0], 1)), statements(pick, room - 1, labels + 1, results))
  }
}

const values = (pick: Pick, count: number): number[] => Array.from({ length: count }, () => value(pick)).flat()

function value(pick: Pick): number[] {
  switch (pick(5)) {
    case 0:
      return op.i32(pick(7) - 2)
    case 1:
      return [...op.get(pick(LOCALS + 1)), ...op.i32(1), ...op.sub]
    case 2:
      return [...op.i32(pick(64)), ...op.load]
    case 3:
      return [...op.get(pick(LOCALS + 1)), ...op.get(pick(LOCALS + 1)), ...op.add]
    default:
      return op.get(pick(LOCALS + 1))
  }
}
