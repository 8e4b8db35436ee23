// What a graph needs of a relay: the channels of its sources and emitters, and the counter blocks that its compute thread
// writes. Both ends of the pipe work it out from the same graph.
// Runs on: relay thread and the tenant's process.

import type { GraphSpec } from '../compute/messages.ts'

export interface EmitterChannel {
  channel: number
  /** Ports of the records that it may get are below this. */
  ports: number
  capacityBytes: number
}

export interface Demands {
  sources: number[]
  emitters: EmitterChannel[]
  blocks: number[]
}

const LETTERS_BYTES = 1 << 20
/** A source's records keep the port that they were written with. */
const ANY_PORT = 1 << 16

export function demandsOf(graph: GraphSpec): Demands {
  const portsOf = (component: string): number =>
    [...graph.operators, ...graph.splits].find((operator) => operator.component === component)?.ports ?? ANY_PORT
  const emitters = graph.emitters.map(({ channel, edges, capacityBytes }) => ({
    channel,
    ports: Math.max(1, ...edges.map((edge) => portsOf(edge.from))),
    capacityBytes,
  }))
  const letters = { channel: graph.deadLetters.channel, ports: 1, capacityBytes: LETTERS_BYTES }
  const counted = graph.emitters.filter((emitter) => emitter.channel < 0)
  return {
    sources: graph.sources.map((source) => source.channel),
    emitters: [...emitters.filter((emitter) => emitter.channel >= 0), letters],
    blocks: [...graph.operators, ...counted].map((component) => component.counters),
  }
}
