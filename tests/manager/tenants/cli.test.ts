import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Listening, serve } from '../../../manager/http/serve.ts'
import { remove, startManager, type TestManager } from '../../support/manager.ts'
import { ADMIN_TOKEN } from '../../support/tenants.ts'

const main = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'manager', 'cli', 'main.js')

interface Context {
  m: TestManager
  server: Listening
}

const test = suite<Context>('spqr tenant')
test.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
  const { manager } = context.m
  context.server = await serve({ fetch: (request, env) => manager.fetch(request, env), port: 0 })
})
test.after.each(async ({ m, server }) => {
  await server.stop(100)
  await m.stop()
  remove(m.folder)
})

function spqr(
  server: Listening,
  token: string,
  args: string[],
  input = '',
): Promise<{ code: number | null; out: string }> {
  return new Promise((done) => {
    const env = { ...process.env, SPQR_URL: server.url, SPQR_TOKEN: token, NO_COLOR: '1' }
    const child = spawn(process.execPath, [main, 'tenant', ...args], { env })
    let out = ''
    child.stdout.on('data', (chunk) => (out += chunk))
    child.stderr.on('data', (chunk) => (out += chunk))
    child.on('close', (code) => done({ code, out }))
    child.stdin.end(input)
  })
}

test('a tenant is made, bounded, permitted, given tokens and secrets, and removed', async ({ m, server }) => {
  const admin = async (args: string[], input?: string): Promise<string> => {
    const { code, out } = await spqr(server, ADMIN_TOKEN, args, input)
    assert.is(code, 0, out)
    return out
  }
  await admin(['create', 'shop'])
  const token = (await admin(['token', 'shop', '--scopes', 'read,admin', '--expires', '30d'])).trim()
  assert.is((await m.as(token)('GET', '/v1/pipelines')).status, 200)
  await admin(['quota', 'shop', 'pipelines=5', 'instances=9'])
  await admin(['quota', 'shop', 'pipelines=none'])
  await admin(['permit', 'shop', '--net', 'example.com:443,*.example.org'])
  await admin(['permit', 'shop', '--topic', 'orders=>company.orders'])
  await admin(['secret', 'shop', 'hook'], 'the value of it\n')
  const { quotas, permissions } = (await m.ask('GET', '/v1/tenants/shop')).body
  assert.equal(quotas, { instances: 9 })
  assert.equal(permissions, { net: ['example.com:443', '*.example.org'], topic: ['orders=>company.orders'] })
  assert.match(await admin(['ls']), /shop/)
  assert.match(await admin(['get', 'shop']), /instances +0 +9/)
  const names = await admin(['secret', 'shop'])
  assert.ok(names.includes('hook') && !names.includes('the value'))
  assert.match(await admin(['token', 'shop', '--ls']), new RegExp(token.slice(5, 21)))
  assert.match(await admin(['audit', 'shop']), /PUT \/v1\/tenants\/shop\/secrets\/hook/)
  const own = await spqr(server, token, ['audit', 'shop', '--json'])
  assert.is(JSON.parse(own.out).items[0].from.includes('127.0.0.1'), true)
  await admin(['token', 'shop', '--revoke', token.slice(5, 21)])
  assert.is((await m.as(token)('GET', '/v1/pipelines')).status, 401)
  await admin(['rm', 'shop'])
  assert.is((await m.ask('GET', '/v1/tenants/shop')).status, 404)
})

test('what is wrong is said in words', async ({ server }) => {
  const nobody = await spqr(server, 'spqr_wrong', ['ls'])
  assert.is(nobody.code, 1)
  assert.match(nobody.out, /token/)
  assert.is((await spqr(server, ADMIN_TOKEN, ['quota', 'default', 'pipelines'])).code, 2)
})

test('a token that cannot be one is not shown', async ({ server }) => {
  for (const token of [`${ADMIN_TOKEN}\r`, `${ADMIN_TOKEN}\nx`, `${ADMIN_TOKEN}ä`]) {
    const { code, out } = await spqr(server, token, ['ls'])
    assert.is(code, 1)
    assert.match(out, 'SPQR_TOKEN is no token')
    assert.not.match(out, ADMIN_TOKEN)
  }
})

test.run()
