// An operator that is split by key, through the product's API: over crashes, restarts, changes, and in a process of its own.

import { rmSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KeyLanes } from '../../host/record/key-lanes.ts'
import { seeded, until } from '../support/client.ts'
import { counting, countingSource, DevProcess, makeFolder, Product, pushCounting } from '../support/delivery.ts'
import { laneOf } from '../support/split-driver.ts'

interface Value {
  n: number
  count: number
}

/** Records `{n}`, each counted by the one of `instances` that its `n` goes to. */
function splitCounting(
  id: string,
  instances: number,
  operator: object = {},
  more: object = {},
): Record<string, unknown> {
  const document = counting(id, `${id}-in`, `${id}-out`, { delivery: 'exactly-once', ...more })
  const [source, counter, emitter] = document.components as object[]
  const split = { ...counter, partitionBy: 'n', parallelism: instances, ...operator }
  return { ...document, components: [source, split, emitter] }
}

/** Each number once, counted in its instance as the next one, and in the order in which they came. */
function expectCounted(values: Value[], instances: number, fed: number, says: string): void {
  const lanes = new KeyLanes('n', instances)
  const counts = new Array<number>(instances).fill(0)
  const last = new Array<number>(instances).fill(-1)
  for (const { n, count } of values) {
    const lane = laneOf(lanes, { value: Buffer.from(JSON.stringify({ n })) })
    if (count !== ++counts[lane]! || n <= last[lane]!) {
      assert.unreachable(`${says}: ${n} is ${count} in instance ${lane}, behind ${last[lane]} as ${counts[lane]! - 1}`)
    }
    last[lane] = n
  }
  assert.is(values.length, fed, says)
}

const product = suite('an operator split by key')
const folder = makeFolder()
let it = await Product.start({ folder })
await pushCounting(it.client)

product.after(async () => {
  await it.stop()
  rmSync(folder, { recursive: true, force: true })
})

const valuesOf = async (topic: string, count: number): Promise<Value[]> =>
  (await it.client.recordsOnce(topic, count)).map(({ value }) => value)
const pipeline = (id: string): string => `/v1/pipelines/${id}`

product('counts once, as a component and for each instance', async () => {
  const { client } = it
  await client.topics('stats-in', 'stats-out')
  await client.feed('stats-in', 0, 3000)
  await client.ok('POST', '/v1/pipelines', splitCounting('stats', 3))
  expectCounted(await valuesOf('stats-out', 3000), 3, 3000, 'stats')
  const { components, edges } = await client.ok('GET', `${pipeline('stats')}/stats`)
  const { instances, ...whole } = components.c
  assert.equal(Object.keys(components), ['in', 'c', 'out'])
  assert.equal([whole.recordsIn, whole.recordsOut, instances.length], [3000, 3000, 3])
  const sum = (field: string): number =>
    instances.reduce((all: number, one: Record<string, number>) => all + one[field]!, 0)
  for (const field of ['recordsIn', 'recordsOut', 'bytesIn', 'bytesOut', 'fuelUsed', 'memoryBytes', 'errors']) {
    assert.is(sum(field), whole[field], field)
  }
  for (const one of instances) assert.ok(one.recordsIn > 500)
  assert.ok(whole.latencyUs.p50 > 0)
  assert.equal(
    edges.map((edge: { from: string; to: string }) => `${edge.from} ${edge.to}`),
    ['in c', 'c out'],
  )
})

product(
  'goes on over stop, resume, a move, a restart of the host and a savepoint, and its fork beside it',
  async () => {
    await it.client.topics('keep-in', 'keep-out', 'fork-out')
    await it.client.feed('keep-in', 0, 1000)
    await it.client.ok('POST', '/v1/pipelines', splitCounting('keep', 3))
    await valuesOf('keep-out', 1000)
    await it.client.ok('POST', `${pipeline('keep')}/savepoints`, { name: 'here' })
    await it.client.ok('POST', `${pipeline('keep')}/stop`)
    await it.client.feed('keep-in', 1000, 1000)
    await it.client.ok('POST', `${pipeline('keep')}/resume`)
    await valuesOf('keep-out', 2000)
    await it.stop()
    it = await Product.start({ folder })
    await it.host.move('default', 'keep', 1 - it.host.pipeline('default', 'keep').compute)
    await it.client.feed('keep-in', 2000, 1000)
    expectCounted(await valuesOf('keep-out', 3000), 3, 3000, 'keep')
    const components = [{ id: 'out', settings: { topic: 'fork-out' } }]
    await it.client.ok('POST', `${pipeline('keep')}/fork`, { id: 'fork', savepoint: 'here', components })
    const [before, forked] = [await valuesOf('keep-out', 1000), await valuesOf('fork-out', 2000)]
    expectCounted([...before.slice(0, 1000), ...forked], 3, 3000, 'the fork')
    await it.client.ok('POST', `${pipeline('keep')}/restart`, { from: 'savepoint:here' })
    expectCounted((await valuesOf('keep-out', 5000)).toSpliced(1000, 2000), 3, 3000, 'from the savepoint')
  },
)

product('another number of instances, or another key, is refused until the state is let go', async () => {
  const { client } = it
  await client.topics('other-in', 'other-out')
  await client.feed('other-in', 0, 500)
  await client.ok('POST', '/v1/pipelines', splitCounting('other', 2))
  await valuesOf('other-out', 500)
  await client.ok('POST', `${pipeline('other')}/savepoints`, { name: 'two' })
  const put = (instances: number, more: object = {}): ReturnType<typeof client.ask> =>
    client.ask('PUT', pipeline('other'), splitCounting('other', instances, more))
  for (const answer of [await put(4), await put(1), await put(2, { partitionBy: 'key' })]) {
    assert.is(answer.status, 409, JSON.stringify(answer.body))
    assert.match(answer.body.detail, /made by 2 instances by "n".*discardState: true/)
    assert.is(answer.body.issues[0].pointer, '/components/1/parallelism')
  }
  // What does not run takes note: it is said where it would go on.
  await client.ok('POST', `${pipeline('other')}/stop`)
  assert.is((await put(4)).status, 200)
  const resumed = await client.ask('POST', `${pipeline('other')}/resume`)
  assert.equal([resumed.status, resumed.body.issues?.[0].pointer], [409, '/components/1/parallelism'])
  assert.is((await put(2)).status, 200)
  await client.ok('POST', `${pipeline('other')}/resume`)
  await client.feed('other-in', 500, 500)
  expectCounted(await valuesOf('other-out', 1000), 2, 1000, 'as it was')
  assert.is((await put(4, { discardState: true })).status, 200)
  await client.feed('other-in', 1000, 500)
  expectCounted((await valuesOf('other-out', 1500)).slice(1000), 4, 500, 'anew')
  // Said once more it changes nothing: the state is that of four.
  assert.is((await put(4, { discardState: true })).status, 200)
  assert.is((await put(4)).status, 200)
  await client.feed('other-in', 1500, 500)
  expectCounted((await valuesOf('other-out', 2000)).slice(1000), 4, 1000, 'still the same')
  const back = await client.ask('POST', `${pipeline('other')}/restart`, { from: 'savepoint:two' })
  assert.equal([back.status, back.body.issues?.[0].pointer], [409, '/components/1/parallelism'])
  // From a place in the sources there is no state to lose.
  assert.is((await put(3, { discardState: true })).status, 200)
  await client.ok('POST', `${pipeline('other')}/restart`, { from: 'earliest' })
  expectCounted((await valuesOf('other-out', 4000)).slice(2000), 3, 2000, 'from the start')
})

product('a poison record is a dead letter of the component', async () => {
  const { client } = it
  await client.topics('poison-in', 'poison-out')
  await client.ok('POST', '/v1/pipelines', splitCounting('poison', 3))
  await client.feed('poison-in', 0, 200)
  await client.feed('poison-in', -1, 1)
  await client.feed('poison-in', 200, 200)
  expectCounted(await valuesOf('poison-out', 400), 3, 400, 'poison')
  const letters = await until(async () => {
    const { items } = await client.ok('GET', `${pipeline('poison')}/dead-letters`)
    return items.length > 0 ? items : undefined
  })
  assert.equal([letters.length, letters[0].value.component, letters[0].value.source.offset], [1, 'c', '200'])
  const { components } = await client.ok('GET', `${pipeline('poison')}/stats`)
  assert.equal([components.c.errors, components.c.deadLetters], [1, 1])
})

product('another version of the operator begins in all instances at the record that is told', async () => {
  const { client } = it
  const next = countingSource.replace('let count: i64 = 0', 'let count: i64 = 1000000')
  await pushCounting(client, '1.1.0', next)
  await client.topics('patch-in', 'patch-out')
  await client.ok('POST', '/v1/pipelines', splitCounting('patch', 3, { operator: 'counting@1.0.0' }))
  let fed = 0
  let isDone = false
  const feeding = (async () => {
    while (!isDone && fed < 100_000) {
      await client.feed('patch-in', fed, 500)
      fed += 500
    }
  })()
  await client.recordsOnce('patch-out', 1000)
  const { fromSequence, stateReset } = await client.ok('PATCH', `${pipeline('patch')}/components/c`, {
    operator: 'counting@1.1.0',
  })
  isDone = true
  await feeding
  const values = await valuesOf('patch-out', fed)
  assert.equal([fromSequence.component, stateReset, values.length], ['c', true, fed])
  const before = values.findIndex(({ count }) => count > 1_000_000)
  if (before >= 0) assert.is(before, fromSequence.sequence - 1)
  assert.ok(values.slice(fromSequence.sequence - 1).every(({ count }) => count > 1_000_000))
})

product('in a process of its own it is the same', async () => {
  const { client } = it
  await client.topics('apart-in', 'apart-out')
  await client.feed('apart-in', 0, 1000)
  await client.ok(
    'POST',
    '/v1/pipelines',
    splitCounting('apart', 3, { operator: 'counting@1.0.0' }, { isolation: 'process' }),
  )
  await valuesOf('apart-out', 1000)
  await client.ok('POST', `${pipeline('apart')}/stop`)
  await client.ok('POST', `${pipeline('apart')}/resume`)
  await client.feed('apart-in', 1000, 1000)
  expectCounted(await valuesOf('apart-out', 2000), 3, 2000, 'in a process')
  const { components } = await client.ok('GET', `${pipeline('apart')}/stats`)
  assert.is(components.c.instances.length, 3)
})

product.run()

const crash = suite('an operator split by key, over a kill -9')

crash('has each record once under exactly-once, with the state of its instance', async () => {
  const home = makeFolder()
  let dev = await DevProcess.start({ folder: home })
  try {
    const rnd = seeded(process.pid)
    await pushCounting(dev.client)
    await dev.client.topics('kill-in', 'kill-out')
    await dev.client.ok('POST', '/v1/pipelines', splitCounting('kill', 3))
    let fed = 0
    for (let kill = 0; kill < 3; kill++) {
      await dev.client.feed('kill-in', fed, 6000)
      fed += 6000
      await new Promise((later) => setTimeout(later, rnd(150)))
      await dev.end('SIGKILL')
      dev = await DevProcess.start({ folder: home })
    }
    const values = (await dev.client.recordsOnce('kill-out', fed)).map(({ value }) => value as Value)
    expectCounted(values, 3, fed, `seed ${process.pid}`)
  } finally {
    await dev.end('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
})

crash.run()
