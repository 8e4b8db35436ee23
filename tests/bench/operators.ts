// Operators inside their sandbox against the same logic in plain JavaScript over JSON.parse: 250-byte events, batches of
// 64 KiB, the copy into the guest included, the host's other work (rings, frames checked) left out.

import { performance } from 'node:perf_hooks'
import { RecordBuffer } from '../../host/record/record.ts'
import { MAILBOX_INPUT, MAILBOX_OUTPUT_BYTES } from '../../wasm-operators/abi.ts'
import { Guest, shipped } from '../support/guest.ts'
import type { Row } from './row.ts'

const EVENTS = 20_000
const BATCH_BYTES = 64 << 10
const ROUND_MS = 300

interface Event {
  id: number
  action: string
  user: { id: string; country: string }
  product: { id: string; category: string; price: number; quantity: number }
}

/** The same shop events in every run. */
export function shopEvents(count: number): string[] {
  let state = 42
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
  const pick = <T>(from: T[]): T => from[Math.floor(random() * from.length)]!
  return Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      id: i,
      timestamp: `2024-05-${String(1 + (i % 28)).padStart(2, '0')}T12:00:00.000Z`,
      session: Math.floor(random() * 1e12).toString(36),
      page: `/${pick(['shoes', 'books', 'garden', 'music'])}/item-${Math.floor(random() * 1e6)}`,
      action: pick(['view', 'view', 'cart', 'purchase']),
      user: {
        id: `u${Math.floor(random() * 5000)}`,
        country: pick(['de', 'fr', 'us', 'jp', 'br']),
        returning: random() < 0.5,
      },
      product: {
        id: `p${Math.floor(random() * 1000)}`,
        category: pick(['shoes', 'books', 'garden', 'music']),
        price: Math.round(random() * 20000) / 100,
        quantity: 1 + Math.floor(random() * 5),
      },
    }),
  )
}

export async function run(): Promise<Row[]> {
  const texts = shopEvents(EVENTS)
  const bytes = texts.map((text) => Buffer.from(text))
  const rows: Row[] = [{ name: 'event', value: mean(bytes.map((b) => b.length)), unit: 'bytes' }]

  const filter = { where: [{ path: 'action', equals: 'purchase' }] }
  rows.push(
    compare(
      'json-filter, one condition',
      filter,
      () => {
        let passed = 0
        return { each: (e) => void (e.action === 'purchase' && passed++), result: () => passed }
      },
      'json-filter',
      bytes,
    ),
  )

  const aggregate = { groupBy: 'product.id', fields: [{ path: 'product.price', as: 'sum', fn: 'sum' }] }
  rows.push(
    compare(
      'json-aggregate, one group, one sum',
      aggregate,
      () => {
        const groups = new Map<string, number>()
        return {
          each: (e) => void groups.set(e.product.id, (groups.get(e.product.id) ?? 0) + e.product.price),
          result: () => groups.size,
        }
      },
      'json-aggregate',
      bytes,
    ),
  )

  const map = { pick: ['id', 'user.country', 'product.price'], compute: { total: 'product.price * 2' } }
  rows.push(
    compare(
      'json-map, pick and compute',
      map,
      () => {
        let length = 0
        return {
          each: (e) => {
            length += Buffer.from(
              JSON.stringify({
                id: e.id,
                user: { country: e.user.country },
                product: { price: e.product.price },
                total: e.product.price * 2,
              }),
            ).length
          },
          result: () => length,
        }
      },
      'json-map',
      bytes,
    ),
  )
  return rows
}

function compare(
  name: string,
  settings: object,
  plain: () => { each: (event: Event) => void; result: () => number },
  operator: string,
  values: Buffer[],
): Row {
  const wasm = best(() => {
    const pass = guestPass(operator, settings, values)
    return () => pass()
  }, values.length)
  const script = best(() => {
    const model = plain()
    return () => {
      for (const value of values) model.each(JSON.parse(value.toString()) as Event)
      model.result()
    }
  }, values.length)
  const baseline = { name: 'the same logic over JSON.parse', value: script / 1e6 }
  return { name, value: wasm / 1e6, unit: 'M records/s', baseline, ratio: wasm / script }
}

/** Gives all records, in batches, to a fresh guest. */
function guestPass(operator: string, settings: object, values: Buffer[]): () => void {
  const guest = new Guest(shipped(operator), BATCH_BYTES, BATCH_BYTES * 2)
  guest.configure(settings)
  const batches: Uint8Array[] = []
  let batch = new RecordBuffer(BATCH_BYTES)
  for (const value of values) {
    if (batch.length + value.length + 64 > BATCH_BYTES) {
      batches.push(batch.bytes.slice(0, batch.length))
      batch = new RecordBuffer(BATCH_BYTES)
    }
    batch.add({ value, timestamp: 1 })
  }
  batches.push(batch.bytes.slice(0, batch.length))
  const { memory, process } = guest.exports
  let view = new Uint8Array(memory.buffer)
  const input = guest.word(MAILBOX_INPUT)
  return () => {
    for (const run of batches) {
      if (view.length === 0) view = new Uint8Array(memory.buffer)
      view.set(run, input)
      process(run.length)
      guest.set(MAILBOX_OUTPUT_BYTES, 0)
    }
  }
}

/** Records per second of the best of some rounds. */
function best(make: () => () => void, records: number): number {
  const pass = make()
  pass()
  let top = 0
  const end = performance.now() + ROUND_MS * 3
  while (performance.now() < end) {
    const started = performance.now()
    pass()
    top = Math.max(top, (records / (performance.now() - started)) * 1000)
  }
  return Math.round(top)
}

function mean(values: number[]): number {
  return Math.round(values.reduce((sum, value) => sum + value, 0) / values.length)
}
