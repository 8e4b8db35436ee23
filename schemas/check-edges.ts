// Checks how components hang together: ids, edges, ports, cycles, and what leads nowhere.

import { type Draft, edgePointer } from './check-component.ts'
import type { Findings } from './findings.ts'
import { didYouMean } from './nearest-name.ts'

export function checkEdges(drafts: readonly Draft[], found: Findings): void {
  const byId = new Map<string, Draft>()
  for (const draft of drafts) {
    if (draft.id === undefined) continue
    const first = byId.get(draft.id)
    if (first) found.issue(`${draft.pointer}/id`, `"${draft.id}" is the id of component ${first.index + 1} already`)
    else byId.set(draft.id, draft)
  }
  // What is not understood may have been meant as either.
  if (drafts.every((draft) => draft.kind !== undefined)) {
    if (!drafts.some((draft) => draft.kind === 'source'))
      found.issue('/components', 'a pipeline needs at least one source')
    if (!drafts.some((draft) => draft.kind === 'emitter'))
      found.issue('/components', 'a pipeline needs at least one emitter')
  }
  const read = new Set<Draft>()
  for (const draft of drafts) {
    if (draft.kind === 'source') continue
    checkInputs(draft, byId, read, found)
  }
  checkCycles(drafts, byId, found)
  for (const draft of drafts) {
    if (draft.kind === undefined || draft.kind === 'emitter' || read.has(draft)) continue
    const kind = draft.kind === 'source' ? 'source' : 'operator'
    found.warn(draft.pointer, `nothing takes the records of ${kind} "${draft.id}"`)
  }
}

function checkInputs(draft: Draft, byId: Map<string, Draft>, read: Set<Draft>, found: Findings): void {
  const seen = new Set<string>()
  draft.from.forEach((edge, index) => {
    if (!edge) return
    const upstream = byId.get(edge.component)
    if (!upstream) {
      const ids = [...byId.keys()].filter((id) => id !== draft.id)
      const message = `there is no component "${edge.component}"${didYouMean(edge.component, ids)}`
      found.issue(edgePointer(draft, index, 'component'), message)
      return
    }
    read.add(upstream)
    if (upstream.kind === 'emitter') {
      found.issue(edgePointer(draft, index, 'component'), `"${edge.component}" is an emitter; nothing comes out of it`)
      return
    }
    const { ports } = upstream
    if (ports && !ports.includes(edge.port) && !ports.includes('*')) {
      const message = `"${edge.component}" has no port "${edge.port}"${didYouMean(edge.port, ports)}`
      found.issue(edgePointer(draft, index, 'port'), message)
    }
    const key = `${edge.component}.${edge.port}`
    if (seen.has(key)) found.issue(edgePointer(draft, index), `takes "${key}" twice, which would double its records`)
    seen.add(key)
  })
}

/** Each cycle is told once, at the `from` that closes it. */
function checkCycles(drafts: readonly Draft[], byId: Map<string, Draft>, found: Findings): void {
  const done = new Set<Draft>()
  for (const start of drafts) {
    if (done.has(start)) continue
    // A walk against the flow, from consumers to what they read, with a stack of its own.
    const path: { draft: Draft; next: number }[] = [{ draft: start, next: 0 }]
    const onPath = new Set([start])
    while (path.length > 0) {
      const top = path[path.length - 1]!
      if (top.next === top.draft.from.length) {
        onPath.delete(top.draft)
        done.add(top.draft)
        path.pop()
        continue
      }
      const index = top.next++
      const edge = top.draft.from[index]
      const upstream = edge && byId.get(edge.component)
      if (!upstream || done.has(upstream)) continue
      if (onPath.has(upstream)) {
        const from = path.findIndex((step) => step.draft === upstream)
        const ids = path.slice(from).map((step) => step.draft.id)
        const round = [upstream.id, ...ids.slice(1).reverse(), upstream.id].join(' → ')
        found.issue(edgePointer(top.draft, index, 'component'), `records would go round in a circle: ${round}`)
        continue
      }
      onPath.add(upstream)
      path.push({ draft: upstream, next: 0 })
    }
  }
}
