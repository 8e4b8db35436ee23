// Changes what runs: another document, or other settings of one component.
// Runs on: control.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { mergePatch } from '../../schemas/merge-patch.ts'
import type { Plan } from '../../schemas/plan.ts'
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
  const release = context.quotas.reserve(plan)
  const modules = moduleUses(plan, row.modules)
  const next: PipelineRow = {
    ...row,
    revision: plan.revision,
    wanted: entry.wanted,
    document: JSON.stringify(draft.given),
    plan: JSON.stringify(plan),
    modules,
    changedAt: Date.now(),
    before: undefined,
  }
  let placed: Placed = { state: 'stopped' }
  // A stopped pipeline gets the plan when it is resumed; so does one that no host could start.
  if (entry.wanted === 'stopped' || entry.failure) context.store.pipelines.put(next)
  else {
    try {
      placed = await changeOnHost(context, entry, plan, row, next, options)
    } catch (error) {
      release()
      throw error
    }
  }
  Object.assign(entry, { revision: next.revision, modules, changedAt: next.changedAt })
  return { entry, placed, warnings: draft.warnings }
}

/**
 * Has the host change the pipeline while the new row is written; answered when both hold.
 * @throws SpqrError what the host refused: the row is what it was
 */
async function changeOnHost(
  context: PipelineContext,
  entry: PipelineEntry,
  plan: Plan,
  row: PipelineRow,
  next: PipelineRow,
  options: { keepState: boolean; live?: boolean },
): Promise<Placed> {
  const { pipelines } = context.store
  const { tenant, id } = entry
  const host = context.hosts.of(tenant, id)
  await host.ensure(plan.components)
  const placing = host.put(plan, { ...options, paused: entry.wanted === 'paused' })
  if (options.keepState) {
    // After a crash in between it would start with this plan, and perhaps without its state.
    const placed = await placing
    pipelines.put(next)
    return placed
  }
  // A refusal may come before anyone awaits it.
  placing.catch(() => undefined)
  // One turn of the event loop: the call gets as far as the workers before the disk has this thread.
  await nextTurn()
  const { revision, document, plan: planBefore, modules, changedAt } = row
  try {
    pipelines.put({ ...next, before: { revision, document, plan: planBefore, modules, changedAt } })
  } catch (error) {
    // Disk full, or worse: the host goes back to what is kept.
    await placing.then(() => host.put(JSON.parse(row.plan) as Plan, { paused: entry.wanted === 'paused' }))
    throw error
  }
  try {
    const placed = await placing
    pipelines.settle(tenant, id)
    return placed
  } catch (error) {
    pipelines.put(row)
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
