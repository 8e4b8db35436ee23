import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RateLimit } from '../../../manager/tenants/rate-limit.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { document, moduleWith, remove, startManager, type TestManager } from '../../support/manager.ts'
import { ADMIN_TOKEN, tenant } from '../../support/tenants.ts'

interface Context {
  m: TestManager
  a: TestManager['ask']
}

const quotas = suite<Context>('quotas')
quotas.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
  context.a = await tenant(context.m, 'a')
})
quotas.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

const exceeded = (answer: { status: number; body: { code: string; detail: string } }, ...says: string[]): void => {
  assert.equal([answer.status, answer.body.code], [429, 'QUOTA_EXCEEDED'], JSON.stringify(answer.body))
  for (const word of says) assert.ok(answer.body.detail.includes(word), answer.body.detail)
}

quotas('pipelines are counted, also those that are asked for at once', async ({ m, a }) => {
  await m.ask('PUT', '/v1/tenants/a/quotas', { pipelines: 3 })
  const made = await Promise.all(Array.from({ length: 8 }, (_, i) => a('POST', '/v1/pipelines', document(`p${i}`))))
  assert.is(made.filter(({ status }) => status === 201).length, 3)
  for (const answer of made.filter(({ status }) => status !== 201)) exceeded(answer, '3 of 3', 'pipelines')
  const [one] = (await a('GET', '/v1/pipelines')).body.items
  exceeded(await a('POST', `/v1/pipelines/${one.id}/fork`, { id: 'forked' }))
  await a('DELETE', `/v1/pipelines/${one.id}`)
  assert.is((await a('POST', '/v1/pipelines', document('again'))).status, 201)
  const { status } = await m.ask('POST', '/v1/pipelines', document('of-default'))
  assert.is(status, 201)
})

quotas('instances and memory are counted over what runs, at creation, change and resume', async ({ m, a }) => {
  await a('POST', '/v1/pipelines', document('p'))
  const each = (await a('GET', '/v1/tenants/a')).body.used.memoryMiB
  assert.ok(each >= 16)
  await m.ask('PUT', '/v1/tenants/a/quotas', { instances: 2, memoryMiB: 2 * each })
  await a('POST', '/v1/pipelines', document('q'))
  exceeded(await a('POST', '/v1/pipelines', document('r')), 'instances', '2 of 2')
  const { used } = (await a('GET', '/v1/tenants/a')).body
  assert.equal([used.pipelines, used.instances, used.memoryMiB], [2, 2, 2 * each])
  const wider = document('q')
  const components = wider.components as object[]
  components.push({ id: 'g', operator: 'json-filter@1', from: 'in', settings: { where: [] } })
  components.push({ id: 'e', emitter: 'discard', from: 'g' })
  exceeded(await a('PUT', '/v1/pipelines/q', wider), 'instances')
  assert.is((await a('GET', '/v1/pipelines/q')).body.revision, 1)
  await a('POST', '/v1/pipelines/q/stop')
  assert.is((await a('POST', '/v1/pipelines', document('r'))).status, 201)
  exceeded(await a('POST', '/v1/pipelines/q/resume'), 'instances')
  await m.ask('PUT', '/v1/tenants/a/quotas', { memoryMiB: 2 * each + 8 })
  exceeded(await a('POST', '/v1/pipelines/q/resume'), 'memoryMiB')
  const narrow = document('q')
  ;(narrow.components as { limits?: object }[])[1]!.limits = { memoryMiB: 8 }
  assert.is((await a('PUT', '/v1/pipelines/q', narrow)).status, 200)
  assert.is((await a('POST', '/v1/pipelines/q/resume')).status, 200)
})

quotas('operators and compiler time are bounded', async ({ m, a }) => {
  await m.ask('PUT', '/v1/tenants/a/quotas', { operators: 1, compileSeconds: 1 })
  const push = (version: string): ReturnType<typeof a> =>
    a('PUT', `/v1/operators/own/${version}`, moduleWith({ description: version }), 'application/wasm')
  assert.is((await push('1.0.0')).status, 201)
  exceeded(await push('1.0.1'), 'operators', '1 of 1')
  await a('DELETE', '/v1/operators/own/1.0.0')
  assert.is((await push('1.0.1')).status, 201)
  await m.ask('PUT', '/v1/tenants/a/quotas', { compileSeconds: 0 })
  const source = "import { Operator, register } from 'spqr'\nclass X extends Operator {}\nregister(new X())\n"
  exceeded(await a('POST', '/v1/operators', { name: 'made', version: '1.0.0', source }), 'compileSeconds', 'UTC')
  await m.ask('PUT', '/v1/tenants/a/quotas', { compileSeconds: 1000 })
  assert.is((await a('POST', '/v1/operators', { name: 'made', version: '1.0.0', source })).status, 201)
  assert.ok((await a('GET', '/v1/tenants/a')).body.used.compileSeconds > 0)
})

quotas('bytes in topics are bounded at produce and ingest', async ({ m, a }) => {
  await m.ask('PUT', '/v1/tenants/a/quotas', { topicBytes: 100_000 })
  await a('POST', '/v1/topics', { name: 't' })
  const line = `${JSON.stringify('x'.repeat(40_000))}\n`
  const produce = (): ReturnType<typeof a> => a('POST', '/v1/topics/t/records', line, 'application/x-ndjson')
  assert.is((await produce()).status, 200)
  assert.is((await produce()).status, 200)
  exceeded(await produce(), 'topicBytes', 'retentionBytes')
  await a('POST', '/v1/pipelines', document('p'))
  exceeded(await a('POST', '/v1/pipelines/p/ingest/in', line, 'application/x-ndjson'), 'topicBytes')
  assert.ok((await a('GET', '/v1/tenants/a')).body.used.topicBytes > 80_000)
  await a('DELETE', '/v1/topics/t')
  await m.ask('PUT', '/v1/tenants/a/quotas', {})
  assert.is((await a('POST', '/v1/pipelines/p/ingest/in', line, 'application/x-ndjson')).status, 202)
})

quotas(
  'a pipeline that writes into topics holds back while they are full, and goes on when there is room',
  async ({ m, a }) => {
    await m.ask('PUT', '/v1/tenants/a/quotas', { topicBytes: 300_000 })
    await a('POST', '/v1/topics', { name: 't' })
    const components = [
      { id: 'in', source: 'generator', settings: { template: { text: 'x'.repeat(500) }, recordsPerSecond: 2000 } },
      { id: 'out', emitter: 'topic', from: 'in', settings: { topic: 't' } },
    ]
    assert.is((await a('POST', '/v1/pipelines', { id: 'p', components })).status, 201)
    const written = async (): Promise<number> => (await a('GET', '/v1/pipelines/p/stats')).body.components.out.recordsIn
    const settle = async (): Promise<number> => {
      for (let before = -1, now = await written(); ; before = now, now = await written()) {
        if (now === before && now > 0) return now
        await new Promise((done) => setTimeout(done, 400))
      }
    }
    const held = await settle()
    assert.ok(held * 500 > 250_000, `${held} records`)
    assert.is((await a('GET', '/v1/pipelines/p')).body.state, 'running')
    await m.ask('PUT', '/v1/tenants/a/quotas', {})
    while ((await written()) <= held) await new Promise((done) => setTimeout(done, 50))
  },
)

quotas('rates are told to the host, again after a restart', async ({ m }) => {
  await m.ask('PUT', '/v1/tenants/a/quotas', { recordsPerSecond: 7 })
  await m.stop()
  Object.assign(m, await startManager({ folder: m.folder, adminToken: ADMIN_TOKEN }))
  assert.ok(m.host.asked.includes('PUT /tenants/a'))
  assert.equal((await m.ask('GET', '/v1/tenants/a')).body.quotas, { recordsPerSecond: 7 })
})

const rates = suite('RateLimit')

rates('gives a burst, then a steady rate, per tenant', () => {
  const limit = new RateLimit(10, 20)
  for (let i = 0; i < 20; i++) limit.take('a', 0)
  try {
    limit.take('a', 0)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, SpqrError)
    const { code, status, extra } = error as SpqrError
    assert.equal([code, status, extra?.retryAfterSeconds], ['QUOTA_EXCEEDED', 429, 1])
  }
  limit.take('b', 0)
  for (let i = 0; i < 10; i++) limit.take('a', 1000)
  assert.throws(() => limit.take('a', 1000))
})

quotas.run()
rates.run()
