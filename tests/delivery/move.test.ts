import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../support/client.ts'
import { counting, DELIVERIES, Product, pushCounting } from '../support/delivery.ts'

const MOVES = 20
const STEP = 3000

const move = suite('Host.move')
// One for all: compiling the operator takes a while.
const product = await Product.start()
await pushCounting(product.client)
const { client, host } = product

move.after.each(async () => {
  await client.ok('DELETE', '/v1/pipelines/p')
  for (const topic of ['in', 'out']) await client.ask('DELETE', `/v1/topics/${topic}`)
})
move.after(() => product.remove())

for (const delivery of DELIVERIES) {
  move(`20 times under load, ${delivery}: nothing missing, nothing doubled, the state right`, async () => {
    await client.topics('in', 'out')
    await client.ok('POST', '/v1/pipelines', counting('p', 'in', 'out', { delivery }))
    let fed = 0
    let stopped = false
    const feeding = (async () => {
      while (!stopped) {
        await client.feed('in', fed, STEP)
        fed += STEP
      }
    })()
    for (let i = 1; i <= MOVES; i++) {
      await host.move('default', 'p', i % 2)
      assert.is(host.pipeline('default', 'p').compute, i % 2)
      assert.is(host.pipeline('default', 'p').state, 'running')
    }
    stopped = true
    await feeding
    const values = (await client.recordsOnce('out', fed)).map((record) => record.value)
    assert.is(values.length, fed)
    values.forEach((value, i) => {
      if (value.n !== i || value.count !== i + 1) assert.unreachable(`record ${i} is ${JSON.stringify(value)}`)
    })
    const stats = await client.ok('GET', '/v1/pipelines/p/stats')
    assert.is(stats.components.c.recordsIn, fed)
  })
}

move('ingest, taps and readers do not notice', async () => {
  const components = [
    { id: 'in', source: 'http' },
    { id: 'c', operator: 'counting@1', from: 'in' },
    { id: 'out', emitter: 'sse', from: 'c', settings: { lastRecords: 1000 } },
  ]
  await client.ok('POST', '/v1/pipelines', { id: 'p', components })
  const pipeline = host.pipeline('default', 'p')
  const read: string[] = []
  await host.readers.read(pipeline, 'out', {
    form: 'events',
    onPiece: (piece) => {
      read.push(
        ...Array.from(
          Buffer.from(piece)
            .toString()
            .matchAll(/^data: (.*)$/gm),
          ([, value]) => value!,
        ),
      )
      return true
    },
    onEnd: () => read.push('end'),
  })
  let tapped = 0
  const tap = host.readers.tap(pipeline, 'c', -1, 1, (frames) => {
    tapped += frames.length > 0 ? 1 : 0
    tap.ready()
  })
  let sent = 0
  for (let i = 0; i < 6; i++) {
    const moving = i > 0 ? host.move('default', 'p', i % 2) : Promise.resolve()
    for (let k = 0; k < 5; k++) await client.ok('POST', '/v1/pipelines/p/ingest/in', `{"n":${sent++}}`, 'text/plain')
    await moving
    const before = tapped
    await client.ok('POST', '/v1/pipelines/p/ingest/in', `{"n":${sent++}}`, 'text/plain')
    await until(
      () => (tapped > before ? true : undefined),
      () => `the tap is silent after move ${i}`,
    )
  }
  await until(
    () => (read.length >= sent ? true : undefined),
    () => `${read.length} of ${sent} read`,
  )
  assert.equal(
    read.map((text) => JSON.parse(text)),
    Array.from({ length: sent }, (_, n) => ({ n, count: n + 1 })),
  )
})

move('of a source that has ended, beside one that goes on', async () => {
  await client.topics('in', 'out')
  const document = counting('p', 'in', 'out')
  const components = [
    ...(document.components as object[]),
    { id: 'g', source: 'generator', settings: { template: { n: { $seq: 0 } }, count: 10 } },
    { id: 'd', operator: 'counting@1', from: 'g' },
    { id: 'o', emitter: 'sse', from: ['d', 'c'] },
  ]
  await client.ok('POST', '/v1/pipelines', { ...document, components })
  await until(async () => {
    const stats = await client.ok('GET', '/v1/pipelines/p/stats')
    return stats.components.d.recordsOut === 10 ? true : undefined
  })
  for (let i = 1; i <= 4; i++) {
    await client.feed('in', i * 10, 10)
    await host.move('default', 'p', i % 2)
  }
  await client.recordsOnce('out', 40)
  await client.ok('POST', '/v1/pipelines/p/savepoints', { name: 's' })
  const kept = await host.transport.checkpoint({ tenant: 'default', pipeline: 'p', slot: 0 })
  assert.is(kept!.snapshots.length, 2)
  for (const { component, memory } of kept!.snapshots) assert.ok(memory.length > 0, `${component} kept no state`)
})

move('is refused where there is no such worker, or nothing runs', async () => {
  await client.topics('in', 'out')
  await client.ok('POST', '/v1/pipelines', counting('p', 'in', 'out'))
  for (const worker of [-1, 2, 0.5]) {
    await host.move('default', 'p', worker).then(
      () => assert.unreachable(),
      (error) => assert.equal([error.code, error.issues[0].pointer], ['INVALID_BODY', '/worker']),
    )
  }
  await client.ok('POST', '/v1/pipelines/p/stop')
  await host.move('default', 'p', 1).then(
    () => assert.unreachable(),
    (error) => assert.is(error.code, 'INVALID_STATE'),
  )
})

move('of a paused pipeline leaves it paused', async () => {
  await client.topics('in', 'out')
  await client.ok('POST', '/v1/pipelines', counting('p', 'in', 'out'))
  await client.ok('POST', '/v1/pipelines/p/pause')
  await client.feed('in', 0, 10)
  await host.move('default', 'p', 1 - host.pipeline('default', 'p').compute)
  assert.is(host.pipeline('default', 'p').state, 'paused')
  assert.is((await client.records('out')).length, 0)
  await client.ok('POST', '/v1/pipelines/p/resume')
  await client.recordsOnce('out', 10)
})

move.run()
