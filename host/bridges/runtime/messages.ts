// Everything that passes between the control thread and a bridge worker, in one place.

import type { MessagePort } from 'node:worker_threads'
import type { Delivery } from '../../../schemas/document.ts'
import type { ErrorMessage } from '../../../schemas/errors.ts'
import type { StartFrom } from '../../../schemas/plan.ts'
import type { ReaderForm } from '../../../schemas/reader-form.ts'
import type { Grants } from '../../../schemas/tenant.ts'
import type { Image, SplitBy } from '../../compute/messages.ts'
import type { CheckpointSummary } from '../../transport/transport.ts'

export interface BridgeSourceSpec {
  component: string
  type: string
  settings: Record<string, unknown>
  channel: number
  counters: number
  /** Its number in the pipeline: the upper half of `source` in its records. */
  index: number
}

/** The emitter of dead letters has no component of its own. */
export const LETTERS = ''

export interface BridgeEmitterSpec {
  component: string
  type: string
  settings: Record<string, unknown>
  /** -1: counted on the compute worker, nothing to open. */
  channel: number
  counters: number
}

/** A pipeline as a bridge worker sees it. */
export interface BridgeSpec {
  tenant: string
  id: string
  revision: number
  delivery: Delivery
  checkpointEveryMs: number
  sources: BridgeSourceSpec[]
  /** Units of operators, and split operators, which give an image at each barrier. */
  operators: string[]
  emitters: BridgeEmitterSpec[]
  deadLetters: { channel: number; counters: number }
  startFrom?: StartFrom
  forkOf?: string
  /** There was no pipeline of this id before: nothing of its own exists yet. */
  fresh?: boolean
  /** The tenant's number in the quota cells. */
  tenantIndex: number
  /** Bound what the host's flags allow; absent: the flags alone. */
  grants?: Grants
}

/** The part of a checkpoint that is no memory image. */
export interface CheckpointMeta {
  /** A position is its type's own: another type under the same id begins anew. */
  sources: Record<string, { type?: string; position: unknown; sequence: number; ended: boolean }>
  emitters: Record<string, { type?: string; position: unknown }>
  /** By unit (see compute/units.ts); of a split operator also what holds for all its instances, by its component. */
  operators: Record<string, { sequence: number; sinceFlush: number; ended: boolean; split?: SplitBy }>
  completed: boolean
  /** It failed here, and stays so until it is resumed. */
  failed?: { code: string; message: string; component?: string }
}

export type ToBridge =
  | { type: 'compute'; index: number; port: MessagePort; doorbell: SharedArrayBuffer }
  | { type: 'slab'; index: number; memory: SharedArrayBuffer }
  /** @param flows it starts as soon as all is open */
  | {
      type: 'create'
      request: number
      pipeline: number
      compute: number
      spec: BridgeSpec
      from: RestoreFrom | null
      flows?: boolean
    }
  | { type: 'start'; pipeline: number }
  /** Operators changed, bridges did not. */
  | { type: 'revised'; pipeline: number; revision: number }
  | { type: 'prepare'; request: number; pipeline: number; spec: BridgeSpec }
  | { type: 'commit'; request: number; pipeline: number; paused: boolean }
  | { type: 'abort'; request: number; pipeline: number }
  | { type: 'pause'; request: number; pipeline: number; paused: boolean }
  | { type: 'drain'; request: number; pipeline: number }
  | { type: 'checkpoint'; request: number; pipeline: number; savepoint?: string }
  /** Answers whether the sources can begin there; nothing changes. */
  | { type: 'try-start'; request: number; pipeline: number; startFrom: StartFrom }
  /** Takes a checkpoint behind which nothing flows, and no other begins, until `relocate`, or until it is dropped. */
  | { type: 'quiesce'; request: number; pipeline: number; withinMs: number }
  /** The pipeline's operators run on this compute worker from now on. */
  | { type: 'relocate'; request: number; pipeline: number; compute: number }
  /** @param lettersEnd the compute worker failed: its last dead letters, then their end, are on their way */
  | { type: 'drop'; request: number; pipeline: number; failed?: { lettersEnd: boolean } }
  | { type: 'ingest'; request: number; pipeline: number; component: string; contentType: string; body: Uint8Array }
  | {
      type: 'subscribe'
      request: number
      pipeline: number
      component: string
      subscription: number
      form: ReaderForm
      lastEventId?: string
    }
  | { type: 'unsubscribe'; subscription: number }
  | { type: 'subscribers-ready'; subscriptions: number[] }
  | { type: 'produce'; request: number; topic: string; contentType: string; body: Uint8Array }
  /** @param form answers a TopicPage; without it, JSON bytes */
  | {
      type: 'fetch'
      request: number
      topic: string
      partition?: number
      from: string
      limit: number
      own?: boolean
      form?: ReaderForm
    }
  | { type: 'grants'; tenant: string; grants?: Grants }
  | { type: 'stop'; request: number }

/** A checkpoint to go on from, without the memory images. */
export interface RestoreFrom {
  epoch: number
  meta: CheckpointMeta
  /** Operators that had ended: their images go into every later checkpoint. */
  ended: Image[]
}

export type FromBridge =
  | { type: 'done'; request: number; result?: unknown }
  | { type: 'refused'; request: number; error: ErrorMessage }
  | { type: 'failed'; pipeline: number; component: string; error: ErrorMessage }
  | { type: 'completed'; pipeline: number }
  /** An emitter that was taken out has delivered its last record: its channel is free. */
  | { type: 'left'; pipeline: number; channel: number }
  /** An epoch cannot be stored: the pipeline goes on from the last one that is. */
  | { type: 'fell-back'; pipeline: number; error: ErrorMessage }
  | { type: 'checkpointed'; pipeline: number; summary: CheckpointSummary }
  | { type: 'event'; pipeline: number; component: string; kind: 'log' | 'fault'; level: number; text: string }
  /** Whole records of an emitter that is read over HTTP, in the form that these readers asked for. */
  | { type: 'out'; subscriptions: number[]; piece: Uint8Array }
  | { type: 'out-end'; subscription: number }

/** Records of a topic in a row, for all who follow it. */
export interface TopicPage {
  /** Of all of them, in the form that was asked for. */
  piece: Uint8Array
  offsets: number[]
  /** Where each record ends in `piece`. */
  ends: number[]
  /** By partition, where to read on. */
  next: Record<string, string>
}
