// What a process of its own costs: the same pipeline with isolation `thread` and `process`, in turns, in one host.

import { Product } from '../support/delivery.ts'
import { shopEvents } from './events.ts'
import { median, type Row, spread } from './row.ts'

const TOPIC_RECORDS = 300_000
const MEMORY_RECORDS = 1_000_000
const ROUNDS = 5
const FEED_RECORDS = 10_000
const KINDS = ['thread', 'process'] as const

type Rates = Record<(typeof KINDS)[number], number[]>

export async function run(): Promise<Row[]> {
  const product = await Product.start()
  try {
    await feed(product)
    const topic: Rates = { thread: [], process: [] }
    const memory: Rates = { thread: [], process: [] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of KINDS) {
        topic[kind].push(await rate(product, kind, TOPIC_RECORDS, fromTopic))
        memory[kind].push(await rate(product, kind, MEMORY_RECORDS, fromMemory))
      }
    }
    return [
      row(`topic, json-filter, topic: ${TOPIC_RECORDS} shop events, isolation process`, topic, 0.8),
      row(`generator, json-filter, discard: ${MEMORY_RECORDS} records, isolation process`, memory, 0.4),
    ]
  } finally {
    await product.remove()
  }
}

const where = [{ path: 'action', equals: 'purchase' }]

const fromTopic = [
  { id: 'in', source: 'topic', settings: { topic: 'in', from: 'earliest' } },
  { id: 'f', operator: 'json-filter@1', from: 'in', settings: { where } },
  { id: 'out', emitter: 'topic', from: 'f', settings: { topic: 'out' } },
]

const template = { action: { $pick: ['purchase', 'view'] }, n: { $seq: 0 }, price: { $int: [1, 1000] } }
const fromMemory = [
  { id: 'in', source: 'generator', settings: { template, count: MEMORY_RECORDS, seed: 1 } },
  { id: 'f', operator: 'json-filter@1', from: 'in', settings: { where } },
  { id: 'out', emitter: 'discard', from: 'f' },
]

async function feed({ client }: Product): Promise<void> {
  await client.topics('in', 'out')
  const lines = shopEvents(FEED_RECORDS)
    .map((event) => JSON.stringify(event))
    .join('\n')
  for (let sent = 0; sent < TOPIC_RECORDS; sent += FEED_RECORDS) {
    await client.ok('POST', '/v1/topics/in/records', lines, 'application/x-ndjson')
  }
}

/** Records per second through the pipeline, from when the first have come until the last has arrived. */
async function rate({ client, host }: Product, isolation: string, records: number, parts: object[]): Promise<number> {
  await client.ok('POST', '/v1/pipelines', { id: 'p', isolation, components: parts, checkpointEveryMs: 1000 })
  const look = async (): Promise<{ taken: number; arrived: boolean }> => {
    const { f, out } = (await host.stats('default', 'p')).components
    return { taken: f!.recordsIn, arrived: f!.recordsIn === records && out!.recordsIn === f!.recordsOut }
  }
  let now = await look()
  while (now.taken === 0) now = await look()
  const before = now.taken
  const began = performance.now()
  while (!now.arrived) {
    await new Promise((soon) => setTimeout(soon, 5))
    now = await look()
  }
  const perSecond = ((records - before) / (performance.now() - began)) * 1000
  await client.ok('DELETE', '/v1/pipelines/p?drain=false')
  return Math.round(perSecond)
}

function row(name: string, rates: Rates, bar: number): Row {
  const value = median(rates.process)
  const baseline = median(rates.thread)
  const ratio = value / baseline
  return {
    name,
    value,
    unit: 'records/s',
    baseline: { name: 'isolation thread', value: baseline },
    ratio: Math.round(ratio * 100) / 100,
    bar: `≥ ${bar * 100} % of isolation thread`,
    met: ratio >= bar,
    note: `thread ${spread(rates.thread, 0)}, process ${spread(rates.process, 0)}`,
  }
}
