// A document that names a topic must name one that exists: asked of the transport before anything is made.
// Runs on: control.

import type { PipelineDocument } from '../../schemas/document.ts'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT, ownerOfTopic, reachableTopic } from '../../schemas/names.ts'
import type { Locate } from '../../schemas/read-document.ts'
import { type Draft, invalid } from './draft.ts'
import type { PipelineContext } from './pipeline-context.ts'

interface Named {
  topic: string
  pointer: string
}

/** @throws SpqrError INVALID_DOCUMENT with the place of each topic that is missing */
export async function requireTopics(context: PipelineContext, draft: Draft, locate?: Locate): Promise<void> {
  const named = namedTopics(draft.document)
  if (named.length === 0) return
  const foreign = foreignGroups(context, draft)
  if (foreign.length) throw invalid(foreign.map((issue) => ({ ...issue, ...locate?.(issue.pointer) })))
  const missing = await Promise.all(named.map(({ topic }) => isMissing(context, draft.tenant, topic)))
  const issues = named
    .filter((_, i) => missing[i])
    .map(
      ({ topic, pointer }): Issue => ({
        pointer,
        message: `there is no topic "${topic}"; make it first: spqr topic create ${topic}`,
        ...locate?.(pointer),
      }),
    )
  if (issues.length) throw invalid(issues)
}

function namedTopics(document: PipelineDocument): Named[] {
  const named: Named[] = []
  document.components.forEach((component, i) => {
    const topic = component.settings?.topic
    if ((component.source === 'topic' || component.emitter === 'topic') && typeof topic === 'string') {
      named.push({ topic, pointer: `/components/${i}/settings/topic` })
    }
  })
  return named
}

async function isMissing(context: PipelineContext, tenant: string, topic: string): Promise<boolean> {
  // A name that is only known on the host, or an own topic of a pipeline, which is made on its first write.
  if (topic.includes('${')) return false
  const owner = ownerOfTopic(topic)
  if (owner && context.index.get(tenant, owner.pipeline)) return false
  try {
    const fullName = aliased(context, tenant, topic) ?? reachableTopic(tenant, topic, context.tenants.isTenant)
    // Another tenant's is as if it were not there.
    if (fullName === undefined) return true
    await context.hosts.any().json('GET', `/topics/${encodeURIComponent(fullName)}`)
    return false
  } catch (error) {
    if (error instanceof SpqrError && error.code === 'NOT_FOUND') return true
    throw error
  }
}

/** What a granted alias stands for. */
function aliased(context: PipelineContext, tenant: string, topic: string): string | undefined {
  for (const grant of context.tenants.get(tenant).permissions?.topic ?? []) {
    const [alias, target] = grant.split('=>')
    if (target !== undefined && alias === topic) return target
  }
  return undefined
}

/** Groups of `default` that begin as another tenant's do. */
function foreignGroups(context: PipelineContext, { tenant, document }: Draft): Issue[] {
  if (tenant !== DEFAULT_TENANT) return []
  return document.components.flatMap(({ settings }, i) => {
    const group = settings?.group
    if (typeof group !== 'string' || reachableTopic(tenant, group, context.tenants.isTenant) !== undefined) return []
    const message = `groups that begin with "${group.slice(0, group.indexOf('.') + 1)}" belong to the tenant of that name`
    return [{ pointer: `/components/${i}/settings/group`, message }]
  })
}
