// biome-ignore-all lint/suspicious/noTemplateCurlyInString: a form of the settings

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as v from 'valibot'
import { type ComponentKind, componentType } from '../../../schemas/components.ts'
import { issuesOf } from '../../../schemas/problems.ts'

function typeOf(kind: ComponentKind, name: string) {
  const type = componentType(kind, name)
  assert.ok(type, `${kind} ${name}`)
  return type!
}

const settingsOf = (kind: ComponentKind, name: string, settings: unknown) =>
  v.parse(typeOf(kind, name).settings, settings)

function refused(kind: ComponentKind, name: string, settings: unknown, pointer: string, message: RegExp): void {
  const parsed = v.safeParse(typeOf(kind, name).settings, settings)
  const found = parsed.issues ? issuesOf(parsed.issues) : []
  const at = found.some((issue) => issue.pointer === pointer && message.test(issue.message))
  assert.ok(at, `${name} ${JSON.stringify(settings)}: ${pointer} ${message} among ${JSON.stringify(found)}`)
}

test('every component of the product is there, with the defaults of its settings', () => {
  const defaults: [ComponentKind, string, unknown, unknown][] = [
    ['source', 'http', {}, { maxRecordBytes: 1024 * 1024 }],
    ['source', 'file', { path: 'x/*' }, { path: 'x/*', follow: false }],
    ['source', 'generator', { template: 1 }, { template: 1 }],
    ['source', 'timer', { everyMs: 5 }, { everyMs: 5 }],
    ['source', 'topic', { topic: 't' }, { topic: 't', from: 'committed' }],
    ['operator', 'json-filter', { where: [] }, { where: [] }],
    ['operator', 'json-map', {}, {}],
    [
      'operator',
      'json-aggregate',
      {
        groupBy: 'a.b',
        fields: [
          { as: 'n', fn: 'count' },
          { as: 't', fn: 'top', path: 'x' },
        ],
      },
      {
        groupBy: [{ path: 'a.b', as: 'a.b' }],
        fields: [
          { as: 'n', fn: 'count' },
          { path: 'x', as: 't', fn: 'top', k: 10 },
        ],
        reset: 'never',
        emit: 'changed',
      },
    ],
    [
      'operator',
      'route',
      { routes: [{ port: 'a', where: { path: 'x', exists: true } }] },
      { routes: [{ port: 'a', where: [{ path: 'x', exists: true }] }], match: 'first' },
    ],
    ['operator', 'throttle', { records: 1, perMs: 2 }, { records: 1, perMs: 2 }],
    ['operator', 'sample', { every: 2 }, { every: 2 }],
    ['operator', 'sample', { ratio: 0.5 }, { ratio: 0.5, seed: 1 }],
    ['operator', 'dedupe', { by: 'key', withinMs: 10 }, { by: 'key', withinMs: 10 }],
    ['emitter', 'topic', { topic: 't' }, { topic: 't' }],
    ['emitter', 'file', { path: 'x' }, { path: 'x' }],
    [
      'emitter',
      'http',
      { url: 'https://example.org/' },
      { url: 'https://example.org/', batchRecords: 500, batchMs: 100, retries: 5, timeoutMs: 10_000 },
    ],
    ['emitter', 'sse', {}, { lastRecords: 100 }],
    ['emitter', 'websocket', {}, { lastRecords: 100 }],
    ['emitter', 'console', {}, {}],
    ['emitter', 'discard', {}, {}],
  ]
  for (const [kind, name, given, wanted] of defaults) assert.equal(settingsOf(kind, name, given), wanted, name)
})

test('settings with their defaults are settings, and stay as they are', () => {
  const aggregate = { groupBy: ['a', { path: 'b', as: 'c' }], fields: [{ as: 'n', fn: 'count' }] }
  const once = settingsOf('operator', 'json-aggregate', aggregate)
  assert.equal(settingsOf('operator', 'json-aggregate', once), once)
})

test('conditions in every form', () => {
  const where = [
    { path: 'a', equals: null },
    { path: 'a', notEquals: 'x' },
    { path: 'a', in: [1, 'x', true, null] },
    { path: 'a', between: [1, 2] },
    { path: 'a', between: ['a', 'b'] },
    { path: 'a', matches: '^x' },
    { all: [{ any: [] }, { not: { path: 'a', exists: true } }] },
  ]
  assert.equal(settingsOf('operator', 'json-filter', { where }), { where })
  assert.equal(settingsOf('operator', 'json-filter', { where: { not: [{ path: 'a', gt: 1 }] } }), {
    where: [{ not: { all: [{ path: 'a', gt: 1 }] } }],
  })
})

test('a wrong condition is told at its place', () => {
  const cases: [unknown, string, RegExp][] = [
    [{}, '', /"where" is missing/],
    [{ where: 3 }, '/where', /must be a list/],
    [{ where: [{}] }, '/where/0', /"path" is missing/],
    [{ where: [{ path: 'a' }] }, '/where/0', /exactly one comparison/],
    [{ where: [{ path: 'a', gt: 1, lt: 2 }] }, '/where/0', /exactly one comparison/],
    [{ where: [{ path: 'a..b', gt: 1 }] }, '/where/0/path', /not a path/],
    [{ where: [{ path: 'a', eqals: 1 }] }, '/where/0/eqals', /did you mean "equals"/],
    [{ where: [{ path: 'a', gt: true }] }, '/where/0/gt', /number or a text/],
    [{ where: [{ path: 'a', equals: {} }] }, '/where/0/equals', /must be a text, a number/],
    [{ where: [{ path: 'a', in: 'x' }] }, '/where/0/in', /must be a list/],
    [{ where: [{ path: 'a', in: [[]] }] }, '/where/0/in/0', /must be a text/],
    [{ where: [{ path: 'a', between: [2, 1] }] }, '/where/0/between', /in order/],
    [{ where: [{ path: 'a', between: [1, 'b'] }] }, '/where/0/between', /two numbers or two texts/],
    [{ where: [{ path: 'a', matches: '(?=x)' }] }, '/where/0/matches', /look-around/],
    [{ where: [{ path: 'a', exists: 'yes' }] }, '/where/0/exists', /true or false/],
    [{ where: [{ any: [{ not: { path: 'a' } }] }] }, '/where/0/any/0/not', /exactly one comparison/],
    [{ where: [{ any: [], all: [] }] }, '/where/0/any', /unknown field/],
    [{ where: Array(1001).fill({ path: 'a', exists: true }) }, '/where', /at most 1000/],
  ]
  for (const [settings, pointer, message] of cases) refused('operator', 'json-filter', settings, pointer, message)
  let nested: unknown = { path: 'a', exists: true }
  for (let i = 0; i < 20; i++) nested = { not: nested }
  refused('operator', 'json-filter', { where: nested }, '/where', /deep/)
})

test('wrong settings are told at their place', () => {
  const field = (more: unknown) => ({ fields: [more] })
  const cases: [ComponentKind, string, unknown, string, RegExp][] = [
    ['operator', 'json-map', { pick: ['a['] }, '/pick/0', /not a path/],
    ['operator', 'json-map', { rename: { 'a[': 'b' } }, '/rename/a[', /not a path/],
    ['operator', 'json-map', { rename: { a: '' } }, '/rename/a', /empty/],
    ['operator', 'json-map', { compute: { a: 1 } }, '/compute/a', /must be a text/],
    ['operator', 'json-map', { set: [] }, '/set', /must be an object/],
    ['operator', 'json-map', { set: JSON.parse('{"__proto__": 1}') }, '/set/__proto__', /not permitted/],
    ['operator', 'json-map', { sett: {} }, '/sett', /did you mean "set"/],
    ['operator', 'json-aggregate', {}, '', /"fields" is missing/],
    ['operator', 'json-aggregate', { fields: [] }, '/fields', /empty/],
    ['operator', 'json-aggregate', field({ as: 'n', fn: 'sum' }), '/fields/0', /needs a "path"/],
    ['operator', 'json-aggregate', field({ as: 'n', fn: 'avg' }), '/fields/0/fn', /must be one of "count"/],
    ['operator', 'json-aggregate', field({ as: 'n', fn: 'count', k: 3 }), '/fields/0', /belongs to "top"/],
    ['operator', 'json-aggregate', { groupBy: 'n', ...field({ as: 'n', fn: 'count' }) }, '/fields/0', /two fields/],
    [
      'operator',
      'json-aggregate',
      { groupBy: ['a', 'a'], ...field({ as: 'n', fn: 'count' }) },
      '/groupBy/1',
      /two fields/,
    ],
    [
      'operator',
      'json-aggregate',
      { groupBy: { path: 'a.' }, ...field({ as: 'n', fn: 'count' }) },
      '/groupBy/path',
      /path/,
    ],
    ['operator', 'route', { routes: [] }, '/routes', /empty/],
    ['operator', 'route', { routes: [{ port: 'unmatched', where: [] }] }, '/routes/0/port', /another name/],
    [
      'operator',
      'route',
      {
        routes: [
          { port: 'a', where: [] },
          { port: 'a', where: [] },
        ],
      },
      '/routes/1/port',
      /has a route already/,
    ],
    ['operator', 'route', { routes: [{ port: 'a.b', where: [] }] }, '/routes/0/port', /characters/],
    ['operator', 'throttle', { records: 0, perMs: 1 }, '/records', /at least 1/],
    ['operator', 'throttle', { records: '5', perMs: 1 }, '/records', /must be a number, not "5"/],
    ['operator', 'sample', {}, '', /either "every" or "ratio"/],
    ['operator', 'sample', { every: 2, ratio: 0.5 }, '', /either/],
    ['operator', 'sample', { every: 2, seed: 1 }, '', /belongs to "ratio"/],
    ['operator', 'dedupe', { by: 'a' }, '', /withinMs/],
    ['source', 'file', {}, '', /"path" is missing/],
    ['source', 'file', { path: 'a\0b' }, '/path', /NUL/],
    ['source', 'file', { path: 'a', format: 'xml' }, '/format', /ndjson/],
    ['source', 'generator', { template: { a: { $sq: 1 } } }, '/template/a/$sq', /did you mean "\$seq"/],
    ['source', 'generator', { template: [{ $int: [3, 1] }] }, '/template/0/$int', /in order/],
    ['source', 'generator', { template: { $float: [0, 1, 16] } }, '/template/$float', /15 digits/],
    ['source', 'generator', { template: { $pick: [] } }, '/template/$pick', /1 to/],
    ['source', 'generator', { template: { $now: false } }, '/template/$now', /true/],
    ['source', 'generator', { template: { $seq: 0, b: 1 } }, '/template', /stands alone/],
    ['source', 'generator', { template: 1, recordsPerSecond: 0 }, '/recordsPerSecond', /at least/],
    ['source', 'timer', {}, '', /"everyMs" is missing/],
    ['source', 'topic', { topic: 'a/b' }, '/topic', /topic's name/],
    ['source', 'topic', { topic: 'a', from: 'offset:-1' }, '/from', /offset:N/],
    ['source', 'topic', { topic: 'a', from: 'time:soon' }, '/from', /time:ISO/],
    ['emitter', 'http', { url: 'file:///etc/passwd' }, '/url', /http:/],
    ['emitter', 'http', { url: 'nowhere' }, '/url', /http:/],
    ['emitter', 'http', { url: 'http://a/', headers: { 'x y': '1' } }, '/headers/x y', /HTTP header/],
    ['emitter', 'http', { url: 'http://a/', headers: { x: 'a\r\nb: c' } }, '/headers/x', /one line/],
    ['emitter', 'http', { url: 'http://a/', headers: { x: '漢' } }, '/headers/x', /ISO 8859-1/],
    ['emitter', 'http', { url: 'http://a/', batchRecords: 0 }, '/batchRecords', /at least 1/],
    ['emitter', 'discard', { x: 1 }, '/x', /unknown field/],
  ]
  for (const [kind, name, settings, pointer, message] of cases) refused(kind, name, settings, pointer, message)
})

test('what the host puts in is not judged before', () => {
  assert.ok(settingsOf('emitter', 'http', { url: '${secret:hook}' }))
  assert.ok(settingsOf('source', 'topic', { topic: '${env:TOPIC}' }))
})

test('ports follow the settings', () => {
  const route = typeOf('operator', 'route')
  assert.equal(route.ports({ routes: [{ port: 'de' }, { port: 'at' }] }), ['de', 'at', 'unmatched'])
  assert.equal(typeOf('operator', 'json-filter').ports({}), ['out', 'rejected'])
  assert.equal(typeOf('operator', 'throttle').ports({}), ['out', 'excess'])
  assert.equal(typeOf('operator', 'dedupe').ports({}), ['out', 'duplicates'])
  assert.equal(typeOf('operator', 'sample').ports({}), ['out'])
})

test('a generator can be re-read where nothing in it is drawn without a seed', () => {
  const { deliveries } = typeOf('source', 'generator')
  assert.ok(deliveries({ template: { n: { $seq: 0 } } }).includes('exactly-once'))
  assert.not.ok(deliveries({ template: [{ n: { $int: [0, 1] } }] }).includes('exactly-once'))
  assert.ok(deliveries({ template: [{ n: { $int: [0, 1] } }], seed: 7 }).includes('exactly-once'))
})

test.run()
