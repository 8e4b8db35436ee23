// A host with its real threads, through its HTTP app: the life of pipelines, and what survives what.

import { writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { until } from '../../support/bridge-driver.ts'
import { compiledWasm, PROBE_PORTS, SLOW_START } from '../../support/probe-operator.ts'
import { emitter, numbers, source, TestHost } from '../../support/test-host.ts'

let t: TestHost

/** A host of its own for each test. */
function withHost(test: ReturnType<typeof suite>): void {
  test.before.each(async () => {
    t = await TestHost.start()
  })
  test.after.each(async () => {
    await t.remove()
  })
}

const texts = (values: unknown[]): string[] => values.map(String)
const plain = (values: unknown[]): string[] => texts(values).map((text) => text.replace(/#.*/, ''))

/** http → probe → topic. */
const through = (id: string, topic: string, more = {}, settings = {}) =>
  t.plan(id, [source('in', 'http'), t.probe('op', ['in'], settings), emitter('out', 'topic', ['op'], { topic })], more)

const cycle = suite('the life of a pipeline')
withHost(cycle)

cycle('create, ingest, pause, resume, stop, resume: nothing lost or doubled, state kept', async () => {
  await t.topic('o')
  await t.create(through('p', 'o', { fresh: true }))
  assert.is(await t.state('p'), 'running')
  await t.ingest('p', numbers(0, 100))
  await t.readAtLeast('o', 100)
  await t.ok('POST', '/pipelines/default/p/pause')
  assert.is(await t.state('p'), 'paused')
  await t.ingest('p', numbers(100, 150))
  await t.ok('POST', '/pipelines/default/p/resume')
  await t.readAtLeast('o', 150)
  await t.ok('POST', '/pipelines/default/p/stop')
  assert.is(await t.state('p'), 'stopped')
  await t.ok('POST', '/pipelines/default/p/resume')
  await t.ingest('p', numbers(150, 200)).catch(() => t.ingest('p', numbers(150, 200)))
  const values = await t.readAtLeast('o', 200)
  assert.equal(
    texts(values),
    numbers(0, 200).map((n, i) => `${n}#${i + 1}`),
  )
})

cycle('a change of settings keeps the state; one that is refused changes nothing', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  await t.ingest('p', ['a'])
  await t.readAtLeast('o', 1)
  const changed = await t.put(through('p', 'o', { revision: 2 }, { prefix: 'x' }))
  assert.is(changed.status, 200)
  assert.equal(changed.body.changes, [{ component: 'op', sequence: 2, stateReset: false }])
  await t.ingest('p', ['b'])
  await t.readAtLeast('o', 2)
  const refused = await t.put(through('p', 'o', { revision: 3 }, { prefix: 'refuse' }))
  assert.is(refused.status, 422)
  await t.ingest('p', ['c'])
  assert.equal(texts(await t.readAtLeast('o', 3)), ['a#1', 'xb#2', 'xc#3'])
})

cycle('an operator whose start takes longer than a slice starts all the same, one without end is refused', async () => {
  await t.topic('o')
  const { report } = await t.host.modules.put((await compiledWasm(SLOW_START, PROBE_PORTS)).wasm)
  const slow = (id: string, steps: number): ReturnType<typeof through> => {
    const plan = through(id, 'o', {}, { steps })
    for (const component of plan.components) if (component.kind === 'operator') component.digest = report.digest
    return plan
  }
  const never = await t.put(slow('never', -1))
  assert.equal([never.status, never.body.code], [422, 'INVALID_DOCUMENT'])
  await t.create(slow('p', 10_000_000))
  await t.ingest('p', ['a'])
  await t.readAtLeast('o', 1)
  await t.ok('POST', '/pipelines/default/p/stop')
  await t.ok('POST', '/pipelines/default/p/resume')
  await t.ingest('p', ['a'])
  assert.is((await t.readAtLeast('o', 2)).length, 2)
})

cycle('a change whose new emitter cannot be opened changes nothing, and gives its numbers back', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  const before = t.host.held
  const wrong = through('p', 'o', { revision: 2 })
  wrong.components.push(emitter('more', 'topic', ['op'], { topic: 'missing' }))
  assert.ok((await t.put(wrong)).status >= 400)
  const other = through('p', 'missing', { revision: 2 })
  assert.ok((await t.put(other)).status >= 400)
  assert.equal(t.host.held, before)
  await t.ingest('p', ['a'])
  assert.equal(texts(await t.readAtLeast('o', 1)), ['a#1'])
})

cycle('an emitter that is added gets what comes from now on, one that is removed delivers what it has', async () => {
  await t.topic('o')
  await t.topic('o2')
  await t.create(through('p', 'o'))
  await t.ingest('p', ['a'])
  await t.readAtLeast('o', 1)
  const both = through('p', 'o', { revision: 2 })
  both.components.push(emitter('more', 'topic', ['op'], { topic: 'o2' }))
  assert.is((await t.put(both)).status, 200)
  await t.ingest('p', ['b'])
  await t.readAtLeast('o', 2)
  assert.is((await t.put(through('p', 'o', { revision: 3 }))).status, 200)
  await t.ingest('p', ['c'])
  assert.equal(plain(await t.readAtLeast('o', 3)), ['a', 'b', 'c'])
  assert.equal(plain(await t.readAtLeast('o2', 1)), ['b'])
  // Checkpoints go on: nobody waits for the one that left.
  const epoch = async () => (await t.ok('GET', '/pipelines/default/p')).checkpoint?.epoch ?? 0
  const first = await epoch()
  await t.ingest('p', ['d'])
  await until(async () => (await epoch()) > first, 'a later checkpoint')
})

cycle('changes and checkpoints at once: no checkpoint waits for ever', async () => {
  await t.topic('o')
  await t.topic('o2')
  const one = { checkpointEveryMs: 10 }
  await t.create(through('p', 'o', one))
  for (let round = 0; round < 12; round++) {
    await t.ingest('p', numbers(round * 10, round * 10 + 10))
    const plan = through('p', 'o', { ...one, revision: 2 + round }, { prefix: String(round % 3) })
    if (round % 2 === 0) plan.components.push(emitter('more', 'topic', ['op'], { topic: 'o2' }))
    assert.is((await t.put(plan)).status, 200)
  }
  const savepoint = await t.ok('POST', '/pipelines/default/p/savepoints', { name: 's' })
  assert.is(savepoint.name, 's')
  assert.is((await t.readAtLeast('o', 120)).length, 120)
})

cycle('an emitter that cannot deliver holds up a savepoint for so long, and nothing else', async () => {
  const held: ServerResponse[] = []
  let isHolding = true
  const receiver = createServer((request, response) => {
    request.resume()
    if (isHolding) held.push(response)
    else response.end()
  })
  await new Promise<void>((done) => receiver.listen(0, '127.0.0.1', done))
  const { port } = receiver.address() as AddressInfo
  const other = await TestHost.start(undefined, [`--allow-net=127.0.0.1:${port}`], { checkpointMsMax: 200 })
  try {
    const posting = emitter('out', 'http', ['in'], { url: `http://127.0.0.1:${port}/`, timeoutMs: 600_000 })
    await other.create(other.plan('p', [source('in', 'http'), posting]))
    await other.ingest('p', ['a'])
    await until(() => held.length > 0, 'the post that is not answered')
    const late = await other.ask('POST', '/pipelines/default/p/savepoints', { name: 's' })
    assert.equal([late.status, late.body.code], [409, 'INVALID_STATE'])
    await other.ok('POST', '/pipelines/default/p/pause')
    assert.is(await other.state('p'), 'paused')
    await other.ok('POST', '/pipelines/default/p/resume')
    isHolding = false
    for (const response of held) response.end()
    await other.ingest('p', ['b'])
    const kept = async (): Promise<boolean> =>
      (await other.ask('POST', '/pipelines/default/p/savepoints', { name: 's' })).status === 201
    await until(kept, 'the savepoint, once it delivers')
  } finally {
    await other.remove()
    receiver.closeAllConnections()
    receiver.close()
  }
})

cycle('delete with drain delivers all that was accepted', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  await t.ingest('p', numbers(0, 5000))
  await t.ok('DELETE', '/pipelines/default/p?drain=true')
  assert.is((await t.read('o')).length, 5001)
  assert.is((await t.ask('GET', '/pipelines/default/p')).status, 404)
})

cycle('a pipeline whose sources end is completed, its stats stay, and it stays so over a restart', async () => {
  await t.topic('o')
  writeFileSync(join(t.folder.path, 'in.txt'), numbers(0, 1000).join('\n'))
  const file = source('in', 'file', { path: join(t.folder.path, 'in.txt'), format: 'lines' })
  const plan = t.plan('p', [file, t.probe('op', ['in']), emitter('out', 'topic', ['op'], { topic: 'o' })])
  await t.create(plan)
  await t.untilState('p', 'completed')
  assert.is((await t.read('o')).length, 1001)
  assert.is((await t.stats('p')).op!.recordsIn, 1000)
  t = await t.again()
  await t.create(plan)
  assert.is(await t.state('p'), 'completed')
  assert.is((await t.read('o')).length, 1001)
  assert.is((await t.ask('POST', '/pipelines/default/p/resume')).status, 409)
  await t.create({ ...plan, startFrom: 'earliest' })
  await t.untilState('p', 'completed')
  assert.is((await t.read('o')).length, 2002)
})

cycle('one source ends, the other goes on: checkpoints, a restart, then completion', async () => {
  await t.topic('i')
  await t.topic('o')
  writeFileSync(join(t.folder.path, 'in.txt'), numbers(0, 10).join('\n'))
  const components = [
    source('ends', 'file', { path: join(t.folder.path, 'in.txt'), format: 'lines' }),
    source('stays', 'http'),
    t.probe('x', ['ends']),
    t.probe('y', ['stays', 'x']),
    emitter('out', 'topic', ['x', 'y'], { topic: 'o' }),
  ]
  const plan = t.plan('p', components)
  await t.create(plan)
  await t.ingest('p', ['a'], 'stays')
  await t.readAtLeast('o', 23)
  const later = async (): Promise<void> => {
    const { epoch } = await t.ok('POST', '/pipelines/default/p/savepoints', { name: `s${Math.random()}` })
    assert.type(epoch, 'number')
  }
  await later()
  await later()
  t = await t.again()
  await t.create(plan)
  await t.ingest('p', ['b'], 'stays')
  await t.readAtLeast('o', 24)
  await later()
  await later()
  await t.ok('DELETE', '/pipelines/default/p?drain=true')
  const values = plain(await t.read('o'))
  assert.is(values.filter((value) => value === 'b').length, 1)
  assert.is(values.filter((value) => value.startsWith('total')).length, 3)
})

cycle('a pipeline that fails keeps its letters and its reason, and is resumed with other settings', async () => {
  await t.topic('o')
  const components = (onError: 'stop' | 'skip') => [
    source('in', 'http'),
    t.probe('op', ['in'], {}, { onError: { do: onError, stopAbove: 1 } }),
    emitter('out', 'topic', ['op'], { topic: 'o' }),
  ]
  await t.create(t.plan('p', components('stop')))
  await t.ingest('p', ['a', 'trap', 'b'])
  await t.untilState('p', 'failed')
  const { reason } = await t.ok('GET', '/pipelines/default/p')
  assert.is(reason.code, 'OPERATOR_TRAP')
  assert.is(reason.component, 'op')
  assert.is((await t.stats('p')).op!.errors, 1)
  await t.create(t.plan('p', components('skip'), { revision: 2 }))
  await t.ok('POST', '/pipelines/default/p/resume')
  await t.untilState('p', 'running')
  await until(async () => plain(await t.read('o')).includes('b'), 'the record behind the poison one')
})

cycle('resume right after a failure meets nothing of the run before', async () => {
  await t.topic('o')
  const components = [
    source('in', 'http'),
    t.probe('op', ['in'], {}, { onError: { do: 'stop', stopAbove: 1 } }),
    emitter('out', 'topic', ['op'], { topic: 'o' }),
  ]
  await t.create(t.plan('p', components, { delivery: 'exactly-once' }))
  await t.ingest('p', ['a', 'trap'])
  for (let round = 0; round < 5; round++) {
    await t.untilState('p', 'failed')
    await t.ok('POST', '/pipelines/default/p/resume')
  }
  await t.untilState('p', 'failed')
  await t.ok('DELETE', '/pipelines/default/p')
  assert.equal(await t.host.transport.checkpoints({ tenant: 'default', pipeline: 'p', slot: 0 }), [])
  await t.create(through('p', 'o', { delivery: 'exactly-once' }))
  await t.ingest('p', ['z'])
  assert.is(plain(await t.readAtLeast('o', 1)).at(-1), 'z')
})

cycle('a resume that cannot start leaves the state as it was, and says why', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  await t.ok('POST', '/pipelines/default/p/stop')
  await t.ok('DELETE', '/topics/o')
  const answer = await t.ask('POST', '/pipelines/default/p/resume')
  assert.ok(answer.status >= 400)
  assert.is(await t.state('p'), 'stopped')
  await t.topic('o')
  await t.ok('POST', '/pipelines/default/p/resume')
  assert.is(await t.state('p'), 'running')
})

cycle('a restart from earliest runs again from the beginning with a new state', async () => {
  await t.topic('i')
  await t.topic('o')
  await t.produce('i', numbers(0, 20))
  const components = [
    source('in', 'topic', { topic: 'i' }),
    t.probe('op', ['in']),
    emitter('out', 'topic', ['op'], { topic: 'o' }),
  ]
  await t.create(t.plan('p', components))
  await t.readAtLeast('o', 20)
  await t.create(t.plan('p', components, { startFrom: 'earliest' }))
  const values = await t.readAtLeast('o', 40)
  const expected = numbers(0, 20).map((n, i) => `${n}#${i + 1}`)
  assert.equal(texts(values), [...expected, ...expected])
})

cycle('a restart from a savepoint goes on with the state and the offsets of then', async () => {
  await t.topic('i')
  await t.topic('o')
  const components = [
    source('in', 'topic', { topic: 'i' }),
    t.probe('op', ['in']),
    emitter('out', 'topic', ['op'], { topic: 'o' }),
  ]
  await t.create(t.plan('p', components))
  await t.produce('i', ['a', 'b'])
  await t.readAtLeast('o', 2)
  await t.ok('POST', '/pipelines/default/p/savepoints', { name: 'then' })
  await t.produce('i', ['c'])
  await t.readAtLeast('o', 3)
  await t.create(t.plan('p', components, { startFrom: 'savepoint:then' }))
  assert.equal(texts(await t.readAtLeast('o', 4)), ['a#1', 'b#2', 'c#3', 'c#3'])
  const missing = await t.put(t.plan('p', components, { startFrom: 'savepoint:never' }))
  assert.is(missing.status, 404)
  assert.is(await t.state('p'), 'running')
})

cycle('a fork goes on from the state of the original, which goes on beside it', async () => {
  await t.topic('o')
  await t.topic('o2')
  await t.create(through('p', 'o'))
  await t.ingest('p', ['a', 'b'])
  await t.readAtLeast('o', 2)
  await t.ok('POST', '/pipelines/default/q/fork-from', { from: 'p' })
  await t.create(through('q', 'o2', { forkOf: 'p' }, { prefix: 'fork ' }))
  await t.ingest('p', ['c'])
  assert.equal(texts(await t.readAtLeast('o', 3)), ['a#1', 'b#2', 'c#3'])
  assert.equal(texts(await t.readAtLeast('o2', 1)), ['fork c#3'])
  assert.is((await t.ask('POST', '/pipelines/default/q/ingest/in', 'x', 'application/x-ndjson')).status, 409)
})

cycle('stats of a new component begin at zero, whoever had its place before', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  await t.ingest('p', numbers(0, 50))
  await t.readAtLeast('o', 50)
  const next = t.plan(
    'p',
    [source('in', 'http'), t.probe('new', ['in']), emitter('fresh', 'topic', ['new'], { topic: 'o' })],
    { revision: 2 },
  )
  assert.is((await t.put(next)).status, 200)
  const stats = await t.stats('p')
  assert.equal([stats.new!.recordsIn, stats.fresh!.recordsIn], [0, 0])
})

cycle('five hundred pipelines come and go, and nothing of them stays', async () => {
  const none = t.host.held
  for (let round = 0; round < 10; round++) {
    const ids = numbers(0, 50).map((n) => `p${n}`)
    await Promise.all(
      ids.map((id) =>
        t.create(
          t.plan(id, [
            source('in', 'http'),
            t.probe('op', ['in'], {}, { emitWhen: { everyMs: 3_600_000 } }),
            emitter('out', 'sse', ['op']),
            emitter('none', 'discard', ['op']),
          ]),
        ),
      ),
    )
    await t.ingest('p1', numbers(0, 10))
    await Promise.all(ids.map((id) => t.ok('DELETE', `/pipelines/default/${id}`)))
  }
  assert.equal(t.host.held, none)
})

cycle.run()

const streams = suite('what can be read of a pipeline')
withHost(streams)

async function events(response: Response, count: number): Promise<string[]> {
  const reader = response.body!.getReader()
  let text = ''
  const data = (): string[] => [...text.matchAll(/^data: (.*)$/gm)].map((m) => m[1]!)
  while (data().length < count) {
    const { done, value } = await reader.read()
    if (done) break
    text += new TextDecoder().decode(value)
  }
  await reader.cancel()
  return data()
}

streams('a tap shows records of one port, and ends with its limit', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  const tap = await t.fetch('GET', '/pipelines/default/p/tap/op?limit=2')
  await t.ingest('p', ['a', 'b', 'c'])
  const shown = (await events(tap, 2)).map((text) => JSON.parse(text))
  assert.equal(
    shown.map((record) => [record.sequence, record.value]),
    [
      [1, 'a#1'],
      [2, 'b#2'],
    ],
  )
})

streams('records go to a reader in a few pieces, not one by one', async () => {
  const live = emitter('live', 'sse', ['in'], { lastRecords: 2000 })
  await t.create(t.plan('p', [source('in', 'http'), live]))
  await t.ingest('p', numbers(0, 2000))
  await until(async () => (await t.stats('p')).live!.recordsIn === 2000, 'all are kept')
  const { body } = await t.fetch('GET', '/pipelines/default/p/out/live')
  let [pieces, text] = [0, '']
  for await (const piece of body as ReadableStream<Uint8Array>) {
    pieces++
    text += new TextDecoder().decode(piece)
    if (text.split('data: ').length > 2000) break
  }
  assert.ok(pieces < 200, `${pieces} pieces`)
})

streams('a tap follows its pipeline through a stop, and ends when it is removed', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  const tap = await t.fetch('GET', '/pipelines/default/p/tap/op')
  const all = events(tap, 3)
  await t.ingest('p', ['a'])
  await t.readAtLeast('o', 1)
  await t.ok('POST', '/pipelines/default/p/stop')
  await t.ok('POST', '/pipelines/default/p/resume')
  await t.ingest('p', ['b'])
  await t.readAtLeast('o', 2)
  await until(() => t.host.held.readers === 1, 'the tap reads')
  await t.ok('DELETE', '/pipelines/default/p')
  assert.equal(
    (await all).map((text) => JSON.parse(text).value),
    ['a#1', 'b#2'],
  )
  assert.is(t.host.held.readers, 0)
})

streams('an sse emitter is read, and events tell of states', async () => {
  await t.create(t.plan('p', [source('in', 'http'), t.probe('op', ['in']), emitter('live', 'sse', ['op'])]))
  const out = await t.fetch('GET', '/pipelines/default/p/out/live')
  const watched = await t.fetch('GET', '/pipelines/default/p/events')
  await t.ingest('p', ['a', 'b'])
  assert.equal(await events(out, 2), ['"a#1"', '"b#2"'])
  await t.ok('POST', '/pipelines/default/p/pause')
  assert.is(JSON.parse((await events(watched, 1))[0]!).state, 'paused')
})

streams.run()

const deaths = suite('a thread that dies')
withHost(deaths)

const kill = async (thread: { kill(): Promise<void> }): Promise<void> => {
  // One that dies at once after its birth means that none can live.
  await new Promise((done) => setTimeout(done, 400))
  await thread.kill()
}

for (const delivery of ['at-least-once', 'exactly-once'] as const) {
  for (const which of ['compute', 'bridge'] as const) {
    deaths(`${which}, ${delivery}: its pipelines go on from their checkpoints`, async () => {
      await t.topic('i')
      await t.topic('o')
      await t.topic('o2')
      const plan = (id: string, topic: string) =>
        t.plan(
          id,
          [source('in', 'topic', { topic: 'i' }), t.probe('op', ['in']), emitter('out', 'topic', ['op'], { topic })],
          { delivery },
        )
      await t.create(plan('p', 'o'))
      await t.create(plan('q', 'o2'))
      const feeding = (async () => {
        for (let round = 0; round < 40; round++) {
          const lines = numbers(round * 50, round * 50 + 50)
          await t.produce('i', lines).catch(() => t.produce('i', lines))
          await new Promise((done) => setTimeout(done, 10))
        }
      })()
      const { workers } = t.host
      await kill(which === 'bridge' ? workers.bridge : workers.compute(t.host.pipeline('default', 'p').compute))
      await feeding
      const last = numbers(0, 2000)
      for (const topic of ['o', 'o2']) {
        await until(async () => plain(await t.read(topic)).includes('1999'), `the last record in ${topic}`)
        const values = plain(await t.read(topic))
        assert.equal([...new Set(values)], [...new Set(last)], `${topic}: none lost, in order`)
        if (delivery === 'exactly-once' && which === 'compute') assert.is(values.length, 2000, `${topic}: none doubled`)
      }
      assert.equal([await t.state('p'), await t.state('q')], ['running', 'running'])
    })
  }
}

deaths('a paused pipeline is paused afterwards', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  await t.ok('POST', '/pipelines/default/p/pause')
  const { key } = t.host.pipeline('default', 'p')
  await kill(t.host.workers.compute(t.host.pipeline('default', 'p').compute))
  await until(() => t.host.pipeline('default', 'p').key !== key && t.host.pipeline('default', 'p').isLive, 'it is back')
  assert.is(await t.state('p'), 'paused')
  await t.ingest('p', ['a'])
  await t.ok('POST', '/pipelines/default/p/resume')
  assert.equal(plain(await t.readAtLeast('o', 1)), ['a'])
})

deaths('a pipeline that is removed meanwhile does not come back', async () => {
  await t.topic('o')
  await t.create(through('p', 'o'))
  const killed = kill(t.host.workers.compute(t.host.pipeline('default', 'p').compute))
  await new Promise((done) => setTimeout(done, 395))
  const removed = t.ask('DELETE', '/pipelines/default/p')
  await killed
  await removed
  await new Promise((done) => setTimeout(done, 300))
  assert.equal((await t.ok('GET', '/pipelines')).items, [])
})

deaths.run()
