// Records posted over HTTP as NDJSON bodies of 5,000, each answered when it is durable, while a pipeline reads them; against a
// plain Node server that parses each line and syncs the body to a file before it answers.

import { fork } from 'node:child_process'
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { shopEvents } from './events.ts'
import { HttpClient } from './http-client.ts'
import { isShort, median, type Row, spread } from './row.ts'
import { Server } from './server.ts'

const BODY_RECORDS = 5_000
const BODIES = 8
const CONNECTIONS = 3
const ROUNDS = 3
const ROUND_MS = isShort ? 1_000 : 4_000
const SETTLE_MS_MAX = 30_000
const TYPE = 'application/x-ndjson'
const PLAIN = 'plain-server'

if (process.argv[2] === PLAIN) servePlain(process.argv[3]!)

export async function run(): Promise<Row[]> {
  const events = shopEvents(BODY_RECORDS * BODIES).map((event) => JSON.stringify(event))
  const bodies = Array.from({ length: BODIES }, (_, i) =>
    Buffer.from(`${events.slice(i * BODY_RECORDS, (i + 1) * BODY_RECORDS).join('\n')}\n`),
  )
  const folder = await mkdtemp(join(tmpdir(), 'spqr-bench-'))
  const plain = fork(fileURLToPath(import.meta.url), [PLAIN, join(folder, 'plain.ndjson')])
  const server = await Server.start()
  try {
    const port = await new Promise<number>((done) => plain.once('message', (message) => done(message as number)))
    await server.api('POST', '/v1/pipelines', {
      id: 'ingest',
      components: [
        { id: 'in', source: 'http' },
        {
          id: 'op',
          operator: 'json-filter@1',
          from: 'in',
          settings: { where: [{ path: 'action', equals: 'purchase' }] },
        },
        { id: 'out', emitter: 'discard', from: 'op' },
      ],
    })
    const path = '/v1/pipelines/ingest/ingest/in'
    await post(server.port, path, bodies, ROUND_MS / 4)
    const theirs: number[] = []
    const ours: number[] = []
    let accepted = (await server.stats('ingest')).in!.recordsIn
    for (let round = 0; round < ROUNDS; round++) {
      theirs.push((await post(port, '/', bodies, ROUND_MS / 2)).perSecond)
      await settled(server)
      accepted = (await server.stats('ingest')).op!.recordsIn
      const posted = await post(server.port, path, bodies, ROUND_MS)
      ours.push(posted.perSecond)
      accepted += posted.records
    }
    await settled(server)
    const read = (await server.stats('ingest')).op!.recordsIn
    if (read !== accepted) throw new Error(`${accepted} records were accepted, the operator got ${read}`)
    const value = median(ours)
    return [
      {
        name: `ingest over HTTP, durable, NDJSON bodies of ${BODY_RECORDS} records of ${Math.round(bodies[0]!.length / BODY_RECORDS)} B, read by json-filter meanwhile`,
        value: value / 1000,
        unit: 'k records/s',
        baseline: { name: 'node:http, JSON.parse, append, fdatasync', value: median(theirs) / 1000 },
        ratio: value / median(theirs),
        bar: '≥ 300 k/s',
        met: value >= 300_000,
        note: `${spread(
          ours.map((x) => x / 1000),
          0,
        )}; ${CONNECTIONS} connections; every accepted record was read`,
      },
    ]
  } finally {
    plain.kill()
    await server.stop()
    await rm(folder, { recursive: true })
  }
}

/** Posts on several connections for a while. */
async function post(
  port: number,
  path: string,
  bodies: Buffer[],
  forMs: number,
): Promise<{ perSecond: number; records: number }> {
  let accepted = 0
  const started = performance.now()
  const connection = async (_: unknown, index: number): Promise<void> => {
    const client = new HttpClient(port)
    for (let i = index; performance.now() - started < forMs; i++) {
      const { status, body } = await client.request('POST', path, bodies[i % bodies.length], TYPE)
      // Back-pressure: the accepted prefix counts, the rest is tried again by others.
      if (status === 429) accepted += (JSON.parse(body.toString()) as { accepted?: number }).accepted ?? 0
      else if (status === 202) accepted += BODY_RECORDS
      else throw new Error(`${status} ${body.toString()}`)
    }
    client.stop()
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, connection))
  return { perSecond: (accepted / (performance.now() - started)) * 1000, records: accepted }
}

/** Waits until the pipeline has read what it was given. */
async function settled(server: Server): Promise<void> {
  const started = performance.now()
  for (let before = -1; ; ) {
    const { recordsIn } = (await server.stats('ingest')).op!
    if (recordsIn === before) return
    if (performance.now() - started > SETTLE_MS_MAX) throw new Error('the pipeline does not come to rest')
    before = recordsIn
    await new Promise((done) => setTimeout(done, 200))
  }
}

/** What people write first. */
function servePlain(path: string): void {
  const file = openSync(path, 'w')
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts)
      for (const line of body.toString().split('\n')) if (line !== '') JSON.parse(line)
      writeSync(file, body)
      fdatasyncSync(file)
      response.writeHead(202, { 'content-length': 2 }).end('{}')
    })
  })
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port))
  process.once('SIGTERM', () => {
    closeSync(file)
    process.exit(0)
  })
}
