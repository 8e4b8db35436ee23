// One epoch of a slot whose barrier is on its way: who has still to answer to it, and what the others have answered.
// Runs on: bridge.

import type { SpqrError } from '../../../schemas/errors.ts'
import type { Image } from '../../compute/messages.ts'
import type { CheckpointSummary } from '../../transport/transport.ts'
import type { CheckpointMeta } from './messages.ts'
import type { SourcePump } from './source-pump.ts'

/** The components that a barrier passes. */
interface Passed {
  sources: Iterable<string>
  operators: Iterable<string>
  emitters: Iterable<string>
}

export class Epoch {
  readonly epoch: number
  /** Of what runs when it begins: what changes meanwhile may or may not be in it. */
  readonly revision: number
  readonly savepoint: string | undefined
  /** The clock asked for it: nobody waits. */
  readonly patient: boolean
  readonly positions: CheckpointMeta['sources'] = {}
  readonly images = new Map<string, Image>()
  /** What the emitters answered at this barrier, not at an end behind it. */
  readonly emitterPositions = new Map<string, unknown>()
  /** Settles by `done` or `failed`. */
  readonly stored: Promise<CheckpointSummary>
  done!: (summary: CheckpointSummary) => void
  failed!: (error: SpqrError) => void
  private readonly barriersLeft: Set<string>
  private readonly imagesLeft: Set<string>
  private readonly emittersLeft: Set<string>

  constructor(epoch: number, revision: number, savepoint: string | undefined, patient: boolean, left: Passed) {
    this.epoch = epoch
    this.revision = revision
    this.savepoint = savepoint
    this.patient = patient
    this.barriersLeft = new Set(left.sources)
    this.imagesLeft = new Set(left.operators)
    this.emittersLeft = new Set(left.emitters)
    this.stored = new Promise((done, failed) => {
      this.done = done
      this.failed = failed
    })
  }

  /** All have answered. */
  get isWhole(): boolean {
    return this.barriersLeft.size === 0 && this.imagesLeft.size === 0 && this.emittersLeft.size === 0
  }

  barrierSent({ spec, position, sequence }: SourcePump): void {
    this.barriersLeft.delete(spec.component)
    this.positions[spec.component] = { type: spec.type, position, sequence, ended: false }
  }

  /** A barrier that waits for this source need not any more: its end counts as one. */
  sourceEnded({ spec, position, sequence }: SourcePump): void {
    if (!this.barriersLeft.delete(spec.component)) return
    this.positions[spec.component] = { type: spec.type, position, sequence, ended: true }
  }

  /** An end counts for the barrier only where it came in its place: behind it, it is of the next epoch. */
  image(epoch: number, image: Image): void {
    if (epoch !== this.epoch && !image.ended) return
    if (this.imagesLeft.delete(image.component)) this.images.set(image.component, image)
  }

  /** As with images, an end counts only in the barrier's place. */
  emitterPassed(component: string, epoch: number, end: boolean, position: unknown): void {
    if (epoch !== this.epoch && !end) return
    if (this.emittersLeft.delete(component)) this.emitterPositions.set(component, position)
  }
}
