// How long a pipeline takes to be made: POST /v1/pipelines over HTTP keep-alive, the document durable, to the answer and to the
// first record out of its console emitter. Each create stands beside a bare GET of the same server, by turns.

import { HttpClient } from './http-client.ts'
import { isShort, median, percentile, type Row } from './row.ts'
import { Server } from './server.ts'

const SAMPLES = isShort ? 60 : 600
/** Until V8 has optimised the way of a create through all threads. */
const WARM_UP = isShort ? 20 : 1500

interface Samples {
  bare: number[]
  create: number[]
  first: number[]
}

export async function run(): Promise<Row[]> {
  const server = await Server.start()
  try {
    const three = await measure(server, 'three', 1, false)
    const first = await measure(server, 'first', 1, true)
    const ten = await measure(server, 'ten', 8, false)
    return [
      row('POST a pipeline of 3 components, to 201', three.create, three.bare, 1, 5),
      row('POST a pipeline of 3 components, to its first record out', first.first, first.bare, 1.5),
      row('POST a pipeline of 10 components, to 201', ten.create, ten.bare, 2),
    ]
  } finally {
    await server.stop()
  }
}

function row(name: string, values: number[], bare: number[], p50Over: number, p99Over?: number): Row {
  const [p50, p99] = [median(values), percentile(values, 0.99)]
  const [bare50, bare99] = [median(bare), percentile(bare, 0.99)]
  const bars = [`p50 ≤ GET + ${p50Over} ms`, ...(p99Over === undefined ? [] : [`p99 ≤ its p99 + ${p99Over} ms`])]
  return {
    name,
    value: p50,
    unit: 'ms p50',
    baseline: { name: 'GET /healthz, same server, by turns', value: bare50 },
    ratio: bare50 / p50,
    bar: bars.join(', '),
    met: p50 <= bare50 + p50Over && (p99Over === undefined || p99 <= bare99 + p99Over),
    note: `p99 ${p99.toFixed(2)}, GET p99 ${bare99.toFixed(2)}, ${values.length} samples`,
  }
}

async function measure(server: Server, name: string, operators: number, toFirst: boolean): Promise<Samples> {
  const client = new HttpClient(server.port)
  const samples: Samples = { bare: [], create: [], first: [] }
  for (let i = 0; i < WARM_UP + SAMPLES; i++) {
    const bare = await timed(() => client.request('GET', '/healthz'))
    const id = `${name}-${i}`
    const body = JSON.stringify(document(id, operators, toFirst))
    const shown = toFirst ? server.printed(`"first":"${id}"`) : undefined
    const began = performance.now()
    const created = await timed(() => client.request('POST', '/v1/pipelines', body))
    const first = shown ? (await shown) - began : 0
    await client.request('DELETE', `/v1/pipelines/${id}`)
    if (i < WARM_UP) continue
    samples.bare.push(bare)
    samples.create.push(created)
    samples.first.push(Math.max(first, created))
  }
  client.stop()
  return samples
}

/** A source, this many filters one after the other, an emitter. */
function document(id: string, operators: number, toFirst: boolean): unknown {
  const source = toFirst
    ? { id: 'in', source: 'generator', settings: { template: { first: id }, recordsPerSecond: 1 } }
    : { id: 'in', source: 'http' }
  const filters = Array.from({ length: operators }, (_, i) => ({
    id: `f${i}`,
    operator: 'json-filter@1',
    from: i === 0 ? 'in' : `f${i - 1}`,
    settings: { where: toFirst ? [{ path: 'first', equals: id }] : [{ path: 'action', equals: 'purchase' }] },
  }))
  const emitter = { id: 'out', emitter: toFirst ? 'console' : 'sse', from: `f${operators - 1}` }
  return { id, components: [source, ...filters, emitter] }
}

/** @returns ms until it answered well. @throws Error where it did not */
async function timed(act: () => Promise<{ status: number; body: Buffer }>): Promise<number> {
  const started = performance.now()
  const { status, body } = await act()
  const took = performance.now() - started
  if (status >= 300) throw new Error(`${status} ${body.toString()}`)
  return took
}
