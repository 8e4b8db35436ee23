import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SecretBox } from '../../../manager/tenants/secret-box.ts'
import { remove, scratch, startManager, type TestManager } from '../../support/manager.ts'
import { ADMIN_TOKEN, tenant } from '../../support/tenants.ts'

const VALUE = 's3cr3t-value-that-nobody-may-see'

interface Context {
  m: TestManager
}

const secrets = suite<Context>('secrets')
secrets.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
})
secrets.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

secrets('only names come back; the value is in no file', async ({ m }) => {
  await m.ask('POST', '/v1/tenants', { id: 'a' })
  assert.is((await m.ask('PUT', '/v1/tenants/a/secrets/hook', { value: VALUE })).status, 204)
  const { items } = (await m.ask('GET', '/v1/tenants/a/secrets')).body
  assert.equal(
    items.map((item: object) => Object.keys(item)),
    [['name', 'changedAt']],
  )
  assert.ok(!JSON.stringify((await m.ask('GET', '/v1/audit')).body).includes(VALUE))
  await m.stop()
  for (const file of readdirSync(m.folder)) {
    const path = join(m.folder, file)
    if (statSync(path).isFile()) assert.not.ok(readFileSync(path).includes(VALUE), file)
  }
  assert.is(statSync(join(m.folder, 'secrets.key')).mode & 0o777, 0o600)
  Object.assign(m, await startManager({ folder: m.folder, adminToken: ADMIN_TOKEN }))
  assert.is((await m.ask('DELETE', '/v1/tenants/a/secrets/hook')).status, 204)
  assert.equal((await m.ask('GET', '/v1/tenants/a/secrets')).body.items, [])
})

secrets('a secret stands where it is handed on alone, and must be there', async ({ m }) => {
  const a = await tenant(m, 'a')
  await m.ask('PUT', '/v1/tenants/a/secrets/hook', { value: VALUE })
  const documentOf = (set: object, headers: object): object => ({
    id: 'p',
    components: [
      { id: 'in', source: 'generator', settings: { template: { n: 1 }, recordsPerSecond: 1 } },
      { id: 'm', operator: 'json-map', from: 'in', settings: { set } },
      { id: 'h', emitter: 'http', from: 'm', settings: { url: 'http://127.0.0.1:9/x', headers } },
    ],
  })
  // biome-ignore lint/suspicious/noTemplateCurlyInString: this is how a document names a secret
  const [known, unknown] = ['${secret:hook}', '${secret:nothing}']
  const inOperator = await a('POST', '/v1/pipelines', documentOf({ label: known }, {}))
  assert.equal([inOperator.status, inOperator.body.issues[0].pointer], [422, '/components/1/settings/set/label'])
  const missing = await a('POST', '/v1/pipelines', documentOf({}, { 'x-key': unknown }))
  assert.equal([missing.status, missing.body.issues[0].pointer], [422, '/components/2/settings/headers/x-key'])
  const denied = await a('POST', '/v1/pipelines', documentOf({}, { 'x-key': known }))
  assert.equal([denied.status, denied.body.code], [403, 'PERMISSION_DENIED'])
  assert.not.ok(JSON.stringify([inOperator, missing, denied]).includes(VALUE))
})

secrets('names that are none are refused', async ({ m }) => {
  await m.ask('POST', '/v1/tenants', { id: 'a' })
  for (const name of ['__proto__', '1a', '%2e%2e%2fx', 'a%00', `${'x'.repeat(200)}`]) {
    assert.is((await m.ask('PUT', `/v1/tenants/a/secrets/${name}`, { value: 'x' })).status, 422, name)
  }
  assert.is((await m.ask('PUT', '/v1/tenants/nobody/secrets/x', { value: 'x' })).status, 404)
})

const box = suite('SecretBox')

box('opens what it sealed, under that tenant and name alone', () => {
  const folder = scratch()
  const sealed = new SecretBox(folder).seal('a', 'hook', VALUE)
  const again = new SecretBox(folder)
  assert.is(again.open('a', 'hook', sealed), VALUE)
  assert.throws(() => again.open('b', 'hook', sealed), /sealed with another key/)
  assert.throws(() => again.open('a', 'other', sealed), /sealed with another key/)
  const bent = Uint8Array.from(sealed)
  bent[bent.length - 1]! ^= 1
  assert.throws(() => again.open('a', 'hook', bent), /changed since/)
  assert.is.not(Buffer.compare(sealed, again.seal('a', 'hook', VALUE)), 0)
  rmSync(join(folder, 'secrets.key'))
  assert.throws(() => new SecretBox(folder).open('a', 'hook', sealed), /there is no key/)
  remove(folder)
})

box('takes its key from outside, and refuses what is none', () => {
  const folder = scratch()
  const key = Buffer.alloc(32, 7)
  const sealed = new SecretBox(folder, key.toString('hex')).seal('a', 'hook', VALUE)
  assert.is(new SecretBox(folder, key.toString('base64')).open('a', 'hook', sealed), VALUE)
  assert.equal(readdirSync(folder), [])
  for (const none of ['', 'short', 'ä'.repeat(32), 'f'.repeat(63)]) {
    assert.throws(() => new SecretBox(folder, none), /SPQR_SECRETS_KEY is no key/)
  }
  remove(folder)
})

secrets.run()
box.run()
