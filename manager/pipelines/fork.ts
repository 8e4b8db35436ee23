// Makes a second pipeline from the state of one: the same document with some changes, from a checkpoint, beside it.
// Runs on: control.

import { type Issue, SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import { isObject } from '../../schemas/shapes.ts'
import { type Placed, pipelinePath } from '../hosts/host-client.ts'
import { type ComponentPatch, patchInto } from './change.ts'
import { newRow, place, requireNew } from './create.ts'
import { type Draft, draftOf, invalid } from './draft.ts'
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
  const { failure } = entryOf(context, tenant, original)
  if (failure) {
    throw new SpqrError('INVALID_STATE', `Cannot fork "${original}": ${failure.message} Resume it first.`)
  }
  return context.serial.run(keyOf(tenant, id), async () => {
    requireNew(context, tenant, id, 'give the fork another id, or remove that one first')
    const row = rowOf(context, tenant, original)
    const draft = forkedDraft(context, tenant, forkedDocument(row.document, original, request), request)
    await requireTopics(context, draft)
    const validatedAt = performance.now()
    const plan = draft.plan(1)
    // A fork of a fork follows the one that takes the records in.
    plan.forkOf = (JSON.parse(row.plan) as Plan).forkOf ?? original
    // Beside the original, whose host knows its checkpoints.
    const host = context.hosts.place(tenant, id, context.hosts.of(tenant, original))
    const path = pipelinePath(tenant, id)
    try {
      await host.json('POST', `${path}/fork-from`, JSON.stringify({ from: original, savepoint }))
      // The copied checkpoint may name modules of any earlier revision of the original.
      const earlier = row.modules.map((use) => ({ ...use, until: Number.MAX_SAFE_INTEGER }))
      const forked = { ...newRow(draft, plan), modules: moduleUses(plan, earlier) }
      await host.ensure(forked.modules)
      const made = await place(context, forked, plan)
      return { ...made, warnings: [...draft.warnings, ...notFollowed(plan)], validatedAt }
    } catch (error) {
      if (!context.index.get(tenant, id)) {
        context.hosts.forget(tenant, id)
        await host.json('DELETE', path)
      }
      throw error
    }
  })
}

/** Sources of which a fork gets nothing: there is no topic that it could follow. */
function notFollowed({ delivery, components }: Plan): Issue[] {
  if (delivery !== 'at-most-once') return []
  return components.flatMap((component, i) =>
    component.kind === 'source' && component.type === 'http'
      ? [
          {
            pointer: `/components/${i}`,
            message: `under at-most-once what "${component.id}" is sent is kept nowhere: the fork gets none of it`,
          },
        ]
      : [],
  )
}

function forkedDocument(text: string, original: string, { id, components = [] }: ForkRequest): Record<string, unknown> {
  const document = JSON.parse(text) as { id: string; components: Record<string, unknown>[] }
  document.id = id
  // It goes on from places of its own, beside the original: of a group it would share with it.
  for (const component of document.components) {
    if (isObject(component.settings) && component.source !== undefined) delete component.settings.group
  }
  const issues: Issue[] = []
  components.forEach((patch, i) => {
    const pointer = `/components/${i}/id`
    const first = components.findIndex((other) => other.id === patch.id)
    if (first < i) issues.push({ pointer, message: `"${patch.id}" is changed by component ${first} already` })
    else if (patchInto(document.components, patch.id, patch) < 0) {
      issues.push({ pointer, message: `"${original}" has no component "${patch.id}"` })
    }
  })
  if (issues.length) throw invalid(issues)
  return document
}

/** Problems of a component that was changed are named where it stands in the request, not in the document. */
function forkedDraft(
  context: PipelineContext,
  tenant: string,
  document: Record<string, unknown>,
  { components = [] }: ForkRequest,
): Draft {
  try {
    return draftOf(context, tenant, document)
  } catch (thrown) {
    if (!(thrown instanceof SpqrError) || !thrown.issues) throw thrown
    const ids = (document.components as { id: string }[]).map(({ id }) => id)
    throw invalid(
      thrown.issues.map((issue) => {
        const at = /^\/components\/(\d+)(?=\/|$)/.exec(issue.pointer)
        const asked = at ? components.findIndex(({ id }) => id === ids[Number(at[1])]) : -1
        return asked < 0 ? issue : { ...issue, pointer: `/components/${asked}${issue.pointer.slice(at![0].length)}` }
      }),
    )
  }
}
