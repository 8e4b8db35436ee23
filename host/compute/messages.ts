// Everything that passes between a compute worker and the threads around it, in one place.
// Numbers name pipelines (unique in the host) and channels (one ring each way); both are given by the control thread.

import type { EmitWhen, OnError, WhenFull } from '../../schemas/document.ts'
import type { ErrorMessage } from '../../schemas/errors.ts'
import type { StackContext } from '../sandbox/stack.ts'

/** An edge into an operator or emitter; all edges from one component are one, with the ports as bits. */
export interface EdgeSpec {
  from: string
  portsLow: number
  portsHigh: number
  /** Given: the edge is a queue of its own, else consumers read in place. */
  capacityBytes?: number
  whenFull?: WhenFull
}

export interface SourceSpec {
  /** The topic it reads, where it reads one: the place of a dead letter. */
  topic: string | null
  component: string
  channel: number
  counters: number
}

export interface OperatorSpec {
  /** Of an instance of a split operator the name of the unit: see units.ts. */
  component: string
  /** The split operator that it is an instance of. */
  of?: string
  name: string
  version: string
  digest: string
  ports: number
  /** Settings as JSON text. */
  settings: string
  edges: EdgeSpec[]
  emitWhen?: EmitWhen
  onError: OnError
  limits: { fuelPerRecord: number; outputBytesPerRecord: number; memoryBytes: number }
  counters: number
}

/** An operator in several instances, each for some of the keys; they stand among the operators as well. */
export interface SplitSpec {
  component: string
  digest: string
  ports: number
  edges: EdgeSpec[]
  by: string
  instances: number
}

/** By what a state was split, and into how many. */
export type SplitBy = Pick<SplitSpec, 'by' | 'instances'>

export interface EmitterSpec {
  component: string
  /** -1: records end here, counted (`discard`). */
  channel: number
  edges: EdgeSpec[]
  capacityBytes: number
  counters: number
}

/** A pipeline as a compute worker sees it; operators stand after what they read from, instances of one side by side. */
export interface GraphSpec {
  tenant: string
  /** Its number in the quota cells. */
  tenantIndex: number
  id: string
  delivery: 'at-most-once' | 'at-least-once' | 'exactly-once'
  sources: SourceSpec[]
  operators: OperatorSpec[]
  splits: SplitSpec[]
  emitters: EmitterSpec[]
  /** The ring to the emitter of dead letters, and its counters. */
  deadLetters: { channel: number; counters: number }
}

/** The state of one instance between two calls; or what holds for all instances of a split operator, without memory. */
export interface Image {
  /** Of an instance of a split operator the name of the unit. */
  component: string
  digest: string
  memory: Uint8Array
  globals: Record<string, number | string>
  sequence: number
  /** Records since the last flush, for `emitWhen: {records}`. */
  sinceFlush: number
  /** All its inputs have ended and it has flushed. */
  ended: boolean
  split?: SplitBy
}

export interface ChangeResult {
  component: string
  /** The change holds from the record with this sequence on. */
  sequence: number
  stateReset: boolean
}

/** One edge at one moment. */
export interface EdgeStats {
  from: string
  to: string
  /** Bytes that wait. */
  depth: number
  /** Bytes that may wait. */
  capacity: number
  /** Records dropped by its policy so far. */
  dropped: number
}

export type ToCompute =
  | { type: 'bridge'; index: number; port: MessagePortLike; doorbell: SharedArrayBuffer }
  | {
      type: 'module'
      digest: string
      module: WebAssembly.Module
      globals: string[]
      memoryBytesMax: number
      depthLimit: number
      trace: TraceInfo
    }
  /** Where calls go that do not end within their slice; said again, there is another thread. */
  | { type: 'trials'; port: MessagePortLike }
  | { type: 'source-map'; digest: string; sourceMap: string }
  | { type: 'slab'; index: number; memory: SharedArrayBuffer }
  | {
      type: 'create'
      request: number
      pipeline: number
      bridge: number
      graph: GraphSpec
      images: Image[]
      paused: boolean
      /** As they stood on the worker where it ran until now. */
      edges?: EdgeStats[]
    }
  | { type: 'change'; request: number; pipeline: number; graph: GraphSpec; keepState: boolean }
  | { type: 'drop'; request: number; pipeline: number }
  /** Gives up a pipeline that is paused behind a barrier: answers with the state of its operators. */
  | { type: 'release'; request: number; pipeline: number }
  | { type: 'pause'; request: number; pipeline: number; paused: boolean }
  | { type: 'edges'; request: number; pipeline: number }
  | { type: 'tap'; pipeline: number; tap: number; component: string; port: number; every: number }
  | { type: 'untap'; pipeline: number; tap: number }
  | { type: 'tap-ready'; tap: number; pipeline: number }
  | { type: 'stop' }

/** What turns positions of the admitted module into lines of the author's file. */
export interface TraceInfo extends StackContext {
  /** Of asc, as JSON; null where none was given. */
  sourceMap: string | null
}

export type FromCompute =
  | { type: 'done'; request: number; changes?: ChangeResult[]; edges?: EdgeStats[]; images?: Image[] }
  | { type: 'refused'; request: number; error: ErrorMessage }
  | { type: 'failed'; pipeline: number; component: string; error: ErrorMessage }
  | { type: 'event'; pipeline: number; component: string; kind: 'log' | 'fault'; level: number; text: string }
  | { type: 'tapped'; tap: number; frames: Uint8Array; skipped: number }

export type ComputeToBridge =
  | { type: 'ring'; pipeline: number; channel: number; memory: SharedArrayBuffer }
  | { type: 'image'; pipeline: number; epoch: number; image: Image }
  | { type: 'sunk'; pipeline: number; component: string; epoch: number; end: boolean }
  | { type: 'dirty'; pipeline: number }

export type BridgeToCompute = { type: 'ring'; pipeline: number; channel: number; memory: SharedArrayBuffer }

type MessagePortLike = import('node:worker_threads').MessagePort
