// The edges into one reader: an input at each output that they name, with a queue between the two where an edge has a
// capacity or a policy of its own.
//
//    output ◀── input                     read in place
//    output ◀── input ─ queue ◀── input   `capacityBytes` or `whenFull`
//
// When the graph changes an edge that stays keeps its place in the output, so nothing is read twice or left out; a new one
// sees what comes from then on.
// Runs on: compute.

import { EdgeQueue } from './edge-queue.ts'
import { Input } from './input.ts'
import type { Inputs } from './inputs.ts'
import type { EdgeSpec, EdgeStats } from './messages.ts'
import type { Output } from './output.ts'

/** Of an edge that names a policy but no capacity. */
const EDGE_BYTES = 1 << 20

/** Where edges begin. */
export interface EdgeOrigins {
  outputOf(component: string): Output | undefined
  /** All that leaves it leaves by one port: no need to look at that of each record. */
  hasOnePort(component: string): boolean
}

/** Makes the inputs what the edges say. */
export function rewireInputs({ list: inputs }: Inputs, edges: EdgeSpec[], origins: EdgeOrigins): void {
  for (const input of [...inputs]) {
    const edge = edges.find((e) => e.from === input.from)
    const source = input.output instanceof EdgeQueue ? input.output.input.output : input.output
    if (edge && origins.outputOf(edge.from) === source) continue
    input.output.detach(input)
    inputs.splice(inputs.indexOf(input), 1)
  }
  for (const edge of edges) {
    const present = inputs.find((i) => i.from === edge.from)
    if (present) retune(present, edge, origins)
    else inputs.push(attach(edge, origins))
  }
}

/** The queues in front of these inputs. */
export function queuesOf(inputs: Input[]): EdgeQueue[] {
  return inputs.map((input) => input.output).filter((output) => output instanceof EdgeQueue)
}

/** @param waiting bytes that wait behind each of them, in the reader `to` */
export function statsOf(to: string, inputs: Input[], waiting: number): EdgeStats[] {
  return inputs.map(({ from, output }) => {
    const dropped = output instanceof EdgeQueue ? output.dropped : 0
    return { from, to, depth: output.depth() + waiting, capacity: output.capacity, dropped }
  })
}

/** The reader ran elsewhere until now: what its edges dropped there counts on. */
export function countOn(to: string, inputs: Input[], edges: EdgeStats[]): void {
  for (const { from, output } of inputs) {
    if (output instanceof EdgeQueue) output.dropped = edges.find((e) => e.from === from && e.to === to)?.dropped ?? 0
  }
}

/** An input at the output that the edge names, seeing what comes from now on. */
function attach(edge: EdgeSpec, origins: EdgeOrigins): Input {
  const { from, portsLow, portsHigh } = edge
  const input = new Input(from, origins.outputOf(from)!, portsLow, portsHigh, origins.hasOnePort(from))
  input.output.attach(input)
  // What has ended already will not say so again.
  input.ended = input.output.ended
  if (hasQueue(edge)) interpose(input, edge)
  return input
}

/** Ports, capacity or policy of an edge that stays. */
function retune(input: Input, edge: EdgeSpec, origins: EdgeOrigins): void {
  const reader = input.output instanceof EdgeQueue ? input.output.input : input
  reader.portsLow = edge.portsLow
  reader.portsHigh = edge.portsHigh
  reader.all = origins.hasOnePort(edge.from)
  if (input.output instanceof EdgeQueue) {
    input.output.capacity = edge.capacityBytes ?? EDGE_BYTES
    input.output.whenFull = edge.whenFull ?? 'block'
  } else if (hasQueue(edge)) {
    interpose(input, edge)
  }
}

/** Puts a queue between an input and its output, at the input's place. */
function interpose(input: Input, edge: EdgeSpec): void {
  const { output } = input
  const reader = new Input(edge.from, output, edge.portsLow, edge.portsHigh, input.all)
  reader.position = input.position
  reader.ended = input.ended
  output.cursors[output.cursors.indexOf(input)] = reader
  const queue = new EdgeQueue(reader, edge.capacityBytes ?? EDGE_BYTES, edge.whenFull ?? 'block')
  input.output = queue
  input.position = 0
  input.all = true
  queue.attach(input)
}

function hasQueue({ capacityBytes, whenFull }: EdgeSpec): boolean {
  return capacityBytes !== undefined || whenFull !== undefined
}
