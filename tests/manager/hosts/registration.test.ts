// Who may be a host, tried by those who may not: over a real registrar and a real host's side of it, with nothing but the network
// in between played.

import { createHmac } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Registration } from '../../../host/http/registration.ts'
import { requireToken } from '../../../host/http/require-token.ts'
import { type HostSpec, Hosts } from '../../../manager/hosts/hosts.ts'
import { Registrar } from '../../../manager/hosts/registrar.ts'
import { ControlStore } from '../../../manager/store/control-store.ts'
import type { HostBody } from '../../../schemas/api.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { hostText, sessionTexts } from '../../../schemas/registration.ts'
import { listen, until } from '../../support/client.ts'
import { remove, scratch } from '../../support/manager.ts'

const SECRET = 'a secret of at least 32 characters'
const FOLDER = 'the-folder-of-the-host'
const PROCESS = 'the-first-process'

interface Context {
  folder: string
  store: ControlStore
  hosts: Hosts
  registrar: Registrar
  welcomed: string[]
}

const test = suite<Context>('registration')
test.before.each((context) => {
  context.folder = scratch()
  context.store = ControlStore.open(context.folder)
  context.welcomed = []
  Object.assign(context, managerOver(context))
})
test.after.each(({ registrar, store, folder }) => {
  registrar.stop()
  store.stop()
  remove(folder)
})

function managerOver({ store, welcomed }: Context): { hosts: Hosts; registrar: Registrar } {
  const hosts = new Hosts([], () => undefined, store.hosts)
  const registrar = new Registrar({
    secret: SECRET,
    version: '1.0.0',
    hosts,
    table: store.hosts,
    welcome: async ({ id }) => void welcomed.push(id),
    onAway: () => undefined,
    log: () => undefined,
  })
  return { hosts, registrar }
}

const sign = (text: string, secret = SECRET): string => createHmac('sha256', secret).update(text).digest('base64url')

function bodyOf(registrar: Registrar, more: Partial<HostBody> = {}, secret = SECRET): HostBody {
  const own = 'made-up-by-the-host'
  const { nonce } = registrar.hello(own)
  const rest: Omit<HostBody, 'proof'> = {
    id: 'one',
    url: 'http://127.0.0.1:1',
    folder: FOLDER,
    process: PROCESS,
    transport: { kind: 'kafka', id: 'cluster' },
    version: '1.0.0',
    own,
    nonce,
    ...more,
  }
  return { ...rest, proof: sign(hostText(rest), secret) }
}

const heartbeatOf = ({ own, nonce }: HostBody): string => sign(sessionTexts(own, nonce).heartbeat)

function refusal(work: () => unknown): SpqrError {
  try {
    work()
  } catch (error) {
    assert.instance(error, SpqrError)
    return error as SpqrError
  }
  throw new Error('it was not refused')
}

/** So that a nonce is younger than the one before. */
const nextMs = (): Promise<void> => new Promise((done) => setTimeout(done, 2))

test('one that knows the secret is a host, and is heard', ({ registrar, hosts, welcomed }) => {
  const body = bodyOf(registrar)
  assert.is(registrar.register(body).id, 'one')
  assert.equal(
    hosts.all().map(({ id }) => id),
    ['one'],
  )
  assert.equal(welcomed, ['one'])
  registrar.heartbeat('one', PROCESS, heartbeatOf(body))
})

test('without the secret there is no proof, and what was proven cannot be changed', ({ registrar, hosts }) => {
  const bodies: HostBody[] = [
    bodyOf(registrar, {}, 'another secret of at least 32 chars'),
    { ...bodyOf(registrar), url: 'http://attacker:1' },
    { ...bodyOf(registrar), id: 'two' },
    { ...bodyOf(registrar), folder: 'another-folder-than-that' },
    { ...bodyOf(registrar), own: 'another-random-number' },
    bodyOf(registrar, { nonce: `${Date.now()}.made-up-by-somebody.else` }),
    bodyOf(registrar, { nonce: `${Date.now()}` }),
  ]
  for (const body of bodies) assert.is(refusal(() => registrar.register(body)).code, 'UNAUTHENTICATED')
  assert.equal(hosts.known(), [])
})

test('a registration that was overheard cannot be said again, nor an old one take the place of a new', async (context) => {
  const { registrar } = context
  const first = bodyOf(registrar)
  registrar.register(first)
  assert.is(refusal(() => registrar.register(first)).code, 'UNAUTHENTICATED')
  await nextMs()
  registrar.register(bodyOf(registrar, { process: 'the-second-process' }))
  assert.is(refusal(() => registrar.register(first)).code, 'UNAUTHENTICATED')
})

test('an answer is good for half a minute, whatever the clock of the host says', ({ registrar }) => {
  const body = bodyOf(registrar)
  const now = Date.now
  try {
    Date.now = () => now() + 31_000
    assert.is(refusal(() => registrar.register(body)).code, 'UNAUTHENTICATED')
    Date.now = () => now() - 31_000
    assert.is(refusal(() => registrar.register(body)).code, 'UNAUTHENTICATED')
  } finally {
    Date.now = now
  }
})

test('a process that was started again takes its place; the one before is told to end, by a signed word', async (context) => {
  const { registrar } = context
  const first = bodyOf(registrar)
  registrar.register(first)
  await nextMs()
  registrar.register(bodyOf(registrar, { process: 'the-second-process' }))
  const error = refusal(() => registrar.heartbeat('one', PROCESS, heartbeatOf(first)))
  assert.is(error.code, 'IN_USE')
  assert.is(error.extra?.proof, sign(JSON.stringify(['spqr taken', 'one', PROCESS])))
})

test('another folder cannot take the name of a host that is present', async ({ registrar }) => {
  registrar.register(bodyOf(registrar))
  await nextMs()
  const other = bodyOf(registrar, { folder: 'the-folder-of-another', process: 'of-another-folder' })
  assert.match(refusal(() => registrar.register(other)).message, /another --id/)
})

test('a heartbeat with another token, or for an unknown host, means: register again', ({ registrar }) => {
  const body = bodyOf(registrar)
  registrar.register(body)
  for (const [id, token] of [
    ['one', ''],
    ['one', sign(sessionTexts(body.own, body.nonce).call)],
    ['two', heartbeatOf(body)],
  ] as const) {
    assert.is(refusal(() => registrar.heartbeat(id, PROCESS, token)).code, 'UNAUTHENTICATED')
  }
})

test('hosts of one manager share a transport and a version, also after a restart of the manager', (context) => {
  const { registrar } = context
  registrar.register(bodyOf(registrar))
  const refused = (more: Partial<HostBody>, by: Registrar): string =>
    refusal(() => by.register(bodyOf(by, { id: 'two', ...more }))).message
  assert.match(refused({ version: '1.0.1' }, registrar), /of version 1\.0\.0, the host of 1\.0\.1/)
  const embedded = { kind: 'embedded' as const, id: FOLDER }
  assert.match(refused({ transport: embedded }, registrar), /the only one of its manager/)
  const again = managerOver(context).registrar
  assert.match(refused({ transport: { kind: 'kafka', id: 'other' } }, again), /--kafka of the others/)
  again.register(bodyOf(again, { id: 'two' }))
  again.stop()
})

test('a pipeline keeps its place; a new one goes to where the fewest are', async ({ registrar, hosts, store }) => {
  registrar.register(bodyOf(registrar))
  for (const id of ['a', 'b']) assert.is(hosts.of('default', id).id, 'one')
  await nextMs()
  registrar.register(bodyOf(registrar, { id: 'two', process: 'of-the-second-host' }))
  assert.is(hosts.of('default', 'c').id, 'two')
  assert.is(hosts.of('default', 'a').id, 'one')
  hosts.forget('default', 'a')
  assert.equal(store.hosts.all(), [
    { tenant: 'default', id: 'b', host: 'one' },
    { tenant: 'default', id: 'c', host: 'two' },
  ])
  const later = new Hosts([], () => undefined, store.hosts)
  assert.match(refusal(() => later.of('default', 'b')).message, /on the host "one", which is not there/)
  const spec: HostSpec = { id: 'two', url: 'http://x', fetch: () => new Response() }
  assert.is(later.add(spec), later.of('default', 'c'))
})

test('a host answers nobody but its manager', async () => {
  const fetch = requireToken(
    () => Response.json({ all: true }),
    (token) => token === 'right',
  )
  const ask = async (path: string, authorization?: string): Promise<string> => {
    const init = authorization === undefined ? {} : { headers: { authorization } }
    const response = await fetch(new Request(`http://host${path}`, init))
    return `${response.status} ${(await response.text()).slice(0, 11)}`
  }
  assert.is(await ask('/pipelines', 'Bearer right'), '200 {"all":true')
  for (const wrong of [undefined, 'Bearer wrong', 'Bearer', 'Basic right', 'Bearer right more']) {
    assert.match(await ask('/pipelines', wrong), /^401 /, wrong)
    assert.match(await ask('/healthz?all=1', wrong), /^200 \{"ok":true\}/)
  }
})

/** A host's side, at an address. */
function hostAt(manager: string, more: Partial<ConstructorParameters<typeof Registration>[0]> = {}): Registration {
  return new Registration({
    manager,
    secret: SECRET,
    host: {
      id: 'one',
      url: 'http://127.0.0.1:1',
      folder: FOLDER,
      transport: { kind: 'kafka', id: 'cluster' },
      version: '1.0.0',
    },
    onManager: () => undefined,
    onReady: () => undefined,
    log: () => undefined,
    ...more,
  })
}

/** Something that answers as a manager does. @param asked is told the path, body and token of each request */
async function playManager(
  answer: (path: string, body: HostBody, token: string) => unknown,
): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => {
      text += chunk
    })
    request.on('end', () => {
      let status = 200
      let said: unknown
      try {
        const token = (request.headers.authorization ?? '').replace('Bearer ', '')
        said = answer(request.url!, JSON.parse(text) as HostBody, token)
      } catch (error) {
        const problem = SpqrError.from(error)
        status = problem.status
        said = problem.toProblem()
      }
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(said))
    })
  })
  return listen(server)
}

test('a host tells a false manager nothing', async () => {
  const asked: string[] = []
  const { url, server } = await playManager((path, body) => {
    asked.push(path)
    assert.equal(Object.keys(body), ['own'])
    return { manager: 'false', nonce: '1.2.3', proof: sign('anything', 'a guess of the secret, which it is not') }
  })
  const host = hostAt(url)
  const error = await host.start().then(
    () => undefined,
    (thrown: Error) => thrown,
  )
  assert.match(String(error?.message), /does not know this host's SPQR_HOST_TOKEN/)
  assert.equal(asked, ['/v1/hosts/hello'])
  assert.not.ok(host.isToken(''))
  host.stop()
  server.close()
})

test('a host registers, is heard, registers again at a manager that knows it no more, and ends where it must', async (c) => {
  let { registrar } = c
  const seen: string[] = []
  const { url, server } = await playManager((path, body, token) => {
    seen.push(path)
    if (path.endsWith('/hello')) return registrar.hello(body.own)
    if (path.endsWith('/heartbeat')) return registrar.heartbeat('one', body.process, token)
    registrar.register(body)
    return { id: body.id }
  })
  let ready = 0
  let manager = ''
  const host = hostAt(url, {
    onReady: () => {
      ready++
    },
    onManager: (id) => {
      manager = id
    },
  })
  await host.start()
  await until(() => ready === 1 || undefined)
  registrar.stop()
  registrar = managerOver(c).registrar
  await until(() => ready === 2 || undefined)
  assert.is(seen.filter((path) => path === '/v1/hosts').length, 2)
  // Another process, on a copy of the folder.
  const other = hostAt(url, { managerId: manager })
  await other.start()
  const error = await host.closed.catch((thrown: Error) => thrown)
  assert.match(error.message, /Another process is the host "one" now/)
  const foreign = hostAt(url, { managerId: 'another' })
  const refused = await foreign.start().catch((thrown: Error) => thrown)
  assert.match(String(refused), /is not the one of this data folder/)
  for (const each of [host, other, foreign]) each.stop()
  registrar.stop()
  server.closeAllConnections()
  server.close()
})

test.run()
