// Checks a document against what exists: every problem at once, each at its pointer (with line and column where the
// document is a text), and what would work but hardly as meant as warnings.
// Runs on: control, in the path of every create; nothing here is built per call.

import * as v from 'valibot'
import type { Catalog } from './catalog.ts'
import { checkComponent, type Draft, type ResolvedComponent } from './check-component.ts'
import { checkEdges } from './check-edges.ts'
import { checkGroups } from './check-groups.ts'
import { checkSplit } from './check-split.ts'
import { DOCUMENT_LIMITS, documentSchema, type PipelineDocument } from './document.ts'
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

/** `resolved[i]` belongs to `document.components[i]`. */
export type CheckedDocument =
  | { document: PipelineDocument; resolved: ResolvedComponent[]; warnings: Issue[]; issues?: undefined }
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
  if (Array.isArray(raw.components) && raw.components.length <= DOCUMENT_LIMITS.components) {
    // What failed its form is looked at as far as it goes, so that one look finds all.
    const normal = (parsed.output as { components?: unknown[] }).components ?? []
    drafts = raw.components.map((component, index) =>
      checkComponent(index, component, normal[index], delivery, catalog, found),
    )
    checkEdges(drafts, found)
    if (parsed.typed) checkSplit(parsed.output, drafts, found)
    checkGroups(drafts, found)
  }
  if (parsed.typed && parsed.output.strict) found.issues.push(...found.warnings)
  if (!parsed.success || found.issues.length > 0) return { issues: located(found.issues, input, options.locate) }
  return {
    document: parsed.output,
    resolved: drafts.map((draft) => draft.resolved!),
    warnings: located(found.warnings, input, options.locate),
  }
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
