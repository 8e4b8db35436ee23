// Admits a module and runs it in a worker that is ended when it does not come back.

import { Worker } from 'node:worker_threads'
import { type Admitted, admit } from '../../host/sandbox/admit.ts'
import type { AttackOrder, AttackOutcome } from '../sandbox/attacks/attack.worker.ts'

/** What no attack may take: hundreds of times the slice that its fuel stands for. */
const TIME_LIMIT_MS = 30_000

export function admitted(bytes: Uint8Array): Admitted {
  const admission = admit(bytes)
  if (!admission.ok) throw new Error(admission.issues.map((issue) => issue.message).join('\n'))
  return admission
}

/**
 * Runs one module.
 * @param fuel per call
 * @returns the outcome of each call
 */
export async function attack(
  module: Uint8Array<ArrayBuffer>,
  calls: AttackOrder['calls'],
  fuel = 20_000_000,
): Promise<AttackOutcome[]> {
  const [outcomes] = await attackAll([{ module, fuel, calls }])
  return outcomes!
}

/**
 * Runs modules one after the other in one thread, whose stack is a quarter of what workers have.
 * @throws Error where the thread did not end in time, or died
 */
export function attackAll(orders: AttackOrder[]): Promise<AttackOutcome[][]> {
  return new Promise((done, fail) => {
    const worker = new Worker(new URL('../sandbox/attacks/attack.worker.js', import.meta.url), {
      workerData: orders,
      resourceLimits: { stackSizeMb: 1 },
    })
    const timer = setTimeout(() => {
      fail(new Error(`it did not come back within ${TIME_LIMIT_MS} ms`))
      void worker.terminate()
    }, TIME_LIMIT_MS)
    worker.once('message', done)
    worker.once('error', fail)
    worker.once('exit', (code) => {
      clearTimeout(timer)
      fail(new Error(`the thread ended with ${code}`))
    })
  })
}
