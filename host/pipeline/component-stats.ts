// What each component has counted: a split operator what all its instances have, and each of them.
// Runs on: control.

import { type CountersView, ownCounters, type Slabs } from '../compute/counters.ts'
import { componentOf } from '../compute/units.ts'

export interface ComponentStats extends CountersView {
  /** Of a split operator, in the order of its instances. */
  instances?: CountersView[]
}

/** @param blocks the counter block of each unit */
export function componentStats(blocks: ReadonlyMap<string, number>, slabs: Slabs): Record<string, ComponentStats> {
  const components: Record<string, ComponentStats> = {}
  const sums = new Map<string, { sum: ReturnType<typeof ownCounters>; instances: CountersView[] }>()
  for (const [unit, block] of blocks) {
    const component = componentOf(unit)
    const counters = slabs.block(block)
    if (component === unit) {
      components[component] = counters.read()
      continue
    }
    const { sum, instances } = sums.get(component) ?? { sum: ownCounters(), instances: [] }
    sums.set(component, { sum, instances })
    sum.add(counters)
    instances.push(counters.read())
    components[component] = { ...sum.read(), instances }
  }
  return components
}
