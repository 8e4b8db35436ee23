// A call that did not end within its slice, made again elsewhere: what a compute worker and the trial thread tell each other.
//
// The compute worker undoes the call, lends the state and goes on with other pipelines; the trial thread gives the call its
// whole budget and answers with what came of it. Only that decides FUEL_EXHAUSTED, so the same record ends the same everywhere.

import type { Fault } from './fault.ts'
import type { LoadedModule } from './guest.ts'
import type { InstanceState } from './instance.ts'
import type { InstanceLimits } from './limits.ts'

/** How an instance is started: from an image where there is one. */
export interface Start {
  image: { memory: Uint8Array; globals: Record<string, number | string> } | null
}

/** What is to be tried: one record, a flush, or settings, of what runs or starts. */
export interface TrialCall {
  /** Number of the tenant: tenants take turns. */
  tenant: number
  /** Whose call it is, for the watch over the thread. */
  pipeline: number
  loaded: LoadedModule
  limits: InstanceLimits
  portsLow: number
  portsHigh: number
  /** Before the call; of what is yet to start, how. */
  from: InstanceState | Start
  /** It is given these; null: a record, or a flush. */
  settings: string | null
  /** The record; empty for what is none. */
  input: Uint8Array
}

/** What came of it. `fault` and `state` exclude each other. */
export interface Verdict {
  fault: Fault | null
  /** After the call. */
  state: InstanceState | null
  /** Frames that the guest handed over, not checked. */
  output: Uint8Array
  /** Why the guest did not process the record; null: it did. */
  rejected: string | null
  logs: { level: number; text: string }[]
  /** Lines that were not kept. */
  logsDropped: number
  wantsFlush: boolean
  /** What the guest said to its settings. */
  change: number
  fuelUsed: number
  busyMs: number
}

export type ToTrials = { type: 'try'; trial: number; call: TrialCall } | { type: 'cancel'; trial: number }

export interface FromTrials {
  trial: number
  verdict: Verdict
}

/** Control thread to trial thread: another compute worker may ask. */
export interface TrialsMessage {
  type: 'compute'
  port: import('node:worker_threads').MessagePort
  doorbell: SharedArrayBuffer
}
