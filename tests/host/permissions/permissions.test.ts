import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canonicalHost, classOf } from '../../../host/permissions/net-address.ts'
import { Permissions } from '../../../host/permissions/permissions.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { testFolder } from '../../support/bridge-driver.ts'

const flags = suite('Permissions.parse')
const paths = suite('Permissions: paths')
const net = suite('Permissions: net')
const others = suite('Permissions: env, topic, grants')

function refusal(act: () => unknown): SpqrError {
  try {
    act()
  } catch (error) {
    assert.instance(error, SpqrError)
    return error as SpqrError
  }
  throw new Error('was not refused')
}

async function refusalOf(act: Promise<unknown>): Promise<SpqrError> {
  return act.then(
    () => assert.unreachable('was not refused'),
    (error: unknown) => error as SpqrError,
  ) as Promise<SpqrError>
}

flags('nothing is permitted without a flag, and the refusal says who asked and which flag', () => {
  const error = refusal(() => Permissions.parse([]).askedBy('component "in" of pipeline "p"').checkRead('/etc/passwd'))
  assert.is(error.code, 'PERMISSION_DENIED')
  assert.match(error.message, 'component "in" of pipeline "p"')
  assert.match(error.message, '--allow-read=/etc/passwd')
})

flags('every wrong flag is told at once', () => {
  const error = refusal(() =>
    Permissions.parse(['--allow-net=a:99999', '--allow-sys', '--deny-read=', '--allow-env=A']),
  )
  assert.equal(
    error.issues?.map((i) => i.pointer),
    ['/0', '/1', '/2'],
  )
})

flags('two commas are one in a name, and JSON gives the same permissions', () => {
  const once = Permissions.parse(['--allow-read=/a,,b,/c', '--deny-env'])
  const twice = Permissions.fromJSON(JSON.parse(JSON.stringify(once)))
  for (const p of [once, twice]) {
    assert.is(p.checkRead('/a,b/x'), '/a,b/x')
    assert.is(p.checkRead('/c'), '/c')
    assert.throws(() => p.checkRead('/b'))
  }
})

paths('what the product keeps for all tenants is opened by no flag, no grant and no link', () => {
  const { path: folder } = testFolder()
  const key = join(folder, 'secrets.key')
  writeFileSync(key, 'x')
  symlinkSync(key, join(folder, 'link'))
  const all = Permissions.parse(['--allow-read', `--allow-write=${folder}`]).withoutPaths([key])
  for (const permissions of [
    all,
    all.narrow({ read: [folder], write: [folder] }),
    Permissions.fromJSON(all.toJSON()),
  ]) {
    for (const path of [key, join(folder, 'link'), join(folder, '.', 'x', '..', 'secrets.key')]) {
      assert.match(refusal(() => permissions.checkRead(path)).message, 'it holds data of all tenants')
      assert.is(refusal(() => permissions.askedBy('component "x"').checkWrite(path)).code, 'PERMISSION_DENIED')
    }
    assert.ok(permissions.checkRead(join(folder, 'secrets.keys')))
  }
})

paths('a folder opens what lies in it, and nothing beside it', () => {
  const p = Permissions.parse(['--allow-read=/data/shop'])
  assert.is(p.checkRead('/data/shop/a/b'), '/data/shop/a/b')
  assert.is(p.checkRead('/data/shop'), '/data/shop')
  for (const path of ['/data/shopping', '/data', '/data/shop/../x', '/data/shop/a/../../x']) {
    assert.throws(() => p.checkRead(path), /--allow-read/, path)
  }
  assert.throws(() => p.checkWrite('/data/shop/a'), /--allow-write/)
})

paths('links and `..` behind links do not escape', () => {
  const folder = testFolder()
  try {
    mkdirSync(join(folder.path, 'in'))
    mkdirSync(join(folder.path, 'out', 'deep'), { recursive: true })
    writeFileSync(join(folder.path, 'out', 'secret'), 'x')
    symlinkSync(join(folder.path, 'out', 'deep'), join(folder.path, 'in', 'link'))
    symlinkSync(join(folder.path, 'out', 'not-there-yet'), join(folder.path, 'in', 'dangling'))
    symlinkSync('loop', join(folder.path, 'in', 'loop'))
    const p = Permissions.parse([`--allow-read=${folder.path}/in`, `--allow-write=${folder.path}/in`])
    for (const path of ['in/link', 'in/link/../secret', 'in/link/new', 'in/dangling']) {
      assert.throws(() => p.checkRead(join(folder.path, 'in') + path.slice(2)), /--allow-read/, path)
      assert.throws(() => p.checkWrite(`${folder.path}/${path}`), /--allow-write/, path)
    }
    assert.is(p.checkWrite(`${folder.path}/in/new/er`), `${folder.path}/in/new/er`)
    assert.ok(p.checkRead(`${folder.path}/in/loop`))
    // A permission that is a link means where it leads.
    const linked = Permissions.parse([`--allow-read=${folder.path}/in/link`])
    assert.is(linked.checkRead(`${folder.path}/out/deep/f`), `${folder.path}/out/deep/f`)
  } finally {
    folder.remove()
  }
})

paths('a tenant is not told where the links of the machine lead', () => {
  const folder = testFolder()
  try {
    mkdirSync(join(folder.path, 'in'))
    mkdirSync(join(folder.path, 'hidden'))
    symlinkSync(join(folder.path, 'hidden'), join(folder.path, 'in', 'link'))
    const flags = Permissions.parse([`--allow-read=${folder.path}/in`])
    const path = `${folder.path}/in/link`
    assert.throws(() => flags.checkRead(path), /hidden/)
    const own = flags.withoutPaths([join(folder.path, 'hidden')])
    for (const tenant of [flags.narrow({ read: [`${folder.path}/in`] }), own.narrow({ read: [folder.path] })]) {
      for (const asked of [path, '/proc/self/cwd', '/dev/fd/1']) {
        try {
          tenant.checkRead(asked)
          assert.unreachable(asked)
        } catch (error) {
          const { code, message } = error as SpqrError
          assert.is(code, 'PERMISSION_DENIED')
          assert.match(message, asked)
          assert.not.match(message.replaceAll(asked, ''), /hidden|\/(?!$)/)
        }
      }
    }
  } finally {
    folder.remove()
  }
})

paths('deny wins, and the machine itself must be named', () => {
  const p = Permissions.parse(['--allow-read', '--deny-read=/etc'])
  assert.is(p.checkRead('/srv/x'), '/srv/x')
  assert.throws(() => p.checkRead('/etc/passwd'), /--deny-read/)
  for (const path of ['/proc/self/environ', '/dev/zero', '/sys/kernel']) {
    assert.throws(() => p.checkRead(path), /--allow-read=/, path)
    assert.throws(() => Permissions.parse(['--allow-read=/']).checkRead(path), /--allow-read=/, path)
  }
  assert.is(Permissions.parse(['--allow-read=/dev/null']).checkRead('/dev/null'), '/dev/null')
})

paths('never a path outside, whatever the spelling', () => {
  const p = Permissions.parse(['--allow-read=/srv/allowed'])
  const part = fc.constantFrom('.', '..', 'allowed', 'srv', 'a', '', 'allowedx', 'proc', 'self')
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), fc.boolean(), (parts, absolute) => {
      const path = (absolute ? '/srv/allowed/' : '/') + parts.join('/')
      try {
        const real = p.checkRead(path)
        assert.ok(real === '/srv/allowed' || real.startsWith('/srv/allowed/'), `${path} → ${real}`)
      } catch (error) {
        if (!(error instanceof SpqrError)) throw error
      }
    }),
  )
})

net('every spelling of an internal address is the same address, and denied', () => {
  for (const host of [
    '127.0.0.1',
    '0x7f000001',
    '2130706433',
    '017700000001',
    '[::ffff:127.0.0.1]',
    '::ffff:7f00:1',
    '127.1',
  ]) {
    assert.is(canonicalHost(host), '127.0.0.1', host)
  }
  const open = Permissions.parse(['--allow-net'])
  const inside = [
    '127.0.0.1',
    '10.1.2.3',
    '172.31.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
  ]
  const inside6 = [
    '[::1]',
    '[::]',
    '[fe80::1]',
    '[fd00::1]',
    '[ff02::1]',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    '[::ffff:10.0.0.1]',
  ]
  for (const host of [...inside, ...inside6, '0x7f000001', '2130706433']) {
    assert.throws(() => open.checkNet(host, 80), /--allow-net=/, host)
  }
  open.checkNet('93.184.216.34', 80)
  open.checkNet('[2606:4700::1111]', 443)
  assert.is(classOf('169.254.169.254'), 'link-local')
})

net('host, port, subdomain and range are what a flag may name', () => {
  const p = Permissions.parse([
    '--allow-net=127.0.0.1:8000,*.example.com,10.0.0.0/8,[::1]:90,API.example.org.',
    '--deny-net=10.9.0.0/16',
  ])
  p.checkNet('127.0.0.1', 8000)
  p.checkNet('0x7f.1', 8000)
  p.checkNet('a.b.example.com', 443)
  p.checkNet('10.1.1.1', 1)
  p.checkNet('::1', 90)
  p.checkNet('api.example.org', 443)
  for (const [host, port] of [
    ['127.0.0.1', 8001],
    ['example.com', 443],
    ['notexample.com', 443],
    ['10.9.1.1', 1],
    ['11.0.0.1', 1],
    ['::1', 91],
    ['a b', 1],
  ] as const) {
    assert.throws(() => p.checkNet(host, port), /--allow-net=/, host)
  }
})

net('a name leads inside only where it is named in full', async () => {
  assert.match(
    (await refusalOf(Permissions.parse(['--allow-net']).resolveNet('localhost', 80))).message,
    '--allow-net=',
  )
  const found = await Permissions.parse(['--allow-net=localhost:80']).resolveNet('localhost', 80)
  assert.ok(found.every((a) => a.address === '127.0.0.1' || a.address === '::1'))
  const denied = await refusalOf(
    Permissions.parse(['--allow-net=localhost', '--deny-net=127.0.0.0/8,[::1]']).resolveNet('localhost', 80),
  )
  assert.is(denied.code, 'PERMISSION_DENIED')
})

net('a request connects to the addresses that were checked', async () => {
  const server = createServer((_req, res) => res.end('here')).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address() as AddressInfo
  const ask = (p: Permissions): Promise<string> =>
    new Promise((done, fail) => {
      get({ host: 'localhost', port, lookup: p.netLookup(port), agent: false }, (res) =>
        res.on('data', (d) => done(String(d))),
      ).on('error', fail)
    })
  try {
    assert.is(await ask(Permissions.parse([`--allow-net=localhost:${port}`])), 'here')
    assert.is((await refusalOf(ask(Permissions.parse(['--allow-net'])))).code, 'PERMISSION_DENIED')
  } finally {
    server.close()
  }
})

others('env and topic are named; a star stands for any run of characters', () => {
  const p = Permissions.parse(['--allow-env=HOME,LANG', '--deny-env=LANG', '--allow-topic=company.*,a*b*c'])
  p.checkEnv('HOME')
  assert.throws(() => p.checkEnv('PATH'), /--allow-env=PATH/)
  assert.throws(() => p.checkEnv('LANG'), /--deny-env/)
  for (const topic of ['company.orders', 'abc', 'axbxc']) p.checkTopic(topic)
  for (const topic of ['company', 'ab', 'abcd', 'xcompany.a'])
    assert.throws(() => p.checkTopic(topic), /--allow-topic=/, topic)
})

others('grants bound the flags further, and each side is named in a refusal', () => {
  const host = Permissions.parse(['--allow-read=/data', '--allow-env', '--allow-topic=company.*'])
  const tenant = host.narrow({ read: ['/data/a', '/etc'], topic: ['orders=>company.orders'] })
  assert.is(tenant.checkRead('/data/a/x'), '/data/a/x')
  assert.match(refusal(() => tenant.checkRead('/data/b')).message, 'grant the tenant read: ["/data/b"]')
  assert.match(refusal(() => tenant.checkRead('/etc/x')).message, '--allow-read=/etc/x')
  assert.throws(() => tenant.checkEnv('HOME'), /grant the tenant env/)
  assert.is(tenant.topicAlias('orders'), 'company.orders')
  assert.is(tenant.topicAlias('company.orders'), undefined)
  tenant.checkTopic('company.orders')
  assert.throws(() => tenant.checkTopic('company.secret'), /grant the tenant topic/)
  assert.equal(
    refusal(() => host.narrow({ net: ['a b'], env: [''] })).issues?.map((i) => i.pointer),
    ['/net', '/env'],
  )
})

flags.run()
paths.run()
net.run()
others.run()
