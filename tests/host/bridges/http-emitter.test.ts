import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Emitter } from '../../../host/bridges/bridge.ts'
import { httpEmitter } from '../../../host/bridges/http-emitter.ts'
import { RecordBuffer } from '../../../host/record/record.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { BridgeDriver, until } from '../../support/bridge-driver.ts'

const posting = suite('http emitter')
const refusing = suite('http emitter: what it refuses')
const encoder = new TextEncoder()

interface Got {
  body: string
  request: IncomingMessage
  port: number | undefined
}

let server: Server
let port = 0
let got: Got[] = []
/** Answers, in order; 200 when there are no more. */
let answers: ((response: ServerResponse) => void)[] = []
const emitters: Emitter[] = []

const setUp = async (): Promise<void> => {
  got = []
  answers = []
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (d) => {
      body += d
    })
    request.on('end', () => {
      got.push({ body, request, port: request.socket.remotePort })
      const answer = answers.shift()
      if (answer) answer(response)
      else response.end('ok')
    })
  }).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  port = (server.address() as AddressInfo).port
}
const tearDown = async (): Promise<void> => {
  for (const emitter of emitters.splice(0)) await emitter.stop()
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
}
for (const s of [posting, refusing]) {
  s.before.each(setUp)
  s.after.each(tearDown)
}

const status =
  (code: number, body = '', headers: Record<string, string> = {}) =>
  (response: ServerResponse): void => {
    response.writeHead(code, headers).end(body)
  }

async function open(
  settings: Record<string, unknown> = {},
  flags = [`--allow-net=127.0.0.1:${port}`],
): Promise<{ emitter: Emitter; driver: BridgeDriver }> {
  const driver = new BridgeDriver({ flags })
  const emitter = httpEmitter.create(
    { url: `http://127.0.0.1:${port}/hook?q=1`, batchMs: 5, ...settings },
    driver.context,
  )
  emitters.push(emitter)
  await emitter.open(undefined)
  return { emitter, driver }
}

async function give(driver: BridgeDriver, emitter: Emitter, values: (string | undefined)[]): Promise<void> {
  const buffer = new RecordBuffer()
  values.forEach((value, i) => {
    buffer.add({ timestamp: 1, sourceOffset: i, ...(value === undefined ? {} : { value: encoder.encode(value) }) })
  })
  await driver.write(emitter, buffer.bytes, 0, buffer.length)
}

posting('posts batches as NDJSON, in order, over one connection', async () => {
  const { emitter, driver } = await open({ batchRecords: 3, headers: { 'x-a': 'b' } })
  await give(driver, emitter, ['{"n":1}', '{\n"n":2}', undefined, '4', '5', '6', '7'])
  await emitter.flush()
  assert.equal(
    got.map((g) => g.body),
    ['{"n":1}\n{ "n":2}\nnull\n', '4\n5\n6\n', '7\n'],
  )
  const { request } = got[0]!
  assert.equal(
    [request.method, request.url, request.headers['content-type'], request.headers['x-a']],
    ['POST', '/hook?q=1', 'application/x-ndjson', 'b'],
  )
  assert.is(new Set(got.map((g) => g.port)).size, 1)
  assert.equal(driver.reports, [])
})

posting('a batch that is not full goes after batchMs', async () => {
  const { emitter, driver } = await open({ batchMs: 5 })
  await give(driver, emitter, ['1'])
  await until(() => got.length === 1, 'the batch arrives')
})

posting('tries again what may pass, and each failure counts', async () => {
  const { emitter, driver } = await open()
  answers = [status(503), (r) => r.destroy(), status(429), status(204)]
  await give(driver, emitter, ['1', '2'])
  await emitter.flush()
  assert.equal(
    got.map((g) => g.body),
    Array(4).fill('1\n2\n'),
  )
  assert.is(driver.reports.length, 3)
  assert.equal(driver.deadLetters, [])
})

posting('what is refused for good goes to dead letters at once, the rest goes on', async () => {
  const { emitter, driver } = await open({ batchRecords: 2 })
  answers = [status(400, 'bad\nthing')]
  await give(driver, emitter, ['1', '2', '3'])
  await emitter.flush()
  assert.equal(
    got.map((g) => g.body),
    ['1\n2\n', '3\n'],
  )
  assert.equal(
    driver.deadLetters.map((d) => [new TextDecoder().decode(d.value), d.offset]),
    [
      ['1', 0],
      ['2', 1],
    ],
  )
  assert.match(driver.deadLetters[0]!.error.message, 'it answered 400: bad thing')
  assert.not.match(driver.deadLetters[0]!.error.message, 'q=1')
  assert.is(driver.reports.length, 1)
})

posting('what the other side repeats of what it was sent is not shown', async () => {
  const { driver, emitter } = await open({
    url: `http://us%65r-7:pass%2Bw0rd@127.0.0.1:${port}/hooks/T0K3N-1/x?key=qu3ry%2Fkey`,
    headers: { authorization: 'Bearer s3cret-t0ken' },
    retries: 0,
  })
  const login = Buffer.from('user-7:pass+w0rd').toString('base64')
  const secrets = ['T0K3N-1', 'qu3ry/key', 'qu3ry%2Fkey', 's3cret-t0ken', 'pass+w0rd', 'pass%2Bw0rd', login]
  const text = `no hooks: ${secrets.join(' ')}`
  // Also where the end of what is shown falls within one.
  answers = [status(400, text), status(400, `${'.'.repeat(190)}s3cret-t0ken`)]
  for (const value of ['1', '2']) {
    await give(driver, emitter, [value])
    await emitter.flush()
  }
  const shown = [...driver.reports, ...driver.deadLetters.map((letter) => letter.error)].map((error) => error.message)
  assert.is(shown.length, 4)
  assert.match(shown[0]!, 'it answered 400: no hooks: …')
  for (const message of shown) {
    for (const secret of [...secrets, 's3cret']) assert.not.ok(message.includes(secret), message)
  }
})

posting('gives up after its retries', async () => {
  const { emitter, driver } = await open({ retries: 2 })
  answers = [status(500), status(500), status(500)]
  await give(driver, emitter, ['1'])
  await emitter.flush()
  assert.is(got.length, 3)
  assert.is(driver.deadLetters.length, 1)
})

posting('does not follow a redirect', async () => {
  const { emitter, driver } = await open()
  answers = [status(302, '', { location: `http://127.0.0.1:${port}/away` })]
  await give(driver, emitter, ['1'])
  await emitter.flush()
  assert.is(got.length, 1)
  assert.match(driver.reports[0]!.message, 'redirects are not followed')
  assert.is(driver.deadLetters.length, 1)
})

posting('an answer that does not come, or does not end, is given up', async () => {
  const { emitter, driver } = await open({ timeoutMs: 50, retries: 1 })
  answers = [() => {}, (r) => r.writeHead(200).write('…')]
  await give(driver, emitter, ['1'])
  await emitter.flush()
  assert.is(driver.reports.length, 2)
  assert.match(driver.reports[0]!.message, 'no answer within 50 ms')
})

posting('holds a bounded amount, and stops while it cannot deliver', async () => {
  const { emitter, driver } = await open()
  answers = [() => {}]
  const buffer = new RecordBuffer()
  buffer.add({ value: new Uint8Array(900_000), timestamp: 1 })
  let taken = 0
  while (emitter.write(buffer.bytes, 0, buffer.length) > 0) assert.ok(++taken < 100)
  assert.ok(taken > 1)
  const flushed = emitter.flush().then(
    () => 'flushed',
    (error: SpqrError) => error.code,
  )
  await emitter.stop()
  assert.is(await flushed, 'INVALID_STATE')
  assert.equal(driver.deadLetters, [])
})

posting('settings change in place, but for the address', async () => {
  const { emitter, driver } = await open({ batchRecords: 1 })
  assert.ok(emitter.configure!({ url: `http://127.0.0.1:${port}/hook?q=1`, batchRecords: 2 }))
  assert.not.ok(emitter.configure!({ url: `http://127.0.0.1:${port}/other` }))
  await give(driver, emitter, ['1', '2'])
  await emitter.flush()
  assert.equal(
    got.map((g) => g.body),
    ['1\n2\n'],
  )
})

refusing('addresses that are not permitted, when it opens', async () => {
  const urls = [
    'http://127.0.0.1:9/',
    'http://169.254.169.254/latest',
    'http://[::1]:9/',
    'http://0x7f000001/',
    'http://2130706433/',
    'http://localhost:9/',
    'http://example.com/',
  ]
  for (const url of urls) {
    const error = await open({ url }, []).then(
      () => undefined,
      (thrown: SpqrError) => thrown,
    )
    assert.is(error?.code, 'PERMISSION_DENIED', url)
    assert.match(error!.message, '--allow-net=')
  }
  for (const url of ['http://127.0.0.1:9/', 'http://localhost:9/', 'http://[::ffff:7f00:1]/']) {
    const error = await open({ url }, ['--allow-net']).then(
      () => undefined,
      (thrown: SpqrError) => thrown,
    )
    assert.is(error?.code, 'PERMISSION_DENIED', url)
  }
})

refusing('addresses that are none, and headers that are ours', async () => {
  for (const [settings, pointer] of [
    [{ url: 'file:///etc/passwd' }, '/url'],
    [{ url: 'gopher://127.0.0.1/' }, '/url'],
    [{ url: 'nowhere' }, '/url'],
    [{ headers: { Host: 'x' } }, '/headers/Host'],
  ] as const) {
    const error = await open(settings).then(
      () => undefined,
      (thrown: SpqrError) => thrown,
    )
    assert.instance(error, SpqrError)
    assert.equal([error!.code, error!.issues?.[0]?.pointer], ['INVALID_DOCUMENT', pointer])
  }
})

refusing('a name that cannot be found now is reported, not refused', async () => {
  const { driver } = await open({ url: 'http://does-not-exist.invalid/' }, ['--allow-net'])
  assert.is(driver.reports.length, 1)
})

posting.run()
refusing.run()
