import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Catalog } from '../../schemas/catalog.ts'
import { checkDocument } from '../../schemas/check-document.ts'
import type { PlanOperator } from '../../schemas/plan.ts'
import { planOf } from '../../schemas/plan-of.ts'

const digest = 'a'.repeat(64)
const catalog: Catalog = {
  operators: new Map([
    ['json-aggregate', new Map([['1.0.0', { digest }]])],
    ['free', new Map([['1.0.0', { digest, ports: '*' as const, permissions: ['clock' as const] }]])],
  ]),
}

function planned(...components: unknown[]) {
  const checked = checkDocument({ id: 'p', components }, catalog)
  assert.ok(!checked.issues, JSON.stringify(checked.issues))
  return planOf('t', checked.document, checked.resolved, 3, { paused: true })
}

const source = { id: 'in', source: 'timer', settings: { everyMs: 5 } }
const per = { id: 'per', operator: 'json-aggregate', from: 'in', settings: { fields: [{ as: 'n', fn: 'count' }] } }

test('a plan holds all that a host needs', () => {
  assert.equal(planned(source, per, { id: 'live', emitter: 'sse', from: 'per' }), {
    tenant: 't',
    id: 'p',
    revision: 3,
    delivery: 'at-least-once',
    checkpointEveryMs: 1000,
    isolation: 'thread',
    paused: true,
    components: [
      { kind: 'source', id: 'in', type: 'timer', settings: { everyMs: 5 } },
      {
        kind: 'operator',
        id: 'per',
        name: 'json-aggregate',
        version: '1.0.0',
        digest,
        ports: ['out'],
        from: [{ component: 'in', port: 'out' }],
        settings: { fields: [{ as: 'n', fn: 'count' }], reset: 'never', emit: 'changed' },
        emitWhen: { everyMs: 1000 },
        onError: { do: 'dead-letter', stopAbove: 0.5 },
        limits: {},
        partitionBy: undefined,
        parallelism: undefined,
        discardState: undefined,
        permissions: [],
      },
      {
        kind: 'emitter',
        id: 'live',
        type: 'sse',
        settings: { lastRecords: 100 },
        from: [{ component: 'per', port: 'out' }],
      },
    ],
  })
})

test('what the document says stands before what is usual', () => {
  const plan = planned(
    source,
    { ...per, emitWhen: { records: 2 }, onError: 'skip' },
    { id: 'd', emitter: 'discard', from: 'per' },
  )
  const operator = plan.components[1] as PlanOperator
  assert.equal(operator.emitWhen, { records: 2 })
  assert.equal(operator.onError, { do: 'skip', stopAbove: 0.5 })
})

test('an operator with any ports has those that are read, in the order of the document', () => {
  const free = { id: 'x', operator: 'free', from: 'in' }
  const plan = planned(source, free, { id: 'd', emitter: 'discard', from: ['x.b', 'x.a', 'x.b2'] })
  const operator = plan.components[1] as PlanOperator
  assert.equal(operator.ports, ['b', 'a', 'b2'])
  assert.equal(operator.permissions, ['clock'])
  assert.is(operator.emitWhen, undefined)
})

test.run()
