// Several inputs of one reader: turns, the alignment of barriers and of ends, against what a plain list per input says.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EdgeQueue } from '../../../host/compute/edge-queue.ts'
import { Input, takeInput } from '../../../host/compute/input.ts'
import { Inputs, NOTHING } from '../../../host/compute/inputs.ts'
import { Stage } from '../../../host/compute/output.ts'
import { KIND_BARRIER, KIND_DATA, KIND_END, RECORD_SOURCE_OFFSET, RecordBuffer } from '../../../host/record/record.ts'
import type { Run } from '../../../host/ring/ring.ts'
import { seeded } from '../../support/client.ts'

/** A record by its number, a barrier by its epoch, or the end. */
type Item = { record: number } | { barrier: number } | 'end'

const run: Run = { from: 0, to: 0 }
const taken = { bytes: 0, span: 0, records: 0 }

/** An edge of the reader: what stands on it is put there one by one. */
class Edge {
  readonly stage = new Stage()
  readonly input: Input
  readonly queue: EdgeQueue | null
  readonly items: Item[]
  /** Records that the reader has taken. */
  readonly read: number[] = []
  out = false
  private put = 0

  constructor(items: Item[], isQueued: boolean) {
    this.items = items
    const input = new Input('x', this.stage, -1, -1, true)
    this.stage.attach(input)
    this.queue = isQueued ? new EdgeQueue(input, 1 << 20, 'block') : null
    this.input = this.queue ? new Input('x', this.queue, -1, -1, true) : input
    this.queue?.attach(this.input)
  }

  get isAllPut(): boolean {
    return this.put === this.items.length
  }

  putNext(): void {
    const item = this.items[this.put]
    if (item === undefined) return
    this.put++
    if (item === 'end') this.stage.publishControl(KIND_END, 0)
    else if ('barrier' in item) this.stage.publishControl(KIND_BARRIER, item.barrier)
    else {
      const buffer = new RecordBuffer()
      buffer.add({ value: new Uint8Array(item.record % 50), timestamp: 1, sourceOffset: item.record })
      const at = this.stage.reserve(buffer.length)
      this.stage.bytes.set(buffer.bytes.subarray(0, buffer.length), at)
      this.stage.grow(buffer.length)
      this.stage.publish(1)
    }
  }

  /** Records that stand before the barrier, of one that ends sooner all. */
  before(epoch: number): number[] {
    const at = this.items.findIndex((item) => item !== 'end' && 'barrier' in item && item.barrier === epoch)
    return recordsOf(at < 0 ? this.items : this.items.slice(0, at))
  }
}

class Reader {
  readonly inputs = new Inputs()
  readonly edges: Edge[]
  readonly barriers: number[] = []
  /** Inputs in the order in which they were read. */
  readonly turns: Edge[] = []
  ends = 0
  /** Is told of each barrier as it comes. */
  onBarrier: (epoch: number) => void = () => undefined

  constructor(edges: Edge[]) {
    this.edges = edges
    for (const { input } of edges) this.inputs.list.push(input)
  }

  /** @param bytesMax of what it takes at once @returns false: nothing may be taken */
  step(bytesMax: number): boolean {
    for (const { queue, out } of this.edges) if (queue && !out) while (queue.step());
    const kind = this.inputs.next(run)
    if (kind === NOTHING) return false
    assert.is(this.ends, 0, 'nothing comes after the end')
    if (kind === KIND_DATA) this.take(this.inputs.current, bytesMax)
    else if (kind === KIND_BARRIER) {
      this.barriers.push(this.inputs.epoch)
      this.onBarrier(this.inputs.epoch)
    } else {
      assert.is(kind, KIND_END)
      this.ends++
    }
    return true
  }

  /** As a change of the pipeline does. */
  takeOut(edge: Edge): void {
    edge.out = true
    edge.input.output.detach(edge.input)
    this.inputs.list.splice(this.inputs.list.indexOf(edge.input), 1)
  }

  private take(input: Input, bytesMax: number): void {
    const edge = this.edges.find((e) => e.input === input)!
    this.turns.push(edge)
    const { bytes, words } = input.output
    takeInput(bytes, words, run.from, run.to, input, bytesMax, 1 << 30, taken)
    for (let at = run.from; at < run.from + taken.span; at += words[at >> 2]!) {
      edge.read.push(words[(at + RECORD_SOURCE_OFFSET) >> 2]!)
    }
    input.output.advance(input, taken.span)
  }
}

function recordsOf(items: Item[]): number[] {
  return items.flatMap((item) => (item !== 'end' && 'record' in item ? [item.record] : []))
}

/** Records with so many barriers between them; where it ends sooner, the later ones are missing. */
function itemsOf(random: (n: number) => number, barriers: number): Item[] {
  const items: Item[] = []
  let record = 0
  const more = (): void => {
    for (let left = random(6); left > 0; left--) items.push({ record: record++ })
  }
  const itsBarriers = random(3) === 0 ? random(barriers + 1) : barriers
  for (let epoch = 1; epoch <= itsBarriers; epoch++) {
    more()
    items.push({ barrier: epoch })
  }
  more()
  items.push('end')
  return items
}

const test = suite('inputs')

test('each keeps its order, no record passes a barrier, each barrier is told once, and the end after all', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = seeded(seed)
    const barriers = random(5)
    const edges = Array.from({ length: 1 + random(5) }, () => new Edge(itemsOf(random, barriers), random(3) === 0))
    const reader = new Reader(edges)
    reader.onBarrier = (epoch) => {
      for (const edge of edges) if (!edge.out) assert.equal(edge.read, edge.before(epoch), `seed ${seed}: ${epoch}`)
    }
    // One stays to the end.
    const leaves = edges.length > 1 && random(3) === 0 ? edges[random(edges.length - 1)]! : undefined
    for (let left = 400; left > 0 || edges.some((edge) => !edge.out && !edge.isAllPut); left--) {
      const edge = edges[random(edges.length)]!
      if (random(2) === 0) edge.putNext()
      else if (random(60) === 0 && leaves && !leaves.out) reader.takeOut(leaves)
      else reader.step(1 + random(400))
    }
    while (reader.step(1 << 20));
    const stayed = edges.filter((edge) => !edge.out)
    for (const { read, items } of stayed) assert.equal(read, recordsOf(items), `seed ${seed}`)
    const told = stayed.flatMap(({ items }) => items.flatMap((i) => (i !== 'end' && 'barrier' in i ? [i.barrier] : [])))
    const last = Math.max(0, ...told, ...(leaves?.out ? reader.barriers : []))
    assert.equal(
      reader.barriers,
      Array.from({ length: last }, (_, i) => i + 1),
      `seed ${seed}: each once, in order`,
    )
    assert.is(reader.ends, 1, `seed ${seed}: one end`)
  }
})

test('an input that shows its barrier is held back, the others are read on', () => {
  const held = new Edge([{ barrier: 1 }, { record: 0 }], false)
  const slow = new Edge([{ record: 0 }, { record: 1 }, { barrier: 1 }], false)
  const reader = new Reader([held, slow])
  held.putNext()
  held.putNext()
  slow.putNext()
  while (reader.step(1 << 20));
  slow.putNext()
  while (reader.step(1 << 20));
  assert.equal([held.read, slow.read, reader.barriers], [[], [0, 1], []])
  slow.putNext()
  while (reader.step(1 << 20));
  assert.equal([held.read, slow.read, reader.barriers], [[0], [0, 1], [1]])
})

test('an end where the barrier was awaited completes the alignment; the epoch is the barrier`s', () => {
  const edges = [new Edge([{ barrier: 7 }, 'end'], false), new Edge(['end'], false)]
  const reader = new Reader(edges)
  edges[0]!.putNext()
  assert.not(reader.step(1))
  edges[1]!.putNext()
  assert.ok(reader.step(1))
  assert.equal([reader.barriers, reader.ends], [[7], 0])
  edges[0]!.putNext()
  assert.ok(reader.step(1))
  assert.is(reader.ends, 1)
  assert.not(reader.step(1))
})

test('one that is taken out is no longer waited for, neither for a barrier nor for the end', () => {
  const edges = [new Edge([{ barrier: 1 }, 'end'], false), new Edge([], false), new Edge([], false)]
  const reader = new Reader(edges)
  edges[0]!.putNext()
  assert.not(reader.step(1))
  reader.takeOut(edges[1]!)
  assert.not(reader.step(1))
  reader.takeOut(edges[2]!)
  assert.ok(reader.step(1))
  assert.equal(reader.barriers, [1])
  edges[0]!.putNext()
  while (reader.step(1));
  assert.is(reader.ends, 1)
})

test('inputs that all have records take turns', () => {
  const items = Array.from({ length: 30 }, (_, record) => ({ record }))
  const edges = [new Edge(items, false), new Edge(items, true), new Edge(items, false)]
  for (const edge of edges) while (!edge.isAllPut) edge.putNext()
  const reader = new Reader(edges)
  while (reader.step(1));
  assert.is(reader.turns.length, 90)
  for (let i = 3; i < 90; i++) assert.is(reader.turns[i], reader.turns[i - 3])
})

test('without an input nothing comes, not even an end', () => {
  assert.not(new Reader([]).step(1))
})

test.run()
