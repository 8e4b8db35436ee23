import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  compareVersions,
  deadLetterTopic,
  ID_PATTERN,
  ingestTopic,
  isReservedTopic,
  normalId,
  ownerOfTopic,
  parseOperatorReference,
  TOPIC_PATTERN,
  tenantTopic,
  topicName,
  topicPrefix,
} from '../../schemas/names.ts'

test('an id is trimmed, lower-cased and at most 63 characters', () => {
  assert.is(normalId('  Shop-1 '), 'shop-1')
  // The sign of Kelvin, whose lower case is k.
  assert.not.match(normalId('\u212A'), ID_PATTERN)
  for (const good of ['a', '0', 'a-b', 'x'.repeat(63)]) assert.ok(ID_PATTERN.test(good), good)
  for (const bad of ['', '-a', 'a b', 'a.b', 'A', 'ä', 'x'.repeat(64), 'a\n']) assert.not.ok(ID_PATTERN.test(bad), bad)
})

test("a tenant's topics carry its id on the transport, those of the default tenant do not", () => {
  assert.is(topicName('default', 'orders'), 'orders')
  assert.is(topicName('a', 'orders'), 'a.orders')
  assert.is(topicPrefix('default'), '')
  assert.is(tenantTopic('a', 'a.orders'), 'orders')
  assert.is(tenantTopic('a', 'ab.orders'), undefined)
  assert.is(tenantTopic('a', 'a.'), undefined)
  assert.is(tenantTopic('default', 'orders', ['a']), 'orders')
  assert.is(tenantTopic('default', 'a.orders', ['a', 'default']), undefined)
})

test("a pipeline's own topics are known by their suffix", () => {
  assert.equal(ownerOfTopic(ingestTopic('p', 'in')), { pipeline: 'p', ingest: 'in' })
  assert.equal(ownerOfTopic(deadLetterTopic('p')), { pipeline: 'p' })
  assert.is(ownerOfTopic('orders'), undefined)
  assert.is(ownerOfTopic('a.b.dead-letters'), undefined)
  for (const own of ['p.ingest.in', 'p.dead-letters', 'ingest.in', 'dead-letters', 'a.p.ingest.in']) {
    assert.ok(isReservedTopic(own), own)
  }
  for (const free of ['orders', 'ingest', 'p.ingest', 'not-dead-letters', 'p.ingest.in.more']) {
    assert.not.ok(isReservedTopic(free), free)
  }
})

test('a topic has a name that Kafka takes', () => {
  for (const good of ['a', 'A.b_c-1', '...']) assert.ok(TOPIC_PATTERN.test(good), good)
  for (const bad of ['', '.', '..', 'a/b', 'a b', 'ä', 'x'.repeat(181)]) assert.not.ok(TOPIC_PATTERN.test(bad), bad)
})

test('an operator is named by name, name@major or name@x.y.z', () => {
  assert.equal(parseOperatorReference('json-filter'), { name: 'json-filter' })
  assert.equal(parseOperatorReference('json-filter@1'), { name: 'json-filter', version: '1' })
  assert.equal(parseOperatorReference('a@1.2.3'), { name: 'a', version: '1.2.3' })
  for (const bad of ['', '@1', 'a@', 'a@1.2', 'a@v1', 'a@01', 'a@1.2.3.4', 'a b', 'A', 'a@1@2']) {
    assert.is(parseOperatorReference(bad), undefined, bad)
  }
})

test('versions are in the order of their numbers', () => {
  const versions = ['1.10.0', '1.2.0', '10.0.0', '1.2.10', '0.9.9']
  assert.equal(versions.sort(compareVersions), ['0.9.9', '1.2.0', '1.2.10', '1.10.0', '10.0.0'])
})

test.run()
