// What one source or emitter is given of its slot. Every bridge has one of these for as long as it lives, and thousands of
// pipelines rest: so fields and methods that all share, no closures.
// Runs on: bridge.

import type { Delivery } from '../../../schemas/document.ts'
import type { SpqrError } from '../../../schemas/errors.ts'
import type { StartFrom } from '../../../schemas/plan.ts'
import { DEAD_LETTERS, ERRORS } from '../../compute/counters.ts'
import type { Permissions } from '../../permissions/permissions.ts'
import { letterValue } from '../../record/letter-value.ts'
import { RECORD_BYTES_MAX, RecordBuffer } from '../../record/record.ts'
import type { Transport } from '../../transport/transport.ts'
import type { BridgeContext, LogLevel } from '../bridge.ts'
import { EmitterPump } from './emitter-pump.ts'
import { LETTERS } from './messages.ts'
import type { SlotCheckpoints } from './slot-checkpoints.ts'
import type { Pump, SlotParts } from './slot-parts.ts'
import { topicOfSource } from './slot-topics.ts'

const LEVELS = { debug: 0, info: 1, warn: 2, error: 3 } as const

export class ComponentContext implements BridgeContext {
  readonly tenant: string
  readonly pipeline: string
  readonly component: string
  readonly delivery: Delivery
  readonly transport: Transport
  readonly recordBytesMax = RECORD_BYTES_MAX
  startFrom: StartFrom | undefined
  readonly forkOf: string | undefined
  isNew = false
  /** What drives the bridge; null until there is one, and for one that is only tried out. */
  pump: Pump | null
  private readonly parts: SlotParts
  private readonly checkpoints: SlotCheckpoints

  constructor(parts: SlotParts, checkpoints: SlotCheckpoints, component: string, pump: Pump | null) {
    const { tenant, id, delivery, startFrom, forkOf } = parts.spec
    this.tenant = tenant
    this.pipeline = id
    this.component = component
    this.delivery = delivery
    this.transport = parts.context.transport
    this.startFrom = startFrom
    this.forkOf = forkOf
    this.pump = pump
    this.parts = parts
    this.checkpoints = checkpoints
  }

  /** Read at each use: grants may change while the pipeline runs. */
  get permissions(): Permissions {
    return this.parts.permissions
  }

  ready(): void {
    if (this.pump && !this.parts.dropped) this.parts.context.schedule(this.pump)
  }

  report(error: SpqrError): void {
    if (this.pump) this.pump.counters.values[ERRORS]! += 1
    this.parts.report(error, this.component)
  }

  deadLetter(error: SpqrError, record: { key?: Uint8Array; value: Uint8Array }, offset: number): void {
    if (this.pump) {
      const { values } = this.pump.counters
      values[ERRORS]! += 1
      values[DEAD_LETTERS]! += 1
    }
    const { spec, emitters } = this.parts
    const letters = emitters.get(LETTERS)
    if (!letters) return
    const source = spec.sources.find((s) => s.component === this.component)
    const value = letterValue({
      code: error.code,
      message: error.message,
      component: this.component,
      operator: null,
      digest: null,
      source: { topic: topicOfSource(spec, source), partition: 0, offset: String(offset) },
      stack: [],
      record,
    })
    const buffer = new RecordBuffer(value.length + 128)
    buffer.add({ key: record.key, value, timestamp: Date.now() })
    letters.emitter.write(buffer.bytes, 0, buffer.length)
    this.checkpoints.dirty()
  }

  fail(error: SpqrError): void {
    this.parts.gaveUp(this.component, error)
  }

  log(level: LogLevel, text: string): void {
    const { component } = this
    const { key, context } = this.parts
    context.toControl({ type: 'event', pipeline: key, component, kind: 'log', level: LEVELS[level], text })
  }

  async checkpoint(): Promise<void> {
    await this.checkpoints.take()
  }

  transaction(): string | undefined {
    if (this.parts.spec.delivery !== 'exactly-once') return undefined
    const epoch = this.pump instanceof EmitterPump ? this.pump.epochPassed : this.parts.committed
    return this.parts.transactionOf(epoch + 1)
  }
}

/** Of a source that is opened only to see whether it can begin at another place: what it reports is not the pipeline's. */
export class StartTrialContext extends ComponentContext {
  constructor(parts: SlotParts, checkpoints: SlotCheckpoints, component: string, startFrom: StartFrom) {
    super(parts, checkpoints, component, null)
    this.startFrom = startFrom
  }

  override report(): void {}
}
