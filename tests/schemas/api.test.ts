import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as v from 'valibot'
import * as api from '../../schemas/api.ts'
import { issuesOf } from '../../schemas/problems.ts'
import type { AnySchema } from '../../schemas/shapes.ts'
import { parseStart } from '../../schemas/start.ts'

const refused: [AnySchema, unknown, string, RegExp][] = [
  [api.noQuery, { a: '1' }, '/a', /unknown field/],
  [api.listQuery, { limit: '1e9' }, '/limit', /whole number/],
  [api.listQuery, { limit: '0' }, '/limit', /at least 1/],
  [api.listQuery, { limit: '10001' }, '/limit', /at most 10000/],
  [api.listQuery, { limt: '1' }, '/limt', /did you mean "limit"/],
  [api.dryRunQuery, { dryRun: 'yes' }, '/dryRun', /"true", "false"/],
  [api.keepStateQuery, { keepState: 'no' }, '/keepState', /required/],
  [api.readRecordsQuery, { from: 'offset:-1' }, '/from', /offset:N/],
  [api.readRecordsQuery, { from: 'committed' }, '/from', /earliest/],
  [api.operatorBody, { name: 'A', version: '1', source: '' }, '/name', /characters/],
  [api.operatorBody, { name: 'a', version: '1', source: 'x' }, '/version', /1.0.0/],
  [api.operatorBody, { name: 'a', version: '1.0.0', source: '' }, '/source', /empty/],
  [api.operatorBody, { name: 'a', version: '1.0.0', sorce: 'x' }, '/sorce', /did you mean "source"/],
  [api.patchComponentBody, {}, '', /"settings" or "operator"/],
  [api.patchComponentBody, { settings: null }, '/settings', /must be an object/],
  [api.savepointBody, { name: '../x' }, '/name', /characters/],
  [api.forkBody, { components: [] }, '', /"id" is missing/],
  [api.forkBody, { id: 'x', components: [{ id: 'a', from: 'b' }] }, '/components/0/from', /unknown field/],
  [api.restartBody, { from: 'savepoint:' }, '/from', /savepoint:NAME/],
  [api.topicBody, { name: 'a/b' }, '/name', /characters/],
  [api.topicBody, { name: 'a', partitions: 1025 }, '/partitions', /at most 1024/],
  [api.tenantBody, { id: 'default' }, '/id', /always there/],
  [api.tokenBody, { scopes: [] }, '/scopes', /empty/],
  [api.tokenBody, { scopes: ['root'] }, '/scopes/0', /admin/],
  [api.tokenBody, { scopes: ['read'], expiresAt: 'tomorrow' }, '/expiresAt', /ISO/],
  [api.permissionsBody, { nets: [] }, '/nets', /did you mean "net"/],
  [api.quotasBody, { pipelines: -1 }, '/pipelines', /at least 0/],
  [api.secretBody, {}, '', /"value" is missing/],
  [api.hostBody, { url: 'ftp://x' }, '/url', /http/],
]

test('wrong bodies and queries are told at their place', () => {
  for (const [schema, input, pointer, message] of refused) {
    const parsed = v.safeParse(schema, input)
    const found = parsed.issues ? issuesOf(parsed.issues) : []
    const at = found.some((issue) => issue.pointer === pointer && message.test(issue.message))
    assert.ok(at, `${JSON.stringify(input)}: ${pointer} ${message} among ${JSON.stringify(found)}`)
  }
})

test('good ones come as what they mean', () => {
  assert.equal(v.parse(api.dryRunQuery, {}), { dryRun: false })
  assert.equal(v.parse(api.dryRunQuery, { dryRun: 'true' }), { dryRun: true })
  assert.equal(v.parse(api.listQuery, { limit: '17', after: 'x' }), { limit: 17, after: 'x' })
  assert.equal(v.parse(api.forkBody, { id: ' Twin ', components: [{ id: 'A', settings: { a: null } }] }), {
    id: 'twin',
    components: [{ id: 'a', settings: { a: null } }],
  })
  assert.equal(v.parse(api.topicBody, { name: 'a' }), { name: 'a' })
  const token = { scopes: ['read', 'ingest'], expiresAt: '2030-01-01T00:00:00Z' }
  assert.equal(v.parse(api.tokenBody, token), token)
})

test('where reading begins is a word, an offset, a time or a savepoint', () => {
  assert.equal(parseStart('earliest', ['earliest']), { at: 'word', word: 'earliest' })
  assert.equal(parseStart('offset:9223372036854775807', []), { at: 'offset', offset: 2n ** 63n - 1n })
  assert.is(parseStart('offset:9223372036854775808', []), undefined)
  assert.equal(parseStart('time:2026-01-02', []), { at: 'time', timestampMs: Date.UTC(2026, 0, 2) })
  const noon = { at: 'time', timestampMs: Date.UTC(2026, 0, 2, 10) }
  assert.equal(parseStart('time:2026-01-02T12:00:00.000+02:00', []), noon)
  assert.is(parseStart('time:2026-13-02', []), undefined)
  assert.equal(parseStart('savepoint:half', [], true), { at: 'savepoint', name: 'half' })
  assert.is(parseStart('savepoint:half', []), undefined)
  assert.is(parseStart('latest', ['earliest']), undefined)
})

test.run()
