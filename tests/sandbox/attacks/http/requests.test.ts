// Requests that no honest client sends: to confuse the parser, to fill the manager, to reach it from a web page.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Listening, serve } from '../../../../manager/http/serve.ts'
import { document, remove, startManager, type TestManager } from '../../../support/manager.ts'
import { rawHttp, statuses } from '../../../support/raw-http.ts'
import { ADMIN_TOKEN, tokenOf } from '../../../support/tenants.ts'

interface Context {
  m: TestManager
  server: Listening
}

const listen = async (m: TestManager): Promise<Listening> =>
  serve({ fetch: (request, env) => m.manager.fetch(request, env), port: 0 })

const smuggled = suite<Context>('smuggled requests')
smuggled.before.each(async (context) => {
  context.m = await startManager({ adminToken: ADMIN_TOKEN })
  context.server = await listen(context.m)
})
smuggled.after.each(async ({ m, server }) => {
  await server.stop(100)
  await m.stop()
  remove(m.folder)
})

smuggled('a request within a request is refused or read as a body, never answered as one', async ({ m, server }) => {
  const reader = await tokenOf(m, 'a', ['read'])
  await m.ask('POST', '/v1/topics', { name: 'of-default' })
  const inner = `DELETE /v1/topics/of-default HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ADMIN_TOKEN}x\r\n\r\n`
  const head = `POST /v1/pipelines HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${reader}\r\nContent-Type: application/json\r\n`
  const attempts = {
    'length and chunks': `${head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
    'two lengths': `${head}Content-Length: 0\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
    'a list of lengths': `${head}Content-Length: 0, ${inner.length}\r\n\r\n${inner}`,
    'a length with a sign': `${head}Content-Length: +0\r\n\r\n${inner}`,
    'chunks that are spelled otherwise': `${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${inner}`,
    'chunks twice': `${head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${inner}`,
    'a blank before the colon': `${head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${inner}`,
    'a folded header': `${head}X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
    'bare line feeds': `${head.replaceAll('\r\n', '\n')}\n${inner}`,
    'a zero byte': `${head}X: a\0b\r\n\r\n${inner}`,
    'a chunk size that overflows': `${head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n${inner}`,
    'no end of the head': `${head}${'X: y\r\n'.repeat(20_000)}\r\n${inner}`,
  }
  for (const [what, bytes] of Object.entries(attempts)) {
    const answer = await rawHttp(server.port, bytes)
    for (const status of statuses(answer)) assert.ok(status >= 400 && status < 500, `${what}: ${answer.slice(0, 200)}`)
  }
  assert.is((await m.ask('GET', '/v1/topics/of-default')).status, 200)
})

smuggled('requests on one connection are each judged by their own token', async ({ m, server }) => {
  const reader = await tokenOf(m, 'a', ['read'])
  const get = (token?: string): string =>
    `GET /v1/pipelines HTTP/1.1\r\nHost: x\r\n${token === undefined ? '' : `Authorization: Bearer ${token}\r\n`}\r\n`
  const answer = await rawHttp(server.port, get(reader) + get() + get(ADMIN_TOKEN) + get('wrong') + get(reader))
  assert.equal(statuses(answer), [200, 401, 200, 401, 200])
})

smuggled('an absolute target, odd methods and versions lead nowhere else', async ({ m, server }) => {
  const reader = await tokenOf(m, 'a', ['read'])
  const bearer = `Host: x\r\nAuthorization: Bearer ${reader}\r\nConnection: close\r\n\r\n`
  for (const line of [
    'GET http://host/pipelines/default/p HTTP/1.1',
    'GET http://127.0.0.1:1/v1/tenants HTTP/1.1',
    'GET //host/v1/tenants HTTP/1.1',
    'GET /v1/./tenants HTTP/1.1',
    'GET /v1/pipelines/../tenants HTTP/1.1',
    'GET /v1/pipelines/%2e%2e/tenants HTTP/1.1',
    'GET /v1/%74enants HTTP/1.1',
    'GET /V1/TENANTS HTTP/1.1',
    'GET * HTTP/1.1',
    'CONNECT 127.0.0.1:22 HTTP/1.1',
    'TRACE /v1/pipelines HTTP/1.1',
    'PRI * HTTP/2.0',
    'GET /v1/tenants HTTP/9.9',
    'G\u00c8T /v1/tenants HTTP/1.1',
  ]) {
    const answer = await rawHttp(server.port, Buffer.from(`${line}\r\n${bearer}`, 'latin1'))
    for (const status of statuses(answer)) assert.ok(status >= 400 && status < 500, `${line}: ${answer.slice(0, 100)}`)
  }
})

const pages = suite<Context>('requests of web pages')
pages.before.each(async (context) => {
  context.m = await startManager()
})
pages.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

pages('a name that is not loopback, or only looks like it, is refused', async ({ m }) => {
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await m.as(undefined, headers)('GET', '/v1/pipelines')).status
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '127.0.0.1@evil.example',
    'evil.example:127',
    '0.0.0.0',
    '[::]',
    '169.254.169.254',
    '127.1',
    'localhost:80:80',
    ' ',
    'localhost\\@evil.example',
  ]) {
    assert.is(await status({ host }), 403, host)
  }
  for (const origin of [
    'http://evil.example',
    'https://localhost.evil.example',
    'null',
    'file://',
    'http://127.0.0.1.evil.example:8400',
    'http://localhost@evil.example',
    'chrome-extension://x',
  ]) {
    assert.is(await status({ origin }), 403, origin)
  }
})

pages('no answer lets a page of another origin read it, and none redirects away', async ({ m }) => {
  for (const [method, path] of [
    ['GET', '/v1/pipelines'],
    ['OPTIONS', '/v1/pipelines'],
    ['GET', '/docs'],
    ['GET', '/openapi.json'],
  ] as const) {
    const { headers } = await m.ask(method, path)
    assert.equal(
      [...headers.keys()].filter((name) => name.startsWith('access-control-')),
      [],
      path,
    )
  }
  for (const path of ['//evil.example', '/\\evil.example', '/%2f%2fevil.example', '/.//evil.example/..']) {
    const response = await m.manager.fetch(new Request(`http://127.0.0.1:8400${path}`))
    assert.ok(response.status >= 400 || response.headers.get('location') === '/docs', path)
  }
  const { headers } = await m.ask('GET', '/')
  assert.is(headers.get('location'), '/docs')
})

pages('with tokens too, pages of other origins are refused', async ({ m }) => {
  await m.stop()
  Object.assign(m, await startManager({ folder: m.folder, adminToken: ADMIN_TOKEN }))
  const as = (headers: Record<string, string>): ReturnType<TestManager['ask']> =>
    m.as(ADMIN_TOKEN, headers)('GET', '/v1/pipelines')
  assert.is((await as({ host: 'spqr.example', origin: 'https://spqr.example' })).status, 200)
  assert.is((await as({ host: 'spqr.example', origin: 'https://evil.example' })).status, 403)
  assert.is((await as({ host: 'spqr.example', origin: 'null' })).status, 403)
})

const bombs = suite<Context>('bodies that are bombs')
bombs.before.each(async (context) => {
  context.m = await startManager()
})
bombs.after.each(async ({ m }) => {
  await m.stop()
  remove(m.folder)
})

const yamlBomb = (levels: number): string => {
  const lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x]']
  for (let i = 1; i < levels; i++)
    lines.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(',')}]`,
    )
  return lines.join('\n')
}

bombs('each is refused in its own words, and the manager goes on', async ({ m }) => {
  const text: [string, string, number[]][] = [
    ['application/json', '['.repeat(500_000), [400]],
    ['application/json', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, [400]],
    ['application/json', `{"id":"${'x'.repeat(2 << 20)}"}`, [413]],
    ['application/json', `[${'0,'.repeat(400_000)}0]`, [400, 422]],
    ['application/json', `{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":0`).join(',')}}`, [400, 422]],
    ['application/json', `{"id":${'1'.repeat(900_000)}}`, [400, 422]],
    ['application/json', '{"id":"a","id":"b"}', [400, 422]],
    ['application/yaml', yamlBomb(30), [400]],
    ['application/yaml', 'a: &a [*a]', [400]],
    ['application/yaml', `${'- '.repeat(200_000)}x`, [400]],
    ['application/yaml', `${'? '.repeat(100_000)}x`, [400]],
    ['application/yaml', '['.repeat(300_000), [400]],
    ['application/yaml', '!!js/function "() => process.exit()"', [400, 422]],
    ['application/yaml', 'a: !!python/object/apply:os.system ["x"]', [400]],
    ['application/yaml', '<<: {id: a}', [400, 422]],
    ['application/yaml', `%YAML 1.2\n---\n${'a: b\n---\n'.repeat(50_000)}`, [400]],
  ]
  for (const [type, body, expected] of text) {
    const { status } = await m.ask('POST', '/v1/pipelines', body, type)
    assert.ok(expected.includes(status), `${type} ${body.slice(0, 30)} → ${status}`)
  }
  assert.is((await m.ask('GET', '/healthz')).status, 200)
})

bombs('patterns and conditions that would take for ever are refused or run in linear time', async ({ m }) => {
  const filter = (where: unknown): object => {
    const made = document('p')
    ;(made.components as { settings?: unknown }[])[1]!.settings = { where }
    return made
  }
  const matches = (pattern: string): object => filter([{ path: 'a', matches: pattern }])
  for (const pattern of [
    '(?=a)b',
    '(a)\\1',
    'a{100000}',
    '('.repeat(500),
    'x'.repeat(5000),
    '((a{500}){500}){500}',
    '(?<n>a)\\k<n>',
  ]) {
    assert.is((await m.ask('POST', '/v1/pipelines', matches(pattern))).status, 422, pattern.slice(0, 30))
  }
  const deep = JSON.stringify(filter(['DEEP'])).replace('"DEEP"', `${'{"not":'.repeat(5000)}{}${'}'.repeat(5000)}`)
  assert.is((await m.ask('POST', '/v1/pipelines', deep, 'application/json')).status, 400)
  assert.is((await m.ask('POST', '/v1/pipelines', matches('^(a+)+$'))).status, 201)
  await m.ask('POST', '/v1/pipelines/p/ingest/in', { a: `${'a'.repeat(50_000)}!` })
  assert.is((await m.ask('GET', '/v1/pipelines/p')).body.state, 'running')
})

bombs('no body reaches what is behind every object', async ({ m }) => {
  const evil = '{"polluted":true,"isAdmin":true,"components":[]}'
  for (const key of ['"__proto__"', '"\\u005f_proto__"', '"constructor":{"prototype"', '"prototype"']) {
    const closing = key.includes(':{') ? '}' : ''
    const pair = `${key}:${evil}${closing}`
    for (const [method, path] of [
      ['POST', '/v1/pipelines'],
      ['POST', '/v1/topics'],
      ['POST', '/v1/operators'],
      ['POST', '/v1/tenants'],
      ['PUT', '/v1/tenants/default/permissions'],
      ['PATCH', '/v1/pipelines/p/components/f'],
    ] as const) {
      await m.ask('POST', '/v1/pipelines', document('p'))
      for (const body of [`{${pair}}`, `{"id":"x","name":"x",${pair}}`, `{"settings":{${pair}}}`]) {
        const { status } = await m.ask(method, path, body, 'application/json')
        assert.ok(status >= 400 && status < 500, `${method} ${path} ${body} → ${status}`)
      }
    }
  }
  assert.is(({} as Record<string, unknown>).polluted, undefined)
  assert.is(({} as Record<string, unknown>).isAdmin, undefined)
})

bombs('queries that are none are refused', async ({ m }) => {
  await m.ask('POST', '/v1/topics', { name: 't' })
  for (const query of [
    'limit=1e9',
    'limit=-1',
    'limit=0x10',
    'limit=1&limit=2',
    'limit=99999999999999999999',
    '__proto__=1',
    'from=offset:-1',
    'from=offset:99999999999999999999',
    'from=time:never',
    'from[]=latest',
    'partition=1.5',
    '%00=1',
    'tenant=a',
    'after=x',
  ]) {
    const { status } = await m.ask('GET', `/v1/topics/t/records?${query}`)
    assert.ok(status >= 400 && status < 500, `${query} → ${status}`)
  }
})

smuggled.run()
pages.run()
bombs.run()
