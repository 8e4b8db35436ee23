// A change of a running graph between two records, as a whole or not at all: what would be refused is found out first, new
// instances are started beside the running ones, and the running ones that were configured already are put back where a
// later one refuses.
// Runs on: compute.

import { SpqrError } from '../../schemas/errors.ts'
import type { ChangeResult, GraphSpec, Image } from './messages.ts'
import type { OperatorNode } from './operator-node.ts'
import type { RunningGraph } from './running-graph.ts'
import type { Setup } from './setup.ts'
import { resetRefused } from './start-faults.ts'

/**
 * Changes all that runs but the edges; `rewire` follows.
 * @param keepState refuses what would start an instance anew
 * @throws SpqrError, LongSetups: nothing has changed
 */
export function changeGraph(running: RunningGraph, graph: GraphSpec, keepState: boolean, setup: Setup): ChangeResult[] {
  const { nodes } = running
  refuseRevival(running, graph)
  // What the instances have emitted was made by what they are now.
  for (const split of running.splits.values()) split.merger.drain()
  running.makeSplits(graph, [])
  let prepared: Map<string, OperatorNode>
  let changes: ChangeResult[]
  try {
    prepared = prepare(running, graph, keepState, setup)
    changes = configure(nodes, graph, prepared, keepState, setup)
  } catch (thrown) {
    running.keepSplits(running.spec)
    throw thrown
  }
  const before = running.spec
  running.spec = graph
  for (const spec of before.operators) {
    const stays = graph.operators.some((s) => s.component === spec.component)
    if (stays && !prepared.has(spec.component)) continue
    const node = nodes.get(spec.component)!
    node.stop()
    // A node of another version takes over inputs and stage; one that is gone gives them up.
    if (!stays) node.inputs.detach()
    nodes.delete(spec.component)
  }
  for (const [component, node] of prepared) nodes.set(component, node)
  for (const spec of graph.operators) nodes.get(spec.component)!.accept(spec)
  running.keepSplits(graph)
  return changes
}

/** @throws SpqrError INVALID_STATE where what has ended, and has said so to all behind it, would get records again */
function refuseRevival(running: RunningGraph, graph: GraphSpec): void {
  const { nodes, sinks, sources, splits } = running
  const hasEnded = (from: string): boolean => {
    const source = graph.sources.find((s) => s.component === from)
    if (source && sources.get(from)?.channelNumber !== source.channel) return false
    return running.outputOf(from)?.ended ?? false
  }
  // Another kind of emitter under the same id begins anew.
  const stays = graph.emitters.filter(({ component, channel }) => sinks.get(component)?.spec.channel === channel)
  for (const spec of [...graph.operators, ...graph.splits, ...stays]) {
    const { component } = spec
    const present = nodes.get(component) ?? splits.get(component)?.splitter ?? sinks.get(component)
    if (!present?.inputs.ended) continue
    const edge = spec.edges.find(({ from }) => !hasEnded(from))
    if (!edge) continue
    const why = 'it has ended with its sources; give it another id, or stop the pipeline, change it, and resume it'
    throw new SpqrError('INVALID_STATE', `Cannot give "${component}" records of "${edge.from}": ${why}`)
  }
}

/** Starts the instances that are new or of another version, beside the running ones. */
function prepare(running: RunningGraph, graph: GraphSpec, keepState: boolean, setup: Setup): Map<string, OperatorNode> {
  const prepared = new Map<string, OperatorNode>()
  for (const spec of graph.operators) {
    const present = running.nodes.get(spec.component)
    if (present && present.spec.digest === spec.digest && present.spec.ports === spec.ports) continue
    if (present && keepState) throw resetRefused(spec.component)
    const node = running.makeNode(spec, present)
    setup.start(node)
    prepared.set(spec.component, node)
  }
  return prepared
}

/** Gives running instances their new settings; the first that refuses, or is to have them elsewhere, takes all of them back. */
function configure(
  nodes: ReadonlyMap<string, OperatorNode>,
  graph: GraphSpec,
  prepared: ReadonlyMap<string, OperatorNode>,
  keepState: boolean,
  setup: Setup,
): ChangeResult[] {
  const changes: ChangeResult[] = []
  const done: { node: OperatorNode; image: Image }[] = []
  // One that refuses is what it was by itself: only others that were before it are taken back.
  const configured = graph.operators.filter(
    (spec) => !prepared.has(spec.component) && nodes.get(spec.component)!.spec.settings !== spec.settings,
  ).length
  const mayBeTakenBack = keepState || configured > 1 || prepared.size > 0
  try {
    for (const spec of graph.operators) {
      const fresh = prepared.get(spec.component)
      if (fresh) {
        const stateReset = nodes.has(spec.component)
        changes.push({ component: spec.component, sequence: fresh.sequence + 1, stateReset })
        continue
      }
      const node = nodes.get(spec.component)!
      if (node.spec.settings === spec.settings) continue
      const before = mayBeTakenBack ? { node, image: node.image() } : null
      const stateReset = setup.configure(node, spec)
      if (stateReset === null) continue
      if (before) done.push(before)
      if (stateReset && keepState) throw resetRefused(spec.component)
      changes.push({ component: spec.component, sequence: node.sequence + 1, stateReset })
    }
    setup.end()
    return changes
  } catch (thrown) {
    for (const { node, image } of done) node.instance.restore(image.memory, image.globals)
    throw thrown
  }
}
