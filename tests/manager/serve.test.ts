import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { WebSocket } from 'ws'
import { type Listening, serve } from '../../manager/http/serve.ts'
import { document, remove, startManager, type TestManager } from '../support/manager.ts'

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

test.run()
