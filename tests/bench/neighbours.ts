// What neighbours notice: fifty healthy pipelines beside operators that run away, and a tenant beside one that goes far
// beyond its quota. Rows of issue "sandbox and tenants"; the server is a process of its own.

import { setTimeout as sleep } from 'node:timers/promises'
import { median, type Row, spread } from './row.ts'
import { Server } from './server.ts'

const HEALTHY = 50
const RATE = 200
const LOOK_MS = 5
const PHASE_MS = process.env.BENCH_SHORT ? 1500 : 4000
const ROUNDS = process.env.BENCH_SHORT ? 1 : 3

const operator = (body: string, head = ''): string => `import { Operator, Record, Emitter, register, log } from 'spqr'
${head}
class X extends Operator { process(record: Record, out: Emitter): void { ${body} } }
register(new X())
`
const RUNAWAYS: Record<string, string> = {
  'endless loop': operator('while (true) { spin++ }', 'let spin: i32 = 0'),
  recursion: operator('out.emit(record); deep(1)', 'function deep(n: i32): i32 { return deep(n + 1) + n }'),
  memory: operator('while (true) { keep.push(new ArrayBuffer(1 << 20)) }', 'const keep: ArrayBuffer[] = []'),
  output: operator('while (true) { out.emit(record) }'),
  'log bomb': operator('while (true) { log.info("x") }'),
}

/** Runaways of one phase. */
const RUNS = Object.keys(RUNAWAYS).length
const ALL = 'all'
const HARMLESS = 'harmless'
const nameOf = (kind: string): string => kind.replace(' ', '-')

export async function run(): Promise<Row[]> {
  return [...(await besideRunaways()), await besideGreed()]
}

/** What is compared: each kind alone, all of them by turns, and what making a pipeline and looking at it takes by itself. */
const BESIDE: Record<string, string[]> = {
  ...Object.fromEntries(Object.keys(RUNAWAYS).map((kind) => [kind, Array.from({ length: RUNS }, () => kind)])),
  [ALL]: Object.keys(RUNAWAYS),
}

async function besideRunaways(): Promise<Row[]> {
  const server = await Server.start()
  try {
    for (const [kind, source] of Object.entries({ ...RUNAWAYS, [HARMLESS]: operator('throw new Error("no")') })) {
      await server.api('POST', '/v1/operators', { name: nameOf(kind), version: '1.0.0', source })
    }
    const calm: Phase[] = []
    const harmless: Phase[] = []
    const beside = new Map(Object.keys(BESIDE).map((kind) => [kind, [] as Phase[]]))
    const stops: number[] = []
    let lost = 0
    for (let round = 0; round < ROUNDS; round++) {
      const look = async (kinds: string[]): Promise<Phase> => {
        const phase = await phaseBeside(server, kinds, stops)
        lost += phase.lost
        return phase
      }
      calm.push(await look([]))
      harmless.push(await look(Array.from({ length: RUNS }, () => HARMLESS)))
      for (const [kind, phases] of beside) phases.push(await look(BESIDE[kind]!))
    }
    const before = median(calm.map(({ p99Us }) => p99Us))
    const row = (name: string, phases: Phase[]): Row => {
      const value = median(phases.map(({ p99Us }) => p99Us))
      const note = `${spread(
        phases.map(({ p99Us }) => p99Us),
        0,
      )}; ${Math.round(median(phases.map((p) => p.cpuMs)))} ms of processor`
      return {
        name,
        value,
        unit: 'µs',
        baseline: { name: 'the same before', value: before },
        ratio: before / value,
        note,
      }
    }
    const all = row(`p99 latency of ${HEALTHY} healthy pipelines beside runaways`, beside.get(ALL)!)
    beside.delete(ALL)
    return [
      {
        name: `a record that makes its operator run away: sent to dead letter (${Object.keys(RUNAWAYS).join(', ')})`,
        value: median(stops),
        unit: 'ms p50',
        bar: '< 100 ms',
        met: median(stops) < 100,
        note: spread(stops, 0),
      },
      { ...all, bar: '≤ 2 × before', met: all.value <= 2 * before },
      ...[...beside].map(([kind, phases]) => row(`… beside ${RUNS} of one kind: ${kind}`, phases)),
      row(`… beside ${RUNS} that only throw`, harmless),
      row('… beside none', calm),
      { name: 'records that healthy pipelines lost', value: lost, unit: 'records', bar: '0', met: lost === 0 },
    ]
  } finally {
    await server.stop()
  }
}

interface Phase {
  /** Median of the healthy pipelines' p99. */
  p99Us: number
  /** Of the server, while the runaways were there. */
  cpuMs: number
  lost: number
}

let phases = 0

/** Runs fresh healthy pipelines for a while, and these runaways beside them, one after the other. */
async function phaseBeside(server: Server, kinds: string[], stops: number[]): Promise<Phase> {
  const name = `p${phases++}`
  const ids = Array.from({ length: HEALTHY }, (_, i) => `${name}-${i}`)
  for (const id of ids) await server.api('POST', '/v1/pipelines', healthy(id, RATE))
  const cpu = server.cpuSeconds()
  const until = performance.now() + PHASE_MS
  for (const [i, kind] of kinds.entries()) {
    const took = await runaway(server, `${name}-r${i}`, nameOf(kind))
    if (kind !== HARMLESS) stops.push(took)
  }
  await sleep(Math.max(0, until - performance.now()))
  const cpuMs = (server.cpuSeconds() - cpu) * 1000
  const p99s: number[] = []
  let lost = 0
  for (const id of ids) {
    await server.api('POST', `/v1/pipelines/${id}/pause`)
    const stats = await settled(server, id)
    p99s.push(stats.keep!.latencyUs.p99)
    lost += stats.in!.recordsOut - stats.out!.recordsIn + stats.keep!.errors
    await server.api('DELETE', `/v1/pipelines/${id}`)
  }
  return { p99Us: median(p99s), cpuMs, lost }
}

/** Its statistics once what was under way has arrived. */
async function settled(server: Server, id: string): ReturnType<Server['stats']> {
  for (let again = 0; ; again++) {
    const stats = await server.stats(id)
    if (stats.in!.recordsOut === stats.out!.recordsIn || again === 100) return stats
    await sleep(10)
  }
}

const healthy = (id: string, recordsPerSecond?: number): object => ({
  id,
  components: [
    { id: 'in', source: 'generator', settings: { template: { n: { $seq: 0 } }, recordsPerSecond } },
    { id: 'keep', operator: 'json-filter', from: 'in', settings: { where: [{ path: 'n', gte: 0 }] } },
    { id: 'out', emitter: 'discard', from: 'keep' },
  ],
})

/** @returns ms from the record's posting to its dead letter, seen from outside */
async function runaway(server: Server, id: string, name: string): Promise<number> {
  const components = [
    { id: 'in', source: 'http' },
    { id: 'x', operator: name, from: 'in' },
    { id: 'out', emitter: 'discard', from: 'x' },
  ]
  await server.api('POST', '/v1/pipelines', { id, components })
  const started = performance.now()
  await server.api('POST', `/v1/pipelines/${id}/ingest/in`, { a: 1 })
  for (;;) {
    const { components } = await server.api<{ components: { x: { deadLetters: number } } }>(
      'GET',
      `/v1/pipelines/${id}/stats`,
    )
    if (components.x.deadLetters > 0) break
    // Looking without a pause would take a core from the neighbours.
    await sleep(LOOK_MS)
    if (performance.now() - started > 20_000) throw new Error(`${name} was not stopped`)
  }
  const took = performance.now() - started
  await server.api('DELETE', `/v1/pipelines/${id}`)
  return took
}

/** One tenant within its bounds, beside one at ten times its quota. */
async function besideGreed(): Promise<Row> {
  const token = 'a-token-for-this-bench-alone-0123456789abcdef'
  process.env.SPQR_ADMIN_TOKEN = token
  const server = await Server.start().finally(() => {
    delete process.env.SPQR_ADMIN_TOKEN
  })
  const call = async (method: string, path: string, body?: object, tenant?: string): Promise<unknown> => {
    const headers: Record<string, string> = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    if (tenant) headers['SPQR-Tenant'] = tenant
    const init = { method, headers, body: body ? JSON.stringify(body) : undefined }
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, init)
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer.status === 204 ? undefined : answer.json()
  }
  const rate = async (tenant: string): Promise<number> => {
    const count = async (): Promise<number> => {
      const path = '/v1/pipelines/p/stats'
      const stats = (await call('GET', path, undefined, tenant)) as { components: { out: { recordsIn: number } } }
      return stats.components.out.recordsIn
    }
    const before = await count()
    const started = performance.now()
    await sleep(PHASE_MS)
    return ((await count()) - before) / ((performance.now() - started) / 1000)
  }
  try {
    for (const id of ['modest', 'greedy']) await call('POST', '/v1/tenants', { id })
    await call('PUT', '/v1/tenants/greedy/quotas', { recordsPerSecond: 2000 })
    await call('POST', '/v1/pipelines', healthy('p', 20_000), 'modest')
    await sleep(500)
    const alone = await rate('modest')
    await call('POST', '/v1/pipelines', healthy('p', 20_000), 'greedy')
    await sleep(500)
    const [beside, greedy] = [await rate('modest'), await rate('greedy')]
    return {
      name: 'records/s of a tenant beside another at ten times its quota of 2,000/s',
      value: beside,
      unit: 'records/s',
      baseline: { name: 'alone', value: alone },
      ratio: beside / alone,
      bar: '≥ 90 % of alone',
      met: beside >= 0.9 * alone,
      note: `the other is held to ${Math.round(greedy)}/s`,
    }
  } finally {
    await server.stop()
  }
}
