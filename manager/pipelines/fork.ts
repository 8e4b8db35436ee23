// Makes a second pipeline from the state of one: the same document with some changes, from a checkpoint, beside it.
// Runs on: control.

import { type Issue, SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import { type Placed, pipelinePath } from '../hosts/host-client.ts'
import { type ComponentPatch, patchInto } from './change.ts'
import { newRow, place, requireNew } from './create.ts'
import { draftOf, invalid } from './draft.ts'
import { moduleUses } from './module-uses.ts'
import { requireTopics } from './named-topics.ts'
import { entryOf, type PipelineContext, rowOf } from './pipeline-context.ts'
import { keyOf, type PipelineEntry } from './pipeline-index.ts'

export interface ForkRequest {
  /** Of the new pipeline. */
  id: string
  /** Its state is this one's; absent: the present state. */
  savepoint?: string
  components?: (ComponentPatch & { id: string })[]
}

/** @throws SpqrError NOT_FOUND of the original or the savepoint, ALREADY_EXISTS, INVALID_DOCUMENT */
export function forkPipeline(
  context: PipelineContext,
  tenant: string,
  original: string,
  request: ForkRequest,
): Promise<{ entry: PipelineEntry; placed: Placed; warnings: Issue[]; validatedAt: number }> {
  const { id, savepoint } = request
  const { placed, failure } = entryOf(context, tenant, original)
  if (!placed || failure) {
    throw new SpqrError('INVALID_STATE', `Cannot fork "${original}": it runs on no host; resume it first.`)
  }
  return context.serial.run(keyOf(tenant, id), async () => {
    requireNew(context, tenant, id)
    const row = rowOf(context, tenant, original)
    const draft = draftOf(context, tenant, forkedDocument(row.document, original, request))
    await requireTopics(context, draft)
    const validatedAt = performance.now()
    const plan = draft.plan(1)
    // A fork of a fork follows the one that takes the records in.
    plan.forkOf = (JSON.parse(row.plan) as Plan).forkOf ?? original
    const host = context.hosts.of(tenant, id)
    const path = pipelinePath(tenant, id)
    await host.json('POST', `${path}/fork-from`, JSON.stringify({ from: original, savepoint }))
    try {
      // The copied checkpoint may name modules of any earlier revision of the original.
      const earlier = row.modules.map((use) => ({ ...use, until: Number.MAX_SAFE_INTEGER }))
      const forked = { ...newRow(draft, plan), modules: moduleUses(plan, earlier) }
      await host.ensure(forked.modules)
      const made = await place(context, forked, plan)
      return { ...made, warnings: draft.warnings, validatedAt }
    } catch (error) {
      await host.json('DELETE', path)
      throw error
    }
  })
}

function forkedDocument(text: string, original: string, { id, components = [] }: ForkRequest): Record<string, unknown> {
  const document = JSON.parse(text) as { id: string; components: Record<string, unknown>[] }
  document.id = id
  const issues: Issue[] = []
  components.forEach((patch, i) => {
    if (patchInto(document.components, patch.id, patch) >= 0) return
    issues.push({ pointer: `/components/${i}/id`, message: `"${original}" has no component "${patch.id}"` })
  })
  if (issues.length) throw invalid(issues)
  return document
}
