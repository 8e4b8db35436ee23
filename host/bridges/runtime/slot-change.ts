// One change of a slot's sources and emitters: what it adds is opened beside what runs, then all is swapped at once, or
// closed again.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import type { ChangeResult } from '../../compute/messages.ts'
import type { EmitterPump } from './emitter-pump.ts'
import { type BridgeSourceSpec, type BridgeSpec, LETTERS } from './messages.ts'
import type { SlotCheckpoints } from './slot-checkpoints.ts'
import type { Pump, SlotParts } from './slot-parts.ts'
import type { SlotPumps } from './slot-pumps.ts'
import type { SourcePump } from './source-pump.ts'

export class SlotChange {
  /** What it adds, open and not in use before `commit`. */
  readonly sources = new Map<string, SourcePump>()
  readonly emitters = new Map<string, EmitterPump>()
  private readonly spec: BridgeSpec
  private readonly parts: SlotParts
  private readonly checkpoints: SlotCheckpoints
  private readonly pumps: SlotPumps

  constructor(spec: BridgeSpec, parts: SlotParts, checkpoints: SlotCheckpoints, pumps: SlotPumps) {
    this.spec = spec
    this.parts = parts
    this.checkpoints = checkpoints
    this.pumps = pumps
  }

  /** Opens what it adds and tries out what it replaces. @throws SpqrError of the first that refuses; all is closed then */
  async open(): Promise<void> {
    try {
      await this.openSources()
      await this.openEmitters()
    } catch (thrown) {
      this.unlisten()
      await this.stopAll()
      throw thrown
    }
  }

  private async openSources(): Promise<void> {
    requireGroupsStay([...this.parts.sources.values()], this.spec.sources)
    for (const source of this.spec.sources) {
      const present = this.parts.sources.get(source.component)
      if (present && sameSpec(present.spec, source)) continue
      if (present && present.spec.type === source.type && present.spec.channel === source.channel) {
        await this.pumps.trySource(source, present.nextPosition)
      } else {
        this.sources.set(source.component, await this.pumps.openSource(source, undefined))
      }
      this.requireSlot()
    }
  }

  private async openEmitters(): Promise<void> {
    for (const emitter of this.spec.emitters) {
      if (emitter.channel < 0) continue
      const present = this.parts.emitters.get(emitter.component)
      if (present && present.spec.channel === emitter.channel) {
        if (sameSpec(present.spec, emitter)) continue
        await this.pumps.tryEmitter(emitter)
      } else {
        this.emitters.set(emitter.component, await this.pumps.openEmitter(emitter, undefined))
      }
      this.requireSlot()
    }
  }

  /**
   * Puts it in the place of what runs; no checkpoint may be in work.
   * @param paused whether its sources wait
   * @returns from which of their records the new settings of sources hold
   */
  async commit(paused: boolean): Promise<ChangeResult[]> {
    await this.takeOut()
    const { parts, spec } = this
    for (const [component, pump] of this.sources) parts.sources.set(component, pump)
    for (const [component, pump] of this.emitters) {
      pump.epochPassed = parts.committed
      parts.emitters.set(component, pump)
    }
    parts.spec = spec
    for (const pump of this.sources.values()) {
      pump.paused = paused
      parts.context.schedule(pump)
    }
    this.checkpoints.componentsChanged()
    const changes = await this.configureSources()
    await this.configureEmitters()
    return changes
  }

  /** What the new spec has no more: a source ends, an emitter leaves. */
  private async takeOut(): Promise<void> {
    const { parts, spec } = this
    for (const [component, pump] of parts.sources) {
      if (spec.sources.some((s) => s.channel === pump.spec.channel)) continue
      parts.sources.delete(component)
      parts.context.unlisten(pump.spec.channel)
      await pump.source.stop()
    }
    for (const [component, pump] of parts.emitters) {
      if (component === LETTERS || spec.emitters.some((e) => e.channel === pump.spec.channel)) continue
      // Its ring ends with a mark; it closes there.
      pump.leaving = true
      parts.leaving.add(pump)
      parts.emitters.delete(component)
      this.checkpoints.forget(component)
    }
  }

  /** New settings of sources that stay: in place where they can, else a new one at the same position. */
  private async configureSources(): Promise<ChangeResult[]> {
    const changes: ChangeResult[] = []
    for (const spec of this.spec.sources) {
      const pump = this.parts.sources.get(spec.component)!
      if (sameSpec(pump.spec, spec)) continue
      if (!pump.source.configure?.(spec.settings)) {
        // It pulls nothing meanwhile: the new one begins where the old one ended.
        const { paused } = pump
        pump.paused = true
        const replacement = this.pumps.createSource(spec, pump)
        try {
          await replacement.open(pump.nextPosition)
          await pump.source.stop()
          pump.source = replacement
        } finally {
          pump.paused = paused
        }
      }
      pump.spec = spec
      changes.push({ component: spec.component, sequence: pump.nextSequence, stateReset: false })
      this.parts.context.schedule(pump)
    }
    return changes
  }

  /** New settings of emitters that stay: in place where they can, else a new one, before the old one has delivered. */
  private async configureEmitters(): Promise<void> {
    for (const spec of this.spec.emitters) {
      const pump = this.parts.emitters.get(spec.component)
      if (!pump || sameSpec(pump.spec, spec)) continue
      if (!pump.emitter.configure?.(spec.settings)) {
        const replacement = this.pumps.createEmitter(spec, pump)
        await replacement.open(undefined)
        const old = pump.emitter
        pump.emitter = replacement
        await old.flush()
        await old.stop()
      }
      pump.spec = spec
      this.parts.context.schedule(pump)
    }
  }

  /** Closes what it has opened: what runs goes on. */
  async abort(): Promise<void> {
    this.unlisten()
    await this.stopAll()
  }

  private async stopAll(): Promise<void> {
    const sources = [...this.sources.values()].map((pump) => pump.source.stop())
    await Promise.allSettled([...sources, ...[...this.emitters.values()].map((pump) => pump.emitter.stop())])
  }

  /** The slot may be dropped while something opens: `drop` does not know of that yet. @throws SpqrError INVALID_STATE */
  private requireSlot(): void {
    if (!this.parts.dropped) return
    throw new SpqrError('INVALID_STATE', `Pipeline "${this.spec.id}" was stopped`)
  }

  private unlisten(): void {
    const added: Pump[] = [...this.sources.values(), ...this.emitters.values()]
    for (const pump of added) this.parts.context.unlisten(pump.spec.channel)
  }
}

/**
 * What a source has read as one of a group is stored before it lets go, which takes all that runs: it cannot become another, or
 * none, meanwhile. Only where it begins without an offset may be said anew. @throws SpqrError INVALID_STATE
 */
function requireGroupsStay(present: readonly SourcePump[], wanted: readonly BridgeSourceSpec[]): void {
  for (const { spec } of present) {
    const next = wanted.find((one) => one.channel === spec.channel)
    const isInGroup = spec.settings.group !== undefined || next?.settings.group !== undefined
    if (!isInGroup || (next && sameSpec(withoutFrom(spec), withoutFrom(next)))) continue
    const text = `Cannot change source "${spec.component}", which shares the partitions of its topic with others in a group, while the pipeline runs: stop it, change it, and resume it`
    throw new SpqrError('INVALID_STATE', text, {
      issues: [{ pointer: `/components/${spec.component}`, message: text }],
    })
  }
}

function withoutFrom({ type, settings }: BridgeSourceSpec): { type: string; settings: unknown } {
  return { type, settings: { ...settings, from: undefined } }
}

function sameSpec(a: { settings: unknown; type: string }, b: { settings: unknown; type: string }): boolean {
  return a.type === b.type && JSON.stringify(a.settings) === JSON.stringify(b.settings)
}
