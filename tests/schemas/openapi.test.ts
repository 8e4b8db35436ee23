import { Validator } from '@cfworker/json-schema'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { shippedCatalog } from '../../schemas/catalog.ts'
import { checkDocument } from '../../schemas/check-document.ts'
import { COMPONENTS, KINDS } from '../../schemas/components.ts'
import { documentJsonSchema } from '../../schemas/json-schema.ts'
import { openApi } from '../../schemas/openapi.ts'

const document = (operator: Record<string, unknown>) => ({
  id: 'p',
  components: [
    { id: 'in', source: 'generator', settings: { template: { n: { $seq: 0 } }, count: 3 } },
    { id: 'x', from: 'in', ...operator },
    { id: 'out', emitter: 'http', from: [{ component: 'x', whenFull: 'block' }], settings: { url: 'http://a/' } },
  ],
})

const GOOD = [
  {
    operator: 'json-filter@1',
    settings: { where: [{ any: [{ path: 'a', in: [1, null] }, { not: { path: 'b', lt: 3 } }] }] },
  },
  { operator: 'json-map', settings: { set: { a: [1] }, compute: { b: 'a + 1' }, rename: { 'a.b': 'c' } } },
  {
    operator: 'json-aggregate@1.0.0',
    emitWhen: { records: 2 },
    settings: { groupBy: ['a', { path: 'b', as: 'c' }], fields: [{ as: 'n', fn: 'count' }] },
  },
  { operator: 'sample', onError: { do: 'skip' }, settings: { every: 2 } },
]

const BAD = [
  { operator: 'json-filter', settings: { where: [{ path: 'a', in: 3 }] } },
  { operator: 'json-filter', settings: { where: [{ any: [{ all: [{ pth: 'a' }] }] }] } },
  { operator: 'json-filter' },
  { operator: 'json-aggregate', settings: { fields: [] } },
  { operator: 'sample', emitter: 'sse', settings: { every: 2 } },
  { operator: 'sample', settings: { evry: 2 } },
]

test("the document's JSON Schema and the check agree", () => {
  const validator = new Validator(documentJsonSchema(), '2020-12', false)
  const catalog = shippedCatalog('1.0.0')
  for (const operator of GOOD) {
    const checked = checkDocument(document(operator), catalog)
    assert.is(checked.issues, undefined, JSON.stringify(checked.issues))
    const { valid, errors } = validator.validate(document(operator))
    assert.ok(valid, `${JSON.stringify(operator)} ${JSON.stringify(errors)}`)
  }
  for (const operator of BAD) {
    assert.ok(checkDocument(document(operator), catalog).issues, JSON.stringify(operator))
    assert.not.ok(validator.validate(document(operator)).valid, JSON.stringify(operator))
  }
})

test('an editor is shown the settings of every component', () => {
  const text = JSON.stringify(documentJsonSchema())
  for (const kind of KINDS)
    for (const name of COMPONENTS[kind].keys())
      assert.ok(text.includes(`"${name}"`) || text.includes(`^${name}(`), name)
})

test('OpenAPI 3.1 describes every endpoint, and every reference leads somewhere', () => {
  const api = openApi('1.2.3')
  assert.is(api.openapi, '3.1.0')
  for (const path of [
    ...[
      '/v1/pipelines',
      '/v1/pipelines/{id}',
      '/v1/pipelines/{id}/components/{component}',
      '/v1/operators',
      '/v1/topics',
    ],
    ...[
      '/v1/operators/{name}/{version}',
      '/v1/topics/{topic}/records',
      '/v1/tenants/{tenant}/tokens',
      '/v1/hosts/{id}',
    ],
    ...['/healthz', '/readyz', '/metrics'],
  ]) {
    assert.ok(api.paths[path], path)
  }
  const refs: string[] = []
  const ids = new Set<string>()
  JSON.stringify(api, (key, value) => {
    if (key === '$ref') refs.push(value)
    if (key === 'operationId') {
      assert.not.ok(ids.has(value), value)
      ids.add(value)
    }
    return value
  })
  assert.ok(refs.length > 10)
  for (const ref of new Set(refs)) {
    let at: unknown = api
    for (const step of ref.slice(2).split('/')) at = (at as Record<string, unknown>)[step]
    assert.ok(at, ref)
  }
  const parameters = api.paths['/v1/topics/{topic}/records']!.get!.parameters as { name: string; in: string }[]
  assert.equal(
    parameters.map((parameter) => `${parameter.in} ${parameter.name}`),
    ['path topic', 'query partition', 'query from', 'query limit', 'query follow'],
  )
})

test.run()
