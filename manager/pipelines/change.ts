// Changes what runs: another document, or other settings of one component.
// Runs on: control.

import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { mergePatch } from '../../schemas/merge-patch.ts'
import type { Locate } from '../../schemas/read-document.ts'
import type { ComponentChange, Placed } from '../hosts/host-client.ts'
import type { PipelineRow } from '../store/pipelines-table.ts'
import { type Draft, draftOf, invalid } from './draft.ts'
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
    const row = rowOf(context, tenant, id)
    return { ...(await apply(context, row, draft, { keepState: options.keepState })), validatedAt }
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
    const row = rowOf(context, tenant, id)
    const given = JSON.parse(row.document) as { components: Record<string, unknown>[] }
    const at = patchInto(given.components, component, patch)
    if (at < 0) throw new SpqrError('NOT_FOUND', `The pipeline "${id}" has no component "${component.slice(0, 80)}".`)
    const exact = pinned(given, row.plan, component, patch.operator !== undefined)
    const draft = { ...rebased(at, () => draftOf(context, tenant, exact)), given: given as Record<string, unknown> }
    const validatedAt = performance.now()
    if (patch.settings) await rebasedAsync(at, () => requireTopics(context, draft))
    if (entry.failure) {
      throw new SpqrError('INVALID_STATE', `Cannot change "${id}": it is failed; replace its document and resume it.`)
    }
    const applied = await apply(context, row, draft, { ...options, live: true })
    const change = applied.placed.changes?.find((c) => c.component === draft.document.components[at]!.id)
    return { ...applied, validatedAt, change }
  })
}

/** Changes the component of this id in the list. @returns its index, -1 where there is none */
export function patchInto(components: Record<string, unknown>[], id: string, patch: ComponentPatch): number {
  const wanted = id.trim().toLowerCase()
  const at = components.findIndex((c) => String(c.id).trim().toLowerCase() === wanted)
  if (at < 0) return at
  const component = components[at]!
  if (patch.settings) component.settings = mergePatch(component.settings ?? {}, patch.settings)
  if (patch.operator !== undefined) component.operator = patch.operator
  return at
}

/** The document with every operator named exactly as the plan has it, so that a change of one moves no other. */
function pinned(
  given: { components: Record<string, unknown>[] },
  plan: string,
  component: string,
  operatorChanges: boolean,
): Record<string, unknown> {
  const { components } = JSON.parse(plan) as {
    components: { kind: string; id: string; name: string; version: string }[]
  }
  const exact = new Map(components.filter((c) => c.kind === 'operator').map((c) => [c.id, `${c.name}@${c.version}`]))
  if (operatorChanges) exact.delete(component.trim().toLowerCase())
  return {
    ...given,
    components: given.components.map((c) => {
      const operator = exact.get(String(c.id).trim().toLowerCase())
      return operator === undefined ? c : { ...c, operator }
    }),
  }
}

async function apply(
  context: PipelineContext,
  row: PipelineRow,
  draft: Draft,
  options: { keepState: boolean; live?: boolean },
): Promise<{ entry: PipelineEntry; placed: Placed; warnings: Issue[] }> {
  const { tenant, id } = row
  const entry = entryOf(context, tenant, id)
  const before = JSON.parse(row.plan) as { forkOf?: string }
  const plan = draft.plan(row.revision + 1)
  if (before.forkOf !== undefined) plan.forkOf = before.forkOf
  const text = JSON.stringify(plan)
  const release = context.quotas.reserve(plan)
  let placed: Placed = { state: 'stopped' }
  // A stopped pipeline gets the plan when it is resumed; so does one that no host could start.
  if (entry.wanted !== 'stopped' && !entry.failure) {
    const host = context.hosts.of(tenant, id)
    try {
      await host.ensure(plan.components)
      placed = await host.put(plan, { ...options, paused: entry.wanted === 'paused' })
    } catch (error) {
      release()
      throw error
    }
  }
  // Only now: a plan that the host refused must not come back after a crash.
  const modules = moduleUses(plan, row.modules)
  const changedAt = Date.now()
  const { revision } = plan
  context.store.pipelines.put({
    ...row,
    revision,
    wanted: entry.wanted,
    document: JSON.stringify(draft.given),
    plan: text,
    modules,
    changedAt,
  })
  Object.assign(entry, { revision, modules, changedAt })
  return { entry, placed, warnings: draft.warnings }
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
