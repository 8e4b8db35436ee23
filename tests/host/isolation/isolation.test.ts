import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { listen, seeded, until } from '../../support/client.ts'
import { counting, Product, pushCounting } from '../../support/delivery.ts'

const isolation = suite('isolation: process')
// One for all: compiling the operator takes a while.
const product = await Product.start({ flags: ['--allow-net=127.0.0.1'] })
await pushCounting(product.client)
const { client, host } = product

isolation.after.each(async () => {
  for (const { id } of (await client.ok('GET', '/v1/pipelines')).items) await client.ok('DELETE', `/v1/pipelines/${id}`)
  for (const topic of ['in', 'out', 'q-out']) await client.ask('DELETE', `/v1/topics/${topic}`)
})
isolation.after(() => product.remove())

const isolated = (more: object = {}): Record<string, unknown> =>
  counting('p', 'in', 'out', { isolation: 'process', delivery: 'exactly-once', ...more })

const pidOf = (id: string): number => host.workers.isolated.pid(host.pipeline('default', id).compute)
const alive = (id: string): Promise<number> => until(() => pidOf(id) || undefined)

async function expectCounted(topic: string, count: number): Promise<void> {
  const values = (await client.recordsOnce(topic, count)).map((record) => record.value)
  assert.is(values.length, count)
  values.forEach((value, i) => {
    if (value.n !== i || value.count !== i + 1) assert.unreachable(`record ${i} is ${JSON.stringify(value)}`)
  })
}

isolation('records flow, are counted, and marks come after the counters that they stand for', async () => {
  await client.topics('in', 'out')
  await client.feed('in', 0, 20_000)
  await client.ok('POST', '/v1/pipelines', isolated())
  await client.feed('in', 20_000, 1000)
  await expectCounted('out', 21_000)
  const { components, edges } = await client.ok('GET', '/v1/pipelines/p/stats')
  assert.equal([components.in.recordsOut, components.c.recordsIn, components.c.recordsOut], [21_000, 21_000, 21_000])
  assert.is(components.out.recordsIn, 21_000)
  assert.ok(components.c.fuelUsed > 0 && components.c.memoryBytes > 0 && components.c.latencyUs.p50 > 0)
  assert.is(edges.length, 2)
  // One that ends by itself: what it counted is there when it shows as completed.
  const components2 = [
    { id: 'in', source: 'generator', settings: { template: { n: { $seq: 0 } }, count: 5000 } },
    { id: 'c', operator: 'counting@1', from: 'in' },
    { id: 'd', emitter: 'discard', from: 'c' },
  ]
  await client.ok('POST', '/v1/pipelines', { id: 'ends', isolation: 'process', components: components2 })
  await client.state('ends', 'completed')
  const ended = (await client.ok('GET', '/v1/pipelines/ends/stats')).components
  assert.equal([ended.c.recordsIn, ended.c.recordsOut, ended.d.recordsIn], [5000, 5000, 5000])
})

isolation('a poison record becomes a dead letter with its place, the rest goes on', async () => {
  await client.topics('in', 'out')
  await client.ok('POST', '/v1/pipelines', isolated())
  await client.feed('in', 0, 10)
  await client.feed('in', -5, 1)
  await client.feed('in', 10, 10)
  await expectCounted('out', 20)
  const letters = await until(async () => {
    const { items } = await client.ok('GET', '/v1/pipelines/p/dead-letters')
    return items.length > 0 ? items : undefined
  })
  assert.equal([letters.length, letters[0].value.code, letters[0].value.component], [1, 'OPERATOR_TRAP', 'c'])
  assert.match(letters[0].value.stack[0], /counting\.ts:\d+/)
})

isolation('an emitter that does not take holds the source, and nothing is lost', async () => {
  const count = 300_000
  const bodies: number[] = []
  let answer: (() => void) | undefined
  const held = new Promise<void>((done) => (answer = done))
  const { server, url } = await listen(
    createServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => (body += chunk))
      request.on('end', async () => {
        await held
        for (const line of body.split('\n')) if (line) bodies.push(JSON.parse(line).n)
        response.end()
      })
    }),
  )
  try {
    const pad = 'x'.repeat(200)
    const components = [
      { id: 'in', source: 'generator', settings: { template: { n: { $seq: 0 }, pad }, count } },
      { id: 'c', operator: 'json-filter@1', from: 'in', settings: { where: [] } },
      { id: 'out', emitter: 'http', from: 'c', settings: { url, batchRecords: 10_000, timeoutMs: 60_000 } },
    ]
    await client.ok('POST', '/v1/pipelines', { id: 'p', isolation: 'process', components })
    const readOf = async (): Promise<number> =>
      (await client.ok('GET', '/v1/pipelines/p/stats')).components.in.recordsIn
    // It stands still: the same number, many looks in a row.
    let read = -1
    let same = 0
    await until(async () => {
      const now = await readOf()
      same = now === read ? same + 1 : 0
      read = now
      return same > 20 ? true : undefined
    })
    assert.ok(read > 0 && read < 100_000, `${read} records were read`)
    answer!()
    await until(
      () => (bodies.length >= count ? true : undefined),
      () => `${bodies.length} of ${count} came`,
    )
    assert.is(bodies.length, count)
    for (let i = 0; i < count; i++) if (bodies[i] !== i) assert.unreachable(`record ${i} is ${bodies[i]}`)
  } finally {
    answer!()
    server.close()
    server.closeAllConnections()
  }
})

isolation('the process has no environment, and no descriptor but its pipe that leads anywhere', async () => {
  await client.topics('in', 'out')
  await client.ok('POST', '/v1/pipelines', isolated())
  const pid = await alive('p')
  assert.is(readFileSync(`/proc/${pid}/environ`, 'utf8'), '')
  assert.is(readlinkSync(`/proc/${pid}/cwd`), '/')
  const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  const sockets = targets.filter((target) => target.startsWith('socket:'))
  // The pipe, and where its error output goes.
  assert.ok(sockets.length <= 2, targets.join())
  const others = targets.filter((target) => !/^(socket:|pipe:|anon_inode:|\/dev\/null)/.test(target))
  assert.equal(others, [])
})

isolation('killed at any moment: none lost, none doubled, the state right, neighbours go on', async () => {
  await client.topics('in', 'out', 'q-out')
  await client.ok('POST', '/v1/pipelines', isolated())
  await client.ok('POST', '/v1/pipelines', { ...counting('q', 'in', 'q-out'), delivery: 'exactly-once' })
  const random = seeded(7)
  let fed = 0
  let stopped = false
  const feeding = (async () => {
    while (!stopped) {
      await client.feed('in', fed, 1000)
      fed += 1000
    }
  })()
  try {
    // Two within ten seconds are no reason to give up.
    for (let kills = 0; kills < 2; kills++) {
      await alive('p')
      const written = async (): Promise<number> =>
        (await client.ok('GET', '/v1/pipelines/p/stats')).components.out.recordsIn
      const before = await written()
      await until(async () => ((await written()) > before ? true : undefined))
      await new Promise((done) => setTimeout(done, random(200)))
      // Asked for now: one that had nothing to do for some seconds, before its pipeline was back on it, has given way to another.
      const pid = await alive('p')
      process.kill(pid, 'SIGKILL')
      await until(() => (pidOf('p') !== pid ? true : undefined))
    }
    await client.state('p', 'running')
  } finally {
    stopped = true
    await feeding
  }
  await expectCounted('out', fed)
  await expectCounted('q-out', fed)
})

isolation('one that ends again and again fails its pipelines; they can be resumed', async () => {
  await client.topics('in', 'out')
  // The crashes of the case before count as well.
  await client.ok('POST', '/v1/pipelines', isolated())
  await client.feed('in', 0, 100)
  await expectCounted('out', 100)
  for (let kills = 0; kills < 3; kills++) {
    const pid = await until(() => pidOf('p') || (host.pipeline('default', 'p').state === 'failed' ? -1 : undefined))
    if (pid < 0) break
    process.kill(pid, 'SIGKILL')
    await until(() => (pidOf('p') !== pid ? true : undefined))
  }
  const { reason } = await client.state('p', 'failed')
  assert.is(reason.code, 'OPERATOR_TRAP')
  assert.match(reason.message, /^Thread relay-\d+ ended: The process of this tenant ended/)
  await client.ok('POST', '/v1/pipelines/p/resume')
  await client.feed('in', 100, 100)
  await expectCounted('out', 200)
})

isolation('another isolation by PUT: the state goes along, both ways', async () => {
  await client.topics('in', 'out')
  await client.ok('POST', '/v1/pipelines', isolated({ isolation: 'thread' }))
  await client.feed('in', 0, 1000)
  await client.ok('PUT', '/v1/pipelines/p', isolated())
  assert.ok(host.workers.isolated.isIsolated(host.pipeline('default', 'p').compute))
  await client.feed('in', 1000, 1000)
  await client.recordsOnce('out', 2000)
  await client.ok('PUT', '/v1/pipelines/p', isolated({ isolation: 'thread' }))
  assert.not(host.workers.isolated.isIsolated(host.pipeline('default', 'p').compute))
  await client.feed('in', 2000, 1000)
  await expectCounted('out', 3000)
})

isolation('settings, emitters and sources change while it runs; taps show what leaves', async () => {
  await client.topics('in', 'out')
  const filter = { id: 'f', operator: 'json-filter@1', from: 'in', settings: { where: [{ path: 'n', lt: 10 }] } }
  const document = isolated()
  const [source, , emitter] = document.components as object[]
  await client.ok('POST', '/v1/pipelines', { ...document, components: [source, filter, { ...emitter, from: 'f' }] })
  let tapped = 0
  const tap = host.readers.tap(host.pipeline('default', 'p'), 'f', -1, 1, (frames) => {
    tapped += frames.length > 0 ? 1 : 0
    tap.ready()
  })
  await client.feed('in', 0, 20)
  await client.recordsOnce('out', 10)
  await until(() => (tapped > 0 ? true : undefined))
  await client.ok('PATCH', '/v1/pipelines/p/components/f', { settings: { where: [{ path: 'n', gte: 30 }] } })
  await client.feed('in', 20, 20)
  await client.recordsOnce('out', 20)
  const refused = await client.ask('PATCH', '/v1/pipelines/p/components/f', {
    settings: { where: [{ path: 'n', matches: '(' }] },
  })
  assert.is(refused.status, 422)
  const components = [source, filter, { id: 'other', emitter: 'topic', from: 'f', settings: { topic: 'q-out' } }]
  await client.topics('q-out')
  await client.ok('PUT', '/v1/pipelines/p', { ...document, components })
  await client.feed('in', 0, 10)
  await client.recordsOnce('q-out', 10)
  assert.is((await client.records('out')).length, 20)
  assert.is((await client.ok('GET', '/v1/pipelines/p')).state, 'running')
})

isolation('the process ends some time after its last pipeline', async () => {
  await client.topics('in', 'out')
  await client.ok('POST', '/v1/pipelines', isolated())
  const pid = await alive('p')
  await client.ok('POST', '/v1/pipelines/p/stop')
  await until(() => (existsSync(`/proc/${pid}`) ? undefined : true))
  await client.ok('POST', '/v1/pipelines/p/resume')
  assert.is.not(await alive('p'), pid)
})

isolation.run()
