// Ends the compile process when its manager is gone: a compile takes the main thread until it is done, which hears of nothing
// meanwhile. `kill -9` tells nobody, but leaves the process to another parent.
// Runs on: compile process, a thread beside the compiler's.

import { workerData } from 'node:worker_threads'

const LOOK_EVERY_MS = 500

const { parent } = workerData as { parent: number }

setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
}, LOOK_EVERY_MS)
