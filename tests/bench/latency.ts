// Source → operator → emitter at 10,000 records a second, from the moment the source hands a record out until the emitter has
// it, both on one clock (probe.ts); with the processor time that the whole server takes meanwhile.

import { STAMP } from './probe.ts'
import { isShort, type Row } from './row.ts'
import { PROBE, Server } from './server.ts'

const RATE = 10_000
const SECONDS = isShort ? 3 : 15
const WARM_UP_SECONDS = 2
const PADDING = 'x'.repeat(160)

export async function run(): Promise<Row[]> {
  const server = await Server.start([], PROBE)
  try {
    const idle = server.cpuSeconds()
    await new Promise((done) => setTimeout(done, 1000))
    const idleCores = server.cpuSeconds() - idle
    await pass(server, 'warm', WARM_UP_SECONDS)
    const { report, cores } = await pass(server, 'latency', SECONDS)
    const { p50, p99, max } = report.latencyUs
    const lost = RATE * SECONDS - report.records
    if (lost !== 0 || report.doubled > 0) throw new Error(`${lost} records lost, ${report.doubled} doubled`)
    return [
      {
        name: `source → json-filter → emitter at ${RATE / 1000} k records/s: p50`,
        value: p50,
        unit: 'µs',
        bar: '≤ 150 µs',
        met: p50 <= 150,
        note: `${report.records} records; ${cores.toFixed(2)} cores, ${idleCores.toFixed(2)} idle`,
      },
      {
        name: `source → json-filter → emitter at ${RATE / 1000} k records/s: p99`,
        value: p99,
        unit: 'µs',
        bar: '≤ 1,000 µs',
        met: p99 <= 1000,
        note: `longest ${max} µs`,
      },
    ]
  } finally {
    await server.stop()
  }
}

async function pass(
  server: Server,
  id: string,
  seconds: number,
): Promise<{ report: Awaited<ReturnType<Server['report']>>; cores: number }> {
  const reported = server.report(id)
  const before = server.cpuSeconds()
  const started = performance.now()
  await server.api('POST', '/v1/pipelines', {
    id,
    components: [
      {
        id: 'in',
        source: 'generator',
        settings: {
          template: { t: STAMP, n: { $seq: 1 }, action: 'purchase', text: PADDING },
          recordsPerSecond: RATE,
          count: RATE * seconds,
        },
      },
      {
        id: 'op',
        operator: 'json-filter@1',
        from: 'in',
        settings: { where: [{ path: 'action', equals: 'purchase' }] },
      },
      { id: 'out', emitter: 'console', from: 'op' },
    ],
  })
  const report = await reported
  const cores = (server.cpuSeconds() - before) / ((performance.now() - started) / 1000)
  await server.api('DELETE', `/v1/pipelines/${id}`)
  return { report, cores }
}
