// What the host's HTTP API answers where something is wrong, and modules.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { probeWasm } from '../../support/probe-operator.ts'
import { emitter, source, TestHost } from '../../support/test-host.ts'

let t: TestHost
const test = suite("the host's HTTP app")

test.before.each(async () => {
  t = await TestHost.start()
})
test.after.each(async () => {
  await t.remove()
})

test('answers with a problem of the right status where there is nothing', async () => {
  for (const [method, path] of [
    ['GET', '/nothing'],
    ['GET', '/modules/ffff'],
    ['GET', '/pipelines/default/p'],
    ['GET', '/pipelines/default/p/stats'],
    ['POST', '/pipelines/default/p/pause'],
    ['POST', '/pipelines/default/p/resume'],
    ['POST', '/pipelines/default/p/stop'],
    ['GET', '/pipelines/default/p/tap/x'],
    ['GET', '/pipelines/default/p/out/x'],
    ['GET', '/topics/t'],
    ['DELETE', '/topics/t'],
    ['GET', '/topics/t/records'],
    ['GET', '/topics/t/records?follow=true'],
  ] as const) {
    const response = await t.fetch(method, path)
    assert.is(response.status, 404, `${method} ${path}`)
    assert.match(response.headers.get('content-type') ?? '', 'application/problem+json')
    assert.is(((await response.json()) as { code: string }).code, 'NOT_FOUND')
  }
})

test('removes what is not there without a word', async () => {
  assert.is((await t.ask('DELETE', '/pipelines/default/never')).status, 204)
})

test('a module is admitted once, whatever it is called by, and refused with every broken rule', async () => {
  const wasm = await probeWasm()
  const put = (body: Uint8Array): Promise<Response> => t.fetch('PUT', `/modules/${t.digest}`, body, 'application/wasm')
  assert.is((await put(wasm)).status, 200)
  const broken = await t.fetch('PUT', '/modules/0000', Uint8Array.of(1, 2, 3), 'application/wasm')
  assert.is(broken.status, 422)
  const { code, issues } = (await broken.json()) as { code: string; issues: unknown[] }
  assert.is(code, 'MODULE_REFUSED')
  assert.ok(issues.length > 0)
})

test('says what cannot be done in the state that a pipeline is in', async () => {
  await t.create(t.plan('p', [source('in', 'http'), t.probe('op', ['in']), emitter('none', 'discard', ['op'])]))
  assert.is((await t.ask('POST', '/pipelines/default/p/resume')).status, 204, 'it runs already')
  await t.ok('POST', '/pipelines/default/p/stop')
  assert.is((await t.ask('POST', '/pipelines/default/p/pause')).status, 409)
  const full = await t.ask('POST', '/pipelines/default/p/ingest/nope', 'x', 'application/x-ndjson')
  assert.ok(full.status >= 400 && full.status < 500)
  for (const [path, status] of [
    ['tap/none', 404],
    ['tap/op?port=nope', 404],
  ] as const) {
    assert.is((await t.ask('GET', `/pipelines/default/p/${path}`)).status, status, path)
  }
})

test('creates and reads topics as the product does', async () => {
  await t.topic('a')
  assert.is((await t.ask('POST', '/topics', { name: 'a' })).status, 409)
  await t.produce('a', ['{"n":1}', 'text'])
  assert.equal(await t.read('a'), [{ n: 1 }, 'text'])
  assert.is((await t.ask('GET', '/topics/a/records?partition=9')).status, 404)
  assert.ok((await t.ask('GET', '/topics/a/records?from=never')).status >= 400)
})

test.run()
