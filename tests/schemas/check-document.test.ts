import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Catalog, type CatalogOperator, shippedCatalog } from '../../schemas/catalog.ts'
import { checkChanged, checkDocument } from '../../schemas/check-document.ts'
import { ISSUES_MAX, pointerSegments, pointerTo } from '../../schemas/problems.ts'
import { readDocument } from '../../schemas/read-document.ts'

const mine: [string, CatalogOperator][] = [
  ['1.0.0', { digest: 'a'.repeat(64) }],
  ['1.10.0', { digest: 'b'.repeat(64), ports: ['left', 'right'] }],
  ['1.9.0', { digest: 'c'.repeat(64) }],
  ['2.0.0', { digest: 'd'.repeat(64), ports: '*' }],
]
const catalog: Catalog = {
  operators: new Map([...shippedCatalog('1.0.0').operators, ['mine', new Map(mine)]]),
  checkSettings: (_operator, settings) =>
    Object.keys(settings).map((key) => ({ pointer: pointerTo('', key), message: `${key} is not wanted` })),
}

const source = { id: 'in', source: 'http' }
const sink = (from: unknown, id = 'sink') => ({ id, emitter: 'discard', from })
const pipeline = (...components: unknown[]) => ({ id: 'p', components })
const filter = (from: unknown, id = 'f') => ({ id, operator: 'json-filter@1', from, settings: { where: [] } })

function good(input: unknown) {
  const checked = checkDocument(input, catalog)
  assert.ok(!checked.issues, JSON.stringify(checked.issues))
  return checked
}

function issues(input: unknown) {
  const checked = checkDocument(input, catalog)
  assert.ok(checked.issues, 'it was taken')
  return checked.issues
}

function refused(input: unknown, pointer: string, message: RegExp): void {
  const found = issues(input)
  const at = found.some((issue) => issue.pointer === pointer && message.test(issue.message))
  assert.ok(at, `${pointer} ${message} among ${JSON.stringify(found)}`)
}

test('a good document is resolved component by component', () => {
  const { document, resolved, warnings } = good(pipeline(source, filter('in'), sink('f')))
  assert.equal(document.components[1]!.from, [{ component: 'in', port: 'out' }])
  assert.equal(document.components[1]!.settings, { where: [] })
  assert.equal(resolved, [
    { kind: 'source', type: 'http', settings: { maxRecordBytes: 1024 * 1024 } },
    {
      kind: 'operator',
      name: 'json-filter',
      version: '1.0.0',
      digest: '',
      ports: ['out', 'rejected'],
      permissions: [],
      settings: { where: [] },
    },
    { kind: 'emitter', type: 'discard', settings: {} },
  ])
  assert.equal(warnings, [])
})

test('every problem at once, with place and nearest name', () => {
  const found = issues({
    id: 'Bad Id!',
    deliveri: 1,
    components: [
      { id: 'in', source: 'htpt' },
      { id: 'f', operator: 'json-fliter', from: 'inn', settings: { where: 3 } },
      { id: 'f', emitter: 'discard', from: 'f', settings: { x: 1 } },
      { id: 'x', operator: 'json-filter', source: 'http', from: 'f' },
      filter('f.rejcted', 'g'),
    ],
  })
  assert.equal(
    found.map((issue) => [issue.pointer, /did you mean "([^"]+)"/.exec(issue.message)?.[1]]),
    [
      ['/id', undefined],
      ['/deliveri', 'delivery'],
      ['/components/0/source', 'http'],
      ['/components/1/operator', 'json-filter'],
      ['/components/1/from', 'in'],
      ['/components/2/id', undefined],
      ['/components/2/settings/x', undefined],
      ['/components/3', undefined],
    ],
  )
})

test('issues and warnings of a text have line and column', () => {
  const text =
    'id: y\ncomponents:\n  - id: in\n    source: http\n  - id: f\n    operator: nope\n    from: in\n    sttings: {}\n'
  const read = readDocument(text, 'application/yaml')
  assert.ok(!read.issues)
  const checked = checkDocument(read.value, catalog, { locate: read.locate })
  const places = checked.issues?.map(({ pointer, line, column }) => [pointer, line, column])
  assert.equal(places, [
    ['/components', 3, 3],
    ['/components/1/operator', 6, 15],
    ['/components/1/sttings', 8, 5],
  ])
})

test('a component is exactly one of source, operator and emitter', () => {
  refused(pipeline(source, { id: 'x' }, sink('in')), '/components/1', /none of them/)
  refused(pipeline({ ...source, emitter: 'sse' }, sink('in')), '/components/0', /source and emitter/)
})

test('a name of another kind is told as such', () => {
  refused(pipeline({ id: 'in', source: 'json-filter' }, sink('in')), '/components/0/source', /an operator of this name/)
  refused(pipeline(source, { id: 'x', operator: 'sse', from: 'in' }), '/components/1/operator', /write "emitter: sse"/)
  refused(pipeline({ id: 'in', source: 'constructor' }, sink('in')), '/components/0/source', /no source/)
})

test('a pipeline has a source and an emitter', () => {
  refused(pipeline(), '/components', /at least one source/)
  refused(pipeline(), '/components', /at least one emitter/)
  refused(pipeline(source), '/components', /at least one emitter/)
})

test('edges end where something comes out', () => {
  refused(pipeline(source, sink('inn')), '/components/1/from', /did you mean "in"/)
  refused(pipeline(source, sink(['in', 'nn'])), '/components/1/from/1', /did you mean "in"/)
  refused(pipeline(source, sink({ component: 'inn' })), '/components/1/from/component', /did you mean "in"/)
  refused(pipeline(source, sink('in.left')), '/components/1/from', /no port "left"/)
  refused(pipeline(source, filter('in'), sink('f.rejectd')), '/components/2/from', /did you mean "rejected"/)
  const object = { component: 'f', port: 'rejectd' }
  refused(pipeline(source, filter('in'), sink([object])), '/components/2/from/0/port', /did you mean "rejected"/)
  refused(pipeline(source, sink('in', 'a'), sink('a', 'b')), '/components/2/from', /is an emitter/)
  refused(pipeline(source, sink(['in', 'in.out'])), '/components/1/from/1', /twice/)
  refused(pipeline({ ...source, from: 'sink' }, sink('in')), '/components/0/from', /a source begins/)
  refused(pipeline(source, { id: 'x', emitter: 'discard' }), '/components/1', /needs "from"/)
  assert.equal(good(pipeline(source, filter('in'), sink(['f', 'f.rejected']))).warnings, [])
  assert.equal(good(pipeline(source, filter(' IN '), sink('F'))).warnings, [])
})

test('ports of a route are those of its settings', () => {
  const route = { id: 'r', operator: 'route', from: 'in', settings: { routes: [{ port: 'de', where: [] }] } }
  good(pipeline(source, route, sink(['r.de', 'r.unmatched'])))
  refused(pipeline(source, route, sink('r')), '/components/2/from', /no port "out"/)
})

test('a circle is told once, with its way', () => {
  const found = issues(pipeline(source, filter(['in', 'h'], 'f'), filter('f', 'g'), filter('g', 'h'), sink('h')))
  assert.is(found.length, 1, JSON.stringify(found))
  assert.match(found[0]!.message, /circle: /)
  assert.match(found[0]!.message, /f → g → h/)
  refused(pipeline(source, filter(['in', 'f']), sink('f')), '/components/1/from/1', /f → f/)
})

test('a deep chain is no circle and does not overflow', () => {
  const chain = Array.from({ length: 198 }, (_, i) => filter(i === 0 ? 'in' : `f${i - 1}`, `f${i}`))
  good(pipeline(source, ...chain.reverse(), sink('f197')))
})

test('what leads nowhere is a warning, under strict a problem', () => {
  const lost = pipeline(source, filter('in'), sink('in'))
  assert.equal(good(lost).warnings, [
    { pointer: '/components/1', message: 'nothing takes the records of operator "f"' },
  ])
  refused({ ...lost, strict: true }, '/components/1', /nothing takes/)
})

test('a version is the newest that fits when it is asked for', () => {
  const version = (operator: string) => {
    const [, resolved] = good(pipeline(source, { id: 'm', operator, from: 'in' }, sink('m.left'))).resolved
    return resolved?.kind === 'operator' ? resolved.version : undefined
  }
  assert.is(version('mine'), '2.0.0')
  assert.is(version('mine@1'), '1.10.0')
  assert.is(version('mine@1.10.0'), '1.10.0')
  refused(
    pipeline(source, { id: 'm', operator: 'mine@3', from: 'in' }),
    '/components/1/operator',
    /1.0.0, 1.9.0, 1.10.0/,
  )
  refused(pipeline(source, { id: 'm', operator: 'mine@1.1', from: 'in' }), '/components/1/operator', /name@1.2.3/)
  refused(
    pipeline(source, { id: 'm', operator: 'mine@1.0.0', from: 'in' }, sink('m.left')),
    '/components/2/from',
    /port/,
  )
})

test('settings of a pushed operator are checked by the catalog, at their place', () => {
  const m = { id: 'm', operator: 'mine', from: 'in', settings: { 'a/b': 1 } }
  refused(pipeline(source, m, sink('m')), '/components/1/settings/a~1b', /not wanted/)
})

test('settings that are missing are told of the component', () => {
  refused(
    pipeline(source, { id: 'f', operator: 'json-filter', from: 'in' }),
    '/components/1',
    /needs "settings": "where"/,
  )
})

test('fields of an operator are not for others', () => {
  for (const field of ['emitWhen', 'onError', 'limits', 'partitionBy', 'parallelism', 'discardState']) {
    refused(pipeline(source, { ...sink('in'), [field]: 1 }), `/components/1/${field}`, /belongs to an operator/)
  }
})

test('parallelism goes with a key to split by', () => {
  refused(pipeline(source, { ...filter('in'), parallelism: 2 }, sink('f')), '/components/1/parallelism', /partitionBy/)
  refused(pipeline(source, { ...filter('in'), partitionBy: 'a[' }, sink('f')), '/components/1/partitionBy', /path/)
  good(pipeline(source, { ...filter('in'), parallelism: 2, partitionBy: 'key' }, sink('f')))
})

test('what an operator keeps together has to be in one instance', () => {
  const aggregate = (groupBy: unknown, partitionBy: string) => {
    const settings = { groupBy, fields: [{ as: 'n', fn: 'count' }] }
    const a = { id: 'a', operator: 'json-aggregate', from: 'in', settings, parallelism: 2, partitionBy }
    return good(pipeline(source, a, sink('a'))).warnings.map(({ pointer }) => pointer)
  }
  assert.equal(aggregate('user.id', 'user.id'), [])
  assert.equal(aggregate(['country', { path: 'user.id', as: 'user' }], 'user.id'), [])
  for (const [groupBy, by] of [
    ['user.id', 'country'],
    [undefined, 'user.id'],
    ['key', 'key'],
  ] as const) {
    assert.equal(aggregate(groupBy, by), ['/components/1/partitionBy'], `${groupBy} ${by}`)
  }
  const dedupe = (by: string, partitionBy: string) => {
    const d = { id: 'd', operator: 'dedupe', from: 'in', settings: { by, capacity: 9 }, parallelism: 2, partitionBy }
    return good(pipeline(source, d, sink('d'))).warnings.length
  }
  assert.equal([dedupe('key', 'key'), dedupe('a', 'a'), dedupe('a', 'key')], [0, 0, 1])
})

test('instances of all operators together have a limit', () => {
  const split = (n: number) => ({ ...filter('in', `f${n}`), parallelism: 64, partitionBy: 'key' })
  good(pipeline(source, ...[1, 2, 3, 4].map(split), sink(['f1', 'f2', 'f3', 'f4'])))
  refused(pipeline(source, ...[1, 2, 3, 4, 5].map(split), sink('f1')), '/components', /320 instances together/)
})

test('what only several hosts could do is a warning', () => {
  const document = { ...pipeline(source, sink('in')), replicas: 2, placement: { labels: { zone: 'a' } } }
  assert.equal(
    good(document).warnings.map(({ pointer }) => pointer),
    ['/replicas', '/placement'],
  )
  refused({ ...document, strict: true }, '/replicas', /runs once/)
  assert.equal(good({ ...document, replicas: 1, placement: {} }).warnings, [])
})

test('an emitter that cannot hold the delivery is a warning, a source that cannot be read again is a problem', () => {
  const once = { delivery: 'exactly-once' }
  const toSse = { ...pipeline(source, { id: 'live', emitter: 'sse', from: 'in' }), ...once }
  assert.match(good(toSse).warnings[0]!.message, /exactly-once/)
  assert.is(good(toSse).warnings[0]!.pointer, '/components/1/emitter')
  refused({ ...toSse, strict: true }, '/components/1/emitter', /exactly-once/)
  const timer = { id: 'in', source: 'timer', settings: { everyMs: 1 } }
  refused({ ...pipeline(timer, sink('in')), ...once }, '/components/0/source', /cannot be read again/)
  const random = { id: 'in', source: 'generator', settings: { template: { $int: [0, 9] } } }
  refused({ ...pipeline(random, sink('in')), ...once }, '/components/0/source', /seed/)
  good({ ...pipeline({ ...random, settings: { ...random.settings, seed: 1 } }, sink('in')), ...once })
  assert.equal(good(pipeline(source, { id: 'live', emitter: 'sse', from: 'in' })).warnings, [])
})

test('the normal form checks to itself', () => {
  const { document } = good(pipeline(source, filter('IN '), sink(['f', { component: 'f', port: 'rejected' }])))
  assert.equal(good(document).document, document)
})

test('a list of problems ends somewhere', () => {
  const found = issues(pipeline(...Array.from({ length: 190 }, () => ({ id: '!', source: 'x', from: 'y', z: 1 }))))
  assert.is(found.length, ISSUES_MAX + 1)
  assert.match(found.at(-1)!.message, /more problems/)
})

test('a document that is too deep is refused before anything recurses', () => {
  let deep: unknown = 1
  for (let i = 0; i < 100_000; i++) deep = [deep]
  assert.match(issues(pipeline({ ...source, settings: { deep } }))[0]!.message, /deep/)
})

// Documents that are nearly right, so that every rule is met.
const id = fc.constantFrom('a', 'b', 'c', ' A', 'x!', '')
const from = fc.oneof(
  fc.constantFrom('a', 'b', 'c', 'a.rejected', 'b.out', 'nope', '', 3, null),
  fc.record({ component: id, port: fc.constantFrom('out', 'x') }, { requiredKeys: [] }),
  fc.array(fc.constantFrom('a', 'b', 'c', { component: 'a' }, 7), { maxLength: 3 }),
)
const settings = fc.oneof(
  fc.constant({ where: [] }),
  fc.record({ where: fc.jsonValue(), routes: fc.jsonValue(), template: fc.jsonValue() }, { requiredKeys: [] }),
  fc.jsonValue(),
)
const component = fc.record(
  {
    id: fc.oneof(id, fc.jsonValue()),
    source: fc.constantFrom('http', 'generator', 'x'),
    operator: fc.constantFrom('json-filter', 'json-filter@1', 'route', 'mine', 'mine@9', '@', 5),
    emitter: fc.constantFrom('discard', 'sse', 'y'),
    from,
    settings,
    emitWhen: fc.jsonValue(),
    onError: fc.constantFrom('skip', 'x', {}),
    parallelism: fc.integer({ min: -1, max: 3 }),
  },
  { requiredKeys: [] },
)
const nearly = fc.record(
  {
    id,
    delivery: fc.constantFrom('exactly-once', 'at-least-once', 'x'),
    strict: fc.oneof(fc.boolean(), fc.jsonValue()),
    components: fc.oneof(
      { weight: 5, arbitrary: fc.array(component, { maxLength: 5 }) },
      { weight: 1, arbitrary: fc.jsonValue() },
    ),
    other: fc.jsonValue(),
  },
  { requiredKeys: ['components'] },
)

test('nothing makes it throw, and every pointer leads to a place in the document', () => {
  fc.assert(
    fc.property(fc.oneof(nearly, fc.jsonValue()), (input) => {
      const plain: unknown = JSON.parse(JSON.stringify(input))
      const checked = checkDocument(plain, catalog)
      const found = checked.issues ?? checked.warnings
      if (checked.issues) assert.ok(checked.issues.length > 0)
      for (const { pointer, message } of found) {
        assert.ok(message.length > 5, message)
        let value = plain
        for (const segment of pointerSegments(pointer)) {
          const there = typeof value === 'object' && value !== null && Object.hasOwn(value, segment)
          assert.ok(there, `${pointer} of ${JSON.stringify(plain)}: ${message}`)
          value = (value as Record<string, unknown>)[segment]
        }
      }
    }),
    { numRuns: 2000 },
  )
})

test('a change of one component finds what a check of the whole document finds', () => {
  const base = {
    ...pipeline(
      { id: 'in', source: 'topic', settings: { topic: 't', group: 'g' } },
      filter('in'),
      { id: 'm', operator: 'mine@2', from: 'f' },
      { id: 'unread', operator: 'json-aggregate@1', from: 'm.x', settings: { fields: [{ as: 'n', fn: 'count' }] } },
      { id: 'h', emitter: 'http', from: ['m.x', 'f.rejected'], settings: { url: 'http://a/' } },
    ),
    delivery: 'exactly-once',
  }
  const filters = [
    { ...filter('in'), settings: { where: [{ path: 'a', gt: 1 }] } },
    { ...filter('in'), settings: { where: 3, more: 1 } },
    { ...filter('in'), settings: undefined },
    { ...filter('in'), operator: 'json-filtre@1' },
    { ...filter('in'), operator: 'json-filter@9' },
    { ...filter('in'), operator: 'mine@1.10.0', settings: {} },
    { ...filter('in'), operator: 'mine@2', settings: { a: 1 } },
    { ...filter('in'), operator: 'json-aggregate@1', settings: { fields: [{ as: 'n', fn: 'count' }] } },
    { ...filter('in'), parallelism: 4, partitionBy: 'a' },
    { ...filter('nowhere.x'), id: 'm', unknown: 1 },
    'not an object',
    Array.from({ length: 70 }).reduce<object>((inner) => ({ inner }), {}),
  ]
  const sources = [
    { id: 'in', source: 'timer', settings: { everyMs: 10 } },
    { id: 'in', source: 'topic', settings: { topic: 't' } },
    { id: 'in', source: 'topic', settings: { topic: 3 } },
  ]
  const changes: [number, unknown][] = [
    ...filters.map((component): [number, unknown] => [1, component]),
    ...sources.map((component): [number, unknown] => [0, component]),
  ]
  let taken = 0
  for (const strict of [false, true]) {
    const { known } = good({ ...base, strict: false })
    const before = { ...known, input: { ...known.input, strict }, document: { ...known.document, strict } }
    for (const [index, component] of changes) {
      const whole = checkDocument({ ...before.input, components: base.components.with(index, component) }, catalog)
      const { known: found, ...changed } = { known: undefined, ...checkChanged(before, index, component) }
      const { known: wanted, ...all } = { known: undefined, ...whole }
      assert.equal(changed, all, JSON.stringify(component))
      assert.equal(found, wanted)
      if (!whole.issues) taken++
    }
  }
  assert.ok(taken >= 3, `${taken} were taken`)
})

test.run()
