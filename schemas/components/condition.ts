// Conditions over a record: `{path, OP: value}`, `{all: […]}`, `{any: […]}`, `{not: …}`; a list of them means all.

import * as v from 'valibot'
import { pathSchema } from '../json-path.ts'
import { regexSchema } from '../regex-syntax.ts'
import { closedObject, isObject, oneOf } from '../shapes.ts'

export const COMPARISONS = [
  'equals',
  'notEquals',
  'in',
  'notIn',
  'gt',
  'gte',
  'lt',
  'lte',
  'between',
  'matches',
  'contains',
  'startsWith',
  'endsWith',
  'exists',
] as const

export const CONDITIONS_MAX = 1000
const NESTED_MAX = 16
const VALUES_MAX = 10_000

export type Scalar = string | number | boolean | null

export interface Comparison {
  path: string
  equals?: Scalar
  notEquals?: Scalar
  in?: Scalar[]
  notIn?: Scalar[]
  gt?: number | string
  gte?: number | string
  lt?: number | string
  lte?: number | string
  between?: [number, number] | [string, string]
  matches?: string
  contains?: Scalar
  startsWith?: string
  endsWith?: string
  exists?: boolean
}

export type Condition = Comparison | { all: Condition[] } | { any: Condition[] } | { not: Condition }

const isScalar = (value: unknown): value is Scalar =>
  value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'

// The metadata is what JSON Schema is told of a form that valibot cannot describe.
const scalar = v.pipe(
  v.custom<Scalar>(isScalar, 'must be a text, a number, true, false or null'),
  v.metadata({ type: ['string', 'number', 'boolean', 'null'] }),
)
const scalars = v.pipe(v.array(scalar), v.maxLength(VALUES_MAX))
const ordered = v.pipe(
  v.custom<number | string>(
    (value) => typeof value === 'number' || typeof value === 'string',
    'must be a number or a text',
  ),
  v.metadata({ type: ['number', 'string'] }),
)
const bounds = v.pipe(
  v.custom<[number, number] | [string, string]>((value) => {
    if (!Array.isArray(value) || value.length !== 2) return false
    const [low, high] = value as [unknown, unknown]
    if (typeof low === 'number' && typeof high === 'number') return low <= high
    return typeof low === 'string' && typeof high === 'string' && low <= high
  }, 'must be [low, high]: two numbers or two texts in order'),
  v.metadata({ type: 'array', items: { type: ['number', 'string'] }, minItems: 2, maxItems: 2 }),
)

const comparison = v.pipe(
  closedObject({
    path: pathSchema,
    equals: v.optional(scalar),
    notEquals: v.optional(scalar),
    in: v.optional(scalars),
    notIn: v.optional(scalars),
    gt: v.optional(ordered),
    gte: v.optional(ordered),
    lt: v.optional(ordered),
    lte: v.optional(ordered),
    between: v.optional(bounds),
    matches: v.optional(regexSchema),
    contains: v.optional(scalar),
    startsWith: v.optional(v.string()),
    endsWith: v.optional(v.string()),
    exists: v.optional(v.boolean()),
  }),
  v.check(
    (condition) => COMPARISONS.filter((name) => condition[name] !== undefined).length === 1,
    `needs exactly one comparison beside "path": ${COMPARISONS.join(', ')}; several are a list of conditions`,
  ),
)

type ConditionSchema = v.GenericSchema<unknown, Condition>
type ConditionsSchema = v.GenericSchema<unknown, Condition[]>

const list: ConditionsSchema = v.lazy(() => many) as ConditionsSchema
const all = closedObject({ all: list })
const any = closedObject({ any: list })

/** `not` of a list is not all of them. */
const negated: ConditionSchema = v.pipe(
  oneOf([v.lazy(() => conditionSchema) as ConditionSchema, list], (input) =>
    Array.isArray(input) ? list : conditionSchema,
  ),
  v.transform((found): Condition => (Array.isArray(found) ? { all: found as Condition[] } : (found as Condition))),
) as unknown as ConditionSchema
const not = closedObject({ not: negated })

/** One condition. */
export const conditionSchema: ConditionSchema = oneOf([comparison, all, any, not], (input) => {
  if (!isObject(input) || Object.hasOwn(input, 'path')) return comparison
  if (Object.hasOwn(input, 'all')) return all
  if (Object.hasOwn(input, 'any')) return any
  return Object.hasOwn(input, 'not') ? not : comparison
}) as unknown as ConditionSchema

const many = v.array(conditionSchema)

/** How many comparisons there are, and how deep; both counted without recursion. */
function size(conditions: unknown): { count: number; depth: number } {
  let count = 0
  let deepest = 0
  const open: [unknown, number][] = [[conditions, 0]]
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    const [value, depth] = item
    if (depth > deepest) deepest = depth
    if (depth > NESTED_MAX) break
    if (Array.isArray(value)) for (const inner of value) open.push([inner, depth])
    else if (isObject(value)) {
      count++
      for (const key of ['all', 'any', 'not']) if (value[key] !== undefined) open.push([value[key], depth + 1])
    }
  }
  return { count, depth: deepest }
}

/** `where`: a condition or a list of them → a list, all of which must hold; an empty one is true. */
export const whereSchema = v.pipe(
  oneOf([many, conditionSchema], (input) => (isObject(input) ? conditionSchema : many)),
  v.transform((found): Condition[] => (Array.isArray(found) ? (found as Condition[]) : [found as Condition])),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const { count, depth } = size(dataset.value)
    if (count > CONDITIONS_MAX) addIssue({ message: `may have at most ${CONDITIONS_MAX} conditions` })
    if (depth > NESTED_MAX) addIssue({ message: `conditions may be nested at most ${NESTED_MAX} deep` })
  }),
)
