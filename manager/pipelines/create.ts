// Makes a pipeline.
// Runs on: control.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { SpqrError } from '../../schemas/errors.ts'
import type { Plan, StartFrom } from '../../schemas/plan.ts'
import type { Locate } from '../../schemas/read-document.ts'
import { type HostClient, type Placed, pipelinePath } from '../hosts/host-client.ts'
import type { PipelineRow } from '../store/pipelines-table.ts'
import { type Draft, locatedError } from './draft.ts'
import { moduleUses } from './module-uses.ts'
import { requireTopics } from './named-topics.ts'
import type { PipelineContext } from './pipeline-context.ts'
import { keyOf, type PipelineEntry } from './pipeline-index.ts'

export interface Timings {
  validateMs: number
  placeMs: number
  instantiateMs: number
  totalMs: number
}

/**
 * Runs the draft's pipeline, and keeps it.
 * @throws SpqrError ALREADY_EXISTS; what the host refused, and then nothing is left of it
 */
export function createPipeline(
  context: PipelineContext,
  draft: Draft,
  locate?: Locate,
): Promise<{ entry: PipelineEntry; placed: Placed }> {
  return context.serial.run(keyOf(draft.tenant, draft.id), async () => {
    requireNew(context, draft.tenant, draft.id, 'PUT replaces its document')
    await requireTopics(context, draft, locate)
    const plan = draft.plan(1)
    const row = newRow(draft, plan)
    return place(context, row, plan, { fresh: true }).catch((thrown) => {
      throw locatedError(thrown, locate)
    })
  })
}

/**
 * @param remedy what to do where it exists
 * @throws SpqrError ALREADY_EXISTS
 */
export function requireNew(context: PipelineContext, tenant: string, id: string, remedy: string): void {
  if (!context.index.get(tenant, id)) return
  throw new SpqrError('ALREADY_EXISTS', `The pipeline "${id}" exists; ${remedy}.`)
}

export function newRow(draft: Draft, plan: Plan): PipelineRow {
  const now = Date.now()
  return {
    tenant: draft.tenant,
    id: draft.id,
    revision: plan.revision,
    wanted: 'running',
    document: JSON.stringify(draft.given),
    plan: '',
    modules: moduleUses(plan),
    replayedTo: '0',
    createdAt: now,
    changedAt: now,
  }
}

/** Has the host start a new pipeline while the row is written; undoes both where either fails. */
export async function place(
  context: PipelineContext,
  row: PipelineRow,
  plan: Plan,
  options: { startFrom?: StartFrom; fresh?: boolean } = {},
): Promise<{ entry: PipelineEntry; placed: Placed }> {
  const { tenant, id } = row
  const host = context.hosts.of(tenant, id)
  const { document: _document, plan: _plan, ...summary } = row
  const release = context.quotas.reserve(plan)
  const entry: PipelineEntry = { ...summary, busy: 'starting', placed: true }
  context.index.set(entry)
  let placing: Promise<Placed> | undefined
  try {
    await host.ensure(plan.components)
    // The host's workers instantiate while this thread waits for the disk. A crash in between leaves a pipeline that
    // nobody was promised, whole; nothing that was answered can be missing.
    placing = host.put(plan, options)
    // A refusal may come before anyone awaits it.
    placing.catch(() => undefined)
    // One turn of the event loop: the call gets as far as the workers before the disk has this thread.
    await nextTurn()
    context.store.pipelines.put({ ...row, plan: JSON.stringify(plan) })
    const placed = await placing
    entry.busy = undefined
    return { entry, placed }
  } catch (error) {
    if (host.isInDoubt || host.isAway) undoLater(context, entry, { ...row, plan: JSON.stringify(plan) })
    else await undo(context, host, row, placing)
    release()
    throw error
  }
}

/** The host gave no answer and may run it: it is removed when the host is heard again, also by the next manager. */
function undoLater(context: PipelineContext, entry: PipelineEntry, row: PipelineRow): void {
  entry.busy = undefined
  entry.wanted = 'deleting'
  context.store.pipelines.put({ ...row, wanted: 'deleting' })
}

async function undo(
  context: PipelineContext,
  host: HostClient,
  { tenant, id }: PipelineRow,
  placing: Promise<Placed> | undefined,
): Promise<void> {
  context.index.delete(tenant, id)
  context.store.pipelines.delete(tenant, id)
  context.hosts.forget(tenant, id)
  const started = await placing?.then(
    () => true,
    () => false,
  )
  if (started) await host.json('DELETE', pipelinePath(tenant, id))
}

/** The times of one request, as the API tells them. */
export function timingsOf(startedAt: number, validatedAt: number, placed: Placed): Timings {
  return {
    validateMs: round(validatedAt - startedAt),
    placeMs: round(placed.timings?.placeMs ?? 0),
    instantiateMs: round(placed.timings?.instantiateMs ?? 0),
    totalMs: round(performance.now() - startedAt),
  }
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
