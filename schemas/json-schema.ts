// JSON Schema (2020-12) of the pipeline document with the settings of every component, for editors; and of any other
// schema here, for the API's description.

import { toJsonSchema, type JsonSchema as ValibotJsonSchema } from '@valibot/to-json-schema'
import { COMPONENTS, type ComponentType, KINDS } from './components.ts'
import { documentSchema } from './document.ts'
import { type AnySchema, isObject } from './shapes.ts'

export type JsonSchema = { [keyword: string]: unknown }

/** Takes schemas that refer to themselves, by name, and says where a reference finds them. */
export interface Definitions {
  prefix: string
  schemas: Record<string, JsonSchema>
}

/**
 * The JSON Schema of what a schema takes.
 * @param name stands before the names of what refers to itself
 */
export function jsonSchemaOf(schema: AnySchema, name: string, definitions: Definitions): JsonSchema {
  const made = toJsonSchema(schema, { target: 'draft-2020-12', typeMode: 'input', errorMode: 'ignore' })
  const { $defs = {}, $schema: _, ...root } = made as JsonSchema & { $defs?: Record<string, ValibotJsonSchema> }
  return new Inliner(name, $defs as Record<string, JsonSchema>, definitions).inline(root, []) as JsonSchema
}

/** Puts what is referred to in its place, unless it refers to itself: editors and readers see forms, not numbers. */
class Inliner {
  private readonly name: string
  private readonly found: Record<string, JsonSchema>
  private readonly definitions: Definitions
  private readonly recursive = new Set<string>()

  constructor(name: string, found: Record<string, JsonSchema>, definitions: Definitions) {
    this.name = name
    this.found = found
    this.definitions = definitions
    for (const id of Object.keys(found)) if (this.reaches(id, id, new Set())) this.recursive.add(id)
  }

  private reaches(from: string, wanted: string, seen: Set<string>): boolean {
    if (seen.has(from)) return false
    seen.add(from)
    return references(this.found[from]).some((id) => id === wanted || this.reaches(id, wanted, seen))
  }

  inline(value: unknown, path: string[]): unknown {
    if (Array.isArray(value)) return value.map((inner) => this.inline(inner, path))
    if (!isObject(value)) return value
    const id = referenceOf(value)
    if (id === undefined) {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, this.inline(inner, path)]))
    }
    const { $ref: _, ...beside } = value
    if (!this.recursive.has(id)) return { ...(this.inline(this.found[id], path) as JsonSchema), ...beside }
    const name = `${this.name}-${id}`
    if (!Object.hasOwn(this.definitions.schemas, name)) {
      // Named before it is filled, as it is asked for again inside.
      this.definitions.schemas[name] = {}
      this.definitions.schemas[name] = this.inline(this.found[id], [...path, id]) as JsonSchema
    }
    return { $ref: this.definitions.prefix + name, ...beside }
  }
}

const referenceOf = (value: Record<string, unknown>): string | undefined =>
  typeof value.$ref === 'string' && value.$ref.startsWith('#/$defs/') ? value.$ref.slice(8) : undefined

function references(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(references)
  if (!isObject(value)) return []
  const id = referenceOf(value)
  return [...(id === undefined ? [] : [id]), ...Object.values(value).flatMap(references)]
}

/** The document's schema, without `$schema` and `$id`. */
export function documentJsonSchemaIn(definitions: Definitions): JsonSchema {
  const document = jsonSchemaOf(documentSchema, 'document', definitions)
  const components = (document.properties as Record<string, JsonSchema>).components!
  const component = components.items as JsonSchema
  const properties = component.properties as Record<string, JsonSchema>
  for (const kind of ['source', 'emitter'] as const) {
    properties[kind] = { enum: [...COMPONENTS[kind].keys()], description: `One of the product's ${kind}s.` }
  }
  properties.operator = {
    ...properties.operator,
    description: 'name, name@major or name@x.y.z',
    examples: [...COMPONENTS.operator.keys()],
  }
  component.oneOf = KINDS.map((kind) => ({ required: [kind] }))
  component.allOf = KINDS.flatMap((kind) => [...COMPONENTS[kind].values()].map((type) => settingsOf(type, definitions)))
  return document
}

function settingsOf(type: ComponentType, definitions: Definitions): JsonSchema {
  const settings = jsonSchemaOf(type.settings, type.name, definitions)
  const names = type.kind === 'operator' ? { pattern: `^${type.name}(@.*)?$` } : { const: type.name }
  const needed = ((settings.required as string[] | undefined) ?? []).length > 0
  return {
    if: { properties: { [type.kind]: names }, required: [type.kind] },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: {
      properties: { settings: { description: type.description, ...settings } },
      ...(needed ? { required: ['settings'] } : {}),
    },
  }
}

let document: JsonSchema | undefined

/** JSON Schema of the pipeline document, for editors. Made once; not to be changed. */
export function documentJsonSchema(): JsonSchema {
  if (document) return document
  const definitions: Definitions = { prefix: '#/$defs/', schemas: {} }
  const schema = documentJsonSchemaIn(definitions)
  document = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'SPQR pipeline',
    ...schema,
    $defs: definitions.schemas,
  }
  return document
}
