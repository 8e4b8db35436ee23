// An edge with a capacity or a policy of its own: what waits, what is dropped, and that marks keep their place.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EdgeQueue } from '../../../host/compute/edge-queue.ts'
import { Input } from '../../../host/compute/input.ts'
import { Stage } from '../../../host/compute/output.ts'
import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  RECORD_KIND,
  RECORD_SOURCE_OFFSET,
  RecordBuffer,
} from '../../../host/record/record.ts'
import type { Run } from '../../../host/ring/ring.ts'
import type { WhenFull } from '../../../schemas/document.ts'
import { seeded } from '../../support/client.ts'

const run: Run = { from: 0, to: 0 }

/** A stage, a queue behind it, and a consumer of the queue beside one of the stage itself. */
class Edge {
  readonly stage = new Stage()
  readonly queue: EdgeQueue
  readonly beside: Input
  readonly seen: string[] = []
  readonly besideSeen: string[] = []
  written = 0
  private readonly consumer: Input

  constructor(capacityBytes: number, whenFull: WhenFull) {
    const reader = new Input('op', this.stage, -1, -1, true)
    this.stage.attach(reader)
    this.beside = new Input('op', this.stage, -1, -1, true)
    this.stage.attach(this.beside)
    this.queue = new EdgeQueue(reader, capacityBytes, whenFull)
    this.consumer = new Input('op', this.queue, -1, -1, true)
    this.queue.attach(this.consumer)
  }

  put(sizes: number[]): void {
    const buffer = new RecordBuffer()
    for (const size of sizes) {
      buffer.add({ value: new Uint8Array(size), timestamp: 1, sourceOffset: this.written++ })
    }
    const at = this.stage.reserve(buffer.length)
    this.stage.bytes.set(buffer.bytes.subarray(0, buffer.length), at)
    this.stage.grow(buffer.length)
    this.stage.publish(1)
  }

  consume(count: number): void {
    take(this.consumer, count, this.seen)
  }

  consumeBeside(): void {
    take(this.beside, 1e6, this.besideSeen)
  }

  /** Lets everything flow. */
  settle(): void {
    for (let round = 0; round < 10_000; round++) {
      const moved = this.queue.step()
      this.consumeBeside()
      const before = this.seen.length
      this.consume(50)
      if (!moved && this.seen.length === before && this.stage.empty) return
    }
    throw new Error('it never settles')
  }
}

function take(input: Input, count: number, into: string[]): void {
  const { output } = input
  for (let i = 0; i < count; i++) {
    output.peek(input, run)
    if (run.from >= run.to) return
    const kind = output.bytes[run.from + RECORD_KIND]!
    const number = output.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]!
    into.push(kind === KIND_DATA ? String(number) : kind === KIND_BARRIER ? `<${number}>` : '<end>')
    output.advance(input, output.words[run.from >> 2]!)
  }
}

const test = suite('an edge of its own')

for (const whenFull of ['block', 'drop-newest', 'drop-oldest'] as const) {
  test(`${whenFull}: records keep their order, marks their place, and every one is seen or counted`, () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed)
      const edge = new Edge(600 + random(3000), whenFull)
      /** What a consumer without limits would see. */
      const all: string[] = []
      let epoch = 0
      for (let step = 0; step < 200; step++) {
        const what = random(8)
        if (what < 2 && edge.stage.empty) {
          const sizes = Array.from({ length: 1 + random(9) }, () => random(random(9) === 0 ? 5000 : 200))
          for (let i = 0; i < sizes.length; i++) all.push(String(edge.written + i))
          edge.put(sizes)
        } else if (what === 2 && edge.stage.empty) {
          edge.stage.publishControl(KIND_BARRIER, ++epoch)
          all.push(`<${epoch}>`)
        } else if (what < 5) edge.queue.step()
        else if (what === 5) edge.consumeBeside()
        else edge.consume(1 + random(4))
      }
      edge.settle()
      edge.stage.publishControl(KIND_END, 0)
      all.push('<end>')
      edge.settle()
      assert.equal(edge.besideSeen, all, `seed ${seed}: the consumer beside`)
      assert.ok(edge.queue.input.ended)
      const seen = new Set(edge.seen)
      assert.is(seen.size, edge.seen.length, `seed ${seed}: none twice`)
      assert.equal(
        edge.seen,
        all.filter((one) => seen.has(one)),
        `seed ${seed}: order`,
      )
      const lost = all.filter((one) => !seen.has(one))
      assert.ok(lost.every((one) => !one.startsWith('<')))
      assert.is(edge.queue.dropped, lost.length, `seed ${seed}: dropped`)
      if (whenFull === 'block') assert.is(lost.length, 0)
      assert.is(edge.queue.depth(), 0)
    }
  })
}

test('block holds its producer back, the drop policies do not', () => {
  for (const [whenFull, isFree] of [
    ['block', false],
    ['drop-newest', true],
    ['drop-oldest', true],
  ] as const) {
    const edge = new Edge(1000, whenFull)
    for (let round = 0; round < 20; round++) {
      if (edge.stage.empty) edge.put([300, 300])
      edge.queue.step()
      edge.consumeBeside()
    }
    assert.is(edge.stage.empty, isFree, whenFull)
    assert.ok(edge.queue.depth() <= 1000)
  }
})

test('drop-newest keeps the first, drop-oldest the last', () => {
  for (const [whenFull, kept] of [
    ['drop-newest', ['0', '1']],
    ['drop-oldest', ['8', '9']],
  ] as const) {
    const edge = new Edge(800, whenFull)
    edge.put(Array(10).fill(300))
    while (edge.queue.step());
    edge.consume(99)
    assert.equal(edge.seen, kept)
    assert.is(edge.queue.dropped, 8)
  }
})

test.run()
