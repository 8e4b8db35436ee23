// Changes what runs: another document, or other settings of one component.
// Runs on: control.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { mergePatch } from '../../schemas/merge-patch.ts'
import { normalId } from '../../schemas/names.ts'
import type { Plan, PlanComponent } from '../../schemas/plan.ts'
import type { Locate } from '../../schemas/read-document.ts'
import type { ComponentChange, Placed } from '../hosts/host-client.ts'
import type { Revision } from '../store/pipelines-table.ts'
import { type Draft, draftOf, draftOfChanged, invalid } from './draft.ts'
import type { GivenDocument, KnownDocument } from './known-documents.ts'
import { moduleUses } from './module-uses.ts'
import { requireTopics } from './named-topics.ts'
import { entryOf, type PipelineContext, rowOf } from './pipeline-context.ts'
import { keyOf, type PipelineEntry } from './pipeline-index.ts'

export interface ComponentPatch {
  /** Merged into the settings as RFC 7396 says. */
  settings?: Record<string, unknown>
  /** `name`, `name@major` or `name@x.y.z`. */
  operator?: string
}

export interface Changed {
  entry: PipelineEntry
  placed: Placed
  warnings: Issue[]
  validatedAt: number
}

/** Puts another document in the place of the present one. @throws SpqrError NOT_FOUND, what the host refused */
export function replaceDocument(
  context: PipelineContext,
  tenant: string,
  id: string,
  value: unknown,
  options: { keepState: boolean; locate?: Locate },
): Promise<Changed> {
  entryOf(context, tenant, id)
  const draft = draftOf(context, tenant, value, options.locate)
  if (draft.id !== id) {
    const message = `must be "${id}", the pipeline of the path, not "${draft.id}"`
    throw invalid([{ pointer: '/id', message, ...options.locate?.('/id') }])
  }
  const validatedAt = performance.now()
  return context.serial.run(keyOf(tenant, id), async () => {
    await requireTopics(context, draft, options.locate)
    const entry = entryOf(context, tenant, id)
    const before = presentOf(context, entry).plan
    return { ...(await apply(context, entry, before, draft, { keepState: options.keepState })), validatedAt }
  })
}

/**
 * Changes one component in place.
 * @throws SpqrError NOT_FOUND; INVALID_DOCUMENT with pointers into the patch; INVALID_STATE of what has ended
 */
export function patchComponent(
  context: PipelineContext,
  tenant: string,
  id: string,
  component: string,
  patch: ComponentPatch,
  options: { keepState: boolean },
): Promise<Changed & { change: ComponentChange | undefined }> {
  return context.serial.run(keyOf(tenant, id), async () => {
    const entry = entryOf(context, tenant, id)
    const present = presentOf(context, entry)
    const at = indexOf(present.given.components, component)
    if (at < 0) throw new SpqrError('NOT_FOUND', `The pipeline "${id}" has no component "${component.slice(0, 80)}".`)
    const components = present.given.components.with(at, patched(present.given.components[at]!, patch))
    const given = { ...present.given, components }
    const operatorChanges = patch.operator === undefined ? undefined : at
    const draft = rebased(at, () => {
      const { known, plan } = present
      if (known?.catalog !== context.catalogs.of(tenant)) {
        return draftOf(context, tenant, pinned(given, plan, operatorChanges))
      }
      const exact = at === operatorChanges ? components[at] : pinnedAs(components[at]!, plan.components[at])
      return draftOfChanged(context, tenant, { known, plan }, at, exact)
    })
    const validatedAt = performance.now()
    if (patch.settings) await rebasedAsync(at, () => requireTopics(context, draft))
    if (entry.failure) {
      throw new SpqrError('INVALID_STATE', `Cannot change "${id}": it is failed; replace its document and resume it.`)
    }
    const applied = await apply(context, entry, present.plan, { ...draft, given }, { ...options, live: true })
    const change = applied.placed.changes?.find((c) => c.component === draft.document.components[at]!.id)
    return { ...applied, validatedAt, change }
  })
}

/** The revision that holds, as it was left here or as it is kept. */
function presentOf(context: PipelineContext, entry: PipelineEntry): KnownDocument {
  const known = context.documents.of(entry)
  if (known) return known
  const { document, plan } = rowOf(context, entry.tenant, entry.id)
  return { given: JSON.parse(document) as GivenDocument, plan: JSON.parse(plan) as Plan }
}

/** Changes the component of this id in the list. @returns its index, -1 where there is none */
export function patchInto(components: Record<string, unknown>[], id: string, patch: ComponentPatch): number {
  const at = indexOf(components, id)
  if (at >= 0) components[at] = patched(components[at]!, patch)
  return at
}

function indexOf(components: readonly Record<string, unknown>[], id: string): number {
  const wanted = normalId(id)
  return components.findIndex((c) => normalId(String(c.id)) === wanted)
}

function patched(component: Record<string, unknown>, patch: ComponentPatch): Record<string, unknown> {
  const next = { ...component }
  if (patch.settings) next.settings = mergePatch(component.settings ?? {}, patch.settings)
  if (patch.operator !== undefined) next.operator = patch.operator
  return next
}

/**
 * The document with every operator named exactly as the plan has it, so that a change of one moves no other.
 * @param but the component whose operator is to be another
 */
function pinned(given: GivenDocument, { components }: Plan, but: number | undefined): Record<string, unknown> {
  return { ...given, components: given.components.map((c, i) => (i === but ? c : pinnedAs(c, components[i]))) }
}

/** @param planned the same component in the plan, whose order is the document's */
function pinnedAs(component: Record<string, unknown>, planned: PlanComponent | undefined): Record<string, unknown> {
  return planned?.kind === 'operator' ? { ...component, operator: `${planned.name}@${planned.version}` } : component
}

async function apply(
  context: PipelineContext,
  entry: PipelineEntry,
  before: Plan,
  draft: Draft,
  options: { keepState: boolean; live?: boolean },
): Promise<{ entry: PipelineEntry; placed: Placed; warnings: Issue[] }> {
  const plan = draft.plan(entry.revision + 1)
  if (before.forkOf !== undefined) plan.forkOf = before.forkOf
  const release = context.quotas.reserve(plan)
  const next: Revision = {
    revision: plan.revision,
    document: JSON.stringify(draft.given),
    plan: JSON.stringify(plan),
    modules: moduleUses(plan, entry.modules),
    changedAt: Date.now(),
  }
  let placed: Placed = { state: 'stopped' }
  // A stopped pipeline gets the plan when it is resumed; so does one that no host could start.
  if (entry.wanted === 'stopped' || entry.failure) context.store.pipelines.change(entry.tenant, entry.id, next, false)
  else {
    try {
      placed = await changeOnHost(context, entry, before, plan, next, options)
    } catch (error) {
      release()
      throw error
    }
  }
  const { revision, modules, changedAt } = next
  Object.assign(entry, { revision, modules, changedAt })
  const { given, known, warnings } = draft
  context.documents.keep(entry, { given: given as GivenDocument, plan, known }, next.document.length + next.plan.length)
  return { entry, placed, warnings }
}

/**
 * Has the host change the pipeline while the new row is written; answered when both hold.
 * @throws SpqrError what the host refused: the row is what it was
 */
async function changeOnHost(
  context: PipelineContext,
  entry: PipelineEntry,
  before: Plan,
  plan: Plan,
  next: Revision,
  options: { keepState: boolean; live?: boolean },
): Promise<Placed> {
  const { pipelines } = context.store
  const { tenant, id } = entry
  const paused = entry.wanted === 'paused'
  const host = context.hosts.of(tenant, id)
  await host.ensure(plan.components)
  const placing = host.put(plan, { ...options, paused })
  if (options.keepState) {
    // After a crash in between it would start with this plan, and perhaps without its state.
    const placed = await placing
    pipelines.change(tenant, id, next, false)
    return placed
  }
  // A refusal may come before anyone awaits it.
  placing.catch(() => undefined)
  // One turn of the event loop: the call gets out before the disk has this thread.
  if (!host.isHere) await nextTurn()
  try {
    pipelines.change(tenant, id, next, true)
  } catch (error) {
    // Disk full, or worse: the host goes back to what is kept.
    await placing.then(() => host.put(before, { paused }))
    throw error
  }
  try {
    const placed = await placing
    pipelines.settle(tenant, id)
    return placed
  } catch (error) {
    pipelines.goBack(tenant, id)
    throw error
  }
}

function rebased<T>(at: number, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw relative(at, error)
  }
}

async function rebasedAsync<T>(at: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw relative(at, error)
  }
}

/** Problems of the patched component, as places in the patch. */
function relative(at: number, error: unknown): unknown {
  if (!(error instanceof SpqrError) || !error.issues) return error
  const base = `/components/${at}`
  const issues = error.issues.map((issue) =>
    issue.pointer === base || issue.pointer.startsWith(`${base}/`)
      ? { ...issue, pointer: issue.pointer.slice(base.length) }
      : issue,
  )
  return invalid(issues)
}
