// Settings of pushed operators are checked against the JSON Schema in their manifest. It comes from outside, so it may not
// use what lets a small schema or value take long: regular expressions that backtrack, references, comparing all with all.
// Runs on: control.

import { type OutputUnit, type Schema, Validator } from '@cfworker/json-schema'
import { type Issue, SpqrError } from '../../schemas/errors.ts'

const REFUSED = new Set([
  'pattern',
  'patternProperties',
  'format',
  'uniqueItems',
  '$ref',
  '$dynamicRef',
  '$recursiveRef',
  '$id',
  '$anchor',
  '$dynamicAnchor',
  '$recursiveAnchor',
])
/** Their values are maps of names to schemas. */
const MAPS = new Set(['properties', '$defs', 'definitions', 'dependentSchemas'])
/** Their values are data. */
const DATA = new Set(['const', 'enum', 'default', 'examples', 'required', 'dependentRequired'])
/** Each repeats, for the whole, what a deeper problem says of a part. */
const WHOLE = new Set([
  'properties',
  'items',
  'prefixItems',
  'additionalProperties',
  'allOf',
  'if',
  'then',
  'else',
  'not',
])

/** @throws SpqrError MODULE_REFUSED naming each keyword that may not be used */
export function requireSimpleSchema(schema: unknown): void {
  const issues = refusedKeywords(schema, '')
  if (schema !== undefined && issues.length === 0) {
    try {
      new Validator(schema as Schema, '2020-12', false).validate({})
    } catch (error) {
      issues.push({ pointer: '', message: `custom section spqr:manifest: no JSON Schema: ${(error as Error).message}` })
    }
  }
  if (issues.length)
    throw new SpqrError('MODULE_REFUSED', 'The settingsSchema of the manifest is not accepted.', { issues })
}

function refusedKeywords(schema: unknown, at: string): Issue[] {
  if (Array.isArray(schema)) return schema.flatMap((inner, i) => refusedKeywords(inner, `${at}/${i}`))
  if (typeof schema !== 'object' || schema === null) return []
  return Object.entries(schema).flatMap(([key, value]) => {
    const pointer = `${at}/${key}`
    if (REFUSED.has(key)) {
      return [{ pointer, message: `custom section spqr:manifest: "${key}" is not accepted in a settingsSchema` }]
    }
    if (DATA.has(key)) return []
    if (!MAPS.has(key)) return refusedKeywords(value, pointer)
    return Object.entries(value ?? {}).flatMap(([name, inner]) => refusedKeywords(inner, `${pointer}/${name}`))
  })
}

export class SettingsSchemas {
  readonly #validators = new Map<string, Validator>()

  /** Problems of settings, with pointers into them. @param digest names the module that the schema belongs to */
  check(digest: string, schema: unknown, settings: Record<string, unknown>): Issue[] {
    let validator = this.#validators.get(digest)
    if (!validator) {
      validator = new Validator(schema as Schema, '2020-12', false)
      this.#validators.set(digest, validator)
    }
    const { errors } = validator.validate(settings)
    return errors
      .filter((unit) => !WHOLE.has(unit.keyword) || !hasDeeper(unit, errors))
      .map(({ keyword, instanceLocation, error }) => ({
        pointer: decodeURIComponent(instanceLocation.slice(1)),
        message: keyword === 'false' ? 'is not a setting of this operator' : inOurWords(error),
      }))
  }
}

/** What the validator says of a value, as the product says it of its own settings. */
function inOurWords(error: string): string {
  const type = /^Instance type "(\w+)" is invalid\. Expected (.+)\.$/.exec(error)
  if (type) return `must be of type ${type[2]!.replaceAll('"', '').replaceAll(', ', ' or ')}, not ${type[1]}`
  return error
    .replace(/^Instance does not have required property (".*")\.$/, 'needs $1')
    .replace(/^Instance does not match any of (.*)\.$/, 'must be one of $1')
}

function hasDeeper(unit: OutputUnit, all: OutputUnit[]): boolean {
  const instance = `${unit.instanceLocation}/`
  const keyword = `${unit.keywordLocation}/`
  return all.some((other) => other.instanceLocation.startsWith(instance) || other.keywordLocation.startsWith(keyword))
}
