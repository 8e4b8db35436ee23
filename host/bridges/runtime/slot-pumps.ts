// Opens the sources and emitters of one slot, and hears what their pumps say: one owner for all of them.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import { deadLetterTopic } from '../../../schemas/names.ts'
import type { StartFrom } from '../../../schemas/plan.ts'
import type { Emitter, Source } from '../bridge.ts'
import { emitterTypes, sourceTypes } from '../registry.ts'
import { ComponentContext, StartTrialContext } from './component-context.ts'
import { type EmitterOwner, EmitterPump } from './emitter-pump.ts'
import { KeptLetters } from './kept-letters.ts'
import { type BridgeEmitterSpec, type BridgeSourceSpec, type CheckpointMeta, LETTERS } from './messages.ts'
import type { SlotCheckpoints } from './slot-checkpoints.ts'
import type { Pump, SlotParts } from './slot-parts.ts'
import { type PumpOwner, SourcePump } from './source-pump.ts'

/** The clock of rates ticks about so often. */
const THROTTLE_MS = 10
const ROOM_AGAIN_MS = 250

export class SlotPumps implements PumpOwner, EmitterOwner {
  private readonly parts: SlotParts
  private readonly checkpoints: SlotCheckpoints
  /** They wait until topics of the tenant may grow again. */
  private readonly withoutRoom = new Set<EmitterPump>()

  constructor(parts: SlotParts, checkpoints: SlotCheckpoints) {
    this.parts = parts
    this.checkpoints = checkpoints
  }

  // Opening

  /**
   * @param isNew the pipeline is being created
   * @throws SpqrError that says which component, and which of its settings, cannot be
   */
  async openSource(
    spec: BridgeSourceSpec,
    kept: CheckpointMeta['sources'][string] | undefined,
    isNew = false,
  ): Promise<SourcePump> {
    const { parts } = this
    const context = this.contextOf(spec, null)
    context.isNew = isNew
    const source = createSource(spec, context)
    const rate = { cells: parts.context.quota, tenant: parts.spec.tenantIndex }
    const isOnce = parts.spec.delivery === 'at-most-once'
    const pump = new SourcePump(spec, source, parts.context.slabs.block(spec.counters), rate, isOnce, this)
    pump.position = kept?.position
    pump.sequence = kept?.sequence ?? 0
    context.pump = pump
    if (kept?.ended) pump.resumeEnded()
    else {
      await source.open(kept?.position).catch((thrown) => refuse(spec.component, thrown))
      if (kept?.position === undefined) pump.position = source.begins?.()
    }
    parts.context.listen(spec.channel, pump, parts.key)
    return pump
  }

  /** @throws SpqrError that says which component, and which of its settings, cannot be */
  async openEmitter(spec: BridgeEmitterSpec, position: unknown): Promise<EmitterPump> {
    const { parts } = this
    const context = this.contextOf(spec, null)
    const made = createEmitter(spec, context)
    const isKept = spec.component === LETTERS && parts.spec.delivery === 'exactly-once'
    const emitter = isKept ? new KeptLetters(made) : made
    const pump = new EmitterPump(spec, emitter, parts.context.slabs.block(spec.counters), parts.committed, this)
    context.pump = pump
    await emitter.open(position).catch((thrown) => refuse(spec.component, thrown))
    parts.context.listen(spec.channel, pump, parts.key)
    return pump
  }

  openLetters(position: unknown): Promise<EmitterPump> {
    const { id, deadLetters } = this.parts.spec
    const settings = { topic: deadLetterTopic(id) }
    return this.openEmitter({ component: LETTERS, type: 'topic', settings, ...deadLetters }, position)
  }

  /** A source that takes over a pump; not open yet. */
  createSource(spec: BridgeSourceSpec, pump: SourcePump): Source {
    return createSource(spec, this.contextOf(spec, pump))
  }

  /** An emitter that takes over a pump; not open yet. */
  createEmitter(spec: BridgeEmitterSpec, pump: EmitterPump): Emitter {
    return createEmitter(spec, this.contextOf(spec, pump))
  }

  /** Opens what would take over a running source, and closes it again. @throws SpqrError where it refuses its settings */
  async trySource(spec: BridgeSourceSpec, position: unknown): Promise<void> {
    await tryOut(spec.component, createSource(spec, this.contextOf(spec, null)), position)
  }

  /** The same for an emitter. */
  async tryEmitter(spec: BridgeEmitterSpec): Promise<void> {
    await tryOut(spec.component, createEmitter(spec, this.contextOf(spec, null)), undefined)
  }

  /** Opens a source as a start from this place would, and closes it again. @throws SpqrError where it cannot begin there */
  async tryStart(spec: BridgeSourceSpec, startFrom: StartFrom): Promise<void> {
    const context = new StartTrialContext(this.parts, this.checkpoints, spec.component, startFrom)
    await tryOut(spec.component, createSource(spec, context), undefined)
  }

  private contextOf({ component }: { component: string }, pump: Pump | null): ComponentContext {
    return new ComponentContext(this.parts, this.checkpoints, component, pump)
  }

  // What pumps say

  announceRing(channel: number, memory: SharedArrayBuffer): void {
    this.parts.compute.announceRing(this.parts.key, channel, memory)
  }

  signal(channel: number): void {
    this.parts.compute.signal(channel)
  }

  ready(pump: SourcePump): void {
    this.parts.context.schedule(pump)
  }

  throttled(pump: SourcePump): void {
    setTimeout(() => {
      if (!this.parts.dropped) this.parts.context.schedule(pump)
    }, THROTTLE_MS)
  }

  /** A tenant whose topics are full writes to none; dead letters are let through, for they say why. */
  mayWrite(pump: EmitterPump): boolean {
    const { context, spec } = this.parts
    const { type, component } = pump.spec
    if (type !== 'topic' || component === LETTERS || !context.quota.isFull(spec.tenantIndex)) return true
    if (this.withoutRoom.has(pump)) return false
    this.withoutRoom.add(pump)
    const message = `Emitter "${component}" waits: the topics of "${spec.tenant}" hold as much as its quota allows`
    this.parts.report(new SpqrError('QUOTA_EXCEEDED', message), component)
    this.awaitRoom(pump)
    return false
  }

  private awaitRoom(pump: EmitterPump): void {
    setTimeout(() => {
      const { context, spec, dropped } = this.parts
      if (dropped) return
      if (context.quota.isFull(spec.tenantIndex)) return this.awaitRoom(pump)
      this.withoutRoom.delete(pump)
      context.schedule(pump)
    }, ROOM_AGAIN_MS)
  }

  dirty(): void {
    this.checkpoints.dirty()
  }

  count(): Promise<void> {
    return this.checkpoints.count()
  }

  barrierSent(pump: SourcePump, epoch: number): void {
    this.checkpoints.barrierSent(pump, epoch)
  }

  sourceEnded(pump: SourcePump): void {
    this.checkpoints.sourceEnded(pump)
  }

  crashed(pump: SourcePump, thrown: unknown): void {
    this.parts.fail(pump.spec.component, SpqrError.from(thrown))
  }

  emitterFailed(pump: EmitterPump, thrown: unknown): void {
    this.parts.gaveUp(pump.spec.component, SpqrError.from(thrown))
  }

  holdsAt(pump: EmitterPump, epoch: number): boolean {
    return pump.spec.component === LETTERS && this.checkpoints.holdsLettersAt(epoch)
  }

  flushed(pump: EmitterPump, epoch: number, end: boolean, position: unknown): void {
    if (this.parts.dropped) return
    if (!pump.leaving) this.checkpoints.flushed(pump, epoch, end, position)
    else if (end) this.left(pump)
  }

  /** An emitter that was taken out has delivered its last record. */
  private left(pump: EmitterPump): void {
    const { key, context, leaving } = this.parts
    const { channel } = pump.spec
    leaving.delete(pump)
    context.unlisten(channel)
    context.toControl({ type: 'left', pipeline: key, channel })
    pump.emitter.stop().catch((thrown) => this.parts.report(SpqrError.from(thrown)))
  }
}

function createSource({ component, type, settings }: BridgeSourceSpec, context: ComponentContext): Source {
  const known = sourceTypes[type]
  if (!known) throw new SpqrError('INVALID_DOCUMENT', `There is no source "${type}"`)
  try {
    return known.create(settings, context)
  } catch (thrown) {
    refuse(component, thrown)
  }
}

function createEmitter({ component, type, settings }: BridgeEmitterSpec, context: ComponentContext): Emitter {
  const known = emitterTypes[type]
  if (!known) throw new SpqrError('INVALID_DOCUMENT', `There is no emitter "${type}"`)
  try {
    return known.create(settings, context)
  } catch (thrown) {
    refuse(component, thrown)
  }
}

async function tryOut(component: string, bridge: Source | Emitter, position: unknown): Promise<void> {
  await bridge.open(position).catch((thrown) => refuse(component, thrown))
  await bridge.stop()
}

/** A bridge points into its settings; the document's reader wants to know whose. @throws SpqrError */
function refuse(component: string, thrown: unknown): never {
  const error = SpqrError.from(thrown)
  const place = `/components/${component}`
  const issues = error.issues?.map((issue) => ({ ...issue, pointer: `${place}/settings${issue.pointer}` })) ?? [
    { pointer: place, message: error.message },
  ]
  throw new SpqrError(error.code, error.message, {
    issues,
    retriable: error.retriable,
    extra: error.extra,
    cause: thrown,
  })
}
