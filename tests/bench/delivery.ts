// What delivery costs, on the embedded transport: the pause of a checkpoint, a restart, poison, and topic to topic under each
// guarantee. A server of its own for each, with one more processor-hungry thread than cores: the log compresses and syncs.

import { performance } from 'node:perf_hooks'
import { shopEvents } from './events.ts'
import { pauses, STATE_MIB, STATEFUL, stateful } from './pause.ts'
import { isShort, median, type Row, spread } from './row.ts'
import { Server } from './server.ts'

const RESTARTS = isShort ? 3 : 15
const POISON_RECORDS = isShort ? 100_000 : 1_000_000
const POISON_EVERY = 1000
const TOPIC_RECORDS = isShort ? 100_000 : 1_000_000
const TOPIC_ROUNDS = isShort ? 1 : 3
const POSTED_RECORDS = 50_000

/** Counts, and traps at every thousandth number where it is told to. */
const POISONED = `import { Operator, Record, Emitter, Settings, Change, register } from 'spqr'
let count: i64 = 0
let every: i64 = 0
class Poisoned extends Operator {
  configure(settings: Settings): Change { every = settings.bool('poison') ? ${POISON_EVERY} : 0; return Change.Keep }
  process(record: Record, out: Emitter): void {
    const n = <i64>record.json('n').f64
    count++
    out.write('{"n":' + n.toString() + ',"count":' + count.toString() + '}')
    if (every > 0 && n % every == every - 1) throw new Error('poison')
  }
}
register(new Poisoned())
`

export async function run(): Promise<Row[]> {
  return [...(await pauses()), ...(await restarts()), ...(await poison()), ...(await throughput())]
}

async function restarts(): Promise<Row[]> {
  const server = await Server.start()
  try {
    await server.api('POST', '/v1/operators', { name: 'stateful', version: '1.0.0', source: STATEFUL })
    await server.api('POST', '/v1/pipelines', {
      id: 'p',
      components: [
        { id: 'in', source: 'generator', settings: { template: { n: { $seq: 1 } }, recordsPerSecond: 2000 } },
        { id: 'op', from: 'in', ...stateful },
        { id: 'out', emitter: 'discard', from: 'op' },
      ],
    })
    const arrived = async (): Promise<number> => (await server.stats('p')).out!.recordsIn
    const took: number[] = []
    for (let i = 0; i < RESTARTS; i++) {
      await new Promise((done) => setTimeout(done, 200))
      await server.api('POST', '/v1/pipelines/p/stop')
      const before = await arrived()
      const started = performance.now()
      await server.api('POST', '/v1/pipelines/p/resume')
      while ((await arrived()) === before) await new Promise((done) => setTimeout(done, 1))
      took.push(performance.now() - started)
    }
    const worst = Math.max(...took)
    const name = `restart of a pipeline with ${STATE_MIB} MiB state, until the first record has passed`
    return [{ name, value: median(took), unit: 'ms', bar: '≤ 500 ms', met: worst <= 500, note: spread(took, 0) }]
  } finally {
    await server.stop()
  }
}

async function poison(): Promise<Row[]> {
  const server = await Server.start()
  try {
    await server.api('POST', '/v1/operators', { name: 'poisoned', version: '1.0.0', source: POISONED })
    const pass = async (id: string, isPoisoned: boolean): Promise<number> => {
      await server.api('POST', '/v1/topics', { name: `${id}-out` })
      const started = performance.now()
      await server.api('POST', '/v1/pipelines', {
        id,
        components: [
          { id: 'in', source: 'generator', settings: { template: { n: { $seq: 0 } }, count: POISON_RECORDS } },
          { id: 'op', operator: 'poisoned@1', from: 'in', settings: { poison: isPoisoned } },
          { id: 'out', emitter: 'topic', from: 'op', settings: { topic: `${id}-out` } },
        ],
      })
      await completed(server, id)
      const took = performance.now() - started
      const bad = isPoisoned ? POISON_RECORDS / POISON_EVERY : 0
      const good = POISON_RECORDS - bad
      const last = await lastRecord(server, `${id}-out`)
      const letters = isPoisoned ? (await lastRecord(server, `${id}.dead-letters`)).count : 0
      if (last.count !== good || letters !== bad || (last.value as { count: number }).count !== good) {
        throw new Error(`${last.count} through, ${letters} dead letters, the last record ${JSON.stringify(last.value)}`)
      }
      return took
    }
    await pass('warm', false)
    const clean = await pass('clean', false)
    const poisoned = await pass('poisoned', true)
    const bad = POISON_RECORDS / POISON_EVERY
    return [
      {
        name: `${bad} poison records in ${POISON_RECORDS}: all in dead letters, the rest through, state right`,
        value: poisoned / 1000,
        unit: 's',
        baseline: { name: 's without poison', value: clean / 1000 },
        ratio: clean / poisoned,
        bar: 'all accounted for',
        met: true,
        note: `${((poisoned - clean) / bad).toFixed(2)} ms for each poison record`,
      },
    ]
  } finally {
    await server.stop()
  }
}

async function throughput(): Promise<Row[]> {
  const server = await Server.start()
  try {
    const events = shopEvents(POSTED_RECORDS)
    const lines = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''))
    await server.api('POST', '/v1/topics', { name: 'in' })
    for (let sent = 0; sent < TOPIC_RECORDS; sent += POSTED_RECORDS) {
      const answer = await server.client.request('POST', '/v1/topics/in/records', lines, 'application/x-ndjson')
      if (answer.status !== 200) throw new Error(answer.body.toString())
    }
    const matching = events.filter((event) => event.action === 'purchase').length * (TOPIC_RECORDS / POSTED_RECORDS)
    const rates = new Map<string, number[]>()
    const cpuUs = new Map<string, number[]>()
    for (let round = 0; round < TOPIC_ROUNDS; round++) {
      for (const delivery of ['at-most-once', 'at-least-once', 'exactly-once']) {
        const id = `${delivery}-${round}`
        await server.api('POST', '/v1/topics', { name: id })
        const cpuBefore = server.cpuSeconds()
        const started = performance.now()
        await server.api('POST', '/v1/pipelines', {
          id,
          delivery,
          components: [
            { id: 'in', source: 'topic', settings: { topic: 'in', from: 'earliest' } },
            {
              id: 'op',
              operator: 'json-filter@1',
              from: 'in',
              settings: { where: [{ path: 'action', equals: 'purchase' }] },
            },
            { id: 'out', emitter: 'topic', from: 'op', settings: { topic: id } },
          ],
        })
        // Readable: under exactly-once that is with its epoch.
        while ((await visible(server, id)) < matching) await new Promise((done) => setTimeout(done, 5))
        const rate = (TOPIC_RECORDS / (performance.now() - started)) * 1000
        rates.set(delivery, [...(rates.get(delivery) ?? []), Math.round(rate)])
        const cpu = ((server.cpuSeconds() - cpuBefore) / TOPIC_RECORDS) * 1e6
        cpuUs.set(delivery, [...(cpuUs.get(delivery) ?? []), cpu])
        await server.api('DELETE', `/v1/pipelines/${id}`)
        if ((await visible(server, id)) !== matching) throw new Error(`${id}: not ${matching} records`)
      }
    }
    const note = `235 B events, a quarter passes; created to all readable`
    const baseline = { name: '/s at-least-once', value: median(rates.get('at-least-once')!) }
    return [...rates].map(([delivery, values]) => ({
      name: `embedded topic → json-filter → topic, ${delivery}`,
      value: median(values),
      unit: 'records/s',
      ...(delivery === 'at-least-once' ? {} : { baseline, ratio: median(values) / baseline.value }),
      note: `${note}; ${median(cpuUs.get(delivery)!).toFixed(2)} µs of processor each; ${spread(values, 0)}`,
    }))
  } finally {
    await server.stop()
  }
}

async function completed(server: Server, id: string): Promise<void> {
  for (;;) {
    const { state, reason } = await server.api<{ state: string; reason?: unknown }>('GET', `/v1/pipelines/${id}`)
    if (state === 'completed') return
    if (state === 'failed') throw new Error(`${id} failed: ${JSON.stringify(reason)}`)
    await new Promise((done) => setTimeout(done, 5))
  }
}

/** Records of partition 0 that can be read. */
async function visible(server: Server, topic: string): Promise<number> {
  const path = `/v1/topics/${topic}/records?partition=0&from=latest&limit=1`
  const { next } = await server.api<{ next: Record<string, string> }>('GET', path)
  return Number(next['0'])
}

async function lastRecord(server: Server, topic: string): Promise<{ count: number; value: unknown }> {
  const count = await visible(server, topic)
  const path = `/v1/topics/${topic}/records?partition=0&from=offset:${count - 1}&limit=1`
  const { records } = await server.api<{ records: { value: unknown }[] }>('GET', path)
  return { count, value: records[0]?.value }
}
