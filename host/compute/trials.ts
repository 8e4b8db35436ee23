// The trials that operators of one compute worker wait for.
// Runs on: compute.

import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import type { FromTrials, ToTrials, TrialCall, Verdict } from './trial.ts'

/** Who waits for a trial. */
export interface TrialOwner {
  judged(verdict: Verdict): void
  /** The trial thread was replaced: there will be no answer. */
  lost(): void
}

export class Trials {
  private port: MessagePort | null = null
  private readonly waiting = new Map<number, TrialOwner>()
  private next = 1

  /** A trial thread takes calls. */
  get open(): boolean {
    return this.port !== null
  }

  /** Takes this thread from now on; what the one before it was asked is lost. */
  connect(port: MessagePort): void {
    this.port = port
    const lost = [...this.waiting.values()]
    this.waiting.clear()
    for (const owner of lost) owner.lost()
  }

  /** Hands a call over, its memory included. @returns its number */
  start(owner: TrialOwner, call: TrialCall): number {
    const trial = this.next++
    this.waiting.set(trial, owner)
    const { from } = call
    // Without what a worker knows of a module besides: its names and positions are many.
    const { digest, module, globals, memoryBytesMax, depthLimit } = call.loaded
    const loaded = { digest, module, globals, memoryBytesMax, depthLimit }
    // The image of a start is needed again if the thread is lost.
    this.post(
      { type: 'try', trial, call: { ...call, loaded } },
      'image' in from ? [] : [from.memory.buffer as ArrayBuffer],
    )
    return trial
  }

  /** Nobody waits for it any more. */
  cancel(trial: number): void {
    if (this.waiting.delete(trial)) this.post({ type: 'cancel', trial })
  }

  /** Hands the answers that are there to those who wait for them. */
  take(): void {
    if (this.port === null) return
    for (let m = receiveMessageOnPort(this.port); m; m = receiveMessageOnPort(this.port)) {
      const { trial, verdict } = m.message as FromTrials
      const owner = this.waiting.get(trial)
      if (owner === undefined) continue
      this.waiting.delete(trial)
      owner.judged(verdict)
    }
  }

  private post(message: ToTrials, transfer: ArrayBuffer[] = []): void {
    this.port!.postMessage(message, transfer)
  }
}
