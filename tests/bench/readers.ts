// What many fast readers cost the control thread, which answers every request: 60 at once of one emitter over SSE, over
// WebSocket, and of a topic that is followed, each of 20,000 records per second.

import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { isShort, type Row } from './row.ts'
import { Server } from './server.ts'

const READERS = 60
const RECORDS_PER_SECOND = 20_000
const MEASURED_MS = isShort ? 2_000 : 8_000
const SETTLE_MS = 2_000
const TICKS_PER_SECOND = 100
/** Of one core, for all 60. */
const BAR = 0.5
const WAYS = [
  { name: 'SSE', path: '/v1/pipelines/live/out/out', upgrade: false },
  { name: 'WebSocket', path: '/v1/pipelines/live/out/out', upgrade: true },
  { name: 'a topic, SSE', path: '/v1/topics/fast/records?follow=true&from=latest', upgrade: false },
  { name: 'a topic, WebSocket', path: '/v1/topics/fast/ws?from=latest', upgrade: true },
]

interface Reader {
  socket: Socket
  bytes: number
}

export async function run(): Promise<Row[]> {
  const server = await Server.start()
  try {
    await server.api('POST', '/v1/topics', { name: 'fast', retentionBytes: 64 << 20 })
    await server.api('POST', '/v1/pipelines', {
      id: 'live',
      delivery: 'at-most-once',
      components: [
        {
          id: 'in',
          source: 'generator',
          settings: { template: { id: { $seq: 1 }, at: 'checkout' }, seed: 1, recordsPerSecond: RECORDS_PER_SECOND },
        },
        { id: 'out', emitter: 'sse', from: 'in' },
        { id: 'keep', emitter: 'topic', from: 'in', settings: { topic: 'fast' } },
      ],
    })
    await new Promise((done) => setTimeout(done, SETTLE_MS))
    const idle = await measured(server, [])
    const rows: Row[] = []
    for (const way of WAYS) {
      const readers = await Promise.all(Array.from({ length: READERS }, () => opened(server.port, way)))
      await new Promise((done) => setTimeout(done, SETTLE_MS))
      const { cores, bytesPerSecond, delayMs } = await measured(server, readers)
      for (const { socket } of readers) socket.destroy()
      rows.push({
        name: `${READERS} readers of ${RECORDS_PER_SECOND} records/s, ${way.name}: control thread`,
        value: cores,
        unit: 'cores',
        baseline: { name: 'without readers', value: idle.cores },
        bar: `at most ${BAR}`,
        met: cores <= BAR,
        note: `${(bytesPerSecond / 2 ** 20 / READERS).toFixed(2)} MiB/s each; a GET meanwhile took ${delayMs.toFixed(1)} ms at most, without readers ${idle.delayMs.toFixed(1)}`,
      })
    }
    return rows
  } finally {
    await server.stop()
  }
}

async function measured(
  server: Server,
  readers: Reader[],
): Promise<{ cores: number; bytesPerSecond: number; delayMs: number }> {
  for (const reader of readers) reader.bytes = 0
  const before = controlSeconds(server.pid)
  const started = performance.now()
  let delayMs = 0
  while (performance.now() - started < MEASURED_MS) {
    const asked = performance.now()
    await server.api('GET', '/v1/pipelines/live')
    delayMs = Math.max(delayMs, performance.now() - asked)
    await new Promise((done) => setTimeout(done, 100))
  }
  const seconds = (performance.now() - started) / 1000
  const bytes = readers.reduce((sum, reader) => sum + reader.bytes, 0)
  return { cores: (controlSeconds(server.pid) - before) / seconds, bytesPerSecond: bytes / seconds, delayMs }
}

/** Processor time of the server's first thread so far, s. */
function controlSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/task/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Resolves once the server has answered. */
function opened(port: number, { path, upgrade }: { path: string; upgrade: boolean }): Promise<Reader> {
  return new Promise((done, failed) => {
    const socket = connect({ port, host: '127.0.0.1' })
    const reader: Reader = { socket, bytes: 0 }
    const offer = upgrade
      ? 'connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
      : ''
    socket.write(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${offer}\r\n`)
    socket.once('error', failed)
    socket.on('data', (data: Buffer) => {
      if (reader.bytes === 0 && !/^HTTP\/1\.1 (101|200)/.test(data.toString('latin1', 0, 12))) {
        failed(new Error(data.toString()))
      }
      reader.bytes += data.length
      done(reader)
    })
  })
}
