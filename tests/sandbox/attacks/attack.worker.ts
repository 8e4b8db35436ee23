// Runs admitted modules in a thread of its own, as a compute worker would: fuel and depth set before each call, the outcome of
// each call told. What does not come back is seen by the one who started the thread.

import { parentPort, workerData } from 'node:worker_threads'
import { DEPTH_EXPORT, FUEL_EXPORT, GROW_FAILED_EXPORT } from '../../../host/sandbox/write-module.ts'

export interface AttackOrder {
  module: Uint8Array<ArrayBuffer>
  fuel: number
  calls: { name: string; args: number[] }[]
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

function run({ module, fuel, calls }: AttackOrder): AttackOutcome[] {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { env })
  const global = (name: string): WebAssembly.Global => exports[name] as WebAssembly.Global
  return calls.map(({ name, args }) => {
    global(FUEL_EXPORT).value = fuel
    global(DEPTH_EXPORT).value = 0
    global(GROW_FAILED_EXPORT).value = 0
    let end: { result: number } | { trap: string }
    try {
      end = { result: Number((exports[name] as (...args: number[]) => number)(...args)) }
    } catch (error) {
      end = { trap: error instanceof Error ? error.message : String(error) }
    }
    return {
      call: name,
      ...end,
      fuel: Number(global(FUEL_EXPORT).value),
      depth: Number(global(DEPTH_EXPORT).value),
      growFailed: Number(global(GROW_FAILED_EXPORT).value),
      pages: (exports.memory as WebAssembly.Memory).buffer.byteLength / 65_536,
    }
  })
}

parentPort?.postMessage((workerData as AttackOrder[]).map(run))
