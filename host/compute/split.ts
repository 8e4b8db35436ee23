// An operator that `parallelism` splits by key: what deals its records out, its instances' common matters, and what gathers.
//
//    inputs → Splitter → lanes x>0 … x>n-1 → nodes x#0 … x#n-1 → Merger → x
//
// Runs on: compute. All of it stands on one worker; its nodes are among those of the pipeline.

import { FaultShare } from './fault-share.ts'
import { Merger } from './merger.ts'
import type { ChangeResult, EdgeSpec, Image, SplitSpec } from './messages.ts'
import type { Output } from './output.ts'
import { Splitter } from './splitter.ts'
import { componentOf, laneName, unitName } from './units.ts'

const ALL_PORTS = -1

export class Split {
  spec: SplitSpec
  readonly splitter: Splitter
  readonly merger: Merger
  /** Of all instances: it is the component that fails. */
  readonly faults = new FaultShare()

  /**
   * @param restored of the checkpoint it goes on from
   * @param passed its image at a barrier, or at its end
   */
  constructor(spec: SplitSpec, restored: Image | undefined, passed: (epoch: number, image: Image) => void) {
    this.spec = spec
    this.splitter = new Splitter(spec.by, spec.instances)
    this.merger = new Merger((epoch, ended) => passed(epoch, this.image(ended)))
    this.merger.sequence = restored?.sequence ?? 0
  }

  /** What it emits, or one of its lanes. */
  outputOf(name: string): Output | undefined {
    if (name === this.spec.component) return this.merger.stage
    const lane = this.splitter.lanes.findIndex((_, instance) => laneName(this.spec.component, instance) === name)
    return this.splitter.lanes[lane]
  }

  /** From its instances to what gathers. */
  get mergerEdges(): EdgeSpec[] {
    return this.splitter.lanes.map((_, instance) => ({
      from: unitName(this.spec.component, instance),
      portsLow: ALL_PORTS,
      portsHigh: ALL_PORTS,
    }))
  }

  /** What holds for all instances: their states are images of their own. */
  image(ended = false): Image {
    const { component, digest, by, instances } = this.spec
    const { sequence } = this.merger
    const memory = new Uint8Array(0)
    return { component, digest, memory, globals: {}, sequence, sinceFlush: 0, ended, split: { by, instances } }
  }
}

/** What is told of a change: of a split operator once, with the number of what it emits. */
export function changesOf(changes: ChangeResult[], splits: ReadonlyMap<string, Split>): ChangeResult[] {
  const told = new Map<string, ChangeResult>()
  for (const change of changes) {
    const component = componentOf(change.component)
    const split = splits.get(component)
    const sequence = split ? split.merger.sequence + 1 : change.sequence
    const stateReset = change.stateReset || (told.get(component)?.stateReset ?? false)
    told.set(component, { component, sequence, stateReset })
  }
  return [...told.values()]
}
