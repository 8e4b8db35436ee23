// Operators that had ended at a checkpoint, and have other edges now: those go on, with the state they ended with. A running
// pipeline cannot do that (`refuseRevival` of host/compute/graph-change.ts), for what is behind them was told of the end.
// Runs on: control.

import type { Plan, PlanComponent } from '../../schemas/plan.ts'
import type { CheckpointMeta } from '../bridges/runtime/messages.ts'
import type { Image } from '../compute/messages.ts'
import { componentOf } from '../compute/units.ts'

/** The states of a checkpoint as this plan goes on from them: ended is only what nothing can reach any more. */
export function asReachedNow(images: Image[], { sources }: CheckpointMeta, plan: Plan): Image[] {
  if (!images.some((image) => image.ended)) return images
  const components = new Map(plan.components.map((component) => [component.id, component]))
  const known = new Map<string, boolean>()
  const hasEnded = (component: PlanComponent): boolean => {
    const { id } = component
    if (component.kind === 'source') {
      const kept = sources[id]
      return kept?.ended === true && (kept.type === undefined || kept.type === component.type)
    }
    // Set first: a document has no cycles, but an answer is due whatever it has.
    if (!known.has(id))
      known.set(id, false).set(
        id,
        component.from.every((edge) => has(edge.component)),
      )
    return known.get(id)!
  }
  const has = (id: string): boolean => {
    const component = components.get(id)
    return component !== undefined && hasEnded(component)
  }
  return images.map((image) => (image.ended && !has(componentOf(image.component)) ? { ...image, ended: false } : image))
}
