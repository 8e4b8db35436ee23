// One slot of a pipeline in its bridge worker: the life of its sources, emitters and checkpoints, from open to drop.
// Runs on: bridge.

import { deadLetterTopic, topicName } from '../../../schemas/names.ts'
import type { StartFrom } from '../../../schemas/plan.ts'
import type { Grants } from '../../../schemas/tenant.ts'
import type { ChangeResult, Image } from '../../compute/messages.ts'
import type { CheckpointSummary } from '../../transport/transport.ts'
import type { EmitterPump } from './emitter-pump.ts'
import { KeptLetters } from './kept-letters.ts'
import { type BridgeSpec, LETTERS, type RestoreFrom } from './messages.ts'
import { SlotChange } from './slot-change.ts'
import { SlotCheckpoints } from './slot-checkpoints.ts'
import { type ComputeLink, type SlotContext, SlotParts } from './slot-parts.ts'
import { SlotPumps } from './slot-pumps.ts'
import type { SourcePump } from './source-pump.ts'

/** The last dead letters of a pipeline that failed are waited for so long. */
const LETTERS_WAIT_MS = 3000

export class Slot {
  private readonly parts: SlotParts
  private readonly checkpoints: SlotCheckpoints
  private readonly pumps: SlotPumps
  /** Prepared, and neither committed nor aborted yet. */
  private change: SlotChange | null = null

  constructor(key: number, spec: BridgeSpec, context: SlotContext, compute: ComputeLink) {
    this.parts = new SlotParts(key, spec, context, compute)
    this.checkpoints = new SlotCheckpoints(this.parts)
    this.pumps = new SlotPumps(this.parts, this.checkpoints)
  }

  get spec(): BridgeSpec {
    return this.parts.spec
  }

  get sources(): ReadonlyMap<string, SourcePump> {
    return this.parts.sources
  }

  get emitters(): ReadonlyMap<string, EmitterPump> {
    return this.parts.emitters
  }

  /** Opens every source and emitter; nothing flows yet. @throws SpqrError of the first that cannot be opened */
  async open(from: RestoreFrom | null): Promise<void> {
    const { parts, pumps, spec } = this
    this.checkpoints.restore(from)
    // What a run before this one staged and never committed must not come out with our first epochs.
    await this.checkpoints.abortStaged()
    const opened = await Promise.allSettled([
      ...spec.sources.map(async (source) => {
        const kept = ofType(from?.meta.sources[source.component], source.type)
        parts.sources.set(source.component, await pumps.openSource(source, kept, spec.fresh))
      }),
      ...spec.emitters
        .filter((emitter) => emitter.channel >= 0)
        .map(async (emitter) => {
          const position = ofType(from?.meta.emitters[emitter.component], emitter.type)?.position
          parts.emitters.set(emitter.component, await pumps.openEmitter(emitter, position))
        }),
      pumps.openLetters(from?.meta.emitters[LETTERS]?.position).then((pump) => parts.emitters.set(LETTERS, pump)),
    ])
    // All have settled: none opens behind our back when this is given up.
    for (const one of opened) if (one.status === 'rejected') throw one.reason
    // Where it begins depends on the moment, or on who asked: a crash within the first epoch must not change it.
    const isAnew = Object.keys(from?.meta.sources ?? {}).length === 0
    const isMoving = spec.startFrom !== undefined || spec.sources.some((s) => s.settings.from === 'latest')
    const isOnce = spec.delivery === 'exactly-once'
    const isCut = isOnce && [...parts.emitters.values()].some((pump) => pump.emitter.isCut)
    if (isAnew && (isMoving || isCut)) await this.checkpoints.storeBeginning()
  }

  /** Lets records flow. */
  start(): void {
    this.setPaused(false)
  }

  setPaused(paused: boolean): void {
    for (const pump of this.sources.values()) {
      pump.paused = paused
      this.parts.context.schedule(pump)
    }
  }

  /** The tenant's grants are others from now on. */
  grant(grants: Grants | undefined): void {
    this.parts.grant(grants)
  }

  /** Operators have other settings, or are other ones: a checkpoint is due. */
  revised(revision: number): void {
    this.parts.spec = { ...this.spec, revision }
    this.dirty()
  }

  /** Ends the sources once what they accepted is read; the pipeline then completes by itself. */
  async drain(): Promise<void> {
    for (const pump of this.sources.values()) {
      if (pump.source.drain) await pump.source.drain()
      else await pump.source.stop()
      if (!pump.source.drain) pump.resumeEnded()
      pump.paused = false
      this.parts.context.schedule(pump)
    }
    await this.checkpoints.completion()
  }

  // Changes

  /** Opens what another spec adds, beside what runs; no checkpoint begins until it is committed or aborted. */
  async prepare(spec: BridgeSpec): Promise<void> {
    const change = new SlotChange(spec, this.parts, this.checkpoints, this.pumps)
    await change.open()
    this.change = change
    await this.checkpoints.hold()
  }

  /** Whether each source could start from this place; nothing changes. @throws SpqrError where one cannot begin there */
  async tryStart(startFrom: StartFrom): Promise<void> {
    for (const source of this.spec.sources) await this.pumps.tryStart(source, startFrom)
  }

  /** The compute worker has changed: so do we. */
  async commitChange(paused: boolean): Promise<ChangeResult[]> {
    const change = this.change!
    this.change = null
    let changes: ChangeResult[]
    try {
      changes = await change.commit(paused)
    } finally {
      this.checkpoints.release()
    }
    this.dirty()
    return changes
  }

  async abortChange(): Promise<void> {
    const { change } = this
    this.change = null
    this.checkpoints.release()
    await change?.abort()
  }

  // Checkpoints

  /** Something entered or changed: a checkpoint is due within the interval. */
  dirty(): void {
    this.checkpoints.dirty()
  }

  /** Takes a checkpoint of what flows now, with the state of every operator. @throws SpqrError */
  checkpoint(savepoint?: string): Promise<CheckpointSummary> {
    return this.checkpoints.take(savepoint)
  }

  /** An operator has passed the barrier, or has ended. */
  image(epoch: number, image: Image): void {
    this.checkpoints.image(epoch, image)
  }

  /** A component without a ring has seen the barrier or the end. */
  sunk(component: string, epoch: number, end: boolean): void {
    this.checkpoints.sunk(component, epoch, end)
  }

  /**
   * Takes a checkpoint of a paused pipeline, and holds back the next one until `relocate`, or for ever.
   * @throws SpqrError INVALID_STATE where an emitter does not deliver in time: nothing is held back then
   */
  quiesce(withinMs: number): Promise<CheckpointSummary> {
    return this.checkpoints.quiesce(withinMs)
  }

  /** Operators run on another worker from now on, by rings of their own. Only after `quiesce`. */
  relocate(compute: ComputeLink): void {
    this.parts.compute = compute
    for (const pump of this.sources.values()) {
      pump.relocate()
      this.parts.context.schedule(pump)
    }
    for (const pump of this.emitters.values()) pump.relocate()
    this.checkpoints.unquiesce()
  }

  // The end

  /**
   * Stops all and gives it back; what no checkpoint covers comes again.
   * @param failed the dead letters that led there are kept
   */
  async drop(failed?: { lettersEnd: boolean }): Promise<void> {
    const { parts, checkpoints } = this
    if (failed) checkpoints.lettersGoOn()
    if (failed?.lettersEnd) await atMost(LETTERS_WAIT_MS, checkpoints.lettersEnded)
    if (failed) await atMost(LETTERS_WAIT_MS, this.emitters.get(LETTERS)?.emitter.flush())
    parts.dropped = true
    checkpoints.cancel()
    const sources = [...this.sources.values(), ...(this.change?.sources.values() ?? [])]
    const emitters = [...this.emitters.values(), ...parts.leaving, ...(this.change?.emitters.values() ?? [])]
    for (const pump of [...sources, ...emitters]) parts.context.unlisten(pump.spec.channel)
    await Promise.allSettled([
      ...sources.map((pump) => pump.source.stop()),
      ...emitters.map((pump) => pump.emitter.stop()),
    ])
    // A commit under way is waited for: who starts next must find it, and nothing may appear behind a removal.
    await checkpoints.settled()
    await checkpoints.abortStaged()
    if (failed) await this.saveLetters()
  }

  /** Dead letters of epochs that are never stored, by themselves. */
  private async saveLetters(): Promise<void> {
    const letters = this.emitters.get(LETTERS)?.emitter
    if (!(letters instanceof KeptLetters)) return
    const topic = topicName(this.spec.tenant, deadLetterTopic(this.spec.id))
    for (const { bytes, length, records } of letters.rest())
      await this.parts.context.transport.append(topic, 0, bytes.subarray(0, length), records, { create: true })
  }
}

/** What a checkpoint has of a component, unless it was of another type then. */
function ofType<T extends { type?: string }>(kept: T | undefined, type: string): T | undefined {
  return kept?.type === undefined || kept.type === type ? kept : undefined
}

/** Waits for it, but no longer than that; whether it went well does not matter. */
async function atMost(ms: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((done) => (timer = setTimeout(done, ms)))
  await Promise.race([work?.catch(() => undefined), late])
  clearTimeout(timer)
}
