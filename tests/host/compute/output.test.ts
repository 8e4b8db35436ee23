// Where records stand until each consumer has read them: stages and rings with several cursors, that come and go.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Cursor, RingOutput, Stage } from '../../../host/compute/output.ts'
import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  RECORD_KIND,
  RECORD_SOURCE_OFFSET,
  RecordBuffer,
} from '../../../host/record/record.ts'
import { ChannelWriter } from '../../../host/ring/channel.ts'
import type { Run } from '../../../host/ring/ring.ts'
import { seeded } from '../../support/client.ts'

const run: Run = { from: 0, to: 0 }

class Reader implements Cursor {
  position = 0
  readonly seen: number[] = []
  private readonly output: RingOutput | Stage

  constructor(output: RingOutput | Stage) {
    this.output = output
    output.attach(this)
  }

  /** Reads up to so many records. @returns whether there was one */
  next(count: number): boolean {
    const { output } = this
    let any = false
    for (let i = 0; i < count; i++) {
      output.peek(this, run)
      if (run.from >= run.to) break
      any = true
      const kind = output.bytes[run.from + RECORD_KIND]!
      const number = output.words[(run.from + RECORD_SOURCE_OFFSET) >> 2]!
      if (kind === KIND_DATA) this.seen.push(number)
      else this.seen.push(kind === KIND_BARRIER ? -number : -1e9)
      output.advance(this, output.words[run.from >> 2]!)
    }
    return any
  }
}

function put(stage: Stage, first: number, sizes: number[]): void {
  const buffer = new RecordBuffer()
  sizes.forEach((size, i) => {
    buffer.add({ value: new Uint8Array(size), timestamp: 1, sourceOffset: first + i })
  })
  const at = stage.reserve(buffer.length)
  stage.bytes.set(buffer.bytes.subarray(0, buffer.length), at)
  stage.grow(buffer.length)
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
const stages = suite('Stage')

stages('each consumer reads everything once, at its own pace', () => {
  for (let seed = 1; seed < 60; seed++) {
    const random = seeded(seed)
    const stage = new Stage()
    const readers = [new Reader(stage), new Reader(stage), new Reader(stage)]
    let written = 0
    for (let step = 0; step < 200; step++) {
      if (random(4) === 0 && stage.empty) {
        const sizes = Array.from({ length: random(8) }, () => random(3000))
        put(stage, written, sizes)
        if (random(5) === 0) stage.discard()
        else {
          stage.publish(7)
          written += sizes.length
        }
      } else readers[random(3)]!.next(1 + random(4))
    }
    for (const reader of readers) reader.next(1e6)
    assert.ok(stage.empty)
    for (const reader of readers) assert.equal(reader.seen, range(0, written), `seed ${seed}`)
  }
})

stages('what a call staged is seen by nobody until it returned well', () => {
  const stage = new Stage()
  const reader = new Reader(stage)
  put(stage, 0, [1, 2])
  assert.not(reader.next(1))
  assert.ok(stage.empty)
  stage.discard()
  assert.is(stage.stagedBytes, 0)
  put(stage, 5, [1])
  stage.publish(0)
  reader.next(9)
  assert.equal(reader.seen, [5])
})

stages('who comes later sees what comes from then on; who leaves holds nobody back', () => {
  const stage = new Stage()
  const first = new Reader(stage)
  put(stage, 0, [1, 1])
  stage.publish(0)
  const second = new Reader(stage)
  first.next(1)
  stage.detach(first)
  assert.ok(stage.empty, 'the second has nothing to read')
  put(stage, 2, [1])
  stage.publish(0)
  second.next(9)
  assert.equal([first.seen, second.seen], [[0], [2]])
  stage.detach(second)
  put(stage, 3, [1])
  stage.publish(0)
  assert.ok(stage.empty, 'without a reader nothing is kept')
})

stages('shows what was released once, and gives the memory of a burst back', () => {
  const stage = new Stage()
  const shown: number[] = []
  stage.onRelease = (_, words, from, to) => {
    for (let at = from; at < to; at += words[at >> 2]!) shown.push(words[(at + RECORD_SOURCE_OFFSET) >> 2]!)
  }
  const readers = [new Reader(stage), new Reader(stage)]
  put(stage, 0, [2_000_000, 10])
  stage.publish(0)
  readers[0]!.next(9)
  assert.equal(shown, [])
  readers[1]!.next(9)
  assert.equal(shown, [0, 1])
  assert.is(stage.bytes.length, 0)
})

stages('marks stand behind the records, and an end says that nothing comes', () => {
  const stage = new Stage()
  const reader = new Reader(stage)
  put(stage, 1, [1])
  stage.publish(0)
  stage.publishControl(KIND_BARRIER, 2 ** 31 + 5)
  stage.publishControl(KIND_END, 0)
  assert.ok(stage.ended)
  reader.next(9)
  assert.is(reader.seen.length, 3)
})

stages.run()

const rings = suite('RingOutput')

class Source {
  readonly output: RingOutput
  readonly writer: ChannelWriter
  readonly announced: SharedArrayBuffer[] = []
  written = 0
  signals = 0

  constructor(limitBytes = 1 << 18) {
    this.output = new RingOutput(3, () => this.signals++)
    this.writer = new ChannelWriter(limitBytes, (memory) => this.announced.push(memory))
  }

  /** Writes as many of these as find room. */
  write(sizes: number[]): void {
    const buffer = new RecordBuffer()
    sizes.forEach((size, i) => {
      buffer.add({ value: new Uint8Array(size), timestamp: 1, sourceOffset: this.written + i })
    })
    const taken = this.writer.push(buffer.bytes, new Int32Array(buffer.bytes.buffer), 0, buffer.length)
    for (let at = 0; at < taken; at += buffer.view.getUint32(at, true)) this.written++
  }

  announce(count = 99): void {
    for (const memory of this.announced.splice(0, count)) this.output.announced(memory)
  }
}

rings('each of several consumers reads everything once, over growing rings announced late', () => {
  for (let seed = 1; seed < 60; seed++) {
    const random = seeded(seed)
    const source = new Source()
    const readers = [new Reader(source.output), new Reader(source.output), new Reader(source.output)]
    for (let step = 0; step < 200; step++) {
      const what = random(6)
      if (what < 2) source.write(Array.from({ length: random(12) }, () => random(random(15) === 0 ? 30_000 : 500)))
      else if (what === 2) source.announce(1)
      else readers[random(3)]!.next(1 + random(20))
    }
    source.announce()
    // A ring is left when the last of them stands at its mark.
    while (readers.map((reader) => reader.next(50)).some((any) => any));
    for (const reader of readers) assert.equal(reader.seen, range(0, source.written), `seed ${seed}`)
  }
})

rings('consumers come and go in the middle: each sees a run without a gap, and the rest goes on', () => {
  for (let seed = 1; seed < 120; seed++) {
    const random = seeded(seed)
    const source = new Source()
    const stays = new Reader(source.output)
    let others: Reader[] = []
    for (let step = 0; step < 250; step++) {
      const what = random(9)
      if (what < 2) source.write(Array.from({ length: random(12) }, () => random(random(15) === 0 ? 30_000 : 500)))
      else if (what === 2) source.announce(1)
      else if (what === 3 && others.length < 3) others.push(new Reader(source.output))
      else if (what === 4 && others.length > 0) source.output.detach(others.shift()!)
      else for (const reader of [stays, ...others]) if (random(2)) reader.next(1 + random(20))
      for (const { seen } of others) if (seen.length > 0) assert.equal(seen, range(seen[0]!, seen[0]! + seen.length))
    }
    source.announce()
    others = others.filter((reader) => reader.position >= 0)
    while ([stays, ...others].map((reader) => reader.next(50)).some((any) => any));
    assert.equal(stays.seen, range(0, source.written), `seed ${seed}`)
    for (const { seen } of others) if (seen.length > 0) assert.is(seen.at(-1), source.written - 1)
  }
})

rings('who is attached behind the mark of a larger ring does not keep the others from it', () => {
  const source = new Source()
  const first = new Reader(source.output)
  source.write(Array(10).fill(100))
  source.announce()
  first.next(99)
  source.write(Array(300).fill(100))
  assert.ok(source.announced.length > 0, 'it grew')
  // Reads up to the mark; the next ring is not here yet.
  first.next(9999)
  const second = new Reader(source.output)
  source.announce()
  while (first.next(99) || second.next(99));
  assert.is(first.seen.length, source.written)
})

rings('a source that nobody reads is emptied over every growth, and its producer never waits for ever', () => {
  const source = new Source(64 << 10)
  for (let round = 0; round < 50; round++) {
    source.write(Array(20).fill(round === 9 ? 9000 : 700))
    source.announce()
    source.output.skip()
    assert.is(source.output.depth(), 0, `round ${round}`)
  }
  assert.ok(source.written > 900, `${source.written}`)
})

rings('when the last consumer leaves, what it had not read is given back', () => {
  const source = new Source(16 << 10)
  const reader = new Reader(source.output)
  source.write(Array(400).fill(700))
  source.announce()
  assert.ok(source.writer.wantRoom(9000), 'full')
  source.output.detach(reader)
  assert.is(source.signals, 1)
  assert.is(source.output.depth(), 0)
})

rings('an end is known to who comes later, whoever read it', () => {
  const source = new Source()
  source.writer.pushControl(KIND_END, 0)
  source.announce()
  source.output.skip()
  assert.ok(source.output.ended)
})

rings.run()
