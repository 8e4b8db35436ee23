// 80 % of what the machine can do, for SOAK_MINUTES (2): memory stays flat, nothing is lost. `npm run soak` takes 60 minutes.

import { isShort, median, type Row } from './row.ts'
import { Server } from './server.ts'

const MINUTES = Number(process.env.SOAK_MINUTES ?? (isShort ? 0.3 : 2))
const SHARE = 0.8
const PROBE_MS = isShort ? 2_000 : 6_000
const SAMPLE_MS = 1_000
/** Memory may be so much more in the last quarter than in the second; the garbage of a young heap comes and goes. */
const GROWTH_MAX = 0.05
const GROWTH_BYTES_MAX = 24 << 20
const SETTLE_MS_MAX = 60_000
const ID = 'soak'

export async function run(): Promise<Row[]> {
  const server = await Server.start()
  try {
    const most = await highestRate(server)
    const rate = Math.round(most * SHARE)
    await server.api('POST', '/v1/pipelines', document(ID, rate))
    const resident: number[] = []
    const cpu = server.cpuSeconds()
    const started = performance.now()
    while (performance.now() - started < MINUTES * 60_000) {
      await new Promise((done) => setTimeout(done, SAMPLE_MS))
      resident.push(server.residentBytes())
      const { state } = await server.api<{ state: string }>('GET', `/v1/pipelines/${ID}`)
      if (state !== 'running') throw new Error(`the pipeline is ${state}`)
    }
    const took = (performance.now() - started) / 1000
    const cores = (server.cpuSeconds() - cpu) / took
    // By the clock, not by a number of records: a machine that others slow down ends in time too.
    await server.api('POST', `/v1/pipelines/${ID}/pause`)
    const stats = await settled(server)
    const records = stats.in!.recordsOut
    const lost = records - stats.sum!.recordsIn
    if (lost !== 0) throw new Error(`${lost} of ${records} records were lost`)
    const quarter = Math.max(1, resident.length >> 2)
    const [early, late] = [median(resident.slice(quarter, 2 * quarter)), median(resident.slice(-quarter))]
    return [
      {
        name: `${took.toFixed(0)} s at ${(records / took / 1e6).toFixed(2)} M records/s: resident in the last quarter`,
        value: late / 2 ** 20,
        unit: 'MiB',
        baseline: { name: 'in the second quarter', value: early / 2 ** 20 },
        ratio: early / late,
        bar: 'flat',
        met: late <= early * (1 + GROWTH_MAX) || late - early <= GROWTH_BYTES_MAX,
        note: `${cores.toFixed(2)} cores; asked for ${(rate / 1e6).toFixed(2)} M/s, the most was ${(most / 1e6).toFixed(2)} M/s`,
      },
      {
        name: `records lost of ${records}`,
        value: lost + stats.in!.errors + stats.keep!.errors + stats.sum!.errors,
        unit: 'records',
        bar: '0',
        met: records > 0 && lost === 0 && stats.sum!.errors === 0,
      },
    ]
  } finally {
    await server.stop()
  }
}

/** The stats once all that the source has sent is counted at the end, or as they are when that does not happen. */
async function settled(server: Server): Promise<Awaited<ReturnType<Server['stats']>>> {
  for (const end = performance.now() + SETTLE_MS_MAX; ; ) {
    const stats = await server.stats(ID)
    if (stats.in!.recordsOut === stats.sum!.recordsIn || performance.now() > end) return stats
    await new Promise((done) => setTimeout(done, SAMPLE_MS))
  }
}

/** @returns records per second without a limit */
async function highestRate(server: Server): Promise<number> {
  await server.api('POST', '/v1/pipelines', document('most'))
  await new Promise((done) => setTimeout(done, PROBE_MS / 2))
  const before = (await server.stats('most')).sum!.recordsIn
  const started = performance.now()
  await new Promise((done) => setTimeout(done, PROBE_MS))
  const rate = (((await server.stats('most')).sum!.recordsIn - before) / (performance.now() - started)) * 1000
  await server.api('DELETE', '/v1/pipelines/most')
  return rate
}

function document(id: string, recordsPerSecond?: number): unknown {
  const template = {
    id: { $seq: 1 },
    user: { id: { $int: [1, 5000] }, country: { $pick: ['de', 'fr', 'us', 'jp'] } },
    action: { $pick: ['view', 'click', 'cart', 'purchase'] },
    product: { id: { $int: [1, 400] }, name: 'Product', price: { $float: [1, 500, 2] } },
    referrer: 'https://shop.example/catalogue/shoes?page=1&sort=price&campaign=spring-sale',
  }
  return {
    id,
    components: [
      { id: 'in', source: 'generator', settings: { template, seed: 1, recordsPerSecond } },
      { id: 'keep', operator: 'json-filter@1', from: 'in', settings: { where: [{ path: 'action', exists: true }] } },
      {
        id: 'sum',
        operator: 'json-aggregate@1',
        from: 'keep',
        settings: { groupBy: 'product.id', fields: [{ path: 'product.price', as: 'revenue', fn: 'sum' }] },
        emitWhen: { everyMs: 1000 },
      },
      { id: 'out', emitter: 'sse', from: 'sum', settings: { lastRecords: 10 } },
    ],
  }
}
