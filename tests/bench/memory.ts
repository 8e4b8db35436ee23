// Throughput of one compute worker: events cycled from memory → json-filter (and json-aggregate) → discard, against the same
// logic with JSON.parse on one thread. This thread plays the bridge: it writes runs of records into the source's ring.

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { MessageChannel, type MessagePort as NodeMessagePort, Worker } from 'node:worker_threads'
import { Counters, makeSlab, RECORDS_IN } from '../../host/compute/counters.ts'
import type { GraphSpec, ToCompute } from '../../host/compute/messages.ts'
import { makeStatus } from '../../host/compute/status.ts'
import { makeQuotaCells, QuotaCells } from '../../host/quota/quota-cells.ts'
import { RecordBuffer } from '../../host/record/record.ts'
import { ChannelWriter } from '../../host/ring/channel.ts'
import { Doorbell, makeDoorbell } from '../../host/ring/doorbell.ts'
import { admit } from '../../host/sandbox/admit.ts'
import { shopEvents } from './events.ts'
import { median, type Row, spread } from './row.ts'

const EVENTS = 10_000
const RUN_MS = 1500
const ROUNDS = 5
const dist = new URL('../../', import.meta.url)

interface OperatorUnderTest {
  name: string
  settings: unknown
}

const FILTER: OperatorUnderTest = { name: 'json-filter', settings: { where: [{ path: 'action', equals: 'purchase' }] } }
const AGGREGATE: OperatorUnderTest = {
  name: 'json-aggregate',
  settings: { groupBy: 'product.id', fields: [{ path: 'product.price', as: 'revenue', fn: 'sum' }] },
}

export async function run(): Promise<Row[]> {
  const events = shopEvents(EVENTS).map((event) => JSON.stringify(event))
  const bytes = Math.round(events.reduce((sum, event) => sum + event.length, 0) / EVENTS)
  const rows: Row[] = []
  const bars = [
    { operator: FILTER, least: 3, times: 8, baseline: parseAndFilter },
    { operator: AGGREGATE, least: 1.5, times: 3, baseline: parseAndSum },
  ]
  for (const { operator, least, times, baseline } of bars) {
    const plain: number[] = []
    const ours: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      plain.push(baseline(events))
      ours.push(await throughput(events, operator))
    }
    const value = median(ours) / 1e6
    const ratio = median(ours) / median(plain)
    rows.push({
      name: `${EVENTS} events of ${bytes} B from memory → ${operator.name} → discard, one compute worker`,
      value,
      unit: 'M records/s',
      baseline: { name: 'JSON.parse, one thread', value: median(plain) / 1e6 },
      ratio,
      bar: `≥ ${least} M/s and ≥ ${times} ×`,
      met: value >= least && ratio >= times,
      note: spread(ours.map((x) => x / 1e6)),
    })
  }
  return rows
}

/** Records per second through one compute worker. */
export async function throughput(events: string[], { name, settings }: OperatorUnderTest): Promise<number> {
  const index = JSON.parse(readFileSync(new URL('wasm-operators/index.json', dist), 'utf8')) as {
    name: string
    file: string
  }[]
  const { file } = index.find((entry) => entry.name === name)!
  const admission = admit(new Uint8Array(readFileSync(new URL(`wasm-operators/${file}`, dist))))
  if (!admission.ok) throw new Error(JSON.stringify(admission.issues))
  const doorbell = makeDoorbell()
  const bell = new Doorbell(doorbell)
  const control = new MessageChannel()
  const bridge = new MessageChannel()
  const worker = new Worker(new URL('host/compute/compute.worker.js', dist), {
    workerData: {
      index: 0,
      control: control.port2,
      doorbell,
      status: makeStatus(),
      quota: freeQuota(),
      cores: availableParallelism(),
    },
    transferList: [control.port2],
  })
  const slab = makeSlab()
  const send = (message: ToCompute, transfer: NodeMessagePort[] = []): void => {
    control.port1.postMessage(message, transfer)
    bell.message()
  }
  const { report, module, offsetMap, functionNames, functionStarts } = admission
  send({ type: 'bridge', index: 0, port: bridge.port2, doorbell: makeDoorbell() }, [bridge.port2])
  send({ type: 'slab', index: 0, memory: slab })
  send({
    type: 'module',
    digest: report.digest,
    module: await WebAssembly.compile(module),
    globals: report.globals.map((global) => global.export),
    memoryBytesMax: report.memory.maximumPages << 16,
    depthLimit: report.depthLimit,
    trace: { offsetMap, functionNames, functionStarts, sourceMap: null },
  })
  const operator: GraphSpec['operators'][number] = {
    component: 'op',
    name,
    version: '1.0.0',
    digest: report.digest,
    ports: report.manifest.ports === '*' ? 1 : report.manifest.ports.length,
    settings: JSON.stringify(settings),
    edges: [{ from: 'in', portsLow: 1, portsHigh: 0 }],
    onError: { do: 'dead-letter', stopAbove: 0.5 },
    limits: { fuelPerRecord: 100_000_000, outputBytesPerRecord: 16 << 20, memoryBytes: 64 << 20 },
    counters: 1,
  }
  const graph: GraphSpec = {
    tenant: 'default',
    tenantIndex: 0,
    id: 'bench',
    delivery: 'at-most-once',
    sources: [{ component: 'in', topic: null, channel: 1, counters: 0 }],
    operators: [operator],
    splits: [],
    emitters: [
      {
        component: 'out',
        channel: -1,
        edges: [{ from: 'op', portsLow: 1, portsHigh: 0 }],
        capacityBytes: 1 << 20,
        counters: 2,
      },
    ],
    deadLetters: { channel: 2, counters: 3 },
  }
  const answered = new Promise<{ type: string }>((done) => control.port1.once('message', done))
  send({ type: 'create', request: 1, pipeline: 1, bridge: 0, graph, images: [], paused: false })
  const answer = await answered
  if (answer.type !== 'done') throw new Error(JSON.stringify(answer))

  const buffer = new RecordBuffer(4 << 20)
  for (const event of events) buffer.add({ value: Buffer.from(event), timestamp: 1 })
  const words = new Int32Array(buffer.bytes.buffer)
  const writer = new ChannelWriter(1 << 20, (memory) => {
    bridge.port1.postMessage({ type: 'ring', pipeline: 1, channel: 1, memory })
    bell.message()
  })
  const done = new Counters(slab, 512).values
  let at = 0
  const feedUntil = (time: number): void => {
    while (performance.now() < time) {
      const taken = writer.push(buffer.bytes, words, at, Math.min(buffer.length, buffer.length))
      at += taken
      if (at === buffer.length) at = 0
      if (taken > 0) bell.signal(1)
    }
  }
  feedUntil(performance.now() + 300)
  const before = done[RECORDS_IN]!
  const started = performance.now()
  feedUntil(started + RUN_MS)
  const records = done[RECORDS_IN]! - before
  const took = performance.now() - started
  send({ type: 'stop' })
  control.port1.close()
  bridge.port1.close()
  await worker.terminate()
  return (records / took) * 1000
}

function freeQuota(): SharedArrayBuffer {
  const memory = makeQuotaCells()
  new QuotaCells(memory).free(0)
  return memory
}

function parseAndFilter(events: string[]): number {
  return perSecond(events, (event) => (event.action === 'purchase' ? 1 : 0))
}

function parseAndSum(events: string[]): number {
  const sums = new Map<string, number>()
  return perSecond(events, (event) => {
    sums.set(event.product.id, (sums.get(event.product.id) ?? 0) + event.product.price)
    return 1
  })
}

interface Parsed {
  action: string
  product: { id: string; price: number }
}

function perSecond(events: string[], logic: (event: Parsed) => number): number {
  const buffers = events.map((event) => Buffer.from(event))
  let kept = 0
  let records = 0
  const started = performance.now()
  while (performance.now() - started < RUN_MS / 2) {
    for (let i = 0; i < 1000; i++) {
      kept += logic(JSON.parse(buffers[records++ % EVENTS]!.toString()) as Parsed)
    }
  }
  if (kept < 0) throw new Error('unreachable')
  return (records / (performance.now() - started)) * 1000
}
