// How operators get to their settings, as their pipeline starts or changes: here, within one slice for all of them, or, of what
// does not end in it, on the thread for long calls. Nothing of a pipeline waits for that but the operators which are there.
// Runs on: compute.

import type { SpqrError } from '../../schemas/errors.ts'
import type { InstanceState } from './instance.ts'
import { limitsOf, SETUP_SLICE_FUEL } from './limits.ts'
import type { Image, OperatorSpec } from './messages.ts'
import type { OperatorNode } from './operator-node.ts'
import { settingsRefused } from './start-faults.ts'
import type { Start, TrialCall, Verdict } from './trial.ts'
import type { Trials } from './trials.ts'

const NO_INPUT = new Uint8Array(0)

/** Where starts and settings elsewhere led to, by component; each has gone well. */
export type Ready = ReadonlyMap<string, Verdict>

/** One operator that is to be started, or given its settings, elsewhere. */
export interface LongSetup {
  spec: OperatorSpec
  from: InstanceState | Start
}

/** The slice was not enough: these are to be made elsewhere, then all of it is done again with what they led to. */
export class LongSetups extends Error {
  override readonly name = 'LongSetups'
  readonly setups: readonly LongSetup[]
  constructor(setups: readonly LongSetup[]) {
    super('a start or a change does not end within a slice')
    this.setups = setups
  }
}

/** One try of a start or a change. */
export class Setup {
  private readonly ready: Ready
  private readonly long: LongSetup[] = []
  private fuelLeft: number
  private readonly isSliced: boolean

  /** @param isSliced there is a thread for long calls @param fuel of the slice; 0: nothing is even begun here */
  constructor(isSliced: boolean, ready: Ready, fuel = SETUP_SLICE_FUEL) {
    this.isSliced = isSliced
    this.ready = ready
    this.fuelLeft = isSliced ? fuel : Number.POSITIVE_INFINITY
  }

  /**
   * Starts a fresh node, from an image where there is one.
   * @returns whether that reset its state; null: it is to be started elsewhere @throws SpqrError: it refuses
   */
  start(node: OperatorNode, image?: Image): boolean | null {
    const { spec, instance } = node
    const ready = this.ready.get(spec.component)
    const from = { image: image ? { memory: image.memory, globals: image.globals } : null }
    if (!ready && this.fuelLeft <= 0) return this.later(spec, from)
    const stateReset = node.start(image, this.fuelLeft, ready)
    if (!ready) this.fuelLeft -= instance.fuelUsed
    if (stateReset !== null) return stateReset
    if (this.isLong(node)) return this.later(spec, from)
    throw settingsRefused(spec, instance.fault!)
  }

  /**
   * Gives a running node new settings; one that is to have them elsewhere is held until `hold(false)`.
   * @returns whether they reset its state; null: they are to be given elsewhere @throws SpqrError: it refuses
   */
  configure(node: OperatorNode, spec: OperatorSpec): boolean | null {
    const { instance } = node
    const ready = this.ready.get(spec.component)
    if (!ready && this.fuelLeft <= 0) return this.later(spec, node.hold())
    const before = instance.fuelUsed
    const stateReset = node.configure(spec, this.fuelLeft, ready)
    if (!ready) this.fuelLeft -= instance.fuelUsed - before
    if (stateReset !== null) return stateReset
    const fault = instance.fault!
    if (!this.isLong(node)) throw settingsRefused(spec, fault)
    // Nor is the slice billed: what settings cost does not depend on where they were given.
    instance.fuelUsed = before
    return this.later(spec, node.hold())
  }

  /** All were looked at. @throws LongSetups where some are to be made elsewhere */
  end(): void {
    if (this.long.length > 0) throw new LongSetups(this.long)
  }

  private isLong({ instance }: OperatorNode): boolean {
    return this.isSliced && instance.fault!.code === 'FUEL_EXHAUSTED'
  }

  private later(spec: OperatorSpec, from: InstanceState | Start): null {
    // The others go there as well: a second try here might need as long again.
    this.fuelLeft = 0
    this.long.push({ spec, from })
    return null
  }
}

/** Who waits for them. */
export interface SetupsOwner {
  /** Number of the tenant. */
  readonly tenant: number
  readonly pipeline: number
  loaded(digest: string): TrialCall['loaded']
  /** Fuel that was used there. */
  tookFuel(fuel: number): void
  /** All have gone well. */
  done(ready: Ready): void
  refused(error: SpqrError): void
  /** The thread was replaced: all are to be begun again. */
  lost(): void
}

/** Has them made elsewhere, and tells the owner once what came of it. @returns gives them up: they are refused with this */
export function setUpElsewhere(
  trials: Trials,
  { setups }: LongSetups,
  before: Ready,
  owner: SetupsOwner,
): (error: SpqrError) => void {
  const ready = new Map(before)
  const waiting = new Set<number>()
  let isOver = false
  const end = (tell: () => void): void => {
    if (isOver) return
    isOver = true
    for (const trial of waiting) trials.cancel(trial)
    tell()
  }
  const { tenant, pipeline } = owner
  let left = setups.length
  for (const { spec, from } of setups) {
    const judged = (verdict: Verdict): void => {
      waiting.delete(trial)
      owner.tookFuel(verdict.fuelUsed)
      const { fault } = verdict
      if (fault) {
        end(() => owner.refused(settingsRefused(spec, fault)))
        return
      }
      ready.set(spec.component, verdict)
      left--
      if (left === 0) end(() => owner.done(ready))
    }
    const trial = trials.start(
      { judged, lost: () => end(() => owner.lost()) },
      {
        tenant,
        pipeline,
        loaded: owner.loaded(spec.digest),
        limits: limitsOf(spec),
        portsLow: -1,
        portsHigh: -1,
        from,
        settings: spec.settings,
        input: NO_INPUT,
      },
    )
    waiting.add(trial)
  }
  return (error) => end(() => owner.refused(error))
}
