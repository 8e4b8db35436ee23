import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Emitter, Source } from '../../../host/bridges/bridge.ts'
import { type DirectHttpSource, type HttpSource, httpSource } from '../../../host/bridges/http-source.ts'
import { topicEmitter } from '../../../host/bridges/topic-emitter.ts'
import { topicSource } from '../../../host/bridges/topic-source.ts'
import { Permissions } from '../../../host/permissions/permissions.ts'
import { type PlainRecord, RecordBuffer } from '../../../host/record/record.ts'
import { EmbeddedLog } from '../../../host/transport/embedded/embedded-log.ts'
import { EmbeddedTransport } from '../../../host/transport/embedded/embedded-transport.ts'
import { partitionOf } from '../../../host/transport/partitioner.ts'
import type { Transport } from '../../../host/transport/transport.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { BridgeDriver, decodeRun, testFolder, textsOf } from '../../support/bridge-driver.ts'

const sources = suite('topic source')
const http = suite('http source')
const emitters = suite('topic emitter')

let folder = testFolder()
let log: EmbeddedLog
let transport: EmbeddedTransport
const opened: (Source | Emitter)[] = []
const setUp = async (): Promise<void> => {
  folder = testFolder()
  log = await EmbeddedLog.start({ dataDir: folder.path })
  transport = new EmbeddedTransport(log.connect())
}
const tearDown = async (): Promise<void> => {
  for (const bridge of opened.splice(0)) await bridge.stop()
  await transport.stop()
  await log.stop()
  folder.remove()
}
for (const s of [sources, http, emitters]) {
  s.before.each(setUp)
  s.after.each(tearDown)
}

const encoder = new TextEncoder()
const numbers = (from: number, count: number): PlainRecord[] =>
  Array.from({ length: count }, (_, i) => ({ value: encoder.encode(`${from + i}`), timestamp: 1000 + i }))

function bufferOf(records: PlainRecord[]): RecordBuffer {
  const buffer = new RecordBuffer()
  for (const record of records) buffer.add(record)
  return buffer
}

async function append(topic: string, records: PlainRecord[], partition = 0, create = false): Promise<void> {
  const { bytes, length } = bufferOf(records)
  await transport.append(topic, partition, bytes.slice(0, length), records.length, { create })
}

const newDriver = (options: ConstructorParameters<typeof BridgeDriver>[0] = {}): BridgeDriver =>
  new BridgeDriver({ transport, ...options })

async function openSource(
  driver: BridgeDriver,
  settings: Record<string, unknown>,
  position?: unknown,
): Promise<Source> {
  const source = topicSource.create(settings, driver.context)
  opened.push(source)
  await source.open(position)
  return source
}

async function openEmitter(driver: BridgeDriver, settings: Record<string, unknown>): Promise<Emitter> {
  const emitter = topicEmitter.create(settings, driver.context)
  opened.push(emitter)
  await emitter.open(undefined)
  return emitter
}

async function contentOf(topic: string, partition = 0): Promise<PlainRecord[]> {
  const records: PlainRecord[] = []
  for (let offset = 0n; ; ) {
    const { frames, next, latest } = await transport.read(topic, partition, offset, 1 << 20)
    records.push(...decodeRun(frames, 0, frames.length))
    if (next >= latest) return records
    offset = next
  }
}

async function refusal(act: Promise<unknown>): Promise<SpqrError> {
  const error = await act.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, SpqrError)
  return error as SpqrError
}

sources('reads all partitions, what was there and what comes, with offset and partition', async () => {
  await transport.createTopic({ name: 'in', partitions: 3 })
  for (const p of [0, 1, 2]) await append('in', numbers(p * 100, 10), p)
  const driver = newDriver()
  const source = await openSource(driver, { topic: 'in' })
  const records = await driver.pull(source, 30)
  await append('in', numbers(10, 5))
  records.push(...(await driver.pull(source, 5)))
  const byPartition = [0, 1, 2].map((p) => records.filter((r) => r.source === p))
  assert.equal(
    textsOf(byPartition[0]!),
    Array.from({ length: 15 }, (_, i) => `${i}`),
  )
  assert.equal(
    textsOf(byPartition[2]!),
    Array.from({ length: 10 }, (_, i) => `${200 + i}`),
  )
  assert.equal(
    byPartition[0]!.map((r) => r.sourceOffset),
    Array.from({ length: 15 }, (_, i) => i),
  )
  assert.equal(driver.position, { topic: 'in', offsets: { 0: '15', 1: '10', 2: '10' } })
})

sources('goes on exactly from any position', async () => {
  await transport.createTopic({ name: 'in', partitions: 2 })
  const wide = (from: number, count: number): PlainRecord[] =>
    Array.from({ length: count }, (_, i) => ({ value: encoder.encode(`${from + i}${'.'.repeat(2000)}`), timestamp: 1 }))
  await append('in', wide(0, 500), 0)
  await append('in', wide(1000, 500), 1)
  const seen: string[] = []
  let position: unknown
  for (let start = 0; seen.length < 1000; start++) {
    const driver = newDriver()
    const source = await openSource(driver, { topic: 'in' }, position)
    seen.push(...textsOf(await driver.pull(source, 1)).map((t) => t!))
    position = driver.position
    assert.ok(start < 100)
  }
  assert.equal(
    seen.map((t) => Number.parseInt(t, 10)).sort((a, b) => a - b),
    [...Array(500).keys(), ...Array.from({ length: 500 }, (_, i) => 1000 + i)],
  )
})

sources('starts where it is told: earliest, latest, offset, time, committed, and what the restart says', async () => {
  await transport.createTopic({ name: 'in' })
  await append('in', numbers(0, 20))
  const first = async (
    settings: Record<string, unknown>,
    options: { startFrom?: string } = {},
    position?: unknown,
  ): Promise<string> => {
    const driver = newDriver(options)
    const source = await openSource(driver, { topic: 'in', ...settings }, position)
    await append('in', numbers(1000, 1))
    return textsOf(await driver.pull(source, 1))[0]!
  }
  assert.is(await first({}), '0')
  assert.is(await first({ from: 'earliest' }), '0')
  assert.is(await first({ from: 'latest' }), '1000')
  assert.is(await first({ from: 'offset:7' }), '7')
  assert.is(await first({ from: `time:${new Date(1009).toISOString()}` }), '9')
  assert.is(await first({ from: 'latest' }, { startFrom: 'offset:3' }), '3')
  assert.is(await first({ from: 'latest' }, { startFrom: 'offset:3' }, { topic: 'in', offsets: { 0: '5' } }), '5')
  assert.is(await first({ from: 'earliest' }, {}, { topic: 'other', offsets: { 0: '5' } }), '0')
  const slot = { tenant: 'default', pipeline: 'p', slot: 0 }
  const offsets = [
    { group: 'mine', topic: 'in', partition: 0, offset: 11n },
    { group: 'p', topic: 'in', partition: 0, offset: 12n },
  ]
  await transport.commit({ slot, epoch: 1, revision: 1, meta: {}, snapshots: [], offsets })
  assert.is(await first({ group: 'mine' }), '11')
  assert.is(await first({}), '12')
  assert.is(await first({ from: 'earliest' }), '0')
})

sources('a topic that is not there, an offset past the end, another one without a grant: said where', async () => {
  assert.equal((await refusal(openSource(newDriver(), { topic: 'no' }))).issues?.[0]?.pointer, '/topic')
  await transport.createTopic({ name: 'in' })
  await transport.createTopic({ name: 'company.orders' })
  await append('company.orders', numbers(5, 1))
  assert.equal(
    (await refusal(openSource(newDriver(), { topic: 'in', from: 'offset:1' }))).issues?.[0]?.pointer,
    '/from',
  )
  // A tenant's names are its own; an alias leads outside where grant and host agree.
  const host = Permissions.parse(['--allow-topic=company.*'])
  const grants = { topic: ['orders=>company.orders', 'hidden=>secret'] }
  assert.match(
    (await refusal(openSource(newDriver({ tenant: 'a' }), { topic: 'company.orders' }))).message,
    'create it first',
  )
  const driver = newDriver({ tenant: 'a', permissions: host.narrow(grants) })
  assert.equal(textsOf(await driver.pull(await openSource(driver, { topic: 'orders' }), 1)), ['5'])
  const denied = await refusal((async () => openSource(driver, { topic: 'hidden' }))())
  assert.is(denied.code, 'PERMISSION_DENIED')
  assert.match(denied.message, '--allow-topic=secret')
})

sources('what fails for a while is tried again, what does not come back fails the pipeline', async () => {
  await transport.createTopic({ name: 'in' })
  await append('in', numbers(0, 3))
  let failures = 2
  const flaky = new Proxy<Transport>(transport, {
    get(target, name) {
      if (name === 'read' && failures > 0) {
        failures--
        return () => Promise.reject(new SpqrError('TRANSPORT_UNAVAILABLE', 'no disk', { retriable: true }))
      }
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  const driver = newDriver({ transport: flaky })
  const source = await openSource(driver, { topic: 'in' })
  assert.equal(textsOf(await driver.pull(source, 3)), ['0', '1', '2'])
  assert.is(driver.reports.length, 2)
  await transport.deleteTopic('in')
  await transport.createTopic({ name: 'in' })
  await append('in', numbers(0, 1))
  await driver.pull(source, 1)
  assert.ok(driver.failure)
})

http('reads the ingest topic of the pipeline, which need not exist, and ends when it drains', async () => {
  const driver = newDriver({ component: 'clicks' })
  const source = httpSource.create({}, driver.context) as HttpSource
  opened.push(source)
  await source.open(undefined)
  const pulled = driver.pull(source, 2)
  await append('p.ingest.clicks', numbers(0, 2), 0, true)
  assert.equal(textsOf(await pulled), ['0', '1'])
  await append('p.ingest.clicks', numbers(2, 3))
  await source.drain()
  assert.equal(textsOf(await driver.pull(source)), ['2', '3', '4'])
  assert.ok(driver.ended)
  // A fork follows the original's, from its own place.
  const fork = newDriver({ component: 'clicks', pipeline: 'twin', ...{ forkOf: 'p' } })
  const twin = httpSource.create({}, fork.context)
  opened.push(twin)
  await twin.open({ topic: 'p.ingest.clicks', offsets: { 0: '3' } })
  assert.equal(textsOf(await fork.pull(twin, 2)), ['3', '4'])
  // Nothing was ever posted: a drain ends at once.
  const empty = newDriver({ component: 'never' })
  const never = httpSource.create({}, empty.context) as HttpSource
  opened.push(never)
  await never.open(undefined)
  await never.drain()
  assert.equal(await empty.pull(never), [])
})

http('at most once it holds a bounded amount in memory', async () => {
  const driver = newDriver({ delivery: 'at-most-once' })
  const source = httpSource.create({}, driver.context) as DirectHttpSource
  await source.open()
  const body = bufferOf([{ value: new Uint8Array(1 << 20), timestamp: 1 }])
  let taken = 0
  while (source.ingest(body.bytes.slice(0, body.length), 1)) assert.ok(++taken < 100)
  assert.ok(taken > 1)
  assert.is((await driver.pull(source, taken)).length, taken)
  assert.ok(source.ingest(body.bytes.slice(0, body.length), 1))
  await source.drain()
  assert.not.ok(source.ingest(body.bytes.slice(0, body.length), 1))
  await driver.pull(source)
  assert.ok(driver.ended)
})

emitters('writes what it was given, in order, with keys, headers and times, to the partition of the key', async () => {
  await transport.createTopic({ name: 'out', partitions: 3 })
  const driver = newDriver()
  const emitter = await openEmitter(driver, { topic: 'out' })
  const records: PlainRecord[] = Array.from({ length: 2000 }, (_, i) => ({
    ...(i % 3 === 0 ? {} : { key: encoder.encode(i % 11 === 0 ? 'long'.repeat(40) : `k${i % 7}`) }),
    ...(i % 5 === 0 ? {} : { value: encoder.encode(`${i}`) }),
    headers: [['i', encoder.encode(`${i}`)]],
    timestamp: 5000 + i,
  }))
  for (let at = 0; at < records.length; at += 300) {
    const run = bufferOf(records.slice(at, at + 300))
    await driver.write(emitter, run.bytes, 0, run.length)
  }
  await emitter.flush()
  const strip = ({ key, value, headers, timestamp }: PlainRecord): PlainRecord => ({
    ...(key ? { key } : {}),
    ...(value ? { value } : {}),
    headers,
    timestamp,
  })
  const order = (a: PlainRecord, b: PlainRecord): number => a.timestamp - b.timestamp
  const all: PlainRecord[] = []
  for (const partition of [0, 1, 2]) {
    const content = (await contentOf('out', partition)).map(strip)
    assert.equal(content, [...content].sort(order), 'in order')
    for (const { key } of content) if (key) assert.is(partitionOf(key, 3), partition)
    all.push(...content)
  }
  assert.equal(all.sort(order), records.map(strip))
})

emitters('keyPath takes the key out of the value', async () => {
  await transport.createTopic({ name: 'out' })
  const driver = newDriver()
  const emitter = await openEmitter(driver, { topic: 'out', keyPath: 'a.b[1]' })
  const given = [
    '{"a":{"b":[0,"x\\u0041"]}}',
    '{"a":{"b":[0,"plain"]},"a2":1}',
    '{"a":{"b":[0, 1.50]}}',
    '{"a":{"b":[0]}}',
    'no json',
    '{"a":{"b":[0,{"c":1}]}}',
  ]
  const run = bufferOf([
    ...given.map((text) => ({ key: encoder.encode('old'), value: encoder.encode(text), timestamp: 9 })),
    { key: encoder.encode('old'), timestamp: 9 },
  ])
  await driver.write(emitter, run.bytes, 0, run.length)
  await emitter.flush()
  const content = await contentOf('out')
  assert.equal(
    content.map((r) => (r.key ? new TextDecoder().decode(r.key) : null)),
    ['xA', 'plain', '1.50', null, null, '{"c":1}', null],
  )
  assert.equal(textsOf(content), [...given, undefined])
  assert.ok(emitter.configure!({ topic: 'out' }))
  assert.not.ok(emitter.configure!({ topic: 'other' }))
})

emitters('stages each epoch in its own transaction', async () => {
  await transport.createTopic({ name: 'out', partitions: 2 })
  let epoch = 1
  const driver = newDriver({ delivery: 'exactly-once', transaction: () => `t${epoch}` })
  const emitter = await openEmitter(driver, { topic: 'out' })
  const give = async (from: number): Promise<void> => {
    const run = bufferOf(numbers(from, 50).map((r) => ({ ...r, key: r.value })))
    await driver.write(emitter, run.bytes, 0, run.length)
  }
  await give(0)
  await give(50)
  const flushed = emitter.flush()
  epoch = 2
  await give(100)
  await flushed
  const slot = { tenant: 'default', pipeline: 'p', slot: 0 }
  const visible = async (): Promise<number[]> =>
    [...(await contentOf('out', 0)), ...(await contentOf('out', 1))]
      .map((r) => Number(new TextDecoder().decode(r.value)))
      .sort((a, b) => a - b)
  assert.equal(await visible(), [])
  await transport.commit({ slot, epoch: 1, revision: 1, meta: {}, snapshots: [], transaction: 't1' })
  assert.equal(await visible(), [...Array(100).keys()])
  await emitter.flush()
  await transport.commit({ slot, epoch: 2, revision: 1, meta: {}, snapshots: [], transaction: 't2' })
  assert.equal(await visible(), [...Array(150).keys()])
})

emitters(
  'a transport that fails for a while loses nothing and doubles nothing; a record that is too large stands alone',
  async () => {
    await transport.createTopic({ name: 'out' })
    let calls = 0
    const flaky = new Proxy<Transport>(transport, {
      get(target, name) {
        if (name === 'append') {
          return (...given: Parameters<Transport['append']>) => {
            calls++
            if (calls % 2 === 1)
              return Promise.reject(new SpqrError('TRANSPORT_UNAVAILABLE', 'full disk', { retriable: true }))
            const large = decodeRun(given[2], 0, given[2].length).some((r) => (r.value?.length ?? 0) > 1000)
            if (large) return Promise.reject(new SpqrError('RECORD_TOO_LARGE', 'too large'))
            return target.append(...given)
          }
        }
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
    const driver = newDriver({ transport: flaky })
    const emitter = await openEmitter(driver, { topic: 'out' })
    const run = bufferOf([
      ...numbers(0, 3),
      { value: new Uint8Array(2000), timestamp: 1, sourceOffset: 77 },
      ...numbers(3, 2),
    ])
    await driver.write(emitter, run.bytes, 0, run.length)
    await emitter.flush()
    assert.equal(textsOf(await contentOf('out')), ['0', '1', '2', '3', '4'])
    assert.equal(
      driver.deadLetters.map((d) => [d.error.code, d.value.length, d.offset]),
      [['RECORD_TOO_LARGE', 2000, 77]],
    )
    assert.ok(driver.reports.length > 0)
  },
)

emitters('takes no more than may wait, and goes on when it was delivered', async () => {
  await transport.createTopic({ name: 'out' })
  const gate = { open: () => {} }
  const held = new Promise<void>((done) => {
    gate.open = done
  })
  const slow = new Proxy<Transport>(transport, {
    get(target, name) {
      if (name === 'append')
        return (...given: Parameters<Transport['append']>) => held.then(() => target.append(...given))
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  const driver = newDriver({ transport: slow })
  const emitter = await openEmitter(driver, { topic: 'out' })
  const run = bufferOf([{ value: new Uint8Array(500_000), timestamp: 1 }])
  let taken = 0
  while (emitter.write(run.bytes, 0, run.length) > 0) assert.ok(++taken < 100)
  gate.open()
  await driver.write(emitter, run.bytes, 0, run.length)
  await emitter.flush()
  assert.is((await contentOf('out')).length, taken + 1)
})

emitters('dead letters of the pipeline are made on the first write', async () => {
  const driver = newDriver()
  const emitter = await openEmitter(driver, { topic: 'p.dead-letters' })
  assert.is(await transport.topic('p.dead-letters'), undefined)
  const run = bufferOf(numbers(0, 1))
  await driver.write(emitter, run.bytes, 0, run.length)
  await emitter.flush()
  assert.is((await contentOf('p.dead-letters')).length, 1)
  assert.equal((await refusal(openEmitter(driver, { topic: 'none' }))).issues?.[0]?.pointer, '/topic')
})

sources.run()
http.run()
emitters.run()
