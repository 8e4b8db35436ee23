// Checks one component by itself: what it is, whether that exists, its settings, and the fields that go with its kind.

import * as v from 'valibot'
import { type Catalog, type OperatorPermission, resolveOperator, versionsOf } from './catalog.ts'
import { COMPONENTS, type ComponentKind, type ComponentType, KINDS } from './components.ts'
import type { Delivery, DocumentEdge } from './document.ts'
import type { Issue } from './errors.ts'
import type { Findings } from './findings.ts'
import { parsePath } from './json-path.ts'
import { parseOperatorReference } from './names.ts'
import { didYouMean } from './nearest-name.ts'
import { issuesOf, pointerTo } from './problems.ts'
import { isObject } from './shapes.ts'

/** What a component of a checked document stands for. */
export type ResolvedComponent =
  | { kind: 'source'; type: string; settings: Record<string, unknown> }
  | { kind: 'emitter'; type: string; settings: Record<string, unknown> }
  | {
      kind: 'operator'
      name: string
      version: string
      digest: string
      /** Output ports; `*` among them where any name is one. */
      ports: string[]
      permissions: OperatorPermission[]
      settings: Record<string, unknown>
    }

/** A component as far as it could be understood. */
export interface Draft {
  index: number
  pointer: string
  id: string | undefined
  kind: ComponentKind | undefined
  hasSettings: boolean
  /** `from` as written, for pointers. */
  rawFrom: unknown
  /** One for each edge as written; undefined where its form is wrong. */
  from: (DocumentEdge | undefined)[]
  /** undefined: not known, because something before is wrong. */
  ports: string[] | undefined
  resolved: ResolvedComponent | undefined
}

const ARTICLE: Record<ComponentKind, string> = { source: 'a source', operator: 'an operator', emitter: 'an emitter' }
const OPERATORS_ONLY = ['emitWhen', 'onError', 'limits', 'partitionBy', 'parallelism', 'discardState'] as const

/**
 * @param raw as written
 * @param normal what the schema made of it, possibly in part
 * @param delivery undefined where the document's is wrong
 */
export function checkComponent(
  index: number,
  raw: unknown,
  normal: unknown,
  delivery: Delivery | undefined,
  catalog: Catalog,
  found: Findings,
): Draft {
  const pointer = `/components/${index}`
  const draft: Draft = {
    index,
    pointer,
    id: undefined,
    kind: undefined,
    hasSettings: false,
    rawFrom: undefined,
    from: [],
    ports: undefined,
    resolved: undefined,
  }
  if (!isObject(raw)) return draft
  const form = isObject(normal) ? normal : {}
  if (typeof form.id === 'string') draft.id = form.id
  draft.hasSettings = raw.settings !== undefined
  draft.rawFrom = raw.from
  if (Array.isArray(form.from)) draft.from = form.from.map((edge) => (isEdge(edge) ? edge : undefined))
  const kinds = KINDS.filter((kind) => raw[kind] !== undefined)
  if (kinds.length !== 1) {
    const has = kinds.length === 0 ? 'none of them' : kinds.join(' and ')
    found.issue(pointer, `needs exactly one of "source", "operator" and "emitter", but has ${has}`)
    return draft
  }
  const kind = kinds[0]!
  draft.kind = kind
  checkFields(pointer, kind, raw, found)
  const name = raw[kind]
  if (typeof name !== 'string' || name === '') return draft
  const settings = raw.settings === undefined ? {} : isObject(raw.settings) ? raw.settings : undefined
  if (kind === 'operator') resolveAsOperator(draft, name, settings, catalog, found)
  else resolveAsBridge(draft, kind, name, settings, delivery, catalog, found)
  return draft
}

const isEdge = (value: unknown): value is DocumentEdge =>
  isObject(value) && typeof value.component === 'string' && typeof value.port === 'string'

function checkFields(pointer: string, kind: ComponentKind, raw: Record<string, unknown>, found: Findings): void {
  if (kind === 'source') {
    if (raw.from !== undefined)
      found.issue(`${pointer}/from`, 'a source begins a pipeline and takes nothing "from" a component')
  } else if (raw.from === undefined) {
    found.issue(pointer, `${ARTICLE[kind]} needs "from": the component it takes its records from`)
  }
  if (kind !== 'operator') {
    for (const field of OPERATORS_ONLY) {
      if (raw[field] !== undefined)
        found.issue(`${pointer}/${field}`, `"${field}" belongs to an operator, and this is ${ARTICLE[kind]}`)
    }
    return
  }
  if (typeof raw.partitionBy === 'string' && raw.partitionBy !== '') {
    const path = parsePath(raw.partitionBy)
    if ('problem' in path) found.issue(`${pointer}/partitionBy`, path.problem)
  } else if (typeof raw.parallelism === 'number' && raw.parallelism > 1 && raw.partitionBy === undefined) {
    found.issue(
      `${pointer}/parallelism`,
      'needs "partitionBy": a path or "key", which says what record goes to which instance',
    )
  }
}

function resolveAsBridge(
  draft: Draft,
  kind: 'source' | 'emitter',
  name: string,
  settings: Record<string, unknown> | undefined,
  delivery: Delivery | undefined,
  catalog: Catalog,
  found: Findings,
): void {
  const type = COMPONENTS[kind].get(name)
  if (!type) {
    found.issue(`${draft.pointer}/${kind}`, unknownName(kind, name, catalog))
    return
  }
  draft.ports = kind === 'source' ? ['out'] : []
  const checked = settings && checkShipped(draft, type, settings, found)
  if (!checked) return
  draft.resolved = { kind, type: name, settings: checked }
  if (delivery === undefined || type.deliveries(checked).includes(delivery)) return
  const because = `${kind} "${name}" cannot hold ${delivery}: ${type.deliveryNote}`
  if (kind === 'source') found.issue(`${draft.pointer}/source`, because)
  else found.warn(`${draft.pointer}/emitter`, `${because}; it stays at-least-once`)
}

function resolveAsOperator(
  draft: Draft,
  text: string,
  settings: Record<string, unknown> | undefined,
  catalog: Catalog,
  found: Findings,
): void {
  const reference = parseOperatorReference(text.trim())
  const pointer = `${draft.pointer}/operator`
  const name = reference?.name ?? text.trim().split('@', 1)[0]!
  const known = catalog.operators.has(name)
  if (!known) found.issue(pointer, unknownName('operator', name, catalog))
  else if (!reference)
    found.issue(
      pointer,
      `${JSON.stringify(text.slice(0, 80))} is not an operator's name: write name, name@1 or name@1.2.3`,
    )
  const operator = reference && known ? resolveOperator(catalog, reference) : undefined
  if (reference && known && !operator) {
    found.issue(
      pointer,
      `operator "${name}" has no version ${reference.version}; there are ${versionsOf(catalog, name).join(', ')}`,
    )
  }
  const type = COMPONENTS.operator.get(name)
  if (type) {
    // Its settings are the same whatever is wrong with the version.
    const checked = settings && checkShipped(draft, type, settings, found)
    draft.ports = checked && type.ports(checked)
    if (!operator || !checked) return
    const { version, digest, permissions = [] } = operator
    draft.resolved = { kind: 'operator', name, version, digest, ports: draft.ports!, permissions, settings: checked }
    return
  }
  if (!operator) return
  draft.ports = operator.ports === '*' ? ['*'] : (operator.ports ?? ['out'])
  if (!settings) return
  const problems = catalog.checkSettings?.(operator, settings) ?? []
  addSettings(draft, problems, found)
  if (problems.length > 0) return
  const { version, digest, permissions = [] } = operator
  draft.resolved = { kind: 'operator', name, version, digest, ports: draft.ports, permissions, settings }
}

function checkShipped(
  draft: Draft,
  type: ComponentType,
  settings: Record<string, unknown>,
  found: Findings,
): Record<string, unknown> | undefined {
  const parsed = v.safeParse(type.settings, settings)
  if (parsed.issues) addSettings(draft, issuesOf(parsed.issues), found)
  return parsed.success ? (parsed.output as Record<string, unknown>) : undefined
}

function addSettings(draft: Draft, problems: Issue[], found: Findings): void {
  for (const { pointer, message } of problems) {
    // Where there are none, the component is the place.
    if (draft.hasSettings) found.issue(`${draft.pointer}/settings${pointer}`, message)
    else found.issue(draft.pointer, `needs "settings": ${message}`)
  }
}

function unknownName(kind: ComponentKind, name: string, catalog: Catalog): string {
  const shown = JSON.stringify(name.slice(0, 80))
  const names = (of: ComponentKind): string[] => [...(of === 'operator' ? catalog.operators : COMPONENTS[of]).keys()]
  const other = KINDS.find((of) => of !== kind && names(of).includes(name))
  if (other) return `there is no ${kind} ${shown}, but ${ARTICLE[other]} of this name; write "${other}: ${name}"`
  return `there is no ${kind} ${shown}${didYouMean(name, names(kind))}`
}

/** A pointer to one edge of a component, or to a field of it. */
export function edgePointer(draft: Draft, edge: number, field?: 'component' | 'port'): string {
  let pointer = `${draft.pointer}/from`
  let raw = draft.rawFrom
  if (Array.isArray(raw)) {
    pointer = pointerTo(pointer, edge)
    raw = raw[edge]
  }
  return field && isObject(raw) && Object.hasOwn(raw, field) ? `${pointer}/${field}` : pointer
}
