// Checks a document against what exists: every problem at once, each at its pointer (with line and column where the
// document is a text), and what would work but hardly as meant as warnings.
// Runs on: control, in the path of every create; nothing here is built per call.

import * as v from 'valibot'
import type { Catalog } from './catalog.ts'
import { checkComponent, type Draft, type ResolvedComponent } from './check-component.ts'
import { checkEdges } from './check-edges.ts'
import { checkGroups } from './check-groups.ts'
import { checkSplit } from './check-split.ts'
import {
  componentSchema,
  DOCUMENT_LIMITS,
  type DocumentComponent,
  documentSchema,
  type PipelineDocument,
} from './document.ts'
import type { Issue } from './errors.ts'
import { Findings } from './findings.ts'
import { issuesOf, limited, pointerSegments } from './problems.ts'
import type { Locate } from './read-document.ts'
import { isObject } from './shapes.ts'

export type { ResolvedComponent } from './check-component.ts'

export interface CheckOptions {
  /** Of `readDocument`: gives issues and warnings their line and column. */
  locate?: Locate
}

/** What was found out about each component of a document, so that it need not be found out again. */
export interface Known {
  readonly input: Record<string, unknown>
  /** The operators that existed: where others do, all is to be checked again. */
  readonly catalog: Catalog
  readonly document: PipelineDocument
  readonly drafts: readonly Draft[]
  /** Of each component by itself. */
  readonly warnings: readonly (readonly Issue[])[]
}

/** `resolved[i]` belongs to `document.components[i]`. */
export type CheckedDocument =
  | {
      document: PipelineDocument
      resolved: ResolvedComponent[]
      warnings: Issue[]
      known: Known
      issues?: undefined
    }
  | { issues: Issue[] }

/**
 * Checks a document.
 * @param input a value as JSON has them
 * @param catalog the operators that exist
 * @returns the document in its normal form with everything resolved, or every problem it has
 */
export function checkDocument(input: unknown, catalog: Catalog, options: CheckOptions = {}): CheckedDocument {
  const deep = tooDeep(input)
  if (deep) return { issues: located([deep], input, options.locate) }
  const parsed = v.safeParse(documentSchema, input)
  const found = new Findings()
  if (parsed.issues) found.issues.push(...issuesOf(parsed.issues))
  const raw = isObject(input) ? input : {}
  const delivery = parsed.typed ? parsed.output.delivery : undefined
  let drafts: Draft[] = []
  let warnings: Issue[][] = []
  if (Array.isArray(raw.components) && raw.components.length <= DOCUMENT_LIMITS.components) {
    // What failed its form is looked at as far as it goes, so that one look finds all.
    const normal = (parsed.output as { components?: unknown[] }).components ?? []
    const looked = raw.components.map((component, index) => {
      const own = new Findings()
      const draft = checkComponent(index, component, normal[index], delivery, catalog, own)
      found.add(own)
      return { draft, warnings: own.warnings }
    })
    drafts = looked.map(({ draft }) => draft)
    warnings = looked.map((look) => look.warnings)
    checkTogether(drafts, parsed.typed ? parsed.output : undefined, found)
  }
  if (!parsed.success || found.issues.length > 0) return { issues: located(found.issues, input, options.locate) }
  const known: Known = { input: raw, catalog, document: parsed.output, drafts, warnings }
  return checkedAs(known, located(found.warnings, input, options.locate))
}

/**
 * Checks a document that differs from a checked one in one component: finds what `checkDocument` would, and looks at that
 * component and at how all hang together.
 * @param known of the checked one
 * @param index which one is another
 * @param component it, as a value as JSON has them
 */
export function checkChanged(known: Known, index: number, component: unknown): CheckedDocument {
  const { catalog } = known
  const input = { ...known.input, components: (known.input.components as unknown[]).with(index, component) }
  const deep = tooDeep({ components: [component] })
  if (deep) return { issues: [deep] }
  const parsed = v.safeParse(componentSchema, component)
  const own = new Findings()
  if (parsed.issues) own.issues.push(...issuesOf(parsed.issues, `/components/${index}`))
  const draft = checkComponent(index, component, parsed.output, known.document.delivery, catalog, own)
  const warnings = known.warnings.with(index, own.warnings)
  const drafts = known.drafts.with(index, draft)
  const components = known.document.components.with(index, parsed.output as DocumentComponent)
  const document = { ...known.document, components }
  const found = new Findings()
  found.issues.push(...own.issues)
  for (const some of warnings) found.warnings.push(...some)
  checkTogether(drafts, parsed.typed ? document : undefined, found)
  if (!parsed.success || found.issues.length > 0) return { issues: located(found.issues, input, undefined) }
  return checkedAs({ input, catalog, document, drafts, warnings }, located(found.warnings, input, undefined))
}

/** What concerns more than one component. @param document undefined where its form is wrong */
function checkTogether(drafts: readonly Draft[], document: PipelineDocument | undefined, found: Findings): void {
  checkEdges(drafts, found)
  if (document) checkSplit(document, drafts, found)
  checkGroups(drafts, found)
  if (document?.strict) found.issues.push(...found.warnings)
}

function checkedAs(known: Known, warnings: Issue[]): CheckedDocument {
  const { document, drafts } = known
  return { document, resolved: drafts.map((draft) => draft.resolved!), warnings, known }
}

/** Values made by a program may be deeper than what a text may be; everything after this may recurse. */
function tooDeep(input: unknown): Issue | undefined {
  let level: unknown[] = [input]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > DOCUMENT_LIMITS.depth + 1)
      return { pointer: '', message: `is nested more than ${DOCUMENT_LIMITS.depth} deep` }
    const next: unknown[] = []
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue
      for (const inner of Object.values(value)) if (typeof inner === 'object' && inner !== null) next.push(inner)
    }
    level = next
  }
  return undefined
}

/** In the document's order, with line and column. */
function located(issues: Issue[], input: unknown, locate: Locate | undefined): Issue[] {
  if (issues.length === 0) return issues
  const places = new Map<object, Map<string, number>>()
  const placed = issues.map((issue) => ({ issue, order: orderOf(issue.pointer, input, places) }))
  placed.sort((a, b) => compareOrder(a.order, b.order))
  const sorted = limited(placed.map(({ issue }) => issue))
  if (!locate) return sorted
  return sorted.map((issue) => ({
    ...issue,
    ...locate(issue.pointer, issue.message.startsWith('unknown field ') ? 'key' : 'value'),
  }))
}

/**
 * For each step of a pointer, the how manieth it is in its object or list.
 * @param places of the keys of objects that were looked at: counting them for each of many problems would be quadratic
 */
function orderOf(pointer: string, input: unknown, places: Map<object, Map<string, number>>): number[] {
  const order: number[] = []
  let value = input
  for (const segment of pointerSegments(pointer)) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment)) break
    order.push(Array.isArray(value) ? Number(segment) : placeOf(value, segment, places))
    value = (value as Record<string, unknown>)[segment]
  }
  return order
}

function placeOf(value: object, key: string, places: Map<object, Map<string, number>>): number {
  let keys = places.get(value)
  if (!keys) {
    keys = new Map(Object.keys(value).map((name, i) => [name, i]))
    places.set(value, keys)
  }
  return keys.get(key) ?? -1
}

function compareOrder(a: number[], b: number[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}
