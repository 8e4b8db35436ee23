// Forms that valibot lacks: an object that names every unknown field (valibot stops at the first, and takes an array for
// an object), a map with any field names, and a choice by what the input looks like, so that a problem is told of the
// form the author meant. They convert to JSON Schema like the valibot forms they stand for.

import * as v from 'valibot'
import { didYouMean } from './nearest-name.ts'

export type AnySchema = v.GenericSchema<unknown, unknown>
type Issues = [v.BaseIssue<unknown>, ...v.BaseIssue<unknown>[]]

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The field exists on every object; as data it can only be an attempt to reach what is behind. */
export const FORBIDDEN_FIELD = '__proto__'

/** A search for the nearest known name each: more would be work that a small body makes large. */
const UNKNOWN_FIELDS_TOLD = 250

interface Entry {
  key: string
  schema: AnySchema
  required: boolean
  fallback: unknown
}

/** An object with just these fields; each unknown one is an issue of type `strict_object` at its own place. */
export function closedObject<const E extends v.ObjectEntries>(entries: E): v.StrictObjectSchema<E, undefined> {
  const base = v.strictObject(entries)
  const list: Entry[] = Object.entries(entries).map(([key, schema]) => ({
    key,
    schema: schema as AnySchema,
    required: schema.type !== 'optional',
    fallback: schema.type === 'optional' ? defaultOf(schema as v.OptionalSchema<AnySchema, unknown>) : undefined,
  }))
  const names = Object.keys(entries)
  const known = new Set(names)
  return {
    ...base,
    '~run'(dataset: v.UnknownDataset, config: v.Config<v.BaseIssue<unknown>>) {
      const input = dataset.value
      const result = dataset as unknown as { typed: boolean; value: unknown; issues?: Issues }
      if (!isObject(input)) {
        v._addIssue(base, 'type', dataset, config)
        return dataset as never
      }
      const output: Record<string, unknown> = {}
      result.typed = true
      result.value = output
      for (const { key, schema, required, fallback } of list) {
        const given = Object.hasOwn(input, key) ? input[key] : undefined
        if (given === undefined) {
          if (fallback !== undefined) output[key] = fallback
          else if (required) {
            // Told of the object that lacks it, which is a place that exists.
            v._addIssue(base, 'key', dataset as never, config, { message: `"${key}" is missing` })
          }
          continue
        }
        const inner = schema['~run']({ value: given }, config)
        if (inner.issues) take(result, inner.issues as Issues, input, key, given)
        if (!inner.typed) result.typed = false
        output[key] = inner.value
      }
      let unknown = 0
      for (const key in input) {
        if (known.has(key) || input[key] === undefined) continue
        if (++unknown > UNKNOWN_FIELDS_TOLD) {
          const message = `has more than ${UNKNOWN_FIELDS_TOLD} unknown fields`
          v._addIssue(base, 'key', dataset as never, config, { message })
          break
        }
        v._addIssue(base, 'key', dataset, config, {
          input: key,
          message: `unknown field "${cut(key)}"${didYouMean(key, names)}`,
          path: [{ type: 'object', origin: 'key', input, key, value: input[key] }],
        })
      }
      return dataset as never
    },
  }
}

/** A default is written as input; here it is worked out once. It is shared, so it must be a plain value. */
function defaultOf(schema: v.OptionalSchema<AnySchema, unknown>): unknown {
  return schema.default === undefined ? undefined : v.parse(schema.wrapped, schema.default)
}

const cut = (name: string): string => (name.length > 60 ? `${name.slice(0, 60)}…` : name)

function take(
  result: { issues?: Issues },
  issues: Issues,
  input: Record<string, unknown>,
  key: string,
  value: unknown,
): void {
  for (const issue of issues) {
    const item: v.ObjectPathItem = { type: 'object', origin: 'value', input, key, value }
    const path = issue.path as v.IssuePathItem[] | undefined
    if (path) path.unshift(item)
    else (issue as { path?: [v.IssuePathItem, ...v.IssuePathItem[]] }).path = [item]
    result.issues?.push(issue)
  }
  result.issues ??= issues
}

/** An object with any field names (valibot's `record` silently drops some) and values of one schema. */
export function mapOf<const V extends AnySchema>(
  value: V,
  limits: { entriesMax: number; nameBytesMax?: number },
): v.RecordSchema<v.StringSchema<undefined>, V, undefined> {
  const base = v.record(v.string(), value)
  const nameMax = limits.nameBytesMax ?? 256
  return {
    ...base,
    '~run'(dataset: v.UnknownDataset, config: v.Config<v.BaseIssue<unknown>>) {
      const input = dataset.value
      const result = dataset as unknown as { typed: boolean; value: unknown; issues?: Issues }
      if (!isObject(input)) {
        v._addIssue(base, 'type', dataset, config)
        return dataset as never
      }
      const output: Record<string, unknown> = {}
      result.typed = true
      result.value = output
      const keys = Object.keys(input)
      if (keys.length > limits.entriesMax) {
        v._addIssue(base, 'type', dataset, config, { message: `has more than ${limits.entriesMax} entries` })
        return dataset as never
      }
      for (const key of keys) {
        const given = input[key]
        const refused =
          key === FORBIDDEN_FIELD
            ? `the field name "${FORBIDDEN_FIELD}" is not permitted`
            : key.length > nameMax
              ? `a name may have at most ${nameMax} characters`
              : undefined
        if (refused) {
          const path: [v.ObjectPathItem] = [{ type: 'object', origin: 'key', input, key, value: given }]
          v._addIssue(base, 'key', dataset, config, { message: refused, path })
          continue
        }
        const inner = value['~run']({ value: given }, config)
        if (inner.issues) take(result, inner.issues as Issues, input, key, given)
        if (!inner.typed) result.typed = false
        output[key] = inner.value
      }
      return dataset as never
    },
  } as v.RecordSchema<v.StringSchema<undefined>, V, undefined>
}

/** Any object, passed on as it is. */
export const anyObject: v.GenericSchema<Record<string, unknown>> = {
  ...v.looseObject({}),
  '~run'(dataset: v.UnknownDataset, config: v.Config<v.BaseIssue<unknown>>) {
    if (isObject(dataset.value)) (dataset as unknown as { typed: boolean }).typed = true
    else v._addIssue(v.looseObject({}), 'type', dataset, config)
    return dataset as never
  },
} as v.GenericSchema<Record<string, unknown>>

/**
 * One of several forms, chosen by the input's look.
 * @param choose which one an input means; its problems are the ones that are told
 */
export function oneOf<const O extends readonly [AnySchema, ...AnySchema[]]>(
  options: O,
  choose: (input: unknown) => O[number],
): v.LazySchema<v.UnionSchema<[...O], undefined>> {
  const all = v.union(options as unknown as [...O])
  // Without an input it is asked for the JSON Schema, which shows every form.
  const getter = (input: unknown): AnySchema => (input === undefined ? (all as unknown as AnySchema) : choose(input))
  return v.lazy(getter as never) as v.LazySchema<v.UnionSchema<[...O], undefined>>
}

/** A whole number within bounds. */
export const integer = (min: number, max: number) => v.pipe(v.number(), v.integer(), v.minValue(min), v.maxValue(max))

/** A number within bounds. */
export const numberIn = (min: number, max: number) => v.pipe(v.number(), v.minValue(min), v.maxValue(max))

/** A text of at most `max` UTF-16 units, not empty. */
export const text = (max: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(max))
