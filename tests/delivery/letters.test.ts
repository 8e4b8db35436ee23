import { rmSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { seeded, until } from '../support/client.ts'
import { counting, DevProcess, makeFolder, pushCounting } from '../support/delivery.ts'

const KILLS = 4
const STEP = 6000
/** Each of these numbers is poison. */
const EVERY = 100

const poisoned = (n: number): object => ({ n: n % EVERY === EVERY - 1 ? -n : n })

const letters = suite('dead letters')
const folder = makeFolder()
let dev = await DevProcess.start({ folder })
await pushCounting(dev.client)

letters.after(async () => {
  await dev.end('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

letters('belong to the epoch: under exactly-once a crash doubles none, and loses none', async () => {
  const rnd = seeded(process.pid)
  await dev.client.topics('in', 'out')
  await dev.client.ok('POST', '/v1/pipelines', counting('p', 'in', 'out', { delivery: 'exactly-once' }))
  let fed = 0
  for (let kill = 0; kill < KILLS; kill++) {
    await dev.client.feed('in', fed, STEP, poisoned)
    fed += STEP
    await new Promise((done) => setTimeout(done, rnd(150)))
    await dev.end('SIGKILL')
    dev = await DevProcess.start({ folder })
  }
  const good = await dev.client.recordsOnce('out', fed - fed / EVERY)
  const bad = await dev.client.recordsOnce('p.dead-letters', fed / EVERY)
  assert.equal(
    bad.map((letter) => letter.value.record.value.n),
    Array.from({ length: fed / EVERY }, (_, i) => -(i * EVERY + EVERY - 1)),
    `seed ${process.pid}`,
  )
  const numbers = Array.from({ length: fed }, (_, n) => n).filter((n) => n % EVERY !== EVERY - 1)
  assert.is(good.length, numbers.length, `seed ${process.pid}`)
  good.forEach(({ value }, i) => {
    if (value.n !== numbers[i] || value.count !== i + 1) assert.unreachable(`record ${i} is ${JSON.stringify(value)}`)
  })
})

for (const delivery of ['at-least-once', 'exactly-once']) {
  letters(`that led to a failure are kept, ${delivery}`, async () => {
    const { client } = dev
    const id = `failing-${delivery}`
    const [input, output] = [`in-${id}`, `out-${id}`]
    await client.topics(input, output)
    // No epoch ends before it fails.
    const document = counting(id, input, output, { delivery, checkpointEveryMs: 60_000 })
    const components = (document.components as { id: string }[]).map((c) => {
      return c.id === 'c' ? { ...c, onError: { do: 'dead-letter', stopAbove: 0.02 } } : c
    })
    await client.feed(input, 0, 10_000)
    await client.feed(input, 10_000, 1000, (n) => ({ n: -n }))
    await client.ok('POST', '/v1/pipelines', { ...document, components })
    const failed = await until(async () => {
      const body = await client.ok('GET', `/v1/pipelines/${id}`)
      return body.state === 'failed' ? body : undefined
    })
    assert.is(failed.reason.code, 'OPERATOR_TRAP')
    const told = (await client.ok('GET', `/v1/pipelines/${id}/stats`)).components.c.deadLetters
    assert.ok(told > 200, `${told} letters`)
    const kept = await client.recordsOnce(`${id}.dead-letters`, told)
    assert.equal(
      kept.map(({ value }) => value.record.value.n),
      Array.from({ length: told }, (_, i) => -10_000 - i),
    )
    if (delivery === 'exactly-once') assert.is((await client.records(output)).length, 0, 'of the epoch nothing else')
  })
}

letters('one record that stops the pipeline is the reason, and goes on when it is resumed without it', async () => {
  const { client } = dev
  await client.topics('in-s', 'out-s')
  const document = counting('s', 'in-s', 'out-s', { delivery: 'exactly-once' })
  const components = (document.components as { id: string }[]).map((c) => {
    return c.id === 'c' ? { ...c, onError: 'stop' } : c
  })
  await client.ok('POST', '/v1/pipelines', { ...document, components })
  await client.feed('in-s', 0, 10, (n) => ({ n: n === 5 ? -5 : n }))
  const failed = await until(async () => {
    const body = await client.ok('GET', '/v1/pipelines/s')
    return body.state === 'failed' ? body : undefined
  })
  assert.equal([failed.reason.code, failed.reason.component], ['OPERATOR_TRAP', 'c'])
  await client.ok('PUT', '/v1/pipelines/s', document)
  await client.ok('POST', '/v1/pipelines/s/resume')
  const values = (await client.recordsOnce('out-s', 9)).map(({ value }) => value.n)
  assert.equal(values, [0, 1, 2, 3, 4, 6, 7, 8, 9])
})

letters('go in again as they were, or not at all', async () => {
  const { client } = dev
  await client.topics('in-r', 'out-r')
  await client.ok('POST', '/v1/pipelines', counting('r', 'in-r', 'out-r'))
  const exact = '{"n":-1,"big":9007199254740993,"e":1E+400,"n":-2}'
  const long = `{"n":-3,"x":"${'x'.repeat(300_000)}"}`
  await client.ok('POST', '/v1/topics/in-r/records', `${exact}\n${long}\n`, 'application/x-ndjson')
  await client.recordsOnce('r.dead-letters', 2)
  assert.equal(await client.ok('POST', '/v1/pipelines/r/dead-letters/replay'), { replayed: 1, skipped: 1 })
  await client.recordsOnce('in-r', 3)
  const response = await fetch(`${dev.url}/v1/topics/in-r/records?from=offset:2`)
  assert.ok((await response.text()).includes(`"value":${exact}`))
})

letters.run()
