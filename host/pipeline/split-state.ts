// The state of operators that are split by key: how a checkpoint names it, and that nothing goes on from one that was split
// in another way, as each instance would look for keys that another has.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan, PlanOperator } from '../../schemas/plan.ts'
import type { CheckpointMeta } from '../bridges/runtime/messages.ts'
import type { Image, SplitBy } from '../compute/messages.ts'
import { componentOf, unitName } from '../compute/units.ts'
import type { Checkpoint } from '../transport/transport.ts'

const BEGINNING = { sequence: 0, sinceFlush: 0, ended: false }

/** The state of every unit of a checkpoint, and what holds for all instances of each split operator. */
export function imagesOf(checkpoint: Checkpoint): Image[] {
  const { operators } = checkpoint.meta as CheckpointMeta
  const images = checkpoint.snapshots.map(({ component, instance, digest, globals, memory }): Image => {
    const unit = operators[component]?.split ? unitName(component, instance) : component
    return { component: unit, digest, globals, memory, ...(operators[unit] ?? BEGINNING) }
  })
  for (const [component, { split, ...standing }] of Object.entries(operators)) {
    if (!split) continue
    const digest = checkpoint.snapshots.find((snapshot) => snapshot.component === component)?.digest ?? ''
    images.push({ component, digest, globals: {}, memory: new Uint8Array(0), ...standing, split })
  }
  return images
}

/**
 * The checkpoint as this plan can go on from it: without the state of operators that are split in another way, where the
 * plan lets go of that.
 * @throws SpqrError INVALID_STATE where it does not
 */
export function asSplitNow(plan: Plan, checkpoint: Checkpoint): Checkpoint {
  const meta = checkpoint.meta as CheckpointMeta
  const dropped = new Set<string>()
  plan.components.forEach((component, i) => {
    if (component.kind !== 'operator') return
    const { id, digest } = component
    // What another version has made is no state of this one anyhow.
    const isKept = checkpoint.snapshots.some((snapshot) => snapshot.component === id && snapshot.digest === digest)
    if (!isKept || sameSplit(meta.operators[id]?.split, splitOf(component))) return
    if (!component.discardState) throw refusal(component, i, meta.operators[id]?.split)
    dropped.add(id)
  })
  if (dropped.size === 0) return checkpoint
  const operators = Object.entries(meta.operators).filter(([unit]) => !dropped.has(componentOf(unit)))
  return {
    ...checkpoint,
    snapshots: checkpoint.snapshots.filter(({ component }) => !dropped.has(component)),
    meta: { ...meta, operators: Object.fromEntries(operators) },
  }
}

/**
 * Whether an operator of both plans is split in another way by the second: its records are dealt out anew then.
 * @throws SpqrError INVALID_STATE where that loses a state which the plan does not let go of
 */
export function isSplitAnew(before: Plan, plan: Plan): boolean {
  let anew = false
  plan.components.forEach((component, i) => {
    const present = before.components.find((c) => c.id === component.id)
    if (component.kind !== 'operator' || present?.kind !== 'operator') return
    if (sameSplit(splitOf(present), splitOf(component))) return
    if (present.digest === component.digest && !component.discardState) throw refusal(component, i, splitOf(present))
    anew = true
  })
  return anew
}

function splitOf({ parallelism = 1, partitionBy }: PlanOperator): SplitBy | undefined {
  return parallelism > 1 ? { by: partitionBy!, instances: parallelism } : undefined
}

function sameSplit(a: SplitBy | undefined, b: SplitBy | undefined): boolean {
  return a?.by === b?.by && a?.instances === b?.instances
}

function refusal(operator: PlanOperator, index: number, made: SplitBy | undefined): SpqrError {
  const was = wordsOf(made)
  const message = `the state of "${operator.id}" was made by ${was}, not by ${wordsOf(splitOf(operator))}: put that back, or set "discardState: true" beside it to begin with empty state`
  return new SpqrError('INVALID_STATE', `Cannot split "${operator.id}" in another way: ${message}.`, {
    issues: [{ pointer: `/components/${index}/parallelism`, message }],
  })
}

function wordsOf(split: SplitBy | undefined): string {
  return split ? `${split.instances} instances by ${split.by === 'key' ? 'key' : `"${split.by}"`}` : '1 instance'
}
