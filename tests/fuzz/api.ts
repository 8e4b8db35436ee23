// Sends the API random and mutated bodies, documents and queries: it must answer each, never with 500, and hold no more memory
// in the end. Seeded, so a failure can be repeated. By hand: `node --expose-gc dist/tests/fuzz/api.js [requests] [seed]`.

import { fileURLToPath } from 'node:url'
import { document, remove, startManager, type TestManager } from '../support/manager.ts'
import { ADMIN_TOKEN } from '../support/tenants.ts'
import { type Pick, picker } from './picker.ts'

export interface ApiFuzzResult {
  requests: number
  /** Answers by status. */
  statuses: Record<number, number>
  slowestMs: number
  /** What the heap held after a tenth of the requests, and after all, MiB; 0 where the collector cannot be called. */
  heapMiB: [number, number]
}

interface Target {
  method: string
  path: string
  type: string
  seeds: string[]
}

/** What one request may take at most; a machine with other work is forgiven. */
const TIME_LIMIT_MS = 20_000

const good = JSON.stringify({
  ...document('p'),
  description: 'ünïcode 🎈',
  delivery: 'at-least-once',
  checkpointEveryMs: 1000,
  strict: false,
})
const many = JSON.stringify({
  id: 'many',
  components: [
    { id: 'in', source: 'generator', settings: { template: { n: { $seq: 0 }, x: { $pick: [1, 2] } }, count: 1 } },
    {
      id: 'm',
      operator: 'json-map',
      from: 'in',
      settings: { compute: { y: 'x * (2 + n)' }, pick: ['a.b[0]'], key: 'n' },
    },
    {
      id: 'a',
      operator: 'json-aggregate@1',
      from: ['m'],
      settings: { groupBy: ['x'], fields: [{ as: 'c', fn: 'count' }] },
      emitWhen: { records: 5 },
    },
    {
      id: 'r',
      operator: 'route',
      from: { component: 'a', whenFull: 'drop-oldest', capacityKiB: 64 },
      settings: { routes: [{ port: 'big', where: [{ path: 'c', gt: 3 }] }] },
    },
    { id: 'd', emitter: 'discard', from: ['r.big', 'r.unmatched'], limits: {} },
  ],
})
const yaml = `id: y\ncomponents:\n  - {id: in, source: http}\n  - id: f\n    operator: json-filter\n    from: in\n    settings:\n      where:\n        - {path: a.b, matches: "^x+"}\n  - id: d\n    emitter: discard\n    from: [f, f.rejected]\n`

const JSON_TYPE = 'application/json'
const TARGETS: Target[] = [
  { method: 'POST', path: '/v1/pipelines', type: JSON_TYPE, seeds: [good, many] },
  { method: 'POST', path: '/v1/pipelines?dryRun=true', type: JSON_TYPE, seeds: [good, many] },
  { method: 'POST', path: '/v1/pipelines?dryRun=true', type: 'application/yaml', seeds: [yaml, good] },
  {
    method: 'PATCH',
    path: '/v1/pipelines/live/components/f',
    type: JSON_TYPE,
    seeds: ['{"settings":{"where":[{"path":"a","equals":1}]}}', '{"operator":"json-filter@1"}'],
  },
  {
    method: 'POST',
    path: '/v1/pipelines/live/fork',
    type: JSON_TYPE,
    seeds: ['{"id":"live","components":[{"id":"f","settings":{"where":[]}}]}'],
  },
  {
    method: 'POST',
    path: '/v1/pipelines/live/restart',
    type: JSON_TYPE,
    seeds: ['{"from":"savepoint:nothing"}', '{"from":"offset:x"}'],
  },
  {
    method: 'POST',
    path: '/v1/topics',
    type: JSON_TYPE,
    seeds: ['{"name":"t","partitions":2,"retentionMs":1000,"compact":true}'],
  },
  {
    method: 'POST',
    path: '/v1/topics/t/records',
    type: JSON_TYPE,
    seeds: ['{"records":[{"key":"k","value":{"a":[1,2.5e3]},"headers":{"h":{"base64":"AAE="}},"timestamp":1}]}'],
  },
  { method: 'POST', path: '/v1/topics/t/records', type: 'application/x-ndjson', seeds: ['{"a":1}\n"x"\n\n[1]\n'] },
  { method: 'POST', path: '/v1/pipelines/live/ingest/in', type: 'application/x-ndjson', seeds: ['{"a":1}\n{"a":2}\n'] },
  { method: 'POST', path: '/v1/tenants', type: JSON_TYPE, seeds: ['{"id":"default"}'] },
  {
    method: 'POST',
    path: '/v1/tenants/a/tokens',
    type: JSON_TYPE,
    seeds: ['{"scopes":["read"],"expiresAt":"2001-01-01T00:00:00Z"}'],
  },
  {
    method: 'PUT',
    path: '/v1/tenants/a/permissions',
    type: JSON_TYPE,
    seeds: ['{"net":["example.com:443","*.x.org","10.0.0.0/8"],"read":["/tmp"],"topic":["a=>b.c"]}'],
  },
  {
    method: 'PUT',
    path: '/v1/tenants/a/quotas',
    type: JSON_TYPE,
    seeds: ['{"pipelines":5,"fuelPerSecond":1e9,"topicBytes":9007199254740991}'],
  },
  { method: 'PUT', path: '/v1/tenants/a/secrets/s', type: JSON_TYPE, seeds: ['{"value":"x"}'] },
  { method: 'PUT', path: '/v1/operators/x/1.0.0', type: 'application/wasm', seeds: ['\0asm\x01\0\0\0'] },
]
const READS = [
  '/v1/pipelines',
  '/v1/pipelines/live',
  '/v1/pipelines/live/stats',
  '/v1/pipelines/live/dead-letters',
  '/v1/pipelines/live/savepoints',
  '/v1/topics',
  '/v1/topics/t',
  '/v1/topics/t/records',
  '/v1/operators',
  '/v1/operators/json-filter',
  '/v1/tenants',
  '/v1/tenants/a',
  '/v1/audit',
]
const NAMES = ['limit', 'after', 'from', 'partition', 'dryRun', 'tenant', 'force', 'keepState', '__proto__', 'x', '']
const VALUES = [
  '1',
  '0',
  '-1',
  '1e9',
  'true',
  'earliest',
  'latest',
  'offset:0',
  'offset:99',
  'time:2020-01-01T00:00:00Z',
  'a',
  '%00',
  '%ff',
  '%',
  '9'.repeat(30),
  'default',
]
/** Pieces that mean something in many places. */
const PIECES = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ':',
  ',',
  '\\',
  '\n',
  '\0',
  'null',
  'true',
  '-',
  '1e999',
  '0.1',
  '"__proto__"',
  '"constructor"',
  `$${'{secret:s}'}`,
  `$${'{env:HOME}'}`,
  '\\ud800',
  '\ufeff',
  '&a',
  '*a',
  '!!',
  '<<',
  '? ',
  '- ',
  '|',
  '#',
  '%',
  'a.b[0]',
  '["x"]',
  '@1',
  '../',
  '🎈',
  ' ',
]

/** @throws Error with the request that was answered with 500 or not in time */
export async function fuzzApi(requests: number, seed: number): Promise<ApiFuzzResult> {
  const pick = picker(seed)
  const m = await startManager({ adminToken: ADMIN_TOKEN })
  const result: ApiFuzzResult = { requests, statuses: {}, slowestMs: 0, heapMiB: [0, 0] }
  try {
    await m.ask('POST', '/v1/tenants', { id: 'a' })
    await m.ask('POST', '/v1/topics', { name: 't', retentionBytes: 1 << 20 })
    const live = await m.ask('POST', '/v1/pipelines', document('live'))
    if (live.status !== 201) throw new Error(JSON.stringify(live.body))
    for (let i = 0; i < requests; i++) {
      await one(m, pick, result)
      if (i === Math.floor(requests / 10)) result.heapMiB[0] = heapMiB()
    }
    result.heapMiB[1] = heapMiB()
    const { status } = await m.ask('GET', '/v1/pipelines/live')
    if (status !== 200) throw new Error(`the pipeline answers ${status}`)
  } finally {
    await m.stop()
    remove(m.folder)
  }
  return result
}

async function one(m: TestManager, pick: Pick, result: ApiFuzzResult): Promise<void> {
  const reads = pick(5) === 0
  const target = TARGETS[pick(TARGETS.length)]!
  const method = reads ? 'GET' : target.method
  const path = reads ? withQuery(mutatedPath(READS[pick(READS.length)]!, pick), pick) : target.path
  const body = reads ? undefined : bodyOf(target, pick)
  const type = reads || pick(50) === 0 ? undefined : target.type
  const shown = `${method} ${path} ${type ?? ''} ${JSON.stringify(body?.slice(0, 2000))}`
  const startedAt = performance.now()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`no answer in ${TIME_LIMIT_MS} ms: ${shown}`)), TIME_LIMIT_MS)
  })
  const { status, body: answer } = await Promise.race([
    m.ask(method, path, body, body === undefined ? undefined : (type ?? 'text/plain')),
    late,
  ])
  clearTimeout(timer)
  result.slowestMs = Math.max(result.slowestMs, performance.now() - startedAt)
  result.statuses[status] = (result.statuses[status] ?? 0) + 1
  if (status >= 500) throw new Error(`${status} ${JSON.stringify(answer)}: ${shown}`)
  if (status >= 400 && typeof answer?.code !== 'string') throw new Error(`no problem: ${status} ${shown}`)
  // A mutation may hit on something that is made; it goes, so that every request meets the same.
  if (status === 201 && method === 'POST' && path === '/v1/topics') await m.ask('DELETE', `/v1/topics/${answer.name}`)
  if (status === 201 && method === 'POST' && path === '/v1/tenants') await m.ask('DELETE', `/v1/tenants/${answer.id}`)
  if (status === 201 && path.endsWith('/tokens')) await m.ask('DELETE', `/v1/tenants/a/tokens/${answer.id}`)
  if (status === 201 && path === '/v1/pipelines') await m.ask('DELETE', `/v1/pipelines/${answer.id}`)
  if (status === 201 && path.endsWith('/fork')) await m.ask('DELETE', `/v1/pipelines/${answer.id}`)
}

function bodyOf({ seeds }: Target, pick: Pick): string {
  const kind = pick(10)
  if (kind === 0) return randomText(pick)
  if (kind === 1) return JSON.stringify(randomValue(pick, 0))
  const seed = seeds[pick(seeds.length)]!
  if (kind < 5) {
    const value = parsed(seed)
    if (value !== undefined) return JSON.stringify(mutatedValue(value, pick))
  }
  return mutatedText(seed, pick)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function mutatedText(seed: string, pick: Pick): string {
  let text = seed
  for (let n = 1 + pick(4); n > 0; n--) {
    const at = pick(text.length + 1)
    const to = at + pick(12)
    const kind = pick(5)
    if (kind === 0) text = text.slice(0, at) + PIECES[pick(PIECES.length)]! + text.slice(at)
    else if (kind === 1) text = text.slice(0, at) + text.slice(to)
    else if (kind === 2) text = text.slice(0, at) + text.slice(at, to).repeat(1 + pick(20)) + text.slice(to)
    else if (kind === 3) text = text.slice(0, at) + String.fromCharCode(pick(0x300)) + text.slice(at + 1)
    else text = text.slice(0, at)
  }
  return text
}

/** The same value with one part exchanged, removed or put somewhere else. */
function mutatedValue(value: unknown, pick: Pick): unknown {
  if (pick(6) === 0) return randomValue(pick, 0)
  if (Array.isArray(value) && value.length > 0) {
    const at = pick(value.length)
    const copy = [...value]
    const how = pick(8)
    if (how < 2) copy.splice(at, 1)
    else if (how < 4) copy.push(value[at])
    else copy[at] = mutatedValue(value[at], pick)
    return copy
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
    if (entries.length === 0) return { x: randomValue(pick, 0) }
    const at = pick(entries.length)
    const [key, inner] = entries[at]!
    const how = pick(10)
    if (how < 2) entries.splice(at, 1)
    else if (how < 4) entries.push([randomText(pick).slice(0, 10), inner])
    else entries[at] = [key, mutatedValue(inner, pick)]
    return Object.fromEntries(entries)
  }
  return randomValue(pick, 0)
}

function randomValue(pick: Pick, depth: number): unknown {
  const kind = pick(depth > 4 ? 6 : 8)
  if (kind === 0) return null
  if (kind === 1) return pick(2) === 0
  if (kind === 2) return (pick(2000) - 1000) / (1 + pick(3))
  if (kind === 3) return [1e308, -0, 2 ** 53, 1e-9, -1][pick(5)]
  if (kind < 6) return randomText(pick)
  if (kind === 6) return Array.from({ length: pick(5) }, () => randomValue(pick, depth + 1))
  return Object.fromEntries(Array.from({ length: pick(5) }, () => [randomText(pick), randomValue(pick, depth + 1)]))
}

function randomText(pick: Pick): string {
  let text = ''
  for (let n = pick(12); n > 0; n--) {
    text += pick(2) === 0 ? PIECES[pick(PIECES.length)]! : String.fromCharCode(pick(pick(4) === 0 ? 0xffff : 128))
  }
  return text
}

function mutatedPath(path: string, pick: Pick): string {
  if (pick(3) > 0) return path
  const at = 1 + pick(path.length)
  return path.slice(0, at) + encodeURI(randomText(pick).toWellFormed().replace(/[?#]/g, '')) + path.slice(at)
}

function withQuery(path: string, pick: Pick): string {
  const parts = Array.from({ length: pick(4) }, () => `${NAMES[pick(NAMES.length)]}=${VALUES[pick(VALUES.length)]}`)
  return parts.length ? `${path}?${parts.join('&')}` : path
}

function heapMiB(): number {
  if (!globalThis.gc) return 0
  globalThis.gc()
  return Math.round(process.memoryUsage().heapUsed / 1024 / 1024)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [requests = '10000', seed = '1'] = process.argv.slice(2)
  const startedAt = Date.now()
  const result = await fuzzApi(Number(requests), Number(seed))
  process.stdout.write(`${JSON.stringify({ ...result, tookMs: Date.now() - startedAt })}\n`)
}
