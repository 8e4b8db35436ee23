// Entry of a compute worker thread: wiring only.
// Runs on: compute.

import { type MessagePort, workerData } from 'node:worker_threads'
import { QuotaCells } from '../quota/quota-cells.ts'
import { ComputeLoop } from './compute-loop.ts'
import { Status, slotOf } from './status.ts'

export interface ComputeWorkerData {
  index: number
  control: MessagePort
  doorbell: SharedArrayBuffer
  status: SharedArrayBuffer
  quota: SharedArrayBuffer
  cores: number
}

// Enough frames for the stack of a trap deep in a guest.
Error.stackTraceLimit = 30

const data = workerData as ComputeWorkerData
new ComputeLoop({
  ...data,
  status: new Status(data.status, slotOf(data.index)),
  quota: new QuotaCells(data.quota),
}).run()
