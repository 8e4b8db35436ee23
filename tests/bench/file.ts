// NDJSON files through the whole process `spqr dev`: file → json-filter → discard and file → json-aggregate → discard, against
// Node's readline with JSON.parse over the beginning of the same file.

import { createReadStream, createWriteStream, existsSync, renameSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type ShopEvent, shopEvents } from './events.ts'
import { isShort, median, type Row, spread } from './row.ts'
import { Server } from './server.ts'

const FILE_BYTES = isShort ? 100e6 : 1e9
const EVENTS = 20_000
const PLAIN_BYTES = isShort ? 10e6 : 60e6
const ROUNDS = 3
const FOLDER = tmpdir()
const POLL_MS = 20

const FILTER = { operator: 'json-filter@1', settings: { where: [{ path: 'action', equals: 'purchase' }] } }
const AGGREGATE = {
  operator: 'json-aggregate@1',
  settings: { groupBy: 'product.id', fields: [{ path: 'product.price', as: 'revenue', fn: 'sum' }] },
}

export async function run(): Promise<Row[]> {
  const path = join(FOLDER, `spqr-bench-${FILE_BYTES / 1e6}.ndjson`)
  const { lines, bytes } = await makeFile(path)
  const server = await Server.start([`--allow-read=${FOLDER}`])
  const rows: Row[] = []
  try {
    const bars = [
      { name: 'json-filter', operator: FILTER, plain: filterLines, least: 2.5, times: 6 },
      { name: 'json-aggregate', operator: AGGREGATE, plain: sumLines, least: 1.5, times: 3 },
    ]
    for (const { name, operator, plain, least, times } of bars) {
      const ours: number[] = []
      const theirs: number[] = []
      const cpu: number[] = []
      for (let round = 0; round < ROUNDS; round++) {
        theirs.push(await plain(path))
        const before = server.cpuSeconds()
        ours.push(await through(server, `${name}-${round}`, operator, path, lines))
        cpu.push(server.cpuSeconds() - before)
      }
      const value = median(ours)
      const ratio = value / median(theirs)
      rows.push({
        name: `file of ${Math.round(bytes / 1e6)} MB, ${Math.round(bytes / lines)} B a line → ${name} → discard, whole process`,
        value: value / 1e6,
        unit: 'M records/s',
        baseline: { name: 'readline and JSON.parse', value: median(theirs) / 1e6 },
        ratio,
        bar: name === 'json-filter' ? `≥ ${least} M/s and ≥ ${times} ×` : `≥ ${least} M/s`,
        met: value / 1e6 >= least && (name !== 'json-filter' || ratio >= times),
        note: `${spread(ours.map((x) => x / 1e6))}; ${((median(cpu) * value) / lines).toFixed(2)} cores`,
      })
    }
    return rows
  } finally {
    await server.stop()
  }
}

/** Makes the file where it is not there. */
async function makeFile(path: string): Promise<{ lines: number; bytes: number }> {
  const events = shopEvents(EVENTS).map((event) => `${JSON.stringify(event)}\n`)
  const block = Buffer.from(events.join(''))
  const blocks = Math.ceil(FILE_BYTES / block.length)
  if (!existsSync(path) || statSync(path).size !== blocks * block.length) {
    const out = createWriteStream(`${path}.part`)
    for (let i = 0; i < blocks; i++) if (!out.write(block)) await new Promise<void>((done) => out.once('drain', done))
    await new Promise<void>((done) => out.end(done))
    renameSync(`${path}.part`, path)
  }
  return { lines: blocks * EVENTS, bytes: blocks * block.length }
}

/** @returns records per second, from the request that creates the pipeline until every record was read by its operator */
async function through(server: Server, id: string, operator: object, path: string, lines: number): Promise<number> {
  const started = performance.now()
  await server.api('POST', '/v1/pipelines', {
    id,
    components: [
      { id: 'in', source: 'file', settings: { path } },
      { id: 'op', ...operator, from: 'in' },
      { id: 'out', emitter: 'discard', from: 'op' },
    ],
  })
  for (;;) {
    const { op } = await server.stats(id)
    if (op!.recordsIn === lines) break
    await new Promise((done) => setTimeout(done, POLL_MS))
  }
  const took = performance.now() - started
  const { op } = await server.stats(id)
  if (op!.errors > 0) throw new Error(`${op!.errors} records failed`)
  await server.api('DELETE', `/v1/pipelines/${id}`)
  return (lines / took) * 1000
}

function filterLines(path: string): Promise<number> {
  const kept: number[] = []
  return plainLoop(path, (event) => {
    if (event.action === 'purchase') kept.push(event.id)
  })
}

function sumLines(path: string): Promise<number> {
  const sums = new Map<string, number>()
  return plainLoop(path, ({ product }) => {
    sums.set(product.id, (sums.get(product.id) ?? 0) + product.price)
  })
}

/** @returns lines per second of what people write first */
async function plainLoop(path: string, logic: (event: ShopEvent) => void): Promise<number> {
  const started = performance.now()
  let count = 0
  const lines = createInterface({ input: createReadStream(path, { end: PLAIN_BYTES }) })
  for await (const line of lines) {
    // The part of the file may end within a line.
    if (!line.endsWith('}')) continue
    logic(JSON.parse(line) as ShopEvent)
    count++
  }
  return (count / (performance.now() - started)) * 1000
}
