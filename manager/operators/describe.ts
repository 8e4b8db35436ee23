// An operator as the API shows it.
// Runs on: control.

import { componentType } from '../../schemas/components.ts'
import { type JsonSchema, jsonSchemaOf } from '../../schemas/json-schema.ts'
import type { OperatorEntry } from './registry.ts'

export interface OperatorDescription {
  name: string
  version: string
  digest: string
  bytes: number
  abi: number
  description?: string
  ports: string[] | '*'
  settingsSchema: Record<string, unknown>
  permissions: string[]
  origin: 'shipped' | 'pushed'
  createdAt: number
}

export function describeOperator(entry: OperatorEntry): OperatorDescription {
  const { name, version, digest, report, origin, createdAt } = entry
  const { manifest } = report
  return {
    name,
    version,
    digest,
    bytes: report.bytes,
    abi: report.abi,
    ...(manifest?.description ? { description: manifest.description } : {}),
    ports: manifest?.ports ?? ['out'],
    settingsSchema: manifest?.settingsSchema ?? (origin === 'shipped' ? shippedSettings(name) : {}),
    permissions: manifest?.permissions ?? [],
    origin,
    createdAt,
  }
}

const made = new Map<string, JsonSchema>()

/** Settings of a shipped operator stand in the product's own schemas, not in its module. Made once. */
function shippedSettings(name: string): JsonSchema {
  let schema = made.get(name)
  const type = componentType('operator', name)
  if (!schema && type) {
    const definitions = { prefix: '#/$defs/', schemas: {} }
    schema = { ...jsonSchemaOf(type.settings, name, definitions), $defs: definitions.schemas }
    made.set(name, schema)
  }
  return schema ?? {}
}
