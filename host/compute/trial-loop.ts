// Gives calls that did not end within their slice their whole budget, one after the other; tenants take turns.
// Runs on: trial. It keeps nothing: the state comes with the call and goes with the answer.

import { setPriority } from 'node:os'
import type { MessagePort } from 'node:worker_threads'
import { Doorbell } from '../ring/doorbell.ts'
import { type Fault, GuestAbort, outputExceeded } from './fault.ts'
import { Instance, type InstanceOwner } from './instance.ts'
import { Stage } from './output.ts'
import { type Status, TRIALS } from './status.ts'
import type { FromTrials, ToTrials, TrialCall, TrialsMessage, Verdict } from './trial.ts'

/** Of 19: where cores are few, those who hold to their slices come first, and this thread still has a share. */
const NICENESS = 10
/** Log lines of one call. */
const LOG_LINES_MAX = 100

interface Waiting {
  worker: Client
  trial: number
  call: TrialCall
}

interface Client {
  port: MessagePort
  bell: Doorbell
}

export class TrialLoop {
  private readonly status: Status
  /** By tenant, in the order of their turns: who was served goes to the end. */
  private readonly lines = new Map<number, Waiting[]>()
  private isTurning = false

  constructor(status: Status) {
    this.status = status
    // Of this thread alone, where threads have a niceness of their own; elsewhere it would be the whole process's.
    if (process.platform === 'linux') setPriority(0, NICENESS)
  }

  introduce({ port, doorbell }: TrialsMessage): void {
    const worker = { port, bell: new Doorbell(doorbell) }
    port.on('message', (message: ToTrials) => {
      if (message.type === 'try') this.add(message.call.tenant, { worker, trial: message.trial, call: message.call })
      else this.cancel(worker, message.trial)
    })
    port.on('close', () => this.cancel(worker))
  }

  private add(tenant: number, waiting: Waiting): void {
    const line = this.lines.get(tenant)
    if (line) line.push(waiting)
    else this.lines.set(tenant, [waiting])
    if (!this.isTurning) setImmediate(() => this.turn())
    this.isTurning = true
  }

  /** @param trial of that number; none: all of this worker */
  private cancel(worker: Client, trial?: number): void {
    for (const [tenant, line] of this.lines) {
      const left = line.filter((one) => one.worker !== worker || (trial !== undefined && one.trial !== trial))
      if (left.length === 0) this.lines.delete(tenant)
      else this.lines.set(tenant, left)
    }
  }

  /** One call; between two of them messages are taken. */
  private turn(): void {
    const [next] = this.lines
    this.isTurning = next !== undefined
    if (next === undefined) return
    const [tenant, line] = next
    const { worker, trial, call } = line.shift()!
    this.lines.delete(tenant)
    if (line.length > 0) this.lines.set(tenant, line)
    this.status.turn(TRIALS, call.pipeline)
    const answer: FromTrials = { trial, verdict: tryCall(call) }
    const { output, state } = answer.verdict
    const transfer = [output.buffer as ArrayBuffer]
    if (state) transfer.push(state.memory.buffer as ArrayBuffer)
    worker.port.postMessage(answer, transfer)
    worker.bell.message()
    this.status.turn(TRIALS, -1)
    setImmediate(() => this.turn())
  }
}

/** Makes the call on an instance of its own. Whatever happens is in the answer. */
export function tryCall(call: TrialCall): Verdict {
  const collector = new Collector(call.limits.outputBytesPerRecord)
  const verdict: Verdict = {
    fault: null,
    state: null,
    output: new Uint8Array(0),
    rejected: null,
    logs: collector.logs,
    logsDropped: 0,
    wantsFlush: false,
    change: 0,
    fuelUsed: 0,
    busyMs: 0,
  }
  try {
    const instance = new Instance(call.loaded, call.limits, collector)
    const isDone = make(call, instance, verdict)
    verdict.fuelUsed = instance.fuelUsed
    verdict.busyMs = instance.busyMs
    verdict.logsDropped = collector.logsDropped
    const state = isDone ? instance.lend() : null
    if (state === null) return { ...verdict, fault: instance.fault }
    return {
      ...verdict,
      state,
      output: collector.output,
      rejected: collector.rejection,
      wantsFlush: instance.wantsFlush,
    }
  } catch (thrown) {
    // An image or a state that is none is its pipeline's end, not that of the thread and of all who wait for it.
    return { ...verdict, fault: thrown instanceof GuestAbort ? faultOfState(thrown) : noRoom(thrown) }
  }
}

function make(call: TrialCall, instance: Instance, verdict: Verdict): boolean {
  const { from, input, settings } = call
  if (!('image' in from)) instance.adopt(from)
  else if (!instance.start()) return false
  else if (from.image) instance.restore(from.image.memory, from.image.globals)
  instance.connect(call.portsLow, call.portsHigh)
  if (settings !== null) {
    verdict.change = instance.configure(new TextEncoder().encode(settings))
    return verdict.change >= 0
  }
  return input.length === 0 ? instance.flush() >= 0 : processAlone(instance, input)
}

const faultOfState = ({ code, message }: GuestAbort): Fault => ({ code, message, stack: '' })

function processAlone(instance: Instance, input: Uint8Array): boolean {
  const at = instance.inputFor(input.length)
  if (at < 0) return false
  instance.bytes.set(input, at)
  instance.alone = true
  return instance.process(input.length) >= 0
}

function noRoom(thrown: unknown): Fault {
  const message = `the host has no room for the instance: ${(thrown as Error).message}`
  return { code: 'MEMORY_EXHAUSTED', message, stack: '' }
}

/** Keeps what the guest hands over until the call has returned. */
class Collector implements InstanceOwner {
  readonly logs: { level: number; text: string }[] = []
  logsDropped = 0
  rejection: string | null = null
  private readonly stage = new Stage()
  private readonly bytesMax: number

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get output(): Uint8Array {
    return this.stage.bytes.slice(0, this.stage.stagedBytes)
  }

  emitted(bytes: Uint8Array, from: number, to: number): void {
    if (this.stage.stagedBytes + (to - from) > this.bytesMax) throw outputExceeded(this.bytesMax)
    const at = this.stage.reserve(to - from)
    this.stage.bytes.set(bytes.subarray(from, to), at)
    this.stage.grow(to - from)
  }

  /** There is one record: another offset names none. */
  rejected(inputOffset: number, message: () => string): void {
    if (inputOffset === 0) this.rejection ??= message()
  }

  logged(level: number, text: () => string): void {
    if (this.logs.length < LOG_LINES_MAX) this.logs.push({ level, text: text() })
    else this.logsDropped++
  }

  woke(): void {}
}
