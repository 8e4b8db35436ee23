// The checkpoints of one slot, one after another. Each source puts a barrier behind what it has read and notes its position;
// operators send an image as the barrier passes; emitters flush. When all have, everything is stored at once, and only
// then are sources told. The last one says that the pipeline is complete.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import type { Image } from '../../compute/messages.ts'
import type { CheckpointSummary } from '../../transport/transport.ts'
import type { EmitterPump } from './emitter-pump.ts'
import { Epoch } from './epoch.ts'
import { KeptLetters } from './kept-letters.ts'
import { LETTERS, type RestoreFrom } from './messages.ts'
import { type Answers, type Standing, slotCommit } from './slot-commit.ts'
import type { SlotParts } from './slot-parts.ts'
import type { SourcePump } from './source-pump.ts'

const COUNT_AGAIN_MS = 200

const nothing = (): void => undefined

/** Who checkpoints less often than this does not mind a moment more. */
const PATIENT_FROM_MS = 500

export class SlotCheckpoints {
  /** Resolves when the last dead letter of the operators is here. */
  readonly lettersEnded: Promise<void>
  private readonly parts: SlotParts
  private readonly standing: Standing = { endedImages: new Map(), emitterPositions: new Map() }
  private readonly endsLeft = new Set<string>()
  /** Emitters without a pump that have seen the end. */
  private readonly endedSinks = new Set<string>()
  private readonly awaitingEnd: { done: () => void; failed: (error: SpqrError) => void }[] = []
  private epoch = 0
  private inWork: Epoch | null = null
  /** Behind everything that is under way or held back. */
  private queue: Promise<unknown> = Promise.resolve()
  private timer: NodeJS.Timeout | null = null
  private isDirty = false
  private completed = false
  private isFailed = false
  /** Lets checkpoints begin again behind a change. */
  private openGate: () => void = nothing
  /** Lets checkpoints begin again behind a move. */
  private unhold: () => void = nothing
  private lettersAreHere: () => void = nothing

  constructor(parts: SlotParts) {
    this.parts = parts
    this.lettersEnded = new Promise((done) => {
      this.lettersAreHere = done
    })
  }

  /** Goes on from a checkpoint, or from none; before any source or emitter is open. */
  restore(from: RestoreFrom | null): void {
    this.epoch = this.parts.committed = from?.epoch ?? 0
    for (const image of from?.ended ?? []) this.standing.endedImages.set(image.component, image)
    this.expectEnds()
  }

  /** The slot has other components from here on; nothing may be in work. */
  componentsChanged(): void {
    this.endsLeft.clear()
    for (const component of this.standing.endedImages.keys()) {
      if (!this.parts.spec.operators.includes(component)) this.standing.endedImages.delete(component)
    }
    for (const component of this.endedSinks) {
      const stays = this.parts.spec.emitters.some((e) => e.component === component && e.channel < 0)
      if (!stays) this.endedSinks.delete(component)
    }
    this.expectEnds()
  }

  private expectEnds(): void {
    const running = this.operatorsLeft
    for (const component of running) this.endsLeft.add(component)
    if (running.length > 0) this.endsLeft.add(LETTERS)
    for (const component of this.emittersLeft) this.endsLeft.add(component)
  }

  private get operatorsLeft(): string[] {
    return this.parts.spec.operators.filter((component) => !this.standing.endedImages.has(component))
  }

  private get emittersLeft(): string[] {
    const { spec, emitters } = this.parts
    const hasEnded = (component: string): boolean => emitters.get(component)?.ended ?? this.endedSinks.has(component)
    return spec.emitters.map((e) => e.component).filter((component) => !hasEnded(component))
  }

  /** An emitter was taken out: what it answered is in no later checkpoint. */
  forget(component: string): void {
    this.standing.emitterPositions.delete(component)
  }

  /** No epoch begins any more. */
  private get isOver(): boolean {
    return this.parts.dropped || this.parts.isLost || this.completed
  }

  /** Something entered or changed: a checkpoint is due within the interval. */
  dirty(): void {
    if (this.isDirty || this.isOver) return
    this.isDirty = true
    this.timer = setTimeout(() => {
      this.timer = null
      this.inTurn(undefined, false).catch((thrown) => {
        // With all sources ended the last checkpoint comes by itself.
        if (this.isOver || this.parts.sourcesEnded) return
        this.parts.report(SpqrError.from(thrown))
        this.dirty()
      })
    }, this.parts.spec.checkpointEveryMs)
  }

  /** Takes a checkpoint of what flows now, with the state of every operator. @throws SpqrError */
  take(savepoint?: string): Promise<CheckpointSummary> {
    return this.inTurn(savepoint, true)
  }

  private inTurn(savepoint: string | undefined, whole: boolean): Promise<CheckpointSummary> {
    const next = this.settled().then(() => this.begin(savepoint, whole))
    this.queue = next
    return next
  }

  /** Resolves when what is under way or held back now is over, however it went. */
  settled(): Promise<unknown> {
    return this.queue.catch(nothing)
  }

  /** Resolves when those in flight are over; none begins until `release`: an epoch has one set of components. */
  async hold(): Promise<void> {
    const inFlight = this.settled()
    const gate = new Promise<void>((open) => {
      this.openGate = open
    })
    this.queue = inFlight.then(() => gate)
    await inFlight
  }

  /** Ends a `hold`. */
  release(): void {
    this.openGate()
  }

  /**
   * Takes a checkpoint of a paused pipeline, and holds back the next one until `unquiesce`, or for ever.
   * @throws SpqrError INVALID_STATE where an emitter does not deliver in time: nothing is held back then
   */
  quiesce(withinMs: number): Promise<CheckpointSummary> {
    let late = false
    const taken = this.settled().then(() => this.begin(undefined, true))
    const held = (): Promise<void> =>
      late || this.parts.dropped ? Promise.resolve() : new Promise((free) => (this.unhold = free))
    // One that failed holds nothing back, and who asked is told: here nobody may be left who would hear of it.
    this.queue = taken.then(held, nothing)
    return new Promise((done, failed) => {
      const timer = setTimeout(() => {
        late = true
        const message = `Pipeline "${this.parts.spec.id}" does not come to rest: an emitter is slow; try again later`
        failed(new SpqrError('INVALID_STATE', message, { retriable: true }))
      }, withinMs)
      taken.then(done, failed).finally(() => clearTimeout(timer))
    })
  }

  unquiesce(): void {
    this.unhold()
  }

  /** @param whole with barriers, whatever the delivery: somebody goes on from it */
  private begin(savepoint: string | undefined, whole: boolean): Promise<CheckpointSummary> {
    const { id, delivery, revision, checkpointEveryMs } = this.parts.spec
    if (this.parts.isLost) throw lost(this.parts)
    if (this.isOver) throw new SpqrError('INVALID_STATE', `Pipeline "${id}" does not run.`)
    this.isDirty = false
    this.stopTimer()
    // At most once: what was read counts as done, so no barrier need flow.
    if (delivery === 'at-most-once' && !whole) return this.commit(++this.epoch)
    const running = [...this.parts.sources.values()].filter((pump) => !pump.ended)
    // With every source ended no barrier can flow: the end that is under way makes the last checkpoint.
    if (running.length === 0) throw new SpqrError('INVALID_STATE', `Pipeline "${id}" is about to complete.`)
    const operators = this.operatorsLeft
    const patient = !whole && checkpointEveryMs >= PATIENT_FROM_MS
    const work = new Epoch(++this.epoch, revision, savepoint, patient, {
      sources: running.map((pump) => pump.spec.component),
      operators,
      emitters: operators.length > 0 ? [...this.emittersLeft, LETTERS] : this.emittersLeft,
    })
    this.inWork = work
    for (const pump of running) {
      pump.requestBarrier(work.epoch)
      this.parts.context.schedule(pump)
    }
    return work.stored
  }

  barrierSent(pump: SourcePump, epoch: number): void {
    const work = this.inWork
    if (work?.epoch !== epoch) return
    work.barrierSent(pump)
    this.finishIfWhole()
  }

  sourceEnded(pump: SourcePump): void {
    this.inWork?.sourceEnded(pump)
    this.finishIfWhole()
  }

  /** An operator has passed the barrier, or has ended. */
  image(epoch: number, image: Image): void {
    if (image.ended) {
      this.standing.endedImages.set(image.component, image)
      this.endsLeft.delete(image.component)
    }
    this.inWork?.image(epoch, image)
    this.finishIfWhole()
  }

  /** A component without a ring has seen the barrier or the end. */
  sunk(component: string, epoch: number, end: boolean): void {
    if (component !== LETTERS) {
      if (end) this.endedSinks.add(component)
      this.emitterPassed(component, epoch, end)
    }
    // Dead letters of sources and emitters went straight to their emitter: it flushes with the rest.
    else if (end || !this.holdsLettersAt(epoch)) this.parts.emitters.get(LETTERS)!.flush(epoch, end)
  }

  /**
   * The dead letters of the operators before this barrier are here. Under exactly-once those of an emitter that gives up what it
   * had before the barrier are of the same epoch: it ends for dead letters when the other emitters have flushed.
   * @returns whether they wait for that
   */
  holdsLettersAt(epoch: number): boolean {
    if (this.parts.spec.delivery !== 'exactly-once' || this.isFailed) return false
    this.emitterPassed(LETTERS, epoch, false)
    return true
  }

  /** The pipeline has failed: its last dead letters wait for nobody. */
  lettersGoOn(): void {
    this.isFailed = true
    const pump = this.parts.emitters.get(LETTERS)
    if (!pump) return
    pump.goOn()
    this.parts.context.schedule(pump)
  }

  /** An emitter has delivered everything before the barrier or the end. */
  flushed(pump: EmitterPump, epoch: number, end: boolean, position: unknown): void {
    this.standing.emitterPositions.set(pump.spec.component, position)
    this.emitterPassed(pump.spec.component, epoch, end, position)
  }

  private emitterPassed(component: string, epoch: number, end: boolean, position?: unknown): void {
    if (end) this.endsLeft.delete(component)
    if (end && component === LETTERS) this.lettersAreHere()
    this.inWork?.emitterPassed(component, epoch, end, position)
    this.finishIfWhole()
  }

  private finishIfWhole(): void {
    const work = this.inWork
    const { sourcesEnded } = this.parts
    if (work?.isWhole) {
      this.inWork = null
      this.store(work).then(work.done, (thrown) => work.failed(SpqrError.from(thrown)))
      return
    }
    if (!work && sourcesEnded && this.endsLeft.size === 0 && !this.completed) this.complete()
  }

  private async store(work: Epoch): Promise<CheckpointSummary> {
    // Behind all others: emitters give records up until they have flushed.
    await this.flushLetters(work.epoch)
    const summary = await this.commit(work.epoch, work)
    for (const [component, { position }] of Object.entries(work.positions)) {
      this.parts.sources.get(component)?.source.committed?.(position)
    }
    this.parts.context.toControl({ type: 'checkpointed', pipeline: this.parts.key, summary })
    this.finishIfWhole()
    return summary
  }

  /** The dead letters that are here belong to this epoch, later ones to the next. */
  private async flushLetters(epoch: number): Promise<void> {
    const pump = this.parts.emitters.get(LETTERS)
    if (!pump) return
    const flushed = pump.pass(epoch)
    if (pump.emitter instanceof KeptLetters) pump.emitter.epochEnded()
    this.parts.context.schedule(pump)
    await flushed
  }

  /** The end has reached everyone: the last checkpoint says so before anybody can see it. */
  private complete(): void {
    this.completed = true
    this.stopTimer()
    const last = this.settled()
      .then(() => {
        // The epoch before it was not stored: what that had written would be missing.
        if (this.parts.isLost) throw lost(this.parts)
        return this.flushLetters(++this.epoch)
      })
      .then(() => this.commit(this.epoch, {}, true))
      .then(
        () => {
          this.parts.context.toControl({ type: 'completed', pipeline: this.parts.key })
          for (const { done } of this.awaitingEnd.splice(0)) done()
        },
        (thrown) => {
          if (this.parts.dropped || this.parts.isLost) return
          const error = SpqrError.from(thrown)
          if (error.retriable) this.parts.fallBack(error)
          else this.parts.fail('', error)
        },
      )
    this.queue = last
  }

  /** Resolves when the pipeline is complete, and stored as such. @throws SpqrError INVALID_STATE: it was stopped before */
  completion(): Promise<void> {
    return new Promise((done, failed) => {
      if (this.completed) done()
      // `cancel` has been, and lets go of nobody who comes behind it.
      else if (this.parts.dropped) failed(stopped(this.parts))
      else this.awaitingEnd.push({ done, failed })
    })
  }

  /** Stores where it begins, before anything flows. */
  async storeBeginning(): Promise<void> {
    for (const { spec, emitter } of this.parts.emitters.values()) {
      if (emitter.isCut) this.standing.emitterPositions.set(spec.component, await emitter.flush())
    }
    await this.commit(++this.epoch)
    for (const pump of this.parts.emitters.values()) pump.epochPassed = this.parts.committed
  }

  /** At most once: what the sources have read counts as done from here on. */
  count(): Promise<void> {
    const counted = this.settled().then(async () => {
      for (;;) {
        if (this.parts.dropped) throw stopped(this.parts)
        try {
          await this.commit(++this.epoch)
          return
        } catch (thrown) {
          this.parts.report(SpqrError.from(thrown))
          await new Promise((later) => setTimeout(later, COUNT_AGAIN_MS))
        }
      }
    })
    this.queue = counted
    return counted
  }

  private async commit(epoch: number, answers: Partial<Answers> = {}, completed = false): Promise<CheckpointSummary> {
    const { transport } = this.parts.context
    const isStaged = this.parts.spec.delivery === 'exactly-once'
    const stored = transport.commit(slotCommit(this.parts, this.standing, epoch, answers, completed))
    const summary = await stored.catch((thrown: unknown) => {
      // What the epoch has written cannot be published by a later one: nothing may follow it.
      if (isStaged && !completed) this.parts.fallBack(SpqrError.from(thrown))
      throw thrown
    })
    this.parts.committed = epoch
    const letters = this.parts.emitters.get(LETTERS)?.emitter
    if (letters instanceof KeptLetters) letters.stored()
    return summary
  }

  /** Drops what no commit will name: of the epoch in work, and of emitters that were one ahead of it. */
  async abortStaged(): Promise<void> {
    const { parts } = this
    if (parts.spec.delivery !== 'exactly-once') return
    const { transport } = parts.context
    // In the order in which they were begun, as `abort` says of others'.
    for (const ahead of [1, 2])
      await transport.abort(parts.transactionOf(parts.committed + ahead)).catch(() => undefined)
  }

  /** The slot was dropped: gives up what is in work and lets go of all who wait; a commit under way goes on. */
  cancel(): void {
    this.stopTimer()
    this.inWork?.failed(stopped(this.parts))
    this.inWork = null
    this.openGate()
    this.unhold()
    for (const { failed } of this.awaitingEnd.splice(0)) failed(stopped(this.parts))
  }

  private stopTimer(): void {
    if (this.timer) clearTimeout(this.timer)
    this.timer = null
  }
}

function stopped(parts: SlotParts): SpqrError {
  return new SpqrError('INVALID_STATE', `Pipeline "${parts.spec.id}" was stopped.`)
}

function lost(parts: SlotParts): SpqrError {
  const text = `Pipeline "${parts.spec.id}" goes back to its last checkpoint; try again.`
  return new SpqrError('INVALID_STATE', text, { retriable: true })
}
