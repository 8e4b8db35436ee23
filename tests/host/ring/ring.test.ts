// The ring, the channel that grows and the doorbell: random interleavings in one thread, and one test per named race.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  KIND_BARRIER,
  KIND_DATA,
  KIND_END,
  KIND_MOVED,
  RECORD_HEADER_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_SOURCE_OFFSET,
  RecordBuffer,
} from '../../../host/record/record.ts'
import { ChannelReader, ChannelWriter } from '../../../host/ring/channel.ts'
import { Doorbell, DoorbellOwner, makeDoorbell } from '../../../host/ring/doorbell.ts'
import { EarlyRings } from '../../../host/ring/early-rings.ts'
import { dataRun, makeRing, RingReader, RingWriter, type Run } from '../../../host/ring/ring.ts'
import { seeded } from '../../support/client.ts'

const run: Run = { from: 0, to: 0 }

/** Records whose value is filled with a byte of its own, so that any mix-up shows. */
function records(sizes: number[], first = 0): { buffer: RecordBuffer; words: Int32Array } {
  const buffer = new RecordBuffer(1 << 12)
  sizes.forEach((size, i) => {
    buffer.add({ value: new Uint8Array(size).fill((first + i) & 255), timestamp: first + i, sourceOffset: first + i })
  })
  return { buffer, words: new Int32Array(buffer.bytes.buffer) }
}

interface Taken {
  kind: number
  number: number
  bytes: number
}

/** Checks the record at `at`, and says what it is. */
function take(bytes: Uint8Array, words: Int32Array, at: number): Taken {
  const length = words[at >> 2]!
  const kind = bytes[at + RECORD_KIND]!
  const number = words[(at + RECORD_SOURCE_OFFSET) >> 2]!
  if (kind === KIND_DATA) {
    const size = words[(at + 44) >> 2]!
    for (let i = 0; i < size; i++) {
      if (bytes[at + RECORD_HEADER_BYTES + i] !== (number & 255)) throw new Error(`record ${number} is damaged at ${i}`)
    }
  }
  return { kind, number, bytes: length }
}

class Reading {
  readonly reader: RingReader
  position: number
  readonly taken: Taken[] = []

  constructor(memory: SharedArrayBuffer) {
    this.reader = new RingReader(memory)
    this.position = this.reader.released
  }

  /** Takes up to so many records, and gives them back. @returns whether the producer is to be signalled */
  next(count: number): boolean {
    let signal = false
    for (let i = 0; i < count; i++) {
      this.position = this.reader.peek(this.position, run)
      if (run.from >= run.to) break
      const one = take(this.reader.bytes, this.reader.words, run.from)
      this.taken.push(one)
      this.position = (this.position + one.bytes) | 0
      if (this.reader.release(this.position)) signal = true
    }
    return signal
  }
}

const ring = suite('ring')

ring('has a power of two of bytes', () => {
  for (const size of [0, 32, 100, 16385, -64, 1 << 30]) assert.throws(() => makeRing(size), RangeError)
  assert.is(new RingReader(makeRing(1 << 14)).capacity, 1 << 14)
})

ring('gives what was put, whole and in order, in any interleaving, from any position', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed)
    const memory = makeRing(1 << (10 + random(4)))
    // Positions are taken modulo 2^32: they begin close to where they wrap, too.
    const start = [0, -8192 - 1024 * random(8), 0x7fffffff & ~7][random(3)]! & ~7
    new Int32Array(memory)[0] = start
    new Int32Array(memory)[16] = start
    const writer = new RingWriter(memory)
    const reading = new Reading(memory)
    const largest = memory.byteLength >> 3
    let written = 0
    let marks = 0
    for (let step = 0; step < 400; step++) {
      const what = random(10)
      if (what < 5) {
        const sizes = Array.from({ length: 1 + random(6) }, () => random(largest))
        const { buffer, words } = records(sizes, written)
        let at = writer.push(buffer.bytes, words, 0, buffer.length)
        assert.is.not(at > buffer.length, true)
        // Only whole records are taken.
        let whole = 0
        while (whole < at) {
          whole += buffer.view.getUint32(whole + RECORD_LENGTH, true)
          written++
        }
        assert.is(whole, at)
        if (at < buffer.length && !writer.wantRoom(64 << 10)) {
          at = writer.push(buffer.bytes, words, at, buffer.length)
          assert.ok(at > 0, 'wantRoom said that there is room')
          for (const end = whole + at; whole < end; written++) whole += buffer.view.getUint32(whole, true)
        }
      } else if (what === 5) {
        if (writer.pushControl(KIND_BARRIER, ++marks)) continue
        marks--
        if (!writer.wantRoom(RECORD_HEADER_BYTES)) assert.ok(writer.pushControl(KIND_BARRIER, ++marks))
      } else {
        reading.next(random(12))
      }
    }
    reading.next(1e6)
    const data = reading.taken.filter((one) => one.kind === KIND_DATA).map((one) => one.number)
    assert.equal(data, [...Array(written).keys()], `seed ${seed}`)
    const barriers = reading.taken.filter((one) => one.kind === KIND_BARRIER).map((one) => one.number)
    assert.equal(
      barriers,
      [...Array(marks).keys()].map((n) => n + 1),
    )
    assert.is(writer.depth, 0)
  }
})

ring('pads the end where a record would straddle it, whatever is left there', () => {
  for (let left = 8; left <= 200; left += 8) {
    const memory = makeRing(1024)
    const writer = new RingWriter(memory)
    const reading = new Reading(memory)
    // Fills up to `left` bytes before the end, and empties it again.
    const fill = records([1024 - left - 48 > 500 ? 404 : 0, 1024 - left - 48 - (1024 - left - 48 > 500 ? 456 : 48)])
    const before = fill.buffer.length
    writer.push(fill.buffer.bytes, fill.words, 0, before)
    reading.next(9)
    const { buffer, words } = records([100, 60], 7)
    assert.is(writer.push(buffer.bytes, words, 0, buffer.length), buffer.length)
    reading.taken.length = 0
    reading.next(9)
    assert.equal(
      reading.taken.map((one) => one.number),
      [7, 8],
      `${left} bytes left`,
    )
  }
})

ring('always has room for the mark of a larger ring, even full and with padding before it', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seeded(seed)
    const memory = makeRing(1024)
    const writer = new RingWriter(memory)
    const reading = new Reading(memory)
    for (let i = 0; i < 30; i++) {
      const { buffer, words } = records([random(200)], 0)
      writer.push(buffer.bytes, words, 0, buffer.length)
      if (random(3) === 0) reading.next(random(4))
    }
    for (;;) {
      const { buffer, words } = records([random(60)], 0)
      if (writer.push(buffer.bytes, words, 0, buffer.length) === 0) break
    }
    while (writer.pushControl(KIND_BARRIER, 1));
    assert.ok(writer.pushControl(KIND_MOVED, 0), `seed ${seed}`)
  }
})

ring('room that was made between a refusal and the wish for it is told at once, else by one signal', () => {
  const memory = makeRing(1024)
  const writer = new RingWriter(memory)
  const reading = new Reading(memory)
  const { buffer, words } = records([200, 200, 200, 200, 200])
  const taken = writer.push(buffer.bytes, words, 0, buffer.length)
  assert.ok(taken < buffer.length)
  // The race: released before the wish was seen.
  assert.is(reading.next(9), false)
  assert.is(writer.wantRoom(500), false, 'there is room, and no signal will come')
  const more = writer.push(buffer.bytes, words, taken, buffer.length)
  assert.is(taken + more, buffer.length)
  while (writer.push(buffer.bytes, words, 0, buffer.length) > 0);
  assert.is(writer.wantRoom(500), true)
  assert.is(reading.next(1), true, 'the release that comes after the wish signals')
  assert.is(reading.next(1), false, 'once')
})

ring('a mark that finds no room is never told that there is', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed)
    const memory = makeRing(1024)
    const writer = new RingWriter(memory)
    const reading = new Reading(memory)
    for (let i = 0; i < 40; i++) {
      const { buffer, words } = records([random(150)], 0)
      writer.push(buffer.bytes, words, 0, buffer.length)
      reading.next(random(3))
    }
    while (writer.pushControl(KIND_BARRIER, 1));
    if (!writer.wantRoom(RECORD_HEADER_BYTES)) assert.ok(writer.pushControl(KIND_BARRIER, 1), `seed ${seed}`)
  }
})

ring('dataRun ends at the first mark, and at its bytes, but takes one record at least', () => {
  const memory = makeRing(4096)
  const writer = new RingWriter(memory)
  const { buffer, words } = records([100, 100, 100])
  writer.push(buffer.bytes, words, 0, buffer.length)
  writer.pushControl(KIND_END, 0)
  const reader = new RingReader(memory)
  reader.peek(0, run)
  assert.is(dataRun(reader.bytes, reader.words, run.from, run.to, 1 << 20), buffer.length)
  assert.is(dataRun(reader.bytes, reader.words, run.from, run.to, 10), 152)
  assert.is(dataRun(reader.bytes, reader.words, run.from, run.to, 310), 304)
  assert.is(dataRun(reader.bytes, reader.words, buffer.length, run.to, 1 << 20), 0)
})

ring.run()

const channel = suite('channel')

class ChannelReading {
  readonly reader = new ChannelReader()
  position = 0
  readonly taken: Taken[] = []

  next(count: number): void {
    for (let i = 0; i < count; i++) {
      const { ring } = this.reader
      if (ring === null) return
      this.position = ring.peek(this.position, run)
      if (run.from >= run.to) return
      const one = take(ring.bytes, ring.words, run.from)
      if (one.kind === KIND_MOVED) {
        if (!this.reader.moveOn()) return
        this.position = this.reader.ring!.released
        continue
      }
      this.taken.push(one)
      this.position = (this.position + one.bytes) | 0
      ring.release(this.position)
    }
  }
}

channel('grows while records wait, and gives all of them in order, however late rings are announced', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = seeded(seed)
    const announced: SharedArrayBuffer[] = []
    const writer = new ChannelWriter([16 << 10, 100_000, 1 << 18][random(3)]!, (memory) => announced.push(memory))
    const reading = new ChannelReading()
    let written = 0
    for (let step = 0; step < 120; step++) {
      const what = random(10)
      if (what < 5) {
        const sizes = Array.from({ length: 1 + random(20) }, () => random(random(12) === 0 ? 60_000 : 900))
        const { buffer, words } = records(sizes, written)
        const taken = writer.push(buffer.bytes, words, 0, buffer.length)
        for (let at = 0; at < taken; at += buffer.view.getUint32(at, true)) written++
      } else if (what < 7) {
        for (const memory of announced.splice(0, 1 + random(2))) reading.reader.announced(memory)
      } else {
        reading.next(random(60))
      }
    }
    for (const memory of announced.splice(0)) reading.reader.announced(memory)
    reading.next(1e6)
    assert.equal(
      reading.taken.map((one) => one.number),
      [...Array(written).keys()],
      `seed ${seed}`,
    )
  }
})

channel('makes its first ring with its first record or mark, and nothing before', () => {
  let made = 0
  const writer = new ChannelWriter(1 << 20, () => made++)
  assert.equal([writer.capacity, writer.depth, made], [0, 0, 0])
  assert.is(writer.push(new Uint8Array(0), new Int32Array(0), 0, 0), 0)
  assert.is(made, 0)
  assert.ok(writer.pushControl(KIND_BARRIER, 1))
  assert.is(made, 1)
  assert.is(writer.capacity, 16 << 10)
})

channel('a record larger than the edge still gets a ring of four times its size', () => {
  const memories: SharedArrayBuffer[] = []
  const writer = new ChannelWriter(16 << 10, (memory) => memories.push(memory))
  const { buffer, words } = records([10, 900_000, 10])
  const first = writer.push(buffer.bytes, words, 0, buffer.length)
  assert.is(first, 64)
  assert.is(writer.wantRoom(64 << 10), false, 'nobody need wait: the next try makes the ring')
  assert.is(writer.push(buffer.bytes, words, first, buffer.length), buffer.length - first)
  assert.ok(writer.capacity >= 4 * 900_000)
  const reading = new ChannelReading()
  for (const memory of memories) reading.reader.announced(memory)
  reading.next(10)
  assert.equal(
    reading.taken.map((one) => one.number),
    [0, 1, 2],
  )
})

channel('does not move past a ring whose records are not read', () => {
  const memories: SharedArrayBuffer[] = []
  const writer = new ChannelWriter(1 << 20, (memory) => memories.push(memory))
  const { buffer, words } = records(Array(200).fill(900))
  const first = writer.push(buffer.bytes, words, 0, buffer.view.getUint32(0, true) * 3)
  assert.is(writer.push(buffer.bytes, words, first, buffer.length), buffer.length - first)
  assert.ok(memories.length > 1)
  const reading = new ChannelReading()
  reading.reader.announced(memories[0]!)
  reading.next(1e6)
  const before = reading.taken.length
  assert.ok(before > 0 && before < 200)
  // The mark is read, the next ring not announced yet: nothing is lost by looking again.
  reading.next(10)
  for (const memory of memories.slice(1)) reading.reader.announced(memory)
  reading.next(1e6)
  assert.is(reading.taken.length, 200)
})

channel.run()

const doorbell = suite('doorbell')

doorbell('gives each signalled channel once, also of the highest word', () => {
  const memory = makeDoorbell()
  const owner = new DoorbellOwner(memory)
  const bell = new Doorbell(memory)
  const heard: number[] = []
  owner.watchUpTo(65_535)
  for (const number of [0, 31, 32, 33, 1000, 65_535, 31]) bell.signal(number)
  owner.takeSignals((number) => heard.push(number))
  assert.equal(heard, [0, 31, 32, 33, 1000, 65_535])
  owner.takeSignals((number) => heard.push(number))
  assert.is(heard.length, 6)
  assert.not(owner.anything())
})

doorbell('a signal that comes while signals are taken is seen the next time', () => {
  const memory = makeDoorbell()
  const owner = new DoorbellOwner(memory)
  const bell = new Doorbell(memory)
  owner.watchUpTo(40)
  bell.signal(3)
  const heard: number[] = []
  owner.takeSignals((number) => {
    heard.push(number)
    if (heard.length === 1) bell.signal(3)
  })
  assert.ok(owner.anything())
  owner.takeSignals((number) => heard.push(number))
  assert.equal(heard, [3, 3])
})

doorbell('nobody falls asleep over a signal or a message that is there', () => {
  const memory = makeDoorbell()
  const owner = new DoorbellOwner(memory)
  const bell = new Doorbell(memory)
  owner.watchUpTo(1)
  bell.signal(1)
  // Would block this thread for ever.
  owner.sleep(Number.POSITIVE_INFINITY)
  owner.takeSignals(() => undefined)
  bell.message()
  owner.sleep(Number.POSITIVE_INFINITY)
  assert.ok(owner.takeMessages())
  assert.not(owner.takeMessages())
})

doorbell('who waits without blocking is woken by what is rung later', async () => {
  const memory = makeDoorbell()
  const owner = new DoorbellOwner(memory)
  const bell = new Doorbell(memory)
  owner.watchUpTo(1)
  for (let round = 0; round < 50; round++) {
    const rung = owner.rung()
    if (round % 2) bell.signal(1)
    else bell.message()
    await rung
    assert.ok(owner.anything())
    owner.takeMessages()
    owner.takeSignals(() => undefined)
  }
})

doorbell.run()

const early = suite('early rings')

early('belong to a pipeline: the next one on the channel gets none of them', () => {
  const rings = new EarlyRings()
  const memory = makeRing(1024)
  rings.keep(1, 7, memory)
  assert.equal(rings.take(2, 7), [])
  assert.equal(rings.take(1, 8), [])
  assert.is(rings.take(1, 7)[0], memory)
  assert.is(rings.size, 0)
})

early('of a pipeline that is gone are let go of, those that come later too', () => {
  const rings = new EarlyRings()
  rings.keep(1, 7, makeRing(1024))
  rings.drop(1)
  rings.keep(1, 7, makeRing(1024))
  assert.is(rings.size, 0)
  for (let pipeline = 2; pipeline < 10_000; pipeline++) rings.drop(pipeline)
  rings.keep(9_999, 7, makeRing(1024))
  assert.is(rings.size, 0)
})

early.run()
