// PATCH of a setting while records flow: how long until it answers, how long records pause at the emitter (probe.ts), whether
// state is kept, and whether any of a million numbered records is lost or comes twice.

import { HttpClient } from './http-client.ts'
import { STAMP } from './probe.ts'
import { isShort, median, percentile, type Row } from './row.ts'
import { PROBE, Server } from './server.ts'

const RECORDS = isShort ? 200_000 : 1_000_000
/** Records per second. */
const RATE = 50_000
const PAUSE_MS = 20
/** A gap that ends so long after the answer still counts as the change's. */
const AFTER_US = 5000
const ID = 'change'

export async function run(): Promise<Row[]> {
  const server = await Server.start([], PROBE)
  const client = new HttpClient(server.port)
  try {
    const reported = server.report(ID)
    await server.api('POST', '/v1/pipelines', document())
    const patches: number[] = []
    const bare: number[] = []
    const windows: [number, number][] = []
    for (let i = 0; ; i++) {
      await new Promise((done) => setTimeout(done, PAUSE_MS))
      bare.push(await timed(client, 'GET', '/healthz'))
      // All records pass, whichever of the two holds.
      const body = JSON.stringify({ settings: { where: [{ path: 'v', gte: i % 7 }] } })
      const { recordsOut } = (await server.stats(ID)).in!
      if (recordsOut > RECORDS - RATE / 2) break
      const from = nowUs()
      patches.push(await timed(client, 'PATCH', `/v1/pipelines/${ID}/components/changed`, body))
      windows.push([from, nowUs() + AFTER_US])
    }
    const { records, missing, doubled, gaps } = await reported
    const { state } = await server.stats(ID)
    const lost = RECORDS - records
    const isWhole = lost === 0 && missing === 0 && doubled === 0 && state!.recordsIn === RECORDS
    const isNear = ([end, us]: [number, number]): boolean => windows.some(([a, b]) => end >= a && end - us <= b)
    const near = gaps.filter(isNear).map(([, us]) => us / 1000)
    const far = gaps.filter((gap) => !isNear(gap)).map(([, us]) => us / 1000)
    const [p50, bare50] = [median(patches), median(bare)]
    const [longest, longestElse] = [Math.max(0, ...near), Math.max(0, ...far)]
    return [
      {
        name: `PATCH of a setting at ${RATE / 1000} k records/s, to the answer`,
        value: p50,
        unit: 'ms p50',
        baseline: { name: 'GET /healthz, same server, by turns', value: bare50 },
        ratio: bare50 / p50,
        bar: 'p50 ≤ GET + 1 ms',
        met: p50 <= bare50 + 1,
        note: `p99 ${percentile(patches, 0.99).toFixed(2)}, ${patches.length} changes`,
      },
      {
        name: `longest gap between records around ${patches.length} changes`,
        value: longest,
        unit: 'ms',
        baseline: { name: 'the longest while nothing was changed', value: longestElse },
        ratio: longestElse / longest,
        bar: '≤ 5 ms',
        met: longest <= 5,
        note: `the source wakes every 2 ms; median of gaps above 1 ms: ${median(near).toFixed(1)}, else ${median(far).toFixed(1)}`,
      },
      {
        name: `records lost or doubled of ${RECORDS}, state kept`,
        value: lost + missing + doubled,
        unit: 'records',
        bar: '0',
        met: isWhole,
        note: `${state!.recordsIn} counted by an operator with state behind it`,
      },
    ]
  } finally {
    client.stop()
    await server.stop()
  }
}

function document(): unknown {
  return {
    id: ID,
    components: [
      {
        id: 'in',
        source: 'generator',
        settings: { template: { t: STAMP, n: { $seq: 1 }, v: 7 }, recordsPerSecond: RATE, count: RECORDS },
      },
      { id: 'changed', operator: 'json-filter@1', from: 'in', settings: { where: [{ path: 'v', gte: 0 }] } },
      {
        id: 'state',
        operator: 'json-aggregate@1',
        from: 'changed',
        settings: { fields: [{ as: 'count', fn: 'count' }] },
      },
      { id: 'total', emitter: 'discard', from: 'state' },
      { id: 'out', emitter: 'console', from: 'changed' },
    ],
  }
}

function nowUs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000)
}

async function timed(client: HttpClient, method: string, path: string, body?: string): Promise<number> {
  const started = performance.now()
  const answer = await client.request(method, path, body)
  const took = performance.now() - started
  if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString()}`)
  return took
}
