import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { seeded, until } from '../support/client.ts'
import { counting, DevProcess, makeFolder, pushCounting } from '../support/delivery.ts'

const crash = suite('over a kill -9')
const folder = makeFolder()
const files = join(folder, 'files')
mkdirSync(files)
const flags = [`--allow-read=${files}`, `--allow-write=${files}`]
let dev = await DevProcess.start({ folder, flags })
await pushCounting(dev.client)

crash.after(async () => {
  await dev.end('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

async function restart(): Promise<void> {
  await dev.end('SIGKILL')
  dev = await DevProcess.start({ folder, flags })
}

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

crash('a file emitter has each line once, under exactly-once', async () => {
  const rnd = seeded(process.pid)
  const path = join(files, 'out.ndjson')
  await dev.client.topics('file-in')
  const components = [
    { id: 'in', source: 'topic', settings: { topic: 'file-in', from: 'earliest' } },
    { id: 'c', operator: 'counting@1', from: 'in' },
    { id: 'out', emitter: 'file', from: 'c', settings: { path } },
  ]
  await dev.client.ok('POST', '/v1/pipelines', {
    id: 'file',
    delivery: 'exactly-once',
    checkpointEveryMs: 50,
    components,
  })
  let fed = 0
  for (let kill = 0; kill < 4; kill++) {
    await dev.client.feed('file-in', fed, 8000)
    fed += 8000
    await sleep(rnd(150))
    await restart()
  }
  const lines = await until(() => {
    const text = readFileSync(path, 'utf8').split('\n')
    return text.length > fed ? text.slice(0, -1) : undefined
  })
  lines.forEach((line, n) => {
    if (line !== `{"n":${n},"count":${n + 1}}`) assert.unreachable(`seed ${process.pid}: line ${n} is ${line}`)
  })
  assert.is(lines.length, fed)
})

crash('what a file emitter wrote before the first checkpoint is not written twice, under exactly-once', async () => {
  const path = join(files, 'first.ndjson')
  await dev.client.topics('first-in')
  const components = [
    { id: 'in', source: 'topic', settings: { topic: 'first-in', from: 'earliest' } },
    { id: 'c', operator: 'counting@1', from: 'in' },
    { id: 'out', emitter: 'file', from: 'c', settings: { path } },
  ]
  const document = { id: 'first', delivery: 'exactly-once', checkpointEveryMs: 60_000, components }
  await dev.client.ok('POST', '/v1/pipelines', document)
  const lines = (): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1)
  await dev.client.feed('first-in', 0, 100)
  await until(() => lines().length === 100 || undefined)
  await restart()
  await dev.client.feed('first-in', 100, 100)
  await until(() => lines().length >= 200 || undefined)
  assert.equal(
    lines(),
    Array.from({ length: 200 }, (_, n) => `{"n":${n},"count":${n + 1}}`),
  )
})

crash('nothing is doubled under at-most-once', async () => {
  const rnd = seeded(process.pid + 1)
  await dev.client.topics('most-in', 'most-out')
  await dev.client.ok('POST', '/v1/pipelines', counting('most', 'most-in', 'most-out', { delivery: 'at-most-once' }))
  let fed = 0
  for (let kill = 0; kill < 4; kill++) {
    await dev.client.feed('most-in', fed, 8000)
    fed += 8000
    await sleep(rnd(60))
    await restart()
  }
  await dev.client.feed('most-in', fed, 1)
  const numbers = await until(async () => {
    const all = (await dev.client.records('most-out')).map(({ value }) => value.n as number)
    return all.at(-1) === fed ? all : undefined
  })
  for (let i = 1; i < numbers.length; i++) {
    if (numbers[i]! <= numbers[i - 1]!)
      assert.unreachable(`seed ${process.pid + 1}: ${numbers[i]} after ${numbers[i - 1]}`)
  }
})

crash('a completed pipeline stays completed, until it is restarted', async () => {
  const path = join(files, 'in.ndjson')
  writeFileSync(path, Array.from({ length: 1000 }, (_, n) => `{"n":${n}}\n`).join(''))
  await dev.client.topics('done-out')
  const components = [
    { id: 'in', source: 'file', settings: { path } },
    { id: 'c', operator: 'counting@1', from: 'in' },
    { id: 'out', emitter: 'topic', from: 'c', settings: { topic: 'done-out' } },
  ]
  await dev.client.ok('POST', '/v1/pipelines', { id: 'done', delivery: 'exactly-once', components })
  await dev.client.state('done', 'completed')
  await restart()
  assert.is((await dev.client.ok('GET', '/v1/pipelines/done')).state, 'completed')
  assert.is((await dev.client.records('done-out')).length, 1000)
  await dev.client.ok('POST', '/v1/pipelines/done/restart', { from: 'earliest' })
  await dev.client.recordsOnce('done-out', 2000)
})

crash('an input that ended stays ended, and what it led to is neither lost nor said again', async () => {
  await dev.client.topics('side-in', 'side-out')
  const components = [
    { id: 'in', source: 'topic', settings: { topic: 'side-in', from: 'earliest' } },
    { id: 'g', source: 'generator', settings: { template: { n: { $seq: 1000 } }, count: 10 } },
    { id: 'c', operator: 'counting@1', from: ['in', 'g'] },
    { id: 'out', emitter: 'topic', from: 'c', settings: { topic: 'side-out' } },
  ]
  await dev.client.ok('POST', '/v1/pipelines', {
    id: 'side',
    delivery: 'exactly-once',
    checkpointEveryMs: 50,
    components,
  })
  await dev.client.recordsOnce('side-out', 10)
  for (let round = 0; round < 2; round++) {
    await restart()
    await dev.client.feed('side-in', round * 10, 10)
    await dev.client.recordsOnce('side-out', 20 + round * 10)
  }
  const all = (await dev.client.records('side-out')).map(({ value }) => value)
  assert.equal(all.map(({ count }) => count).at(-1), 30)
  assert.is(all.filter(({ n }) => n >= 1000).length, 10)
})

crash('emitWhen tells what it had still to tell', async () => {
  await dev.client.topics('timer-in', 'timer-out')
  const components = [
    { id: 'in', source: 'topic', settings: { topic: 'timer-in', from: 'earliest' } },
    {
      id: 'sum',
      operator: 'json-aggregate',
      from: 'in',
      settings: { fields: [{ path: 'n', as: 'total', fn: 'sum' }] },
      emitWhen: { everyMs: 1500 },
    },
    { id: 'out', emitter: 'topic', from: 'sum', settings: { topic: 'timer-out' } },
  ]
  await dev.client.ok('POST', '/v1/pipelines', { id: 'timer', checkpointEveryMs: 20, components })
  await dev.client.feed('timer-in', 0, 10)
  await until(async () => {
    const { components: stats } = await dev.client.ok('GET', '/v1/pipelines/timer/stats')
    return stats.sum.recordsIn === 10 ? true : undefined
  })
  // A checkpoint has the records, and nothing was told yet.
  await dev.client.ok('POST', '/v1/pipelines/timer/savepoints', { name: 'before' })
  await restart()
  const told = await dev.client.recordsOnce('timer-out', 1)
  assert.is(told.at(-1)!.value.total, 45)
})

crash('a paused pipeline is paused, accepts, and delivers when it goes on', async () => {
  await dev.client.topics('pause-out')
  const components = [
    { id: 'in', source: 'http' },
    { id: 'c', operator: 'counting@1', from: 'in' },
    { id: 'out', emitter: 'topic', from: 'c', settings: { topic: 'pause-out' } },
  ]
  await dev.client.ok('POST', '/v1/pipelines', { id: 'pause', delivery: 'exactly-once', components })
  await dev.client.ok('POST', '/v1/pipelines/pause/pause')
  const send = (n: number): Promise<unknown> =>
    dev.client.ok('POST', '/v1/pipelines/pause/ingest/in', `{"n":${n}}\n`, 'application/x-ndjson')
  for (let n = 0; n < 5; n++) await send(n)
  await restart()
  await dev.client.state('pause', 'paused')
  for (let n = 5; n < 10; n++) await send(n)
  assert.is((await dev.client.records('pause-out')).length, 0)
  await dev.client.ok('POST', '/v1/pipelines/pause/resume')
  const all = (await dev.client.recordsOnce('pause-out', 10)).map(({ value }) => value)
  assert.equal(
    all,
    Array.from({ length: 10 }, (_, n) => ({ n, count: n + 1 })),
  )
})

crash('a restart from the past holds, however soon it comes', async () => {
  await dev.client.topics('past-in', 'past-out')
  await dev.client.feed('past-in', 0, 50)
  const document = counting('past', 'past-in', 'past-out', { delivery: 'exactly-once', checkpointEveryMs: 50 })
  await dev.client.ok('POST', '/v1/pipelines', document)
  await dev.client.recordsOnce('past-out', 50)
  await dev.client.ok('POST', '/v1/pipelines/past/pause')
  await dev.client.ok('POST', '/v1/pipelines/past/restart', { from: 'offset:20' })
  await restart()
  const all = (await dev.client.recordsOnce('past-out', 80)).map(({ value }) => value)
  assert.equal([all.length, all[50]], [80, { n: 20, count: 1 }])
})

crash.run()
