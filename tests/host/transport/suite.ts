// What every transport must do: one suite, run against each implementation.

import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  countRecords,
  decodeRecord,
  type PlainRecord,
  RECORD_LENGTH,
  RecordBuffer,
} from '../../../host/record/record.ts'
import type { GroupMember, Membership, SlotId, Snapshot, Transport } from '../../../host/transport/transport.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { until } from '../../support/client.ts'

export interface TransportUnderTest {
  transport: Transport
  /** A second way to the same log, as another thread has it. */
  second: Transport
  /** Ends all and forgets what was stored. */
  close(): Promise<void>
}

const text = new TextEncoder()
const READ_BYTES = 256 << 10
let topics = 0

/** A name that no other test uses. */
export function topicName(): string {
  return `topic-${process.pid}-${++topics}`
}

export function slotId(slot = 0): SlotId {
  return { tenant: 'acme', pipeline: `pipeline-${process.pid}-${++topics}`, slot }
}

export function frames(records: PlainRecord[]): { bytes: Uint8Array; records: number } {
  const buffer = new RecordBuffer(1024)
  for (const record of records) buffer.add(record)
  return { bytes: buffer.bytes.subarray(0, buffer.length), records: buffer.records }
}

export function values(from: number, count: number, timestamp = 1_000): PlainRecord[] {
  return Array.from({ length: count }, (_, i) => ({
    value: text.encode(`value ${from + i}`),
    timestamp: timestamp + from + i,
  }))
}

export async function append(
  transport: Transport,
  topic: string,
  records: PlainRecord[],
  options?: { transaction?: string; create?: boolean },
  partition = 0,
): Promise<bigint> {
  const { bytes, records: count } = frames(records)
  return transport.append(topic, partition, bytes, count, options)
}

export function decode(bytes: Uint8Array): PlainRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const records: PlainRecord[] = []
  for (let at = 0; at < bytes.length; at += view.getUint32(at + RECORD_LENGTH, true))
    records.push(decodeRecord(bytes, at))
  return records
}

/** Everything from an offset to the end, in as many reads as it takes. */
export async function readAll(transport: Transport, topic: string, from = 0n, partition = 0): Promise<PlainRecord[]> {
  const all: PlainRecord[] = []
  for (let offset = from; ; ) {
    const result = await transport.read(topic, partition, offset, READ_BYTES)
    assert.is(countRecords(result.frames, 0, result.frames.length), result.records)
    all.push(...decode(result.frames))
    if (result.next === result.latest) return all
    assert.ok(result.next > offset, 'a read that is not at the end goes on')
    offset = result.next
  }
}

export function texts(records: PlainRecord[]): string[] {
  return records.map((record) => new TextDecoder().decode(record.value))
}

export async function rejects(promise: Promise<unknown>, code: string): Promise<SpqrError> {
  const thrown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.instance(thrown, SpqrError, `expected ${code}`)
  assert.is((thrown as SpqrError).code, code, (thrown as SpqrError).message)
  return thrown as SpqrError
}

export function snapshot(pages: number, fill: (memory: Uint8Array) => void, component = 'aggregate'): Snapshot {
  const memory = new Uint8Array(pages * 65536)
  fill(memory)
  return { component, instance: 0, digest: 'ab'.repeat(32), globals: { stack: 7, big: '-9007199254740993' }, memory }
}

/** A checkpoint of a slot without anything special. */
export async function commit(transport: Transport, slot: SlotId, epoch: number, more: object = {}): Promise<void> {
  await transport.commit({ slot, epoch, revision: 1, meta: { epoch }, snapshots: [], ...more })
}

/** A member of a group, and what it was told. */
export class TestMember {
  readonly member: GroupMember
  membership: Membership | undefined
  readonly troubles: SpqrError[] = []
  /** Settles when the group puts it out. */
  readonly putOut: Promise<SpqrError>
  #share: number[] | undefined
  #letGo: (() => void) | undefined

  constructor(transport: Transport, group: string, topic: string) {
    let lost: (error: SpqrError) => void = () => undefined
    this.putOut = new Promise((done) => (lost = done))
    this.member = transport.joinGroup(group, topic, {
      assigned: (membership, partitions) => {
        this.membership = membership
        this.#share = partitions
      },
      revoked: () => new Promise((done) => (this.#letGo = done)),
      lost,
      trouble: (error) => this.troubles.push(error),
    })
  }

  /** What it was given last, once it was. */
  async assigned(): Promise<number[]> {
    const share = await until(
      () => this.#share,
      () => 'no share',
    )
    this.#share = undefined
    return share.sort()
  }

  /** @returns lets go, once it is asked to */
  async revoked(): Promise<() => void> {
    const letGo = await until(
      () => this.#letGo,
      () => 'nobody asks',
    )
    this.#letGo = undefined
    return letGo
  }
}

/** Where transports may differ. */
export interface Traits {
  /** What is staged has its place among the records already: readers wait there until it is committed or aborted. */
  stagedHoldsReaders?: boolean
}

export function transportSuite(name: string, make: () => Promise<TransportUnderTest>, traits: Traits = {}): void {
  const test = suite<{ under: TransportUnderTest }>(name)
  test.before.each(async (context) => {
    context.under = await make()
  })
  test.after.each(async (context) => {
    await context.under.close()
  })

  test('a topic is created, listed by prefix in order, described, deleted', async ({
    under: { transport, second },
  }) => {
    const prefix = topicName()
    const info = await transport.createTopic({ name: `${prefix}.b`, partitions: 3, retentionMs: 5_000_000 })
    assert.is(info.partitions, 3)
    assert.is(info.retentionMs, 5_000_000)
    assert.is(info.compact, false)
    await transport.createTopic({ name: `${prefix}.a`, compact: true })
    const listed = await second.listTopics(prefix)
    assert.equal(
      listed.map((topic) => topic.name),
      [`${prefix}.a`, `${prefix}.b`],
    )
    assert.is((await second.topic(`${prefix}.a`))?.compact, true)
    await rejects(second.createTopic({ name: `${prefix}.a` }), 'ALREADY_EXISTS')
    await transport.deleteTopic(`${prefix}.a`)
    await rejects(transport.deleteTopic(`${prefix}.a`), 'NOT_FOUND')
    assert.is(await transport.topic(`${prefix}.a`), undefined)
  })

  test('a bad specification is refused with every problem of it', async ({ under: { transport } }) => {
    const error = await rejects(transport.createTopic({ name: 'no/slash', partitions: 0 }), 'INVALID_BODY')
    assert.equal(
      error.issues?.map((issue) => issue.pointer),
      ['/name', '/partitions'],
    )
    await rejects(transport.createTopic({ name: 'x'.repeat(250) }), 'INVALID_BODY')
  })

  test('records come back as they went in, with their offsets', async ({ under: { transport, second } }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic })
    const records: PlainRecord[] = [
      {
        key: text.encode('k'),
        value: text.encode('v'),
        timestamp: 17,
        headers: [
          ['h', text.encode('x')],
          ['n', null],
        ],
      },
      { key: new Uint8Array(0), timestamp: 18 },
      { value: new Uint8Array(0), timestamp: -19, sequence: 99, source: 65537, port: 3 },
    ]
    assert.is(await append(transport, topic, records), 0n)
    assert.is(await append(transport, topic, values(0, 2)), 3n)
    const read = await readAll(second, topic)
    assert.equal(
      read.map((record) => record.sourceOffset),
      [0, 1, 2, 3, 4],
    )
    assert.equal(read[0]!.headers, [
      ['h', text.encode('x')],
      ['n', null],
    ])
    assert.equal(read[0]!.key, text.encode('k'))
    assert.equal(read[1]!.key, new Uint8Array(0))
    assert.is(read[1]!.value, undefined)
    assert.equal(read[2]!.value, new Uint8Array(0))
    assert.equal(
      read.map((record) => record.timestamp),
      [17, 18, -19, 1000, 1001],
    )
    assert.equal([read[2]!.sequence, read[2]!.source, read[2]!.port], [0, 0, 0])
  })

  test('memory handed to append belongs to the caller again once it settled', async ({ under: { transport } }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic })
    const { bytes, records } = frames(values(0, 10))
    await transport.append(topic, 0, bytes, records)
    const before = bytes.slice()
    bytes.fill(0)
    bytes.set(before)
    await transport.append(topic, 0, bytes, records)
    bytes.fill(255)
    assert.equal(texts(await readAll(transport, topic)), [...texts(values(0, 10)), ...texts(values(0, 10))])
  })

  test('what is missing is NOT_FOUND, what is out of range INVALID_STATE', async ({ under: { transport } }) => {
    const topic = topicName()
    await rejects(append(transport, topic, values(0, 1)), 'NOT_FOUND')
    await rejects(transport.read(topic, 0, 0n, READ_BYTES), 'NOT_FOUND')
    await rejects(transport.offsets(topic), 'NOT_FOUND')
    await transport.createTopic({ name: topic })
    await rejects(append(transport, topic, values(0, 1), {}, 1), 'NOT_FOUND')
    await append(transport, topic, values(0, 5))
    await rejects(transport.read(topic, 0, 6n, READ_BYTES), 'INVALID_STATE')
    await rejects(transport.offsetOf(topic, 0, { at: 'offset', offset: 6n }), 'INVALID_STATE')
    const empty = await transport.read(topic, 0, 5n, READ_BYTES)
    assert.equal([empty.records, empty.next, empty.latest], [0, 5n, 5n])
  })

  test('create makes the topic with its first records, also for two at once', async ({
    under: { transport, second },
  }) => {
    const topic = topicName()
    const [first, other] = await Promise.all([
      append(transport, topic, values(0, 3), { create: true }),
      append(second, topic, values(3, 3), { create: true }),
    ])
    assert.equal([first, other].sort(), [0n, 3n])
    assert.is((await transport.topic(topic))?.partitions, 1)
    const missing = topicName()
    await rejects(append(transport, missing, values(0, 1), { create: true }, 1), 'NOT_FOUND')
    assert.is(await transport.topic(missing), undefined)
  })

  test('partitions have offsets of their own', async ({ under: { transport } }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic, partitions: 2 })
    await append(transport, topic, values(0, 3), {}, 1)
    assert.is(await append(transport, topic, values(3, 1), {}, 0), 0n)
    assert.equal(await transport.offsets(topic), [
      { partition: 0, earliest: 0n, latest: 1n },
      { partition: 1, earliest: 0n, latest: 3n },
    ])
  })

  test('offsetOf finds earliest, latest, an offset, a time', async ({ under: { transport } }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic })
    for (let from = 0; from < 50; from += 10) await append(transport, topic, values(from, 10))
    assert.is(await transport.offsetOf(topic, 0, { at: 'earliest' }), 0n)
    assert.is(await transport.offsetOf(topic, 0, { at: 'latest' }), 50n)
    assert.is(await transport.offsetOf(topic, 0, { at: 'offset', offset: 33n }), 33n)
    assert.is(await transport.offsetOf(topic, 0, { at: 'time', timestampMs: 1_000 + 27 }), 27n)
    assert.is(await transport.offsetOf(topic, 0, { at: 'time', timestampMs: 5 }), 0n)
    assert.is(await transport.offsetOf(topic, 0, { at: 'time', timestampMs: 9_999 }), 50n)
  })

  test('a read begins exactly at its offset, wherever that is, and holds whole records', async ({
    under: { transport },
  }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic })
    let total = 0
    const sizes = [1, 700, 3, 2_500, 40, 1]
    for (const count of sizes) {
      const records = values(total, count)
      for (const [i, record] of records.entries()) {
        const filler = 'x'.repeat((i * 37) % 900)
        record.value = text.encode(`value ${total + i} ${filler}`)
      }
      await append(transport, topic, records)
      total += count
    }
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: total - 1 }),
        fc.integer({ min: 1, max: 300_000 }),
        async (from, bytesMax) => {
          const result = await transport.read(topic, 0, BigInt(from), bytesMax)
          const records = decode(result.frames)
          assert.ok(records.length > 0 && records.length === result.records)
          assert.ok(result.frames.length <= bytesMax || records.length === 1)
          records.forEach((record, i) => {
            assert.is(record.sourceOffset, from + i)
            assert.ok(texts([record])[0]!.startsWith(`value ${from + i} `))
          })
          assert.is(result.next, BigInt(from + records.length))
          assert.is(result.latest, BigInt(total))
        },
      ),
      { numRuns: 150 },
    )
  })

  test('appends of many at once keep their order and share no offset', async ({ under: { transport, second } }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic })
    const answers = await Promise.all(
      Array.from({ length: 400 }, (_, i) => append(i % 2 ? transport : second, topic, values(i * 3, 3))),
    )
    const read = texts(await readAll(transport, topic))
    assert.is(read.length, 1200)
    answers.forEach((offset, i) => {
      assert.equal(read.slice(Number(offset), Number(offset) + 3), texts(values(i * 3, 3)))
    })
    const ofOne = answers.filter((_, i) => i % 2 === 1)
    assert.equal(
      ofOne,
      ofOne.toSorted((a, b) => Number(a - b)),
    )
  })

  test('watch tells of new records, also of a topic that comes later, until it is ended', async ({ under }) => {
    const { transport, second } = under
    const topic = topicName()
    const seen: number[] = []
    const once = (): Promise<void> =>
      new Promise((resolve) => {
        const end = transport.watch(topic, (partition) => {
          seen.push(partition)
          end()
          resolve()
        })
      })
    const first = once()
    await transport.topic(topic)
    await append(second, topic, values(0, 1), { create: true })
    await first
    const again = once()
    await transport.topic(topic)
    await append(second, topic, values(1, 1))
    await again
    await append(transport, topic, values(2, 1))
    await transport.topic(topic)
    assert.equal(seen, [0, 0])
  })

  test('staged records are seen by nobody before the commit, and then all at once, in order', async ({ under }) => {
    const { transport, second } = under
    const [a, b, source] = [topicName(), topicName(), topicName()]
    await transport.createTopic({ name: a })
    await transport.createTopic({ name: source, partitions: 3 })
    const slot = slotId()
    assert.is(await append(transport, a, values(0, 4), { transaction: 'tx-1' }), 0n)
    await append(transport, a, values(4, 4), { transaction: 'tx-1' })
    await append(transport, b, values(0, 2), { transaction: 'tx-1', create: true })
    await append(second, a, values(100, 1))
    assert.equal(texts(await readAll(second, a)), traits.stagedHoldsReaders ? [] : ['value 100'])
    if (traits.stagedHoldsReaders) assert.equal(await readAll(second, b), [])
    else assert.is(await second.topic(b), undefined)
    await transport.commit({
      slot,
      epoch: 1,
      revision: 1,
      meta: { position: 8 },
      snapshots: [],
      transaction: 'tx-1',
      offsets: [{ group: 'g', topic: source, partition: 2, offset: 8n }],
    })
    const all = texts(values(0, 8))
    assert.equal(
      texts(await readAll(second, a)),
      traits.stagedHoldsReaders ? [...all, 'value 100'] : ['value 100', ...all],
    )
    assert.equal(texts(await readAll(second, b)), texts(values(0, 2)))
    assert.equal(await second.groupOffsets('g', source), new Map([[2, 8n]]))
    assert.equal((await second.checkpoint(slot))?.meta, { position: 8 })
  })

  test('aborted records never show; others staged beside them do', async ({ under: { transport } }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic })
    await append(transport, topic, values(0, 3), { transaction: 'gone' })
    await append(transport, topic, values(3, 3), { transaction: 'kept' })
    await transport.abort('gone')
    await transport.abort('gone')
    await commit(transport, slotId(), 1, { transaction: 'gone' })
    await commit(transport, slotId(), 1, { transaction: 'kept' })
    assert.equal(texts(await readAll(transport, topic)), texts(values(3, 3)))
  })

  test('a commit to a topic that is gone does nothing of it', async ({ under: { transport } }) => {
    const [kept, gone] = [topicName(), topicName()]
    await transport.createTopic({ name: kept })
    await transport.createTopic({ name: gone })
    await append(transport, kept, values(0, 1), { transaction: 't' })
    await append(transport, gone, values(0, 1), { transaction: 't' })
    await transport.deleteTopic(gone)
    const slot = slotId()
    await rejects(commit(transport, slot, 1, { transaction: 't' }), 'NOT_FOUND')
    assert.equal(await readAll(transport, kept), [])
    assert.is(await transport.checkpoint(slot), undefined)
  })

  test('a checkpoint comes back bit for bit, the newest or the one asked for', async ({
    under: { transport, second },
  }) => {
    const slot = slotId()
    const states = [1, 2, 3].map((epoch) =>
      snapshot(4, (memory) => {
        memory.set([1, 2, 3, epoch], 100)
        memory.fill(epoch, 70_000, 90_000)
      }),
    )
    const expected = states.map((state) => state.memory.slice())
    for (const [i, state] of states.entries()) {
      await transport.commit({ slot, epoch: i + 1, revision: 5, meta: { at: i }, snapshots: [state] })
    }
    for (const [i, memory] of expected.entries()) {
      const found = await second.checkpoint(slot, { epoch: i + 1 })
      assert.equal(found?.meta, { at: i })
      assert.is(found?.revision, 5)
      const [state] = found!.snapshots
      assert.is(Buffer.compare(state!.memory, memory), 0)
      assert.equal(state!.globals, { stack: 7, big: '-9007199254740993' })
      assert.equal([state!.component, state!.instance, state!.digest], ['aggregate', 0, 'ab'.repeat(32)])
    }
    assert.is((await second.checkpoint(slot))?.epoch, 3)
    assert.is(await second.checkpoint(slotId()), undefined)
  })

  test('random changes of memory, growing and shrinking, are restored from any kept checkpoint', async ({ under }) => {
    const { transport } = under
    const change = fc.record({
      pages: fc.integer({ min: 1, max: 6 }),
      writes: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.integer({ min: 1, max: 9000 })), {
        maxLength: 6,
      }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 12 }), async (changes) => {
        const slot = slotId()
        const kept: Uint8Array[] = []
        let memory = new Uint8Array(65536)
        for (const [epoch, { pages, writes }] of changes.entries()) {
          const next = new Uint8Array(pages * 65536)
          next.set(memory.subarray(0, Math.min(memory.length, next.length)))
          for (const [at, byte, length] of writes) next.fill(byte, at % next.length, (at % next.length) + length)
          memory = next
          kept.push(memory)
          const state = snapshot(pages, (copy) => copy.set(memory))
          await transport.commit({ slot, epoch, revision: 1, meta: null, snapshots: [state], keep: 4 })
        }
        for (let epoch = Math.max(0, kept.length - 4); epoch < kept.length; epoch++) {
          const found = await transport.checkpoint(slot, { epoch })
          assert.is(Buffer.compare(found!.snapshots[0]!.memory, kept[epoch]!), 0)
        }
      }),
      { numRuns: 12 },
    )
  })

  test('only the last checkpoints stay, and savepoints until they are removed', async ({ under: { transport } }) => {
    const slot = slotId()
    await commit(transport, slot, 1, { savepoint: 'before' })
    for (let epoch = 2; epoch <= 8; epoch++) await commit(transport, slot, epoch)
    assert.equal(
      (await transport.checkpoints(slot)).map((one) => one.epoch),
      [8, 7, 6, 1],
    )
    assert.is((await transport.checkpoint(slot, { savepoint: 'before' }))?.epoch, 1)
    await rejects(transport.checkpoint(slot, { savepoint: 'after' }), 'NOT_FOUND')
    await rejects(transport.checkpoint(slot, { epoch: 2 }), 'NOT_FOUND')
    await transport.deleteCheckpoints(slot.tenant, slot.pipeline, 'before')
    assert.equal(
      (await transport.checkpoints(slot)).map((one) => one.epoch),
      [8, 7, 6],
    )
    await commit(transport, { ...slot, slot: 1 }, 1)
    await transport.deleteCheckpoints(slot.tenant, slot.pipeline)
    assert.equal(await transport.checkpoints(slot), [])
    assert.is(await transport.checkpoint({ ...slot, slot: 1 }), undefined)
  })

  test('members of a group share the partitions, each after the one before has let go', async ({ under }) => {
    const { transport, second } = under
    const [topic, group] = [topicName(), `group-${topicName()}`]
    await transport.createTopic({ name: topic, partitions: 3 })
    const first = new TestMember(transport, group, topic)
    assert.equal(await first.assigned(), [0, 1, 2])
    await first.member.publish(first.membership!, new Map([[1, 7n]]))
    const other = new TestMember(second, group, topic)
    const letGo = await first.revoked()
    assert.is(other.membership, undefined, 'the first holds all')
    // What it has read it may still publish.
    await first.member.publish(first.membership!, new Map([[2, 9n]]))
    letGo()
    const shares = [...(await first.assigned()), ...(await other.assigned())].sort()
    assert.equal(shares, [0, 1, 2])
    assert.equal(
      await other.member.committed([0, 1, 2]),
      new Map([
        [1, 7n],
        [2, 9n],
      ]),
    )
    await other.member.leave()
    const release = await first.revoked()
    release()
    assert.equal(await first.assigned(), [0, 1, 2])
    assert.equal([first.troubles, other.troubles], [[], []])
    await first.member.leave()
  })

  test('who was a member before publishes nothing: no offset, no checkpoint, no record', async ({ under }) => {
    const { transport, second } = under
    const [topic, out, group] = [topicName(), topicName(), `group-${topicName()}`]
    await transport.createTopic({ name: topic, partitions: 2 })
    await transport.createTopic({ name: out })
    const slot = slotId()
    const first = new TestMember(transport, group, topic)
    await first.assigned()
    const before = first.membership!
    const commitAs = (membership: Membership, epoch: number): Promise<unknown> => {
      const offsets = [{ group, topic, partition: 0, offset: BigInt(epoch), membership }]
      return transport.commit({ slot, epoch, revision: 1, meta: {}, snapshots: [], transaction: `t${epoch}`, offsets })
    }
    await append(transport, out, values(1, 1), { transaction: 't1' })
    await commitAs(before, 1)
    const other = new TestMember(second, group, topic)
    const letGo = await first.revoked()
    letGo()
    await other.assigned()
    await append(transport, out, values(2, 1), { transaction: 't2' })
    const refused = await rejects(commitAs(before, 2), 'INVALID_STATE')
    assert.is(refused.extra?.epochLost, true)
    assert.match(refused.message, group)
    await rejects(first.member.publish(before, new Map([[0, 5n]])), 'INVALID_STATE')
    assert.equal(await second.groupOffsets(group, topic), new Map([[0, 1n]]))
    assert.is((await second.checkpoint(slot))?.epoch, 1)
    assert.equal(texts(await readAll(second, out)), ['value 1'])
    await Promise.all([first.member.leave(), other.member.leave()])
  })

  test('a copied savepoint is the other slot’s own', async ({ under: { transport } }) => {
    const [from, to] = [slotId(), slotId()]
    const state = snapshot(2, (memory) => memory.fill(9, 5000, 99_000))
    const expected = state.memory.slice()
    await transport.commit({ slot: from, epoch: 4, revision: 2, meta: { m: 1 }, snapshots: [state], savepoint: 'base' })
    const copied = await transport.copyCheckpoint(from, to, 'base')
    assert.equal([copied.epoch, copied.savepoint], [4, 'base'])
    await transport.deleteCheckpoints(from.tenant, from.pipeline)
    const found = await transport.checkpoint(to, { savepoint: 'base' })
    assert.equal(found?.meta, { m: 1 })
    assert.is(Buffer.compare(found!.snapshots[0]!.memory, expected), 0)
    await rejects(transport.copyCheckpoint(from, to), 'NOT_FOUND')
  })

  test('the newest checkpoint is named in its own slot and stays the newest', async ({ under: { transport } }) => {
    const slot = slotId()
    await transport.commit({ slot, epoch: 1, revision: 1, meta: { m: 1 }, snapshots: [], savepoint: 'old' })
    await transport.commit({ slot, epoch: 2, revision: 1, meta: { m: 2 }, snapshots: [] })
    const named = await transport.copyCheckpoint(slot, slot, undefined, 'old')
    assert.equal([named.epoch, named.savepoint], [2, 'old'])
    assert.equal((await transport.checkpoint(slot))?.meta, { m: 2 })
    assert.equal((await transport.checkpoint(slot, { savepoint: 'old' }))?.meta, { m: 2 })
  })

  test('trimmed records go when they are old enough, and never one at or behind the offset', async ({
    under: { transport },
  }) => {
    const topic = topicName()
    await transport.createTopic({ name: topic })
    for (let from = 0; from < 15; from += 5) await append(transport, topic, values(from, 5, Date.now() - 1000))
    await transport.trim(topic, 0, 10n, 3_600_000)
    const earliest = async (): Promise<bigint> => (await transport.offsets(topic))[0]!.earliest
    for (let tries = 0; (await earliest()) < 10n; tries++) {
      assert.ok(tries < 500, `still from ${await earliest()}`)
      // Only from the second time on: young ones have stayed until then.
      if (tries === 20) assert.is(await earliest(), 0n)
      if (tries >= 20) await transport.trim(topic, 0, 10n, 0)
      await new Promise((done) => setTimeout(done, 10))
    }
    assert.equal(await transport.offsets(topic), [{ partition: 0, earliest: 10n, latest: 15n }])
    assert.is(await transport.offsetOf(topic, 0, { at: 'earliest' }), 10n)
    await rejects(transport.trim(topicName(), 0, 1n, 0), 'NOT_FOUND')
  })

  test('after stop a call is refused, and what waited before it was answered', async ({ under: { second } }) => {
    const topic = topicName()
    await second.createTopic({ name: topic })
    const waiting = append(second, topic, values(0, 5))
    await second.stop()
    assert.is(await waiting, 0n)
    await rejects(second.topic(topic), 'TRANSPORT_UNAVAILABLE')
  })

  test.run()
}
