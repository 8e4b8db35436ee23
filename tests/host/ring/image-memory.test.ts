// Copies of large states: in shared memory that is used again, and never while somebody has it.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ImageMemory, movableBuffers, movableImage, releaseImage } from '../../../host/ring/image-memory.ts'

const LARGE = 1 << 20
const test = suite('image memory')

const filled = (bytes: number, value: number): Uint8Array => new Uint8Array(bytes).fill(value)

test('a large copy is shared, and its memory is used again once it was released', () => {
  const copies = new ImageMemory()
  const first = copies.copy(filled(LARGE, 1))
  assert.instance(first.buffer, SharedArrayBuffer)
  assert.is(first.length, LARGE)
  assert.equal([first[0], first[LARGE - 1]], [1, 1])
  releaseImage(first)
  const second = copies.copy(filled(LARGE, 2))
  assert.is(second.buffer, first.buffer)
  assert.equal([second[0], second[LARGE - 1]], [2, 2])
})

test('what somebody still has does not change, however many copies follow', () => {
  const copies = new ImageMemory()
  const held = Array.from({ length: 5 }, (_, i) => copies.copy(filled(LARGE, i)))
  held.forEach((copy, i) => {
    assert.ok(copy.every((byte) => byte === i))
  })
  assert.is(new Set(held.map(({ buffer }) => buffer)).size, 5)
  for (const copy of held) releaseImage(copy)
  // Of those that came back two are kept.
  const again = [copies.copy(filled(LARGE, 6)), copies.copy(filled(LARGE, 7)), copies.copy(filled(LARGE, 8))]
  assert.is(again.filter(({ buffer }) => held.some((copy) => copy.buffer === buffer)).length, 2)
  assert.equal(
    again.map((copy) => copy[0]),
    [6, 7, 8],
  )
})

test('memory that has grown gets a copy of its size', () => {
  const copies = new ImageMemory()
  releaseImage(copies.copy(filled(LARGE, 1)))
  assert.is(copies.copy(filled(LARGE * 2, 2)).length, LARGE * 2)
})

test('memory that was prepared, wholly or in part, takes the first copy, and is let be from then on', () => {
  for (const calls of [1, 100]) {
    const copies = new ImageMemory()
    for (let i = 0; i < calls; i++) copies.prepare(LARGE)
    const copy = copies.copy(filled(LARGE, 1))
    for (let i = 0; i < 100; i++) copies.prepare(LARGE)
    assert.ok(copy.every((byte) => byte === 1))
    releaseImage(copy)
    assert.is(copies.copy(filled(LARGE, 2)).buffer, copy.buffer)
  }
})

test('a small copy is memory of its own: to be moved, and nothing to be released', () => {
  const copies = new ImageMemory()
  const small = copies.copy(filled(65_536, 3))
  assert.instance(small.buffer, ArrayBuffer)
  releaseImage(small)
  assert.is.not(copies.copy(filled(65_536, 4)).buffer, small.buffer)
  assert.is(small[0], 3)
})

test('what is moved is whole memory that is not shared, once', () => {
  const copies = new ImageMemory()
  const [small, large] = [copies.copy(filled(65_536, 1)), copies.copy(filled(LARGE, 2))]
  const part = movableImage(small.subarray(100, 200))
  assert.is.not(part.buffer, small.buffer)
  assert.is(part.length, 100)
  assert.is(movableImage(small), small)
  assert.is(movableImage(large), large)
  assert.equal(movableBuffers([small, small, large]), [small.buffer])
})

test.run()
