// What the manager hands a host: a validated document with everything resolved. The host trusts its form, not its
// tenants: permissions are asked where something is opened.

import type { Delivery, EmitWhen, Isolation, OnError, WhenFull } from './document.ts'

export interface PlanEdge {
  component: string
  /** Port name; `out` unless said otherwise. */
  port: string
  capacityKiB?: number
  whenFull?: WhenFull
}

export interface PlanSource {
  kind: 'source'
  id: string
  type: string
  settings: Record<string, unknown>
}

export interface PlanOperator {
  kind: 'operator'
  id: string
  name: string
  version: string
  /** SHA-256 of the module as it was pushed, 64 lower-case hex digits. */
  digest: string
  /** Names of its output ports; the index is the port number in records. */
  ports: string[]
  from: PlanEdge[]
  settings: Record<string, unknown>
  /** `everyMs` of json-aggregate stands here when the document has none. */
  emitWhen?: EmitWhen
  onError: OnError
  limits: { memoryMiB?: number; fuelPerRecord?: number; outputBytesPerRecord?: number }
  /** A JSON path, or `key`: which of the instances a record goes to. There where `parallelism` is above 1. */
  partitionBy?: string
  parallelism?: number
  /** Split in another way than its state, it begins with empty state. */
  discardState?: boolean
  /** What the manifest asks for and the tenant grants. */
  permissions: ('clock' | 'random' | 'log')[]
}

export interface PlanEmitter {
  kind: 'emitter'
  id: string
  type: string
  settings: Record<string, unknown>
  from: PlanEdge[]
}

export type PlanComponent = PlanSource | PlanOperator | PlanEmitter

/** Where a pipeline starts. Only where no checkpoint exists unless it is asked for by name. */
export type StartFrom = string // 'checkpoint' | 'checkpoint:EPOCH' | 'savepoint:NAME' | 'earliest' | 'latest' | 'offset:N' | 'time:ISO'

export interface Plan {
  tenant: string
  id: string
  revision: number
  delivery: Delivery
  checkpointEveryMs: number
  isolation: Isolation
  /** In document order; edges name earlier or later ones, never in a cycle. */
  components: PlanComponent[]
  /** Absent: from the last checkpoint, else from the beginning as each source's settings say. */
  startFrom?: StartFrom
  /** Created paused: nothing flows until `resume`. */
  paused?: boolean
  /** There was no pipeline of this id before: the host need not look for a checkpoint. */
  fresh?: boolean
  /** A fork: its `http` sources follow the ingest topics of this pipeline and take nothing of their own. */
  forkOf?: string
}
