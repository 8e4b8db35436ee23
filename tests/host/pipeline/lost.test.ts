// A pipeline that is lost (its worker dies, an epoch of it cannot be stored) while somebody does something to it: whoever does is
// answered, it runs again, and others that ran there do not wait for it.

import { rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PipelineControl } from '../../../host/pipeline/pipeline-control.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import type { Plan } from '../../../schemas/plan.ts'
import { testFolder, until } from '../../support/bridge-driver.ts'
import { emitter, numbers, source, TestHost } from '../../support/test-host.ts'

const test = suite('a pipeline that is lost')
let t: TestHost
/** Takes what is posted, and answers only once `opens`. */
let server: Server
const unanswered: ServerResponse[] = []
let opens = false

test.before.each(async () => {
  unanswered.length = 0
  opens = false
  server = createServer((request, response) => {
    request.resume()
    if (opens) response.end()
    else unanswered.push(response)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t = await TestHost.start(testFolder(), ['--allow-net=127.0.0.1', '--allow-read'])
})
test.after.each(async () => {
  opens = true
  for (const response of unanswered) response.end()
  await t.remove()
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
})

/** http → probe → http, whose other side does not answer. */
function stuck(id: string, more: Partial<Plan> = {}): Plan {
  const { port } = server.address() as AddressInfo
  const settings = { url: `http://127.0.0.1:${port}/`, timeoutMs: 600_000, batchMs: 1 }
  return t.plan(id, [source('in', 'http'), t.probe('op', ['in']), emitter('out', 'http', ['op'], settings)], more)
}

/** The pipeline has an epoch in work that does not come to its end. */
async function startStuck(id: string): Promise<PipelineControl> {
  await t.create(stuck(id))
  await t.ingest(id, numbers(0, 10))
  await until(() => unanswered.length > 0, 'something was posted')
  const pipeline = t.host.pipeline('default', id)
  // Nobody waits for this one in the pipeline's turn.
  t.host.workers.bridge.ask({ type: 'checkpoint', pipeline: pipeline.key }).catch(() => undefined)
  return pipeline
}

const fallBack = ({ key }: PipelineControl): void => {
  t.host.supervision.fellBack(key, new SpqrError('TRANSPORT_UNAVAILABLE', 'not stored', { retriable: true }))
}

const kill = async ({ compute }: PipelineControl): Promise<void> => {
  // One that dies at once after its birth means that none can live.
  await new Promise((done) => setTimeout(done, 400))
  await t.host.workers.compute(compute).kill()
}

const ways: [string, (pipeline: PipelineControl) => unknown][] = [
  ['its worker dies', kill],
  ['its epoch cannot be stored', fallBack],
]

for (const [how, lose] of ways) {
  test(`within a change that waits for it, as ${how}`, async () => {
    const before = await startStuck('p')
    const asked: Plan = stuck('p', { revision: 2 })
    asked.components.push(emitter('too', 'discard', ['op']))
    const changed = t.put(asked)
    // Its turn is taken, and what the bridge opens for it has long been asked for.
    await t.host.stats('default', 'p')
    const last = unanswered.length
    await lose(before)
    assert.is((await changed).status, 409)
    await t.untilState('p', 'running')
    await until(() => unanswered.length > last, 'what no checkpoint covered came again')
  })

  test(`within a removal that drains it, as ${how}`, async () => {
    const before = await startStuck('p')
    const removed = t.ask('DELETE', '/pipelines/default/p?drain=true')
    await until(() => before.state === 'draining', 'it is draining')
    const last = unanswered.length
    await lose(before)
    assert.is((await removed).status, 409)
    await t.untilState('p', 'running')
    await until(() => unanswered.length > last, 'what no checkpoint covered came again')
  })

  test(`within a stop, as ${how}: it stays stopped`, async () => {
    const before = await startStuck('p')
    const stopped = t.ask('POST', '/pipelines/default/p/stop')
    await t.host.stats('default', 'p')
    await lose(before)
    assert.is((await stopped).status, 204)
    assert.is(await t.state('p'), 'stopped')
    // Behind whatever was about to be done to it.
    await t.host.pipelines.inTurn('default', 'p', () => Promise.resolve())
    assert.is(await t.state('p'), 'stopped')
    assert.is(t.host.pipeline('default', 'p').isLive, false)
    await t.ok('POST', '/pipelines/default/p/resume')
    assert.is(await t.state('p'), 'running')
  })
}

test('holds up none of those that ran beside it', async () => {
  const first = await startStuck('a')
  await t.topic('o')
  let other: PipelineControl
  for (let i = 0; ; i++) {
    const components = [source('in', 'http'), t.probe('op', ['in']), emitter('out', 'topic', ['op'], { topic: 'o' })]
    await t.create(t.plan(`b${i}`, components))
    other = t.host.pipeline('default', `b${i}`)
    if (other.compute === first.compute) break
  }
  const removed = t.ask('DELETE', '/pipelines/default/a?drain=true')
  await until(() => first.state === 'draining', 'it is draining')
  await kill(first)
  const isAnother = (now: PipelineControl): boolean => now !== other && now.isLive
  await until(() => isAnother(t.host.pipeline('default', other.plan.id)), 'the other one was started again')
  await t.ingest(other.plan.id, numbers(0, 5))
  await t.readAtLeast('o', 5)
  assert.is((await removed).status, 409)
})

test('within the last step of a change goes on as it was, and gives back what the change took', async () => {
  await t.topic('o')
  const [first, second] = ['a.txt', 'b.txt'].map((name) => join(t.folder.path, name)) as [string, string]
  for (const path of [first, second]) writeFileSync(path, numbers(0, 100_000).join('\n'))
  const file = (path: string) => source('file', 'file', { path, recordsPerSecond: 10 })
  const planOf = (path: string, more: Partial<Plan> = {}): Plan => {
    const plan = stuck('p', more)
    plan.components.push(file(path), emitter('none', 'discard', ['file']))
    return plan
  }
  await t.create(planOf(first))
  const before = t.host.pipeline('default', 'p')
  const { channels, blocks } = t.host.held
  await t.ingest('p', numbers(0, 10))
  await until(() => unanswered.length > 0, 'something was posted')
  const { bridge } = t.host.workers
  bridge.ask({ type: 'checkpoint', pipeline: before.key }).catch(() => undefined)
  const asked = planOf(second, { revision: 2 })
  for (const id of ['x', 'y', 'z']) asked.components.push(emitter(id, 'sse', ['op']))
  const changed = t.put(asked)
  await until(() => t.host.held.channels > channels, 'it has begun')
  // What it adds is opened within that time, else it is refused a step before; then it waits for the epoch.
  await new Promise((done) => setTimeout(done, 200))
  rmSync(second)
  opens = true
  for (const response of unanswered) response.end()
  assert.is((await changed).status, 404)
  await t.untilState('p', 'running')
  assert.equal({ ...t.host.held, keys: 0 }, { ...t.host.held, keys: 0, channels, blocks })
  // Whoever gets those numbers next.
  const components = [source('in', 'http'), t.probe('op', ['in']), emitter('out', 'topic', ['op'], { topic: 'o' })]
  await t.create(t.plan('q', components))
  assert.is(t.host.pipeline('default', 'p').plan.revision, 1)
  await t.ok('DELETE', '/pipelines/default/p')
  await t.ingest('q', numbers(0, 5))
  await t.readAtLeast('o', 5)
})

test('is seen by its taps again, also where it does not start at once', async () => {
  await t.topic('o')
  const components = [source('in', 'http'), t.probe('op', ['in']), emitter('out', 'topic', ['op'], { topic: 'o' })]
  await t.create(t.plan('p', components))
  const before = t.host.pipeline('default', 'p')
  let seen = 0
  let ended = 0
  const onEnd = (): void => {
    ended++
  }
  const reading = t.host.readers.tap(before, 'op', -1, 1, () => seen++, onEnd)
  // What it starts from cannot be read now.
  const { transport } = t.host
  const { checkpoint } = transport
  let refusals = 0
  transport.checkpoint = (...asked) => {
    if (refusals++ > 0) return checkpoint.apply(transport, asked)
    return Promise.reject(new SpqrError('TRANSPORT_UNAVAILABLE', 'away', { retriable: true }))
  }
  fallBack(before)
  await until(() => refusals > 1 && t.host.pipeline('default', 'p').isLive, 'it runs again')
  transport.checkpoint = checkpoint
  // It may take records before its taps are set there.
  await until(async () => {
    await t.ingest('p', numbers(0, 5))
    return seen > 0
  }, 'the tap sees it')
  await t.ok('DELETE', '/pipelines/default/p')
  assert.is(ended, 1)
  reading.stop()
})

test.run()
