// Pauses, resumes, stops, restarts and removes a pipeline. What it shall be is durable before it is answered.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan, StartFrom } from '../../schemas/plan.ts'
import { type HostClient, type Placed, pipelinePath } from '../hosts/host-client.ts'
import type { PipelineRow, Wanted } from '../store/pipelines-table.ts'
import { entryOf, type PipelineContext, rowOf } from './pipeline-context.ts'
import { keyOf, type PipelineEntry } from './pipeline-index.ts'
import { askHost } from './state.ts'

/** @throws SpqrError NOT_FOUND, INVALID_STATE */
export function pausePipeline(context: PipelineContext, tenant: string, id: string): Promise<PipelineEntry> {
  return inTurn(context, tenant, id, async (entry, host) => {
    if (entry.wanted === 'stopped') throw wrongState('pause', entry, 'it is stopped')
    if (entry.failure) throw wrongState('pause', entry, 'it is failed')
    await host.json('POST', `${pipelinePath(tenant, id)}/pause`)
    setWanted(context, entry, 'paused')
  })
}

/** Lets a paused pipeline go on, and starts a stopped or failed one from its last checkpoint. */
export function resumePipeline(context: PipelineContext, tenant: string, id: string): Promise<PipelineEntry> {
  return inTurn(context, tenant, id, async (entry, host) => {
    // The host may not have the present plan: it was not there when it changed, or lost it with a restart.
    let state = 'paused'
    if (entry.wanted === 'stopped' || entry.failure || !entry.placed) {
      const row = rowOf(context, tenant, id)
      state = (await withinQuotas(context, entry, row, () => start(host, entry, row))).state
    }
    if (state !== 'running') await host.json('POST', `${pipelinePath(tenant, id)}/resume`)
    setWanted(context, entry, 'running')
  })
}

/** Takes a checkpoint and frees everything but the document. */
export function stopPipeline(context: PipelineContext, tenant: string, id: string): Promise<PipelineEntry> {
  return inTurn(context, tenant, id, async (entry, host) => {
    if (entry.wanted === 'stopped') return
    if (!entry.failure) {
      await host.json('POST', `${pipelinePath(tenant, id)}/stop`)
      // What is through, perhaps only just now, stays so: a stopped one could be resumed.
      if ((await askHost(context, entry))?.state === 'completed') return
    }
    entry.failure = undefined
    setWanted(context, entry, 'stopped')
  })
}

/** Runs again from a place, whatever it is doing. @throws SpqrError NOT_FOUND of a savepoint that is not there */
export function restartPipeline(
  context: PipelineContext,
  tenant: string,
  id: string,
  from: StartFrom,
): Promise<PipelineEntry> {
  return inTurn(context, tenant, id, async (entry, host) => {
    const row = rowOf(context, tenant, id)
    await withinQuotas(context, entry, row, () => start(host, entry, row, from))
    setWanted(context, entry, 'running')
  })
}

/**
 * Ends a pipeline and removes all that is its own.
 * @param drain what it has taken in is delivered first
 */
export function removePipeline(context: PipelineContext, tenant: string, id: string, drain: boolean): Promise<unknown> {
  return inTurn(context, tenant, id, async (entry, host) => {
    const before = entry.wanted
    // Remembered first: a crash within the removal must not bring half of a pipeline back.
    setWanted(context, entry, 'deleting')
    try {
      await finishRemoval(context, host, entry, drain && before !== 'stopped')
    } catch (error) {
      setWanted(context, entry, before)
      throw error
    }
  })
}

export async function finishRemoval(
  context: PipelineContext,
  host: HostClient,
  { tenant, id }: PipelineEntry,
  drain: boolean,
): Promise<void> {
  await host.json('DELETE', `${pipelinePath(tenant, id)}${drain ? '?drain=true' : ''}`)
  context.store.pipelines.delete(tenant, id)
  context.index.delete(tenant, id)
  context.quotas.forget(tenant, id)
  context.hosts.forget(tenant, id)
}

/** A stopped pipeline uses nothing, so that its start may be more than its tenant may have. */
function withinQuotas<T>(
  context: PipelineContext,
  entry: PipelineEntry,
  row: PipelineRow,
  work: () => Promise<T>,
): Promise<T> {
  if (entry.wanted !== 'stopped' || !context.tenants.enforced) return work()
  return context.quotas.resume(JSON.parse(row.plan) as Plan, work)
}

/** Sends the plan that is kept. */
export async function start(
  host: HostClient,
  entry: PipelineEntry,
  row: PipelineRow,
  startFrom?: StartFrom,
): Promise<Placed> {
  await host.ensure(entry.modules)
  const paused = entry.wanted === 'paused' && startFrom === undefined
  const placed = await host.put(JSON.parse(row.plan) as Plan, { paused, startFrom })
  entry.placed = true
  entry.failure = undefined
  return placed
}

function inTurn(
  context: PipelineContext,
  tenant: string,
  id: string,
  work: (entry: PipelineEntry, host: HostClient) => Promise<void>,
): Promise<PipelineEntry> {
  return context.serial.run(keyOf(tenant, id), async () => {
    const entry = entryOf(context, tenant, id)
    await work(entry, context.hosts.of(tenant, id))
    return entry
  })
}

function setWanted(context: PipelineContext, entry: PipelineEntry, wanted: Wanted): void {
  if (entry.wanted === wanted) return
  context.store.pipelines.setWanted(entry.tenant, entry.id, wanted)
  entry.wanted = wanted
}

function wrongState(action: string, { id }: PipelineEntry, state: string): SpqrError {
  return new SpqrError('INVALID_STATE', `Cannot ${action} "${id}": ${state}.`)
}
