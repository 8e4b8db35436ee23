// Entry of the trial thread: wiring only.
// Runs on: trial.

import { type MessagePort, workerData } from 'node:worker_threads'
import { Status } from './status.ts'
import type { TrialsMessage } from './trial.ts'
import { TrialLoop } from './trial-loop.ts'

// Enough frames for the stack of a trap deep in a guest.
Error.stackTraceLimit = 30

const { control, status } = workerData as { control: MessagePort; status: SharedArrayBuffer }
const loop = new TrialLoop(new Status(status))
control.on('message', (message: TrialsMessage) => loop.introduce(message))
