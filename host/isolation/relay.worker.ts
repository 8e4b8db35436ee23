// Entry of a relay thread: starts the tenant's process, then relays until it ends.
// Runs on: relay thread.

import { setTimeout as sleep } from 'node:timers/promises'
import { type MessagePort, workerData } from 'node:worker_threads'
import { Status, slotOf } from '../compute/status.ts'
import { QuotaCells } from '../quota/quota-cells.ts'
import { launch } from './launch.ts'
import { RelayLoop } from './relay-loop.ts'

export interface RelayWorkerData {
  index: number
  control: MessagePort
  doorbell: SharedArrayBuffer
  status: SharedArrayBuffer
  quota: SharedArrayBuffer
  cores: number
  /** After a crash it waits so long, ms. */
  delayMs: number
  /** One i32: the number of the process while it lives. */
  pid: SharedArrayBuffer
}

const data = workerData as RelayWorkerData
const status = new Status(data.status, slotOf(data.index))
const pid = new Int32Array(data.pid)

// Until the process is up nobody else moves the heartbeat.
const starting = setInterval(() => status.turn(data.index, -1), 1000)
await sleep(data.delayMs)
const child = await launch(data.cores)
clearInterval(starting)
Atomics.store(pid, 0, child.pid)

const ended = await new Promise<string>((onEnd) => {
  const quota = new QuotaCells(data.quota)
  new RelayLoop({ ...data, status, quota, process: child, onEnd }).run()
})
Atomics.store(pid, 0, 0)
// What the control thread is told is the message alone.
const end = new Error(ended)
end.stack = ended
throw end
