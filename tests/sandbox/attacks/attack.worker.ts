// Runs admitted modules in a thread of its own, as a compute worker would: fuel and depth set before each call, the outcome of
// each call told. What does not come back is seen by the one who started the thread.

import { parentPort, workerData } from 'node:worker_threads'
import { DEPTH_EXPORT, FUEL_EXPORT, GROW_FAILED_EXPORT } from '../../../host/sandbox/write-module.ts'

export interface AttackOrder {
  module: Uint8Array<ArrayBuffer>
  fuel: number
  calls: { name: string; args: number[] }[]
  /** The module before admission: run too where the admitted one came through, and compared. */
  original?: Uint8Array<ArrayBuffer>
}

export interface AttackOutcome {
  call: string
  /** Absent where it trapped. */
  result?: number
  trap?: string
  fuel: number
  depth: number
  growFailed: number
  pages: number
  /** Of the last call, where there is an original: what differs from it. */
  differs?: string
}

const nothing = (): number => 0
const env = {
  hand_over: nothing,
  reject: nothing,
  log: nothing,
  flush_now: nothing,
  clock: nothing,
  random: nothing,
  seed: nothing,
  trace: nothing,
  abort: () => {
    throw new Error('abort')
  },
}

function instantiate(module: Uint8Array<ArrayBuffer>): Record<string, unknown> {
  return new WebAssembly.Instance(new WebAssembly.Module(module), { env }).exports
}

function call(exports: Record<string, unknown>, name: string, args: number[]): { result: number } | { trap: string } {
  try {
    return { result: Number((exports[name] as (...args: number[]) => number)(...args)) }
  } catch (error) {
    return { trap: error instanceof Error ? error.message : String(error) }
  }
}

function run({ module, fuel, calls, original }: AttackOrder): AttackOutcome[] {
  const exports = instantiate(module)
  const global = (name: string): WebAssembly.Global => exports[name] as WebAssembly.Global
  const memory = (of: Record<string, unknown>): Buffer => Buffer.from((of.memory as WebAssembly.Memory).buffer)
  const outcomes: AttackOutcome[] = []
  for (const { name, args } of calls) {
    global(FUEL_EXPORT).value = fuel
    global(DEPTH_EXPORT).value = 0
    global(GROW_FAILED_EXPORT).value = 0
    outcomes.push({
      call: name,
      ...call(exports, name, args),
      fuel: Number(global(FUEL_EXPORT).value),
      depth: Number(global(DEPTH_EXPORT).value),
      growFailed: Number(global(GROW_FAILED_EXPORT).value),
      pages: memory(exports).length / 65_536,
    })
  }
  const last = outcomes.at(-1)
  if (original && last && outcomes.every((outcome) => outcome.trap === undefined)) {
    const twin = instantiate(original)
    for (const [i, { name, args }] of calls.entries()) {
      const end = call(twin, name, args)
      const same = 'result' in end && Object.is(end.result, outcomes[i]!.result)
      if (!same) last.differs = `${name}: ${JSON.stringify(end)} instead of ${outcomes[i]!.result}`
    }
    if (!memory(twin).equals(memory(exports))) last.differs ??= 'memory'
  }
  return outcomes
}

parentPort?.postMessage((workerData as AttackOrder[]).map(run))
