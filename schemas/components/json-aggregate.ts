// json-aggregate: one object per group, with counts, sums, extremes, means, distinct counts and tops.

import * as v from 'valibot'
import { pathSchema } from '../json-path.ts'
import { closedObject, FORBIDDEN_FIELD, integer, isObject, oneOf, text } from '../shapes.ts'
import { operator } from './component.ts'

export const AGGREGATE_FUNCTIONS = ['count', 'sum', 'min', 'max', 'mean', 'distinct', 'top'] as const
export const DEFAULT_EVERY_MS = 1000

const GROUP_PATHS_MAX = 16
const FIELDS_MAX = 64

const name = v.pipe(
  text(256),
  v.check((as) => as !== FORBIDDEN_FIELD, `the field name "${FORBIDDEN_FIELD}" is not permitted`),
)

export interface GroupPath {
  path: string
  as: string
}

const groupText = v.pipe(
  pathSchema,
  v.transform((path): GroupPath => ({ path, as: path })),
)
const groupObject = v.pipe(
  closedObject({ path: pathSchema, as: v.optional(name) }),
  v.transform(({ path, as }): GroupPath => ({ path, as: as ?? path })),
)
const group = oneOf([groupText, groupObject], (input) => (isObject(input) ? groupObject : groupText))
const groups = v.pipe(v.array(group), v.maxLength(GROUP_PATHS_MAX))
const groupBy = v.pipe(
  oneOf([groupText, groupObject, groups], (input) =>
    Array.isArray(input) ? groups : isObject(input) ? groupObject : groupText,
  ),
  v.transform((found): GroupPath[] => (Array.isArray(found) ? found : [found])),
)

const field = v.pipe(
  closedObject({
    path: v.optional(pathSchema),
    as: name,
    fn: v.picklist(AGGREGATE_FUNCTIONS),
    k: v.optional(integer(1, 1000)),
  }),
  v.check((f) => f.fn === 'count' || f.path !== undefined, 'needs a "path"; only "count" does without'),
  v.check((f) => f.fn === 'top' || f.k === undefined, '"k" belongs to "top"'),
  v.transform((f) => (f.fn === 'top' ? { ...f, k: f.k ?? 10 } : f)),
)

const settings = v.pipe(
  closedObject({
    groupBy: v.optional(groupBy),
    fields: v.pipe(v.array(field), v.minLength(1), v.maxLength(FIELDS_MAX)),
    reset: v.optional(v.picklist(['never', 'onEmit']), 'never'),
    emit: v.optional(v.picklist(['changed', 'all']), 'changed'),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const seen = new Set<string>()
    const note = (input: unknown[], part: 'groupBy' | 'fields', index: number, as: string): void => {
      if (seen.has(as)) {
        addIssue({
          message: `"${as}" names two fields of the output; give one of them another "as"`,
          path: [
            { type: 'object', origin: 'value', input: dataset.value, key: part, value: input },
            { type: 'array', origin: 'value', input, key: index, value: input[index] },
          ],
        })
      }
      seen.add(as)
    }
    dataset.value.groupBy?.forEach((one, i, all) => {
      note(all, 'groupBy', i, one.as)
    })
    dataset.value.fields.forEach((one, i, all) => {
      note(all, 'fields', i, one.as)
    })
  }),
)

export const jsonAggregate = operator({
  name: 'json-aggregate',
  description:
    'Keeps one object per group of records and emits it when `emitWhen` says, each second unless said otherwise.',
  settings,
  keepsState: true,
})
