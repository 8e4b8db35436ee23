// Many idle pipelines of one operator in one host: what they weigh, whether the last is made as fast as the first, and what
// they cost while nothing happens.

import { HttpClient } from './http-client.ts'
import { isShort, median, type Row } from './row.ts'
import { Server } from './server.ts'

const PIPELINES = isShort ? 1_000 : 10_000
const EDGE = 100
const SETTLE_MS = 5_000
const IDLE_MS = isShort ? 5_000 : 20_000
const MIB_MAX = 600

export async function run(): Promise<Row[]> {
  const server = await Server.start()
  try {
    const empty = server.residentBytes()
    const took: number[] = []
    const bare: number[] = []
    const client = new HttpClient(server.port)
    for (let i = 0; i < EDGE; i++) await create(client, `warm-${i}`)
    for (let i = 0; i < EDGE; i++) await server.api('DELETE', `/v1/pipelines/warm-${i}`)
    for (let i = 0; i < PIPELINES; i++) {
      const atEdge = i < EDGE || i >= PIPELINES - EDGE
      if (atEdge) bare.push(await timed(() => client.request('GET', '/healthz')))
      const ms = await timed(() => create(client, `idle-${i}`))
      if (atEdge) took.push(ms)
    }
    await new Promise((done) => setTimeout(done, SETTLE_MS))
    const resident = server.residentBytes()
    const before = server.cpuSeconds()
    const started = performance.now()
    await new Promise((done) => setTimeout(done, IDLE_MS))
    const cpu = (server.cpuSeconds() - before) / ((performance.now() - started) / 1000)
    client.stop()

    const mib = resident / 2 ** 20
    const [first, last] = [median(took.slice(0, EDGE)), median(took.slice(-EDGE))]
    const [bareFirst, bareLast] = [median(bare.slice(0, EDGE)), median(bare.slice(-EDGE))]
    const each = (resident - empty) / 1024 / PIPELINES
    return [
      {
        name: `${PIPELINES} idle pipelines: resident`,
        value: mib,
        unit: 'MiB',
        baseline: { name: 'the same host without any', value: empty / 2 ** 20 },
        ratio: empty / resident,
        bar: `≤ ${MIB_MAX} MiB at 10,000`,
        met: mib <= MIB_MAX,
        note: `${each.toFixed(1)} KiB each`,
      },
      {
        name: `${PIPELINES} idle pipelines: create time of the last ${EDGE}`,
        value: last,
        unit: 'ms p50',
        baseline: { name: `the first ${EDGE}`, value: first },
        ratio: first / last,
        bar: '≤ 2 × the first',
        met: last <= 2 * first,
        note: `GET /healthz beside them ${bareFirst.toFixed(2)}, ${bareLast.toFixed(2)} ms`,
      },
      {
        name: `${PIPELINES} idle pipelines: processor`,
        value: cpu * 100,
        unit: '% of a core',
        bar: '≤ 5 %',
        met: cpu <= 0.05,
        note: `over ${IDLE_MS / 1000} s`,
      },
    ]
  } finally {
    await server.stop()
  }
}

async function create(client: HttpClient, id: string): Promise<void> {
  const document = {
    id,
    components: [
      { id: 'in', source: 'http' },
      {
        id: 'purchases',
        operator: 'json-filter@1',
        from: 'in',
        settings: { where: [{ path: 'action', equals: 'purchase' }] },
      },
      { id: 'out', emitter: 'sse', from: 'purchases' },
    ],
  }
  const { status, body } = await client.request('POST', '/v1/pipelines', JSON.stringify(document))
  if (status !== 201) throw new Error(`${id}: ${status} ${body.toString()}`)
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await act()
  return performance.now() - started
}
