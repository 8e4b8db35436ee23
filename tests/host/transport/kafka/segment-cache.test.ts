// What was fetched and is kept, and the memory that it lies in.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { giveMemory, takeMemory } from '../../../../host/transport/kafka/frame-memory.ts'
import { type Segment, SegmentCache } from '../../../../host/transport/kafka/segment-cache.ts'

const FRAME_BYTES = 300_000
const test = suite('segment cache')

function segment(frame: ArrayBufferLike, from: number, at: number): Segment {
  const bytes = new Uint8Array(frame, at, 1000)
  return { from, to: from + 10, bytes, aborted: [], fetchedAt: 0, reader: undefined }
}

test('a frame is used again when none of its segments is kept any more', () => {
  const frame = takeMemory(FRAME_BYTES).buffer
  const cache = new SegmentCache(1 << 20)
  const [a, b] = [segment(frame, 0, 0), segment(frame, 0, 1000)]
  cache.add('a 0', a)
  cache.add('b 0', b)
  cache.remove(a)
  cache.remove(a)
  assert.is.not(takeMemory(FRAME_BYTES).buffer, frame)
  cache.remove(b)
  assert.is(takeMemory(FRAME_BYTES).buffer, frame)
})

test('a frame of which another segment comes after the first one went is not used again', () => {
  const frame = takeMemory(FRAME_BYTES).buffer
  const cache = new SegmentCache(1 << 20)
  const [a, b] = [segment(frame, 0, 0), segment(frame, 0, 1000)]
  cache.add('a 0', a)
  cache.remove(a)
  cache.add('b 0', b)
  assert.is.not(takeMemory(FRAME_BYTES).buffer, frame)
  cache.clear('b')
  assert.is(takeMemory(FRAME_BYTES).buffer, frame)
})

test('memory of another size is not used, nor is little kept', () => {
  const large = takeMemory(3 << 20).buffer
  giveMemory(large)
  assert.is.not(takeMemory(FRAME_BYTES).buffer, large)
  const small = takeMemory(1000)
  assert.is(small.length, 1000)
  giveMemory(small.buffer)
  assert.is.not(takeMemory(1000).buffer, small.buffer)
})

test.run()
