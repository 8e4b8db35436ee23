// One slot of a pipeline in its bridge worker: its sources and emitters, and the barriers and checkpoints that bind them.
// Runs on: bridge.
//
// A checkpoint: each source puts a barrier behind what it has read and notes its position; operators send an image as the
// barrier passes; emitters flush. When all have, everything is stored at once, and only then are sources told.

import { SpqrError } from '../../../schemas/errors.ts'
import { deadLetterTopic, topicName } from '../../../schemas/names.ts'
import type { StartFrom } from '../../../schemas/plan.ts'
import type { Grants } from '../../../schemas/tenant.ts'
import { DEAD_LETTERS, ERRORS, type Slabs } from '../../compute/counters.ts'
import type { Image } from '../../compute/messages.ts'
import type { Permissions } from '../../permissions/permissions.ts'
import type { QuotaCells } from '../../quota/quota-cells.ts'
import { letterValue } from '../../record/letter-value.ts'
import { RecordBuffer } from '../../record/record.ts'
import type { CheckpointSummary, SlotCommit, Snapshot, Transport } from '../../transport/transport.ts'
import type { BridgeContext, Emitter, Source } from '../bridge.ts'
import { emitterTypes, sourceTypes } from '../registry.ts'
import { EmitterPump } from './emitter-pump.ts'
import { KeptLetters } from './kept-letters.ts'
import type {
  BridgeEmitterSpec,
  BridgeSourceSpec,
  BridgeSpec,
  CheckpointMeta,
  FromBridge,
  RestoreFrom,
} from './messages.ts'
import { committedOffsets, topicOfSource } from './slot-topics.ts'
import { SourcePump } from './source-pump.ts'

/** The emitter of dead letters has no component of its own. */
const LETTERS = ''

/** What a slot needs of its worker. */
export interface SlotContext {
  readonly transport: Transport
  readonly permissions: Permissions
  readonly quota: QuotaCells
  readonly slabs: Slabs
  /** Something of the slot can go on. */
  schedule(pump: SourcePump | EmitterPump): void
  listen(channel: number, pump: SourcePump | EmitterPump, pipeline: number): void
  unlisten(channel: number): void
  toControl(message: FromBridge): void
}

export interface ComputeLink {
  signal(channel: number): void
  announceRing(pipeline: number, channel: number, memory: SharedArrayBuffer): void
}

interface Epoch {
  epoch: number
  barriersLeft: Set<string>
  imagesLeft: Set<string>
  emittersLeft: Set<string>
  positions: CheckpointMeta['sources']
  images: Map<string, Image>
  /** What the emitters answered at this barrier, not at an end behind it. */
  emitterPositions: Map<string, unknown>
  /** Of what runs when it begins: what changes meanwhile may or may not be in it. */
  revision: number
  savepoint?: string
  done: (summary: CheckpointSummary) => void
  failed: (error: SpqrError) => void
}

export class Slot {
  readonly key: number
  spec: BridgeSpec
  readonly sources = new Map<string, SourcePump>()
  readonly emitters = new Map<string, EmitterPump>()
  /** They wait until topics of the tenant may grow again. */
  private readonly withoutRoom = new Set<EmitterPump>()
  /** Images of operators that have ended. */
  private readonly endedImages = new Map<string, Image>()
  private readonly emitterPositions = new Map<string, unknown>()
  private readonly context: SlotContext
  private compute: ComputeLink
  /** Lets checkpoints begin again behind a move. */
  private unhold: () => void = () => undefined
  private permissions: Permissions
  private epoch = 0
  /** The last epoch that is stored. */
  private committed = 0
  private inWork: Epoch | null = null
  private queue: Promise<unknown> = Promise.resolve()
  private timer: NodeJS.Timeout | null = null
  private isDirty = false
  private dropped = false
  private completed = false
  private readonly endsLeft = new Set<string>()
  /** Emitters that were taken out and still deliver. */
  private readonly leaving = new Set<EmitterPump>()
  /** Lets checkpoints begin again behind a change. */
  private openGate: () => void = () => undefined
  private readonly draining: { done: () => void; failed: (error: SpqrError) => void }[] = []
  private lettersAreHere: () => void = () => undefined
  private readonly lettersEnded = new Promise<void>((done) => (this.lettersAreHere = done))
  private prepared: { spec: BridgeSpec; sources: Map<string, SourcePump>; emitters: Map<string, EmitterPump> } | null =
    null

  constructor(key: number, spec: BridgeSpec, context: SlotContext, compute: ComputeLink) {
    this.key = key
    this.spec = spec
    this.context = context
    this.compute = compute
    this.permissions = spec.grants ? context.permissions.narrow(spec.grants) : context.permissions
  }

  /** Opens every source and emitter; nothing flows yet. @throws SpqrError of the first that cannot be opened */
  async open(from: RestoreFrom | null): Promise<void> {
    this.epoch = this.committed = from?.epoch ?? 0
    for (const image of from?.ended ?? []) this.endedImages.set(image.component, image)
    const emitters = this.spec.emitters.filter((e) => e.channel >= 0)
    for (const emitter of this.spec.emitters) this.endsLeft.add(emitter.component)
    this.expectEndsOfOperators()
    // What a run before this one staged and never committed must not come out with our first epochs.
    await this.abortStaged()
    const letters = this.lettersSpec()
    const opened = await Promise.allSettled([
      ...this.spec.sources.map(async (spec) => {
        const kept = from?.meta.sources[spec.component]
        this.sources.set(spec.component, await this.openSource(spec, kept?.position, kept))
      }),
      ...[...emitters, letters].map(async (spec) => {
        const position = from?.meta.emitters[spec.component]?.position
        this.emitters.set(spec.component, await this.openEmitter(spec, position))
      }),
    ])
    // All have settled: none opens behind our back when this is given up.
    for (const one of opened) if (one.status === 'rejected') throw one.reason
    // Where it begins depends on the moment, or on who asked: a crash within the first epoch must not change it.
    const isAnew = Object.keys(from?.meta.sources ?? {}).length === 0
    const isMoving = this.spec.startFrom !== undefined || this.spec.sources.some((s) => s.settings.from === 'latest')
    if (!isAnew || !isMoving) return
    await this.commit(++this.epoch, {}, [], false)
    for (const pump of this.emitters.values()) pump.epochPassed = this.committed
  }

  private expectEndsOfOperators(): void {
    const running = this.spec.operators.filter((component) => !this.endedImages.has(component))
    for (const component of running) this.endsLeft.add(component)
    if (running.length > 0) this.endsLeft.add(LETTERS)
  }

  /** The tenant's grants are others from now on. */
  grant(grants: Grants | undefined): void {
    this.permissions = grants ? this.context.permissions.narrow(grants) : this.context.permissions
  }

  /** Lets records flow. */
  start(): void {
    this.setPaused(false)
  }

  setPaused(paused: boolean): void {
    for (const pump of this.sources.values()) {
      pump.paused = paused
      this.context.schedule(pump)
    }
  }

  /** Ends the sources once what they accepted is read; the pipeline then completes by itself. */
  async drain(): Promise<void> {
    for (const pump of this.sources.values()) {
      if (pump.source.drain) await pump.source.drain()
      else await pump.source.stop()
      if (!pump.source.drain) pump.resumeEnded()
      pump.paused = false
      this.context.schedule(pump)
    }
    await new Promise<void>((done, failed) => {
      if (this.completed) done()
      else this.draining.push({ done, failed })
    })
  }

  /** Operators have other settings, or are other ones: a checkpoint is due. */
  revised(revision: number): void {
    this.spec = { ...this.spec, revision }
    this.dirty()
  }

  /**
   * Stops all and gives it back; what no checkpoint covers comes again.
   * @param failed the dead letters that led there are kept
   */
  async drop(failed?: { lettersEnd: boolean }): Promise<void> {
    if (failed?.lettersEnd) await atMost(LETTERS_WAIT_MS, this.lettersEnded)
    if (failed) await atMost(LETTERS_WAIT_MS, this.emitters.get(LETTERS)?.emitter.flush())
    this.dropped = true
    if (this.timer) clearTimeout(this.timer)
    const stopped = new SpqrError('INVALID_STATE', `Pipeline "${this.spec.id}" was stopped`)
    this.inWork?.failed(stopped)
    this.inWork = null
    this.openGate()
    this.unhold()
    for (const { failed } of this.draining.splice(0)) failed(stopped)
    const sources = [...this.sources.values(), ...(this.prepared?.sources.values() ?? [])]
    const emitters = [...this.emitters.values(), ...this.leaving, ...(this.prepared?.emitters.values() ?? [])]
    for (const pump of [...sources, ...emitters]) this.context.unlisten(pump.spec.channel)
    await Promise.allSettled([
      ...sources.map((pump) => pump.source.stop()),
      ...emitters.map((pump) => pump.emitter.stop()),
    ])
    // A commit under way is waited for: who starts next must find it, and nothing may appear behind a removal.
    await this.queue.catch(() => undefined)
    await this.abortStaged()
    if (failed) await this.saveLetters()
  }

  /** Drops what no commit will name: of the epoch in work, and of emitters that were one ahead of it. */
  private async abortStaged(): Promise<void> {
    if (this.spec.delivery !== 'exactly-once') return
    const { transport } = this.context
    await Promise.allSettled([1, 2].map((ahead) => transport.abort(this.transactionOf(this.committed + ahead))))
  }

  /** Dead letters of epochs that are never stored, by themselves. */
  private async saveLetters(): Promise<void> {
    const letters = this.emitters.get(LETTERS)?.emitter
    if (!(letters instanceof KeptLetters)) return
    const topic = topicName(this.spec.tenant, deadLetterTopic(this.spec.id))
    for (const { bytes, length, records } of letters.rest())
      await this.context.transport.append(topic, 0, bytes.subarray(0, length), records, { create: true })
  }

  // Changes

  /** Opens what another spec adds, beside what runs. */
  async prepare(spec: BridgeSpec): Promise<void> {
    const sources = new Map<string, SourcePump>()
    const emitters = new Map<string, EmitterPump>()
    const opened: { bridge: Source | Emitter; channel: number }[] = []
    try {
      for (const source of spec.sources) {
        const present = this.sources.get(source.component)
        if (present && sameSpec(present.spec, source)) continue
        if (present && present.spec.type === source.type && present.spec.channel === source.channel) {
          const context = this.contextOf(source.component, { pump: null })
          const trial = sourceTypes[source.type]!.create(source.settings, context)
          await this.tryOut(source.component, trial, present.nextPosition)
          continue
        }
        const pump = await this.openSource(source, undefined, undefined)
        opened.push({ bridge: pump.source, channel: source.channel })
        sources.set(source.component, pump)
      }
      for (const emitter of spec.emitters) {
        if (emitter.channel < 0) continue
        const present = this.emitters.get(emitter.component)
        if (present && present.spec.channel === emitter.channel) {
          if (sameSpec(present.spec, emitter)) continue
          const context = this.contextOf(emitter.component, { pump: null })
          await this.tryOut(emitter.component, emitterTypes[emitter.type]!.create(emitter.settings, context), undefined)
          continue
        }
        const pump = await this.openEmitter(emitter, undefined)
        opened.push({ bridge: pump.emitter, channel: emitter.channel })
        emitters.set(emitter.component, pump)
      }
    } catch (thrown) {
      for (const { channel } of opened) this.context.unlisten(channel)
      await Promise.allSettled(opened.map(({ bridge }) => bridge.stop()))
      throw thrown
    }
    this.prepared = { spec, sources, emitters }
    // Barriers wait, those in flight and those to come: an epoch has one set of components.
    const inFlight = this.queue.catch(() => undefined)
    const gate = new Promise<void>((open) => {
      this.openGate = open
    })
    this.queue = inFlight.then(() => gate)
    await inFlight
  }

  /** Opens each source as a start from this place would, and closes it again. @throws SpqrError where it cannot begin there */
  async tryStart(startFrom: StartFrom): Promise<void> {
    for (const { component, type, settings } of this.spec.sources) {
      const context: BridgeContext = {
        ...this.contextOf(component, { pump: null }),
        startFrom,
        report: () => undefined,
      }
      await this.tryOut(component, sourceTypes[type]!.create(settings, context), undefined)
    }
  }

  /** Opens what would take the place of a running bridge, and closes it again: what refuses its settings does so now. */
  private async tryOut(component: string, bridge: Source | Emitter, position: unknown): Promise<void> {
    await bridge.open(position).catch((thrown) => refuse(component, thrown))
    await bridge.stop()
  }

  /** The compute worker has changed: so do we. */
  async commitChange(paused: boolean): Promise<void> {
    try {
      await this.swap(paused)
    } finally {
      this.openGate()
    }
    this.dirty()
  }

  private async swap(paused: boolean): Promise<void> {
    const { spec, sources, emitters } = this.prepared!
    this.prepared = null
    for (const [component, pump] of this.sources) {
      if (spec.sources.some((s) => s.channel === pump.spec.channel)) continue
      this.sources.delete(component)
      this.context.unlisten(pump.spec.channel)
      await pump.source.stop()
    }
    for (const [component, pump] of this.emitters) {
      if (component === LETTERS || spec.emitters.some((e) => e.channel === pump.spec.channel)) continue
      // Its ring ends with a mark; it closes there.
      pump.leaving = true
      this.leaving.add(pump)
      this.emitters.delete(component)
      this.emitterPositions.delete(component)
    }
    for (const [component, pump] of sources) this.sources.set(component, pump)
    for (const [component, pump] of emitters) {
      pump.epochPassed = this.committed
      this.emitters.set(component, pump)
    }
    this.spec = spec
    for (const [, pump] of sources) {
      pump.paused = paused
      this.context.schedule(pump)
    }
    this.endsLeft.clear()
    for (const component of this.endedImages.keys()) {
      if (!spec.operators.includes(component)) this.endedImages.delete(component)
    }
    this.expectEndsOfOperators()
    for (const emitter of spec.emitters) {
      if (!this.emitters.get(emitter.component)?.ended) this.endsLeft.add(emitter.component)
    }
    await this.reconfigure(spec)
  }

  async abortChange(): Promise<void> {
    const prepared = this.prepared
    this.prepared = null
    this.openGate()
    if (!prepared) return
    for (const pump of [...prepared.sources.values(), ...prepared.emitters.values()]) {
      this.context.unlisten(pump.spec.channel)
    }
    for (const pump of prepared.sources.values()) await pump.source.stop()
    for (const pump of prepared.emitters.values()) await pump.emitter.stop()
  }

  /** New settings of bridges that stay: in place where they can, else a new one at the same position. */
  private async reconfigure(spec: BridgeSpec): Promise<void> {
    for (const source of spec.sources) {
      const pump = this.sources.get(source.component)!
      if (sameSpec(pump.spec, source)) continue
      if (!pump.source.configure?.(source.settings)) {
        // It pulls nothing meanwhile: the new one begins where the old one ended.
        const { paused } = pump
        pump.paused = true
        const replacement = sourceTypes[source.type]!.create(source.settings, this.contextOf(source.component, pump))
        try {
          await replacement.open(pump.nextPosition)
          await pump.source.stop()
          pump.source = replacement
        } finally {
          pump.paused = paused
        }
      }
      pump.spec = source
      this.context.schedule(pump)
    }
    for (const emitter of spec.emitters) {
      const pump = this.emitters.get(emitter.component)
      if (!pump || sameSpec(pump.spec, emitter)) continue
      if (!pump.emitter.configure?.(emitter.settings)) {
        const replacement = emitterTypes[emitter.type]!.create(
          emitter.settings,
          this.contextOf(emitter.component, pump),
        )
        await replacement.open(undefined)
        const old = pump.emitter
        pump.emitter = replacement
        await old.flush()
        await old.stop()
      }
      pump.spec = emitter
      this.context.schedule(pump)
    }
  }

  // Checkpoints

  /** Something entered or changed: a checkpoint is due within the interval. */
  dirty(): void {
    if (this.isDirty || this.dropped || this.completed) return
    this.isDirty = true
    this.timer = setTimeout(() => {
      this.timer = null
      this.inTurn(undefined, false).catch((thrown) => {
        // With all sources ended the last checkpoint comes by itself.
        if (this.dropped || this.sourcesEnded) return
        this.report(SpqrError.from(thrown))
        this.dirty()
      })
    }, this.spec.checkpointEveryMs)
  }

  /** Takes a checkpoint of what flows now, with the state of every operator. @throws SpqrError */
  checkpoint(savepoint?: string): Promise<CheckpointSummary> {
    return this.inTurn(savepoint, true)
  }

  private inTurn(savepoint: string | undefined, whole: boolean): Promise<CheckpointSummary> {
    const next = this.queue.catch(() => undefined).then(() => this.begin(savepoint, whole))
    this.queue = next
    return next
  }

  /**
   * Takes a checkpoint of a paused pipeline, and holds back the next one until `relocate`, or for ever.
   * @throws SpqrError INVALID_STATE where an emitter does not deliver in time: nothing is held back then
   */
  quiesce(withinMs: number): Promise<CheckpointSummary> {
    let late = false
    const taken = this.queue.catch(() => undefined).then(() => this.begin(undefined, true))
    const held = (): Promise<void> =>
      late || this.dropped ? Promise.resolve() : new Promise((free) => (this.unhold = free))
    this.queue = taken.then(held)
    return new Promise((done, failed) => {
      const timer = setTimeout(() => {
        late = true
        const message = `Pipeline "${this.spec.id}" does not come to rest: an emitter is slow; try again later`
        failed(new SpqrError('INVALID_STATE', message, { retriable: true }))
      }, withinMs)
      taken.then(done, failed).finally(() => clearTimeout(timer))
    })
  }

  /** Operators run on another worker from now on, by rings of their own. Only after `quiesce`. */
  relocate(compute: ComputeLink): void {
    this.compute = compute
    for (const pump of this.sources.values()) {
      pump.relocate()
      this.context.schedule(pump)
    }
    for (const pump of this.emitters.values()) pump.relocate()
    this.unhold()
  }

  /** @param whole with barriers, whatever the delivery: somebody goes on from it */
  private begin(savepoint: string | undefined, whole: boolean): Promise<CheckpointSummary> {
    if (this.dropped || this.completed) throw new SpqrError('INVALID_STATE', `Pipeline "${this.spec.id}" does not run`)
    this.isDirty = false
    if (this.timer) clearTimeout(this.timer)
    this.timer = null
    const epoch = ++this.epoch
    // At most once: what was read counts as done, so no barrier need flow.
    if (this.spec.delivery === 'at-most-once' && !whole) return this.commit(epoch, {}, [], false)
    const running = [...this.sources.values()].filter((pump) => !pump.ended)
    return new Promise((done, failed) => {
      const operators = this.spec.operators.filter((o) => !this.endedImages.has(o))
      const emitters = this.spec.emitters.map((e) => e.component).filter((c) => !this.emitters.get(c)?.ended)
      this.inWork = {
        epoch,
        barriersLeft: new Set(running.map((pump) => pump.spec.component)),
        imagesLeft: new Set(operators),
        emittersLeft: new Set(operators.length > 0 ? [...emitters, LETTERS] : emitters),
        positions: {},
        images: new Map(),
        emitterPositions: new Map(),
        revision: this.spec.revision,
        savepoint,
        done,
        failed,
      }
      for (const pump of running) {
        pump.requestBarrier(epoch)
        this.context.schedule(pump)
      }
      // With every source ended no barrier can flow: the end that is under way makes the last checkpoint.
      if (running.length === 0) {
        this.inWork = null
        this.epoch--
        failed(new SpqrError('INVALID_STATE', `Pipeline "${this.spec.id}" is about to complete`))
      }
    })
  }

  barrierSent(pump: SourcePump, epoch: number): void {
    const work = this.inWork
    if (work?.epoch !== epoch) return
    work.barriersLeft.delete(pump.spec.component)
    work.positions[pump.spec.component] = { position: pump.position, sequence: pump.sequence, ended: false }
    this.finishIfWhole()
  }

  /** An operator has passed the barrier, or has ended. */
  image(epoch: number, image: Image): void {
    if (image.ended) {
      this.endedImages.set(image.component, image)
      this.endsLeft.delete(image.component)
    }
    // An end counts for the barrier only where it came in its place: behind it, it is of the next epoch.
    const work = this.inWork
    if (work && (work.epoch === epoch || image.ended) && work.imagesLeft.delete(image.component)) {
      work.images.set(image.component, image)
    }
    this.finishIfWhole()
  }

  /** A component without a ring has seen the barrier or the end. */
  sunk(component: string, epoch: number, end: boolean): void {
    // Dead letters of sources and emitters went straight to their emitter: it flushes with the rest.
    if (component === LETTERS) this.emitters.get(LETTERS)!.flush(epoch, end)
    else this.emitterPassed(component, epoch, end)
  }

  flushed(pump: EmitterPump, epoch: number, end: boolean, position: unknown): void {
    if (this.dropped) return
    if (pump.leaving) {
      if (end) {
        this.leaving.delete(pump)
        this.context.unlisten(pump.spec.channel)
        this.context.toControl({ type: 'left', pipeline: this.key, channel: pump.spec.channel })
        pump.emitter.stop().catch((thrown) => this.report(SpqrError.from(thrown)))
      }
      return
    }
    this.emitterPositions.set(pump.spec.component, position)
    this.emitterPassed(pump.spec.component, epoch, end, position)
  }

  private emitterPassed(component: string, epoch: number, end: boolean, position?: unknown): void {
    if (end) this.endsLeft.delete(component)
    if (end && component === LETTERS) this.lettersAreHere()
    const work = this.inWork
    if (work && (work.epoch === epoch || end) && work.emittersLeft.delete(component)) {
      work.emitterPositions.set(component, position)
    }
    this.finishIfWhole()
  }

  private get sourcesEnded(): boolean {
    for (const pump of this.sources.values()) if (!pump.ended) return false
    return true
  }

  private finishIfWhole(): void {
    const work = this.inWork
    const { sourcesEnded } = this
    if (work && work.barriersLeft.size === 0 && work.imagesLeft.size === 0 && work.emittersLeft.size === 0) {
      this.inWork = null
      this.store(work).then(work.done, (thrown) => work.failed(SpqrError.from(thrown)))
      return
    }
    if (!work && sourcesEnded && this.endsLeft.size === 0 && !this.completed) this.complete()
  }

  private async store(work: Epoch): Promise<CheckpointSummary> {
    // No operator that runs: no barrier came by way of their dead letters.
    if (!work.emitterPositions.has(LETTERS)) await this.emitters.get(LETTERS)!.emitter.flush()
    const summary = await this.commit(work.epoch, work.positions, [...work.images.values()], false, work)
    for (const [component, { position }] of Object.entries(work.positions)) {
      this.sources.get(component)?.source.committed?.(position)
    }
    this.context.toControl({ type: 'checkpointed', pipeline: this.key, summary })
    this.finishIfWhole()
    return summary
  }

  /** The end has reached everyone: the last checkpoint says so before anybody can see it. */
  private complete(): void {
    this.completed = true
    if (this.timer) clearTimeout(this.timer)
    this.timer = null
    const last = this.queue
      .catch(() => undefined)
      .then(() => this.commit(++this.epoch, {}, [], true))
      .then(
        () => {
          this.context.toControl({ type: 'completed', pipeline: this.key })
          for (const { done } of this.draining.splice(0)) done()
        },
        (thrown) => {
          const error = SpqrError.from(thrown)
          if (error.retriable) this.fallBack(error)
          else this.fail('', error)
        },
      )
    this.queue = last
  }

  private async commit(
    epoch: number,
    positions: CheckpointMeta['sources'],
    images: Image[],
    completed: boolean,
    { savepoint, revision = this.spec.revision, emitterPositions = new Map() }: Partial<Epoch> = {},
  ): Promise<CheckpointSummary> {
    const all = new Map([...this.endedImages, ...images.map((image) => [image.component, image] as const)])
    const meta: CheckpointMeta = { sources: {}, emitters: {}, operators: {}, completed }
    for (const [component, pump] of this.sources) {
      meta.sources[component] = positions[component] ?? {
        position: this.spec.delivery === 'at-most-once' ? pump.counted : pump.position,
        sequence: pump.sequence,
        ended: pump.ended,
      }
    }
    for (const [component, position] of [...this.emitterPositions, ...emitterPositions]) {
      meta.emitters[component] = { position }
    }
    const snapshots: Snapshot[] = []
    for (const [component, image] of all) {
      const { sequence, sinceFlush, ended, digest, globals, memory } = image
      meta.operators[component] = { sequence, sinceFlush, ended }
      // A completed pipeline runs again only from its start: no state is worth keeping.
      if (completed) continue
      // The memory is given away; that of an operator that has ended is needed for every later checkpoint.
      const given = this.endedImages.has(component) ? memory.slice() : memory
      snapshots.push({ component, instance: 0, digest, globals, memory: given })
    }
    const { tenant, id, delivery } = this.spec
    const stored = this.context.transport.commit({
      slot: { tenant, pipeline: id, slot: 0 },
      epoch,
      revision,
      meta,
      snapshots,
      savepoint,
      transaction: delivery === 'exactly-once' ? this.transactionOf(epoch) : undefined,
      offsets: this.offsetsOf(meta.sources),
    })
    const summary = await stored.catch((thrown: unknown) => {
      // What the epoch has written cannot be published by a later one: nothing may follow it.
      if (delivery === 'exactly-once' && !completed) this.fallBack(SpqrError.from(thrown))
      throw thrown
    })
    this.committed = epoch
    const letters = this.emitters.get(LETTERS)?.emitter
    if (letters instanceof KeptLetters) letters.stored()
    return summary
  }

  private fallBack(error: SpqrError): void {
    if (this.dropped) return
    this.context.toControl({ type: 'fell-back', pipeline: this.key, error: error.toMessage() })
  }

  /** At most once: what the sources have read counts as done from here on. */
  private count(): Promise<void> {
    const counted = this.queue
      .catch(() => undefined)
      .then(async () => {
        for (;;) {
          if (this.dropped) throw new SpqrError('INVALID_STATE', `Pipeline "${this.spec.id}" was stopped`)
          try {
            await this.commit(++this.epoch, {}, [], false)
            return
          } catch (thrown) {
            this.report(SpqrError.from(thrown))
            await new Promise((later) => setTimeout(later, COUNT_AGAIN_MS))
          }
        }
      })
    this.queue = counted
    return counted
  }

  /** What the sources have read of topics, under their groups' names. */
  private offsetsOf(sources: CheckpointMeta['sources']): SlotCommit['offsets'] {
    return [...this.sources].flatMap(([component, pump]) =>
      committedOffsets(this.spec, pump.spec.settings, sources[component]?.position),
    )
  }

  private transactionOf(epoch: number): string {
    return `${this.spec.tenant}/${this.spec.id}/${epoch}`
  }

  // Opening

  private lettersSpec(): BridgeEmitterSpec {
    const { channel, counters } = this.spec.deadLetters
    return { component: LETTERS, type: 'topic', settings: { topic: deadLetterTopic(this.spec.id) }, channel, counters }
  }

  private async openSource(
    spec: BridgeSourceSpec,
    position: unknown,
    kept: { sequence: number; ended: boolean } | undefined,
  ): Promise<SourcePump> {
    const holder: { pump: SourcePump | null } = { pump: null }
    const context = this.contextOf(spec.component, holder)
    const type = sourceTypes[spec.type]
    if (!type) throw new SpqrError('INVALID_DOCUMENT', `There is no source "${spec.type}"`)
    const source = type.create(spec.settings, context)
    const rate = { cells: this.context.quota, tenant: this.spec.tenantIndex }
    const isOnce = this.spec.delivery === 'at-most-once'
    const pump = new SourcePump(spec, source, this.context.slabs.block(spec.counters), rate, isOnce, {
      count: () => this.count(),
      ready: (waiting) => this.context.schedule(waiting),
      announceRing: (channel, memory) => this.compute.announceRing(this.key, channel, memory),
      signal: (channel) => this.compute.signal(channel),
      dirty: () => this.dirty(),
      throttled: (throttledPump) => this.throttle(throttledPump),
      sourceEnded: () => {
        // A barrier that waits for this source need not any more: its end counts as one.
        const work = this.inWork
        if (work?.barriersLeft.delete(spec.component)) {
          work.positions[spec.component] = { position: pump.position, sequence: pump.sequence, ended: true }
        }
        this.finishIfWhole()
      },
      barrierSent: (sent, epoch) => this.barrierSent(sent, epoch),
      crashed: (_, thrown) => this.fail(spec.component, SpqrError.from(thrown)),
    })
    pump.position = position
    pump.sequence = kept?.sequence ?? 0
    holder.pump = pump
    if (kept?.ended) pump.resumeEnded()
    else {
      await source.open(position).catch((thrown) => refuse(spec.component, thrown))
      if (position === undefined) pump.position = source.begins?.()
    }
    this.context.listen(spec.channel, pump, this.key)
    return pump
  }

  private async openEmitter(spec: BridgeEmitterSpec, position: unknown): Promise<EmitterPump> {
    const holder: { pump: EmitterPump | null } = { pump: null }
    const context = this.contextOf(spec.component, holder)
    const type = emitterTypes[spec.type]
    if (!type) throw new SpqrError('INVALID_DOCUMENT', `There is no emitter "${spec.type}"`)
    const made = type.create(spec.settings, context)
    const isKept = spec.component === LETTERS && this.spec.delivery === 'exactly-once'
    const emitter = isKept ? new KeptLetters(made) : made
    const counters = this.context.slabs.block(spec.counters)
    const pump = new EmitterPump(spec, emitter, counters, this.committed, {
      signal: (channel) => this.compute.signal(channel),
      flushed: (flushed, epoch, end, at) => this.flushed(flushed, epoch, end, at),
      emitterFailed: (_, thrown) => context.fail(SpqrError.from(thrown)),
      mayWrite: (writing) => this.mayWrite(writing),
    })
    holder.pump = pump
    await emitter.open(position).catch((thrown) => refuse(spec.component, thrown))
    this.context.listen(spec.channel, pump, this.key)
    return pump
  }

  private contextOf(
    component: string,
    holder: { pump: SourcePump | EmitterPump | null } | SourcePump | EmitterPump,
  ): BridgeContext {
    const pumpOf = (): SourcePump | EmitterPump | null => ('pump' in holder ? holder.pump : holder)
    const slot = this
    return {
      tenant: this.spec.tenant,
      pipeline: this.spec.id,
      component,
      delivery: this.spec.delivery,
      transport: this.context.transport,
      // Read at each use: grants may change while the pipeline runs.
      get permissions() {
        return slot.permissions
      },
      recordBytesMax: 1 << 20,
      startFrom: this.spec.startFrom,
      forkOf: this.spec.forkOf,
      ready: () => {
        const pump = pumpOf()
        if (pump && !this.dropped) this.context.schedule(pump)
      },
      report: (error) => {
        const counters = pumpOf()?.counters
        if (counters) counters.values[ERRORS]! += 1
        this.report(error, component)
      },
      deadLetter: (error, record, offset) => this.deadLetter(pumpOf(), component, error, record, offset),
      fail: (error) => (error.extra?.epochLost === true ? this.fallBack(error) : this.fail(component, error)),
      log: (level, text) =>
        this.context.toControl({
          type: 'event',
          pipeline: this.key,
          component,
          kind: 'log',
          level: LEVELS[level],
          text,
        }),
      transaction: () => {
        if (this.spec.delivery !== 'exactly-once') return undefined
        const pump = pumpOf()
        return this.transactionOf((pump instanceof EmitterPump ? pump.epochPassed : this.committed) + 1)
      },
    }
  }

  /** The tenant's rate is used up: looks again soon. */
  private throttle(pump: SourcePump): void {
    setTimeout(() => {
      if (!this.dropped) this.context.schedule(pump)
    }, THROTTLE_MS)
  }

  /** A tenant whose topics are full writes to none; dead letters are let through, for they say why. */
  private mayWrite(pump: EmitterPump): boolean {
    const { type, component } = pump.spec
    if (type !== 'topic' || component === LETTERS || !this.context.quota.isFull(this.spec.tenantIndex)) return true
    if (this.withoutRoom.has(pump)) return false
    this.withoutRoom.add(pump)
    const message = `Emitter "${component}" waits: the topics of "${this.spec.tenant}" hold as much as its quota allows`
    this.report(new SpqrError('QUOTA_EXCEEDED', message), component)
    this.awaitRoom(pump)
    return false
  }

  private awaitRoom(pump: EmitterPump): void {
    setTimeout(() => {
      if (this.dropped) return
      if (this.context.quota.isFull(this.spec.tenantIndex)) return this.awaitRoom(pump)
      this.withoutRoom.delete(pump)
      this.context.schedule(pump)
    }, ROOM_AGAIN_MS)
  }

  private deadLetter(
    pump: SourcePump | EmitterPump | null,
    component: string,
    error: SpqrError,
    record: { key?: Uint8Array; value: Uint8Array },
    offset: number,
  ): void {
    if (pump) {
      pump.counters.values[ERRORS]! += 1
      pump.counters.values[DEAD_LETTERS]! += 1
    }
    const letters = this.emitters.get(LETTERS)
    if (!letters) return
    const source = this.spec.sources.find((s) => s.component === component)
    const value = letterValue({
      code: error.code,
      message: error.message,
      component,
      operator: null,
      digest: null,
      source: { topic: topicOfSource(this.spec, source), partition: 0, offset: String(offset) },
      stack: [],
      record,
    })
    const buffer = new RecordBuffer(value.length + 128)
    buffer.add({ key: record.key, value, timestamp: Date.now() })
    letters.emitter.write(buffer.bytes, 0, buffer.length)
    this.dirty()
  }

  private report(error: SpqrError, component = ''): void {
    const text = `${error.code}: ${error.message}`
    this.context.toControl({ type: 'event', pipeline: this.key, component, kind: 'fault', level: 3, text })
  }

  private fail(component: string, error: SpqrError): void {
    if (this.dropped) return
    this.context.toControl({ type: 'failed', pipeline: this.key, component, error: error.toMessage() })
  }
}

/** The last dead letters of a pipeline that failed are waited for so long. */
const LETTERS_WAIT_MS = 3000
const COUNT_AGAIN_MS = 200
/** The clock of rates ticks about so often. */
const THROTTLE_MS = 10
const ROOM_AGAIN_MS = 250

const LEVELS = { debug: 0, info: 1, warn: 2, error: 3 } as const

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

/** Waits for it, but no longer than that; whether it went well does not matter. */
async function atMost(ms: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((done) => (timer = setTimeout(done, ms)))
  await Promise.race([work?.catch(() => undefined), late])
  clearTimeout(timer)
}

function sameSpec(a: { settings: unknown; type: string }, b: { settings: unknown; type: string }): boolean {
  return a.type === b.type && JSON.stringify(a.settings) === JSON.stringify(b.settings)
}
