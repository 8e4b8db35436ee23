// Which modules a pipeline needs: those of its present revision, and those that a checkpoint of an earlier one may name.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import { type HostPipeline, pipelinePath } from '../hosts/host-client.ts'
import type { ModuleUse } from '../store/pipelines-table.ts'
import type { PipelineContext } from './pipeline-context.ts'
import type { PipelineEntry } from './pipeline-index.ts'

/** Earlier modules that are remembered; a checkpoint that is older than so many changes of version is not expected. */
const EARLIER_MAX = 64

/** The uses after a plan took the place of what `before` names. */
export function moduleUses(plan: Plan, before: readonly ModuleUse[] = []): ModuleUse[] {
  const uses = new Map<string, ModuleUse>()
  for (const component of plan.components) {
    if (component.kind !== 'operator') continue
    const { name, version, digest } = component
    uses.set(digest, { name, version, digest })
  }
  const earlier = before
    .filter((use) => !uses.has(use.digest))
    .map((use) => ({ ...use, until: use.until ?? plan.revision - 1 }))
    .sort((a, b) => b.until - a.until)
  return [...uses.values(), ...earlier.slice(0, EARLIER_MAX)]
}

/** Who of the tenant's pipelines, or of their checkpoints, needs the module. */
export async function moduleUser(
  context: PipelineContext,
  tenant: string,
  digest: string,
): Promise<string | undefined> {
  for (const entry of context.index.list(tenant)) {
    const use = entry.modules.find((module) => module.digest === digest)
    if (!use) continue
    if (use.until === undefined) return `the pipeline "${entry.id}"`
    if (await isInCheckpoint(context, entry, use.until))
      return `a checkpoint or savepoint of the pipeline "${entry.id}"`
  }
  return undefined
}

async function isInCheckpoint(context: PipelineContext, entry: PipelineEntry, until: number): Promise<boolean> {
  const host = context.hosts.of(entry.tenant, entry.id)
  const path = pipelinePath(entry.tenant, entry.id)
  try {
    const { checkpoint } = await host.json<HostPipeline>('GET', path)
    if ((checkpoint?.revision ?? Number.POSITIVE_INFINITY) <= until) return true
    const { items } = await host.json<{ items: { revision?: number }[] }>('GET', `${path}/savepoints`)
    return items.some((savepoint) => (savepoint.revision ?? 0) <= until)
  } catch (error) {
    // The host does not know it (it is stopped): its last checkpoint may name the module.
    if (error instanceof SpqrError && error.code === 'NOT_FOUND') return true
    throw error
  }
}
