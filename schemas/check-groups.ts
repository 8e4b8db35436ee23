// Warns where operators keep state by key behind a source that shares its partitions with others: the partitions move between the
// members of a group, the state does not.

import type { Draft } from './check-component.ts'
import { COMPONENTS } from './components.ts'
import type { Findings } from './findings.ts'

/** @param drafts every component of a document, as far as it was understood */
export function checkGroups(drafts: readonly Draft[], found: Findings): void {
  const inGroups = drafts.filter(({ resolved }) => resolved?.kind === 'source' && resolved.settings.group !== undefined)
  if (inGroups.length === 0) return
  const consumers = new Map<string, Draft[]>()
  for (const draft of drafts) {
    for (const edge of draft.from) {
      if (edge) consumers.set(edge.component, [...(consumers.get(edge.component) ?? []), draft])
    }
  }
  for (const source of inGroups) {
    const keeping = [...reachedFrom(source, consumers)].filter(keepsState).map(({ id }) => `"${id}"`)
    if (keeping.length === 0) continue
    const message = `the state of ${keeping.join(', ')} does not follow the partitions when the group shares them out anew; leave "group" out, or expect the state of a key in several of its members`
    found.warn(`${source.pointer}/settings/group`, message)
  }
}

function reachedFrom(source: Draft, consumers: ReadonlyMap<string, Draft[]>): Set<Draft> {
  const reached = new Set<Draft>()
  const ahead = [source]
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    for (const consumer of consumers.get(next.id ?? '') ?? []) {
      if (reached.has(consumer)) continue
      reached.add(consumer)
      ahead.push(consumer)
    }
  }
  return reached
}

function keepsState({ resolved }: Draft): boolean {
  return resolved?.kind === 'operator' && COMPONENTS.operator.get(resolved.name)?.keepsState === true
}
