import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { harmless } from '../../manager/cli/output.ts'
import { type Listening, serve } from '../../manager/http/serve.ts'
import { document, remove, startManager, type TestManager } from '../support/manager.ts'

const main = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'manager', 'cli', 'main.js')

interface Context {
  m: TestManager
  server: Listening
}

interface Ended {
  code: number | null
  out: string
  err: string
}

const test = suite<Context>('cli')
test.before.each(async (context) => {
  context.m = await startManager()
  const { manager } = context.m
  context.server = await serve({ fetch: (request, env) => manager.fetch(request, env), port: 0 })
})
test.after.each(async ({ m, server }) => {
  await server.stop(100)
  await m.stop()
  remove(m.folder)
})

function spqr(url: string, args: string[], options: { input?: string; cwd?: string } = {}): Promise<Ended> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [main, ...args], { cwd: options.cwd, env: { ...process.env, SPQR_URL: url } })
    const ended: Ended = { code: null, out: '', err: '' }
    child.stdout.on('data', (chunk) => {
      ended.out += chunk
    })
    child.stderr.on('data', (chunk) => {
      ended.err += chunk
    })
    child.on('close', (code) => done({ ...ended, code }))
    child.stdin.end(options.input ?? '')
  })
}

function file(m: TestManager, name: string, text: string): string {
  const path = join(m.folder, name)
  writeFileSync(path, text)
  return path
}

const yaml = 'id: cli\ncomponents:\n  - id: in\n    source: http\n  - id: d\n    emitter: discard\n    from: in\n'

test('apply creates, then replaces; ls and get show it; rm removes it', async ({ m, server }) => {
  const path = file(m, 'p.yaml', yaml)
  assert.match((await spqr(server.url, ['pipeline', 'apply', path])).out, /^created cli: running, revision 1/)
  assert.match((await spqr(server.url, ['pipeline', 'apply', path])).out, /^replaced cli: running, revision 2/)
  assert.match(
    (await spqr(server.url, ['pipeline', 'apply', '-'], { input: yaml })).out,
    /^replaced cli: running, revision 3/,
  )
  const table = await spqr(server.url, ['pipeline', 'ls'])
  assert.match(table.out, /ID +STATE/)
  assert.match(table.out, /cli +running/)
  assert.is(JSON.parse((await spqr(server.url, ['pipeline', 'ls', '--json'])).out).items[0].id, 'cli')
  assert.is(parse((await spqr(server.url, ['pipeline', 'get', 'cli'])).out).id, 'cli')
  assert.is((await spqr(server.url, ['pipeline', 'rm', 'cli'])).code, 0)
  const gone = await spqr(server.url, ['pipeline', 'get', 'cli'])
  assert.equal([gone.code, gone.err], [1, 'error: There is no pipeline "cli".\n'])
  const problem = await spqr(server.url, ['pipeline', 'get', 'cli', '--json'])
  assert.equal([problem.code, JSON.parse(problem.out).code], [1, 'NOT_FOUND'])
})

test('problems of files are FILE:LINE:COLUMN, with a manager and without', async ({ m, server }) => {
  const good = file(m, 'good.yaml', yaml)
  const wrong = file(m, 'wrong.yaml', 'id: cli\ncomponents:\n  - id: in\n    sorce: http\n')
  const broken = file(m, 'broken.json', '{"id": "a",,}')
  for (const url of [server.url, 'http://127.0.0.1:1']) {
    assert.equal((await spqr(url, ['pipeline', 'lint', good])).code, 0)
    const linted = await spqr(url, ['pipeline', 'lint', good, wrong, broken])
    assert.is(linted.code, 1)
    assert.match(linted.out, /good\.yaml: ok/)
    assert.match(linted.out, /wrong\.yaml:4:\d+: .*sorce/)
    assert.match(linted.out, /broken\.json:1:\d+: /)
  }
  const applied = await spqr(server.url, ['pipeline', 'apply', wrong, broken, good])
  assert.is(applied.code, 1)
  assert.match(applied.err, /wrong\.yaml:4:\d+: .*\n/)
  assert.match(applied.err, /broken\.json:1:\d+: /)
  assert.match(applied.out, /created cli/)
})

test('settings, life cycle, savepoints, forks', async ({ m, server }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const run = async (...args: string[]): Promise<string> => {
    const ended = await spqr(server.url, ['pipeline', ...args])
    assert.is(ended.code, 0, ended.err)
    return ended.out
  }
  assert.match(await run('set', 'p', 'f', 'where=[{"path":"a","gt":2}]'), /revision 2, from record \d+ of f/)
  assert.equal(m.host.plans.get('p')!.components[1]!.settings.where, [{ path: 'a', gt: 2 }])
  assert.match(await run('pause', 'p'), /paused p/)
  assert.match(await run('ls'), /p +paused/)
  await run('resume', 'p')
  assert.match(await run('savepoint', 'p', 'half'), /kept p as half/)
  assert.match(await run('savepoints', 'p'), /half/)
  assert.match(await run('fork', 'p', 'q', '--savepoint', 'half', '--set', 'f.where=[]'), /forked p as q: running/)
  assert.match(await run('restart', 'p', '--from', 'savepoint:half'), /restarted p/)
  assert.match(await run('savepoints', 'rm', 'p', 'half'), /removed the savepoint half of p/)
  assert.not.match(await run('savepoints', 'p'), /half/)
  assert.match(await run('dead-letters', 'ls', 'p'), /OFFSET/)
  assert.match(await run('stats', 'p'), /COMPONENT/)
  assert.match(await run('stop', 'p'), /stopped p/)
})

test('usage is 2 with the nearest command, help is 0, nothing that listens is 1 and says so', async ({ server }) => {
  const unknown = await spqr(server.url, ['pipelin'])
  assert.is(unknown.code, 2)
  assert.match(unknown.err, /Did you mean pipeline/)
  assert.is((await spqr(server.url, ['pipeline'])).code, 2)
  assert.is((await spqr(server.url, ['pipeline', 'get'])).code, 2)
  assert.is((await spqr(server.url, ['topic', 'create', 'x', '--partitions', 'many'])).code, 2)
  for (const args of [
    ['--help'],
    ['pipeline', '--help'],
    ['pipeline', 'apply', '--help'],
    ['help', 'topic'],
    ['--version'],
  ]) {
    assert.is((await spqr(server.url, args)).code, 0, args.join(' '))
  }
  const port = await freePort()
  const nobody = await spqr(`http://127.0.0.1:${port}`, ['pipeline', 'ls'])
  assert.is(nobody.code, 1)
  assert.match(nobody.err, new RegExp(`127\\.0\\.0\\.1:${port}.*spqr dev.*SPQR_URL`))
})

test('topics are made, listed and removed', async ({ server }) => {
  assert.match(
    (await spqr(server.url, ['topic', 'create', 'orders', '--partitions', '3'])).out,
    /created orders, 3 partitions/,
  )
  assert.match((await spqr(server.url, ['topic', 'ls'])).out, /orders +3/)
  assert.is((await spqr(server.url, ['topic', 'create', 'orders'])).code, 1)
  assert.is((await spqr(server.url, ['topic', 'rm', 'orders'])).code, 0)
})

test('a new operator passes its test, is built, inspected and pushed', async ({ m, server }) => {
  const cwd = join(m.folder, 'work')
  mkdirSync(cwd)
  const run = (...args: string[]): Promise<Ended> => spqr(server.url, ['operator', ...args], { cwd })
  assert.is((await run('new', 'has-field')).code, 0)
  assert.is((await run('new', 'has-field')).code, 1)
  const tested = await run('test', 'has-field')
  assert.equal([tested.code, tested.out.trim().split('\n').at(-1)], [0, '1 passed, 0 failed'], tested.err + tested.out)
  assert.is((await run('build', 'has-field')).code, 0)
  const inspected = await run('inspect', 'has-field/build/has-field-1.0.0.wasm', '--json')
  assert.equal(JSON.parse(inspected.out).manifest.name, 'has-field')
  const pushed = await run('push', 'has-field')
  assert.match(pushed.out, /^pushed has-field@1\.0\.0: /, pushed.err)
  assert.match((await run('ls')).out, /has-field +1\.0\.0/)
  const source = join(cwd, 'has-field', 'index.ts')
  writeFileSync(source, readFileSync(source, 'utf8').replace('out.emit(record)', 'ouch.emit(record)'))
  const wrong = await run('build', 'has-field')
  assert.is(wrong.code, 1)
  assert.match(wrong.err, /has-field\/index\.ts:\d+:\d+: /)
})

test('a document of the original SPQR becomes one that lint accepts', async ({ m, server }) => {
  const original = {
    id: 'Shop Events',
    queues: [{ id: 'A' }, { id: 'b' }, { id: 'c' }],
    components: [
      {
        id: 'reader',
        type: 'SOURCE',
        name: 'webtrendsSource',
        version: '0.0.1',
        settings: {},
        fromQueue: '',
        toQueue: 'a',
      },
      {
        id: 'filter',
        type: 'DIRECT_RESPONSE_OPERATOR',
        name: 'jsonContentFilter',
        version: '0.0.1',
        settings: { 'field.1.path': 'data.host', 'field.1.expression': 'www\\.shop\\.com', 'field.1.type': 'STRING' },
        fromQueue: 'a',
        toQueue: 'b',
      },
      {
        id: 'sums',
        type: 'delayed_response_operator',
        name: 'jsonContentAggregator',
        version: '0.0.1',
        settings: {
          pipelineId: 'p1',
          'field.1.name': 'price',
          'field.1.path': 'data.price',
          'waitStrategy.name': 'messageCount',
          'waitStrategy.cfg.maxMessages': '10',
        },
        fromQueue: 'b',
        toQueue: 'c',
      },
      {
        id: 'out',
        type: 'EMITTER',
        name: 'kafkaEmitter',
        version: '0.0.1',
        settings: { topic: 'Sums' },
        fromQueue: 'c',
        toQueue: '',
      },
    ],
  }
  const imported = await spqr(server.url, ['pipeline', 'import', file(m, 'spqr.json', JSON.stringify(original))])
  assert.is(imported.code, 0, imported.err)
  assert.match(imported.err, /note: reader: .*ingest/)
  const made = parse(imported.out)
  assert.is(made.id, 'shop-events')
  assert.equal(
    made.components.map((c: { id: string; from?: string }) => [c.id, c.from]),
    [
      ['reader', undefined],
      ['filter', 'reader'],
      ['sums', 'filter'],
      ['sums-labels', 'sums'],
      ['out', 'sums-labels'],
    ],
  )
  assert.equal(made.components[2].emitWhen, { records: 10 })
  const linted = await spqr('http://127.0.0.1:1', ['pipeline', 'lint', file(m, 'new.yaml', imported.out)])
  assert.equal([linted.code, linted.out.includes(': ok')], [0, true], linted.out)
  const wrong = await spqr(server.url, ['pipeline', 'import', file(m, 'wrong.json', '{"id":"x","components":[]}')])
  assert.is(wrong.code, 1)
  assert.match(wrong.err, /wrong\.json:1:\d+: \/components/)
})

function freePort(): Promise<number> {
  return new Promise((done) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => done(port))
    })
  })
}

test('records go in and come out as they are, all of them', async ({ m, server }) => {
  await m.ask('POST', '/v1/topics', { name: 't', partitions: 2 })
  const run = async (...args: string[]): Promise<string> => (await spqr(server.url, args)).out
  await run('topic', 'produce', 't', '{"id":12345678901234567890}', 'plain text', '--partition', '1')
  const lines = Array.from({ length: 60_000 }, (_, i) => `{"n":${i}}`).join('\n')
  const sent = await spqr(server.url, ['topic', 'produce', 't'], { input: lines })
  assert.is(sent.out, 'wrote 60000 records to t\n')
  const out = (await run('topic', 'consume', 't')).trimEnd().split('\n')
  assert.is(out.length, 60_002)
  assert.ok(out.some((line) => line.includes('"value":{"id":12345678901234567890}')))
  const limited = (await run('topic', 'consume', 't', '--limit', '10005')).trimEnd().split('\n')
  assert.is(limited.length, 10_005)
  const page = await run('topic', 'consume', 't', '--partition', '1', '--json', '--limit', '1')
  assert.ok(page.startsWith('{"records":[{"partition":1,"offset":"0"'), page.slice(0, 100))
  const follow = await run('topic', 'consume', 't', '--follow', '--limit', '2', '--partition', '1')
  assert.is(follow.trimEnd().split('\n').length, 2)
})

test('what is printed steers no terminal, and JSON stays what it was', async ({ server }) => {
  const steering = 'a\x1b[2J\x1b]0;title\x07b\x1b[1mbold\x1b[22m\x9b31m\x9b[1m\r\tc\n\x7f\x1b'
  const plain = 'a\\u001b[2J\\u001b]0;title\\u0007b\x1b[1mbold\x1b[22m\\u009b31m\\u009b[1m\\u000d\tc\n\\u007f\\u001b'
  assert.is(harmless(steering), plain)
  assert.equal(JSON.parse(harmless(JSON.stringify({ steering }))), { steering })

  const none = await spqr(server.url, ['pipeline', 'get', '\x1b[2Jx'])
  assert.match(none.err, '"\\u001b[2Jx"')
})

test('what is wrong with a command is said', async ({ m, server }) => {
  await m.ask('POST', '/v1/pipelines', document('p'))
  const { code, err } = await spqr(server.url, ['pipeline', 'set', 'p', 'f', 'nokey'])
  assert.equal([code, err.includes('"nokey" is not key=value')], [2, true], err)
  const dots = await spqr(server.url, ['pipeline', 'rm', '..'])
  assert.equal([dots.code, dots.err.includes('There is no pipeline ".."')], [1, true], dots.err)
  const gone = await spqr(server.url, ['pipeline', 'rm', 'p', '--json'])
  assert.equal([gone.code, gone.out, gone.err], [0, '', ''])
  const missing = await spqr(server.url, ['topic', 'rm', 'none', '--json'])
  assert.equal([missing.code, JSON.parse(missing.out).code], [1, 'NOT_FOUND'])
  writeFileSync(join(m.folder, 'bytes.yaml'), new Uint8Array([0xff, 0xfe]))
  const lint = await spqr(server.url, ['pipeline', 'lint', 'bytes.yaml', 'none.yaml'], { cwd: m.folder })
  assert.match(lint.out, /^bytes\.yaml:1:1: .*UTF-8\.\nnone\.yaml:1:1: .*no such file/)
})

test.run()
