// What the parts of one slot share: its spec, its sources and emitters by component, what it may do, and the ways in which
// it says that something went wrong.
// Runs on: bridge.

import type { SpqrError } from '../../../schemas/errors.ts'
import type { Grants } from '../../../schemas/tenant.ts'
import type { Slabs } from '../../compute/counters.ts'
import type { Permissions } from '../../permissions/permissions.ts'
import type { QuotaCells } from '../../quota/quota-cells.ts'
import type { Transport } from '../../transport/transport.ts'
import type { EmitterPump } from './emitter-pump.ts'
import type { BridgeSpec, FromBridge } from './messages.ts'
import type { SourcePump } from './source-pump.ts'

export type Pump = SourcePump | EmitterPump

/** What a slot needs of its worker. */
export interface SlotContext {
  readonly transport: Transport
  readonly permissions: Permissions
  readonly quota: QuotaCells
  readonly slabs: Slabs
  /** Something of the slot can go on. */
  schedule(pump: Pump): void
  listen(channel: number, pump: Pump, pipeline: number): void
  unlisten(channel: number): void
  toControl(message: FromBridge): void
}

/** The compute worker that runs the slot's operators. */
export interface ComputeLink {
  signal(channel: number): void
  announceRing(pipeline: number, channel: number, memory: SharedArrayBuffer): void
}

export class SlotParts {
  readonly key: number
  readonly context: SlotContext
  readonly sources = new Map<string, SourcePump>()
  readonly emitters = new Map<string, EmitterPump>()
  /** Emitters that were taken out and still deliver. */
  readonly leaving = new Set<EmitterPump>()
  spec: BridgeSpec
  compute: ComputeLink
  /** What the host allows, within the tenant's grants. */
  permissions: Permissions
  /** The last epoch that is stored. */
  committed = 0
  /** It was stopped: nothing more comes of it. */
  dropped = false
  /** The present epoch cannot be stored: it is about to be dropped, and until then no other epoch may begin. */
  isLost = false

  constructor(key: number, spec: BridgeSpec, context: SlotContext, compute: ComputeLink) {
    this.key = key
    this.spec = spec
    this.context = context
    this.compute = compute
    this.permissions = context.permissions
    this.grant(spec.grants)
  }

  /** @param grants bound what the host's flags allow; undefined: the flags alone */
  grant(grants: Grants | undefined): void {
    this.permissions = grants ? this.context.permissions.narrow(grants) : this.context.permissions
  }

  get sourcesEnded(): boolean {
    for (const pump of this.sources.values()) if (!pump.ended) return false
    return true
  }

  /** Id under which an epoch's output is staged. */
  transactionOf(epoch: number): string {
    return `${this.spec.tenant}/${this.spec.id}/${epoch}`
  }

  /** Shows an error in the pipeline's events; it goes on. */
  report(error: SpqrError, component = ''): void {
    const text = `${error.code}: ${error.message}`
    this.context.toControl({ type: 'event', pipeline: this.key, component, kind: 'fault', level: 3, text })
  }

  /** A bridge cannot go on: the pipeline fails, or goes back to the last epoch where only the present one is lost. */
  gaveUp(component: string, error: SpqrError): void {
    if (error.extra?.epochLost === true) this.fallBack(error)
    else this.fail(component, error)
  }

  fail(component: string, error: SpqrError): void {
    if (this.dropped) return
    this.context.toControl({ type: 'failed', pipeline: this.key, component, error: error.toMessage() })
  }

  /** The present epoch cannot be stored: the pipeline goes on from the one before. */
  fallBack(error: SpqrError): void {
    this.isLost = true
    if (this.dropped) return
    this.context.toControl({ type: 'fell-back', pipeline: this.key, error: error.toMessage() })
  }
}
