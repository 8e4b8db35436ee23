import { test } from 'uvu'
import * as assert from 'uvu/assert'
import * as v from 'valibot'
import { documentSchema } from '../../schemas/document.ts'
import { issuesOf } from '../../schemas/problems.ts'

const component = (fields: Record<string, unknown>) => ({
  id: 'p',
  components: [{ id: 'c', operator: 'x', ...fields }],
})

function normal(fields: Record<string, unknown>) {
  return v.parse(documentSchema, component(fields)).components[0]!
}

function issues(input: unknown) {
  const parsed = v.safeParse(documentSchema, input)
  return parsed.issues ? issuesOf(parsed.issues) : []
}

test('a document gets its defaults', () => {
  assert.equal(v.parse(documentSchema, { id: ' Shop ', components: [] }), {
    id: 'shop',
    delivery: 'at-least-once',
    checkpointEveryMs: 1000,
    replicas: 1,
    isolation: 'thread',
    strict: false,
    components: [],
  })
})

test('every form of "from" becomes a list of edges', () => {
  assert.equal(normal({ from: 'a' }).from, [{ component: 'a', port: 'out' }])
  assert.equal(normal({ from: ' A.Left ' }).from, [{ component: 'a', port: 'Left' }])
  assert.equal(normal({ from: { component: 'a', capacityKiB: 64, whenFull: 'drop-oldest' } }).from, [
    { component: 'a', port: 'out', capacityKiB: 64, whenFull: 'drop-oldest' },
  ])
  assert.equal(normal({ from: ['a', 'b.left', { component: 'c', port: 'right' }] }).from, [
    { component: 'a', port: 'out' },
    { component: 'b', port: 'left' },
    { component: 'c', port: 'right' },
  ])
})

test('onError and emitWhen have their forms', () => {
  assert.equal(normal({ onError: 'skip' }).onError, { do: 'skip', stopAbove: 0.5 })
  assert.equal(normal({ onError: { do: 'dead-letter' } }).onError, { do: 'dead-letter', stopAbove: 0.5 })
  assert.equal(normal({ onError: { do: 'stop', stopAbove: 1 } }).onError, { do: 'stop', stopAbove: 1 })
  for (const emitWhen of [{ records: 3 }, { everyMs: 100 }, { operator: true }]) {
    assert.equal(normal({ emitWhen }).emitWhen, emitWhen)
  }
})

test('the normal form is a document and its own normal form', () => {
  const once = v.parse(documentSchema, component({ from: ['a', 'b.x'], onError: 'stop', emitWhen: { records: 1 } }))
  assert.equal(v.parse(documentSchema, once), once)
})

test('a wrong form is told at its place', () => {
  const cases: [unknown, string, RegExp][] = [
    [null, '', /must be an object/],
    [[], '', /must be an object, not a list/],
    [{ components: [] }, '', /"id" is missing/],
    [{ id: 'a' }, '', /"components" is missing/],
    [{ id: 'a', components: {} }, '/components', /must be a list/],
    [{ id: 3, components: [] }, '/id', /must be a text, not 3/],
    [{ id: 'a', components: [], delivery: 'exactly-onc' }, '/delivery', /did you mean "exactly-once"/],
    [{ id: 'a', components: [], checkpointEveryMs: 1 }, '/checkpointEveryMs', /at least 10/],
    [{ id: 'a', components: [], replicas: 1.5 }, '/replicas', /whole number/],
    [{ id: 'a', components: [], placement: { label: {} } }, '/placement/label', /did you mean "labels"/],
    [{ id: 'a', components: Array(201).fill({ id: 'x' }) }, '/components', /at most 200 entries/],
    [component({ from: 3 }), '/components/0/from', /must be a text/],
    [component({ from: 'a b' }), '/components/0/from', /id.port/],
    [component({ from: [] }), '/components/0/from', /empty/],
    [component({ from: ['a', { component: 'b', capacity: 1 }] }), '/components/0/from/1/capacity', /capacityKiB/],
    [component({ from: { component: 'a', capacityKiB: '64' } }), '/components/0/from/capacityKiB', /number/],
    [component({ emitWhen: {} }), '/components/0/emitWhen', /everyMs/],
    [component({ emitWhen: { records: 0 } }), '/components/0/emitWhen/records', /at least 1/],
    [component({ emitWhen: { records: 1, everyMs: 1 } }), '/components/0/emitWhen', /exactly one of/],
    [component({ emitWhen: { record: 1 } }), '/components/0/emitWhen/record', /did you mean "records"/],
    [component({ emitWhen: null }), '/components/0/emitWhen', /must be an object/],
    [component({ emitWhen: { operator: false } }), '/components/0/emitWhen/operator', /true/],
    [component({ onError: 'retry' }), '/components/0/onError', /dead-letter/],
    [component({ onError: { do: 'skip', stopAbove: 2 } }), '/components/0/onError/stopAbove', /at most 1/],
    [component({ limits: { memoryMib: 1 } }), '/components/0/limits/memoryMib', /did you mean "memoryMiB"/],
    [component({ settings: [] }), '/components/0/settings', /must be an object/],
  ]
  for (const [input, pointer, message] of cases) {
    const found = issues(input)
    assert.ok(
      found.some((issue) => issue.pointer === pointer && message.test(issue.message)),
      `${pointer} ${message}: ${JSON.stringify(found)}`,
    )
  }
})

test('every unknown field is told, names of the prototype too', () => {
  const input = JSON.parse(
    '{"id": "a", "components": [], "toString": 1, "constructor": 2, "__proto__": 3, "compnents": 4}',
  )
  assert.equal(
    issues(input).map((issue) => issue.pointer),
    ['/toString', '/constructor', '/__proto__', '/compnents'],
  )
})

test.run()
