// What the schemas say of each component, as the rows of its table in docs/pipelines.md: settings, and what each takes.

import { COMPONENTS, type ComponentType, KINDS } from '../../schemas/components.ts'
import { type JsonSchema, jsonSchemaOf } from '../../schemas/json-schema.ts'

export interface SettingRow {
  name: string
  /** Its type, bounds and default, in words. */
  takes: string
}

export const everyComponent = (): ComponentType[] => KINDS.flatMap((kind) => [...COMPONENTS[kind].values()])

export function settingRows(type: ComponentType): SettingRow[] {
  const schema = jsonSchemaOf(type.settings, type.name, { prefix: '#/$defs/', schemas: {} })
  const required = (schema.required as string[] | undefined) ?? []
  return Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>).map(([name, setting]) => ({
    name,
    takes: `${takesOf(setting)}${required.includes(name) ? ', needed' : defaultOf(setting)}`,
  }))
}

const grouped = (value: unknown): string =>
  typeof value === 'number' && value < Number.MAX_SAFE_INTEGER ? value.toLocaleString('en-US') : '…'

function takesOf(setting: JsonSchema): string {
  if (Array.isArray(setting.enum)) return setting.enum.map((value) => `\`${value}\``).join(' ')
  if (setting.type === 'integer') return `whole number, ${grouped(setting.minimum)} to ${grouped(setting.maximum)}`
  if (setting.type === 'number') return `number, ${grouped(setting.minimum)} to ${grouped(setting.maximum)}`
  if (setting.type === 'boolean') return '`true` `false`'
  if (setting.type === 'string') return 'text'
  if (setting.type === 'array') return 'list'
  if (setting.type === 'object') return 'object'
  return 'see below'
}

const defaultOf = (setting: JsonSchema): string =>
  setting.default === undefined
    ? ''
    : `; ${typeof setting.default === 'number' ? grouped(setting.default) : `\`${setting.default}\``}`
