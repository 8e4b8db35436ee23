// The partition of a key must be the one that Kafka's own clients choose.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { murmur2, partitionOf, StickyPartitioner } from '../../../host/transport/partitioner.ts'

const test = suite('partitioner')
const text = new TextEncoder()

test('murmur2 gives the values of Kafka’s own test', () => {
  // clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java
  const cases: Record<string, number> = {
    '21': -973932308,
    foobar: -790332482,
    'a-little-bit-long-string': -985981536,
    'a-little-bit-longer-string': -1486304829,
    lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
    abc: 479470107,
    '': 275646681,
  }
  for (const [key, hash] of Object.entries(cases)) assert.is(murmur2(text.encode(key)), hash, key)
})

test('a key always meets the same partition, within range', () => {
  for (let i = 0; i < 1000; i++) {
    const partition = partitionOf(text.encode(`key ${i}`), 7)
    assert.ok(partition >= 0 && partition < 7)
    assert.is(partitionOf(text.encode(`key ${i}`), 7), partition)
  }
  assert.is(partitionOf(text.encode('foobar'), 100), (-790332482 & 0x7fffffff) % 100)
})

test('records without a key stick to one partition until enough went there', () => {
  const sticky = new StickyPartitioner(3, 1000, 0)
  const chosen = Array.from({ length: 12 }, () => sticky.choose(undefined, 250))
  assert.equal(chosen, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
  sticky.next()
  assert.is(sticky.choose(undefined, 250), 0)
  assert.is(sticky.choose(text.encode('k'), 250), partitionOf(text.encode('k'), 3))
  assert.throws(() => new StickyPartitioner(0), /partitions/)
})

test.run()
