import { connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { WebSocket } from 'ws'
import { PieceWriter } from '../../host/bridges/reader-pieces.ts'
import { READERS_MAX } from '../../host/pipeline/reader-places.ts'
import { type Listening, serve } from '../../manager/http/serve.ts'
import { serverSentEvents } from '../../manager/http/server-sent-events.ts'
import { WholeFrames } from '../../manager/http/whole-frames.ts'
import { until } from '../support/client.ts'
import { document, remove, startManager, type TestManager } from '../support/manager.ts'
import { rawHttp, statuses } from '../support/raw-http.ts'

interface Context {
  m: TestManager
  server: Listening
}

const test = suite<Context>('serve')
test.before.each(async (context) => {
  context.m = await startManager()
  const { manager } = context.m
  context.server = await serve({ fetch: (request, env) => manager.fetch(request, env), port: 0 })
})
test.after.each(async ({ m, server }) => {
  await server.stop(100)
  await m.stop()
  remove(m.folder)
})

test('a taken port is one clear line', async ({ server }) => {
  try {
    await serve({ fetch: () => new Response(), port: server.port })
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, new RegExp(`127\\.0\\.0\\.1:${server.port}: the port is taken`))
  }
})

test('an emitter is read over WebSocket; a refusal is an HTTP answer', async ({ m, server }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  await m.ask('POST', '/v1/pipelines/p/ingest/in', '{"a":1,"n":1}\n{"a":2}\n{"a":1,"n":2}\n', 'application/x-ndjson')
  const frames: string[] = []
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/pipelines/p/out/d`)
  const code = await new Promise((done, fail) => {
    socket.on('close', done).on('error', fail)
    socket.on('message', (data) => {
      frames.push(String(data))
      // Its end closes the connection too.
      if (frames.length === 2) void m.ask('DELETE', '/v1/pipelines/p')
    })
  })
  assert.equal([frames, code], [['{"a":1,"n":1}', '{"a":1,"n":2}'], 1000])
  const refused = new WebSocket(`${server.url.replace('http', 'ws')}/v1/pipelines/nope/out/d`)
  const error = await new Promise<Error>((done) => refused.on('error', done))
  assert.match(error.message, /404/)
})

test('records of every length of frame come over WebSocket as they are', async ({ m, server }) => {
  const lengths = [2, 125, 126, 127, 65_535, 65_536, 200_000]
  const sent = lengths.map((length) => `"${'x'.repeat(length - 2)}"`)
  const components = [
    { id: 'in', source: 'http' },
    { id: 'out', emitter: 'websocket', from: 'in' },
  ]
  await m.ask('POST', '/v1/pipelines', { id: 'long', components })
  await m.ask('POST', '/v1/pipelines/long/ingest/in', `${sent.join('\n')}\n`, 'application/x-ndjson')
  const frames: string[] = []
  const headers = { 'last-event-id': 'another.1' }
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/pipelines/long/out/out`, { headers })
  await new Promise<void>((done, fail) => {
    socket.on('error', fail)
    socket.on('message', (data) => {
      // What it asks meanwhile is answered between frames.
      socket.ping()
      if (frames.push(String(data)) === sent.length + 1) done()
    })
  })
  socket.close()
  assert.equal(frames, ['{"event":"gap"}', ...sent])
})

test('frames are cut where they end, however they come', () => {
  const frames = [1, 125, 126, 65_535, 65_536].map((length) => {
    const writer = new PieceWriter('frames')
    writer.record(new Uint8Array(length).fill(0x81))
    return writer.piece()
  })
  const all = Buffer.concat(frames)
  const ends = frames.map((_, i) => frames.slice(0, i + 1).reduce((sum, frame) => sum + frame.length, 0))
  for (const step of [1, 2, 3, 997, all.length]) {
    const cut = new WholeFrames()
    const out: Uint8Array[] = []
    let length = 0
    for (let at = 0; at < all.length; at += step) {
      const whole = cut.add(all.subarray(at, at + step))
      if (whole.length === 0) continue
      out.push(whole.slice())
      length += whole.length
      assert.ok(ends.includes(length), `${length} with steps of ${step}`)
    }
    assert.ok(Buffer.concat(out).equals(all))
  }
})

test('a topic has so many readers and no more', async ({ m, server }) => {
  await m.ask('POST', '/v1/topics', { name: 'many' })
  const follow = (): Promise<Response> => fetch(`${server.url}/v1/topics/many/records?follow=true`)
  const open = await Promise.all(Array.from({ length: READERS_MAX }, follow))
  assert.ok(open.every(({ status }) => status === 200))
  const refused = await follow()
  const problem = (await refused.json()) as { code: string; detail: string }
  assert.equal([refused.status, problem.code], [429, 'QUOTA_EXCEEDED'])
  assert.match(problem.detail, /topic "many" has 256 readers already/)
  await open[0]!.body!.cancel()
  await until(
    async () => ((await follow()).status === 200 ? true : undefined),
    () => 'a place that was given back is not free',
  )
})

test('who follows a topic from anywhere gets every record once', async ({ m, server }) => {
  await m.ask('POST', '/v1/topics', { name: 'all' })
  const produce = async (from: number, count: number): Promise<void> => {
    const records = Array.from({ length: count }, (_, i) => ({ value: from + i }))
    await m.ask('POST', '/v1/topics/all/records', { records })
  }
  await produce(0, 1500)
  const starts = [0, 1, 700, 1499, 1500]
  const limits = [2000, 1999, 1300, 1, 500]
  const reading = starts.map(async (start, i) => {
    const url = `${server.url}/v1/topics/all/records?follow=true&from=offset:${start}&limit=${limits[i]}`
    const seen: number[] = []
    for await (const { data } of serverSentEvents((await fetch(url)).body as ReadableStream<Uint8Array>)) {
      seen.push((JSON.parse(data) as { value: number }).value)
    }
    return seen
  })
  for (let at = 1500; at < 2000; at += 10) await produce(at, 10)
  const seen = await Promise.all(reading)
  starts.forEach((start, i) => {
    assert.equal(
      seen[i],
      Array.from({ length: limits[i]! }, (_, n) => start + n),
    )
  })
})

test('a topic is followed over WebSocket', async ({ m, server }) => {
  await m.ask('POST', '/v1/topics', { name: 't' })
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/topics/t/ws?from=earliest`)
  const first = new Promise((done, fail) =>
    socket.on('message', (data) => done(JSON.parse(String(data)))).on('error', fail),
  )
  await m.ask('POST', '/v1/topics/t/records', { records: [{ key: 'k', value: { n: 1 } }] })
  const { key, value, offset } = (await first) as { key: string; value: unknown; offset: string }
  assert.equal([key, value, offset], ['k', { n: 1 }, '0'])
  socket.close()
})

test('a body without a length is bounded too', async ({ server }) => {
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
  })
  const init = { method: 'POST', body, duplex: 'half', headers: { 'content-type': 'application/json' } }
  const response = await fetch(`${server.url}/v1/pipelines`, init as RequestInit)
  assert.equal([response.status, response.headers.get('connection')], [413, 'close'])
  assert.is(((await response.json()) as { code: string }).code, 'TOO_LARGE')
})

test('an ingest passes its bytes on as they are', async ({ m, server }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const body = new Uint8Array([0, 255, 10, 13])
  const headers = { 'content-type': 'application/octet-stream' }
  const response = await fetch(`${server.url}/v1/pipelines/p/ingest/in`, { method: 'POST', body, headers })
  assert.equal([response.status, await response.json()], [202, { accepted: 1 }])
  const { records } = (await m.ask('GET', '/v1/topics/p.ingest.in/records')).body
  assert.equal(records[0].value, { base64: Buffer.from(body).toString('base64') })
})

test('a request that offers h2c is answered in HTTP/1.1, its body too, and holds up no end', async ({ m, server }) => {
  const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'
  const host = `Host: 127.0.0.1:${server.port}\r\n`
  const body = JSON.stringify({ name: 'made' })
  const get = `GET /healthz HTTP/1.1\r\n${host}${offer}\r\n`
  assert.equal(statuses(await rawHttp(server.port, get, 5000, 1)), [200])
  const type = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
  const post = `POST /v1/topics HTTP/1.1\r\n${host}${offer}${type}\r\n${body}`
  assert.equal(statuses(await rawHttp(server.port, post, 5000, 1)), [201])
  assert.is((await m.ask('GET', '/v1/topics/made')).status, 200)
  const idle = connect(server.port, '127.0.0.1', () => idle.write(get))
  await new Promise((done) => idle.once('data', done))
  const closed = new Promise((done) => idle.once('close', done))
  await server.stop(50)
  await closed
})

test('what is no HTTP is told so', async ({ server }) => {
  const garbage = await rawHttp(server.port, 'hello\r\n\r\n', 5000)
  assert.equal([statuses(garbage), garbage.includes('"code":"INVALID_BODY"')], [[400], true])
  const long = await rawHttp(server.port, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 5000)
  assert.equal([statuses(long), long.includes('application/problem+json')], [[431], true])
})

test('who sends too much and reads only then hears of it', async ({ server }) => {
  for (let i = 0; i < 5; i++) {
    const bytes = (4 << 20) + 1
    const head = `PUT /v1/operators/w/1.0.0 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/wasm\r\nContent-Length: ${bytes}\r\n\r\n`
    const answer = await rawHttp(server.port, Buffer.concat([Buffer.from(head), Buffer.alloc(bytes)]), 10_000)
    assert.equal(statuses(answer), [413])
  }
})

/** The data of the first events of a stream; it is left then. */
async function eventsOf(
  url: string,
  count: number,
  send: () => Promise<unknown> = async () => undefined,
): Promise<string[]> {
  const response = await fetch(url)
  assert.is(response.status, 200, await (response.ok ? '' : response.text()))
  await send()
  const data: string[] = []
  for await (const event of serverSentEvents(response.body as ReadableStream<Uint8Array>)) {
    data.push(event.data)
    if (data.length === count) break
  }
  return data
}

test('a topic of a pipeline is followed before its first record', async ({ m, server }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const send = (): Promise<unknown> => m.ask('POST', '/v1/pipelines/p/ingest/in', 'no json', 'application/x-ndjson')
  const [record] = await eventsOf(`${server.url}/v1/topics/p.dead-letters/records?follow=true`, 1, send)
  assert.is(JSON.parse(record!).value.code, 'INVALID_RECORD')
})

test('a follower gets what was written to the digit, as many as it wants, and hears what is wrong', async ({
  m,
  server,
}) => {
  await m.ask('POST', '/v1/topics', { name: 't', partitions: 2 })
  const value = '{ "id" : 12345678901234567890,\n"e": 1.50, "s":"a]\\"},{" }'
  const records = `{"records":[{"value":${value},"partition":1},{"value":2,"partition":0},{"value":3,"partition":0}]}`
  await m.ask('POST', '/v1/topics/t/records', records, 'application/json')
  const topic = `${server.url}/v1/topics/t/records?follow=true`
  const all = await eventsOf(`${topic}&limit=2`, 99)
  assert.is(all.length, 2, 'the stream ends there')
  const [first] = await eventsOf(`${topic}&partition=1`, 1)
  assert.ok(first!.includes(value.replace('\n', ' ')), first)
  assert.is((await fetch(`${topic}&partition=2`)).status, 404)
  const beyond = await fetch(`${topic}&partition=0&from=offset:9223372036854775807`)
  assert.is(beyond.status, 409)
  assert.match(await beyond.text(), /at offset 9223372036854775807: it has 0 to /, 'with every digit')
})

test.run()
