// Removes a tenant with all that is its own. Its tokens end first, so that nothing new comes; then pipelines, operators, topics; its
// name is free again when all of it is gone. A crash in between is finished at the next start.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT, tenantTopic, topicPrefix } from '../../schemas/names.ts'
import type { Operators } from '../operators/operators.ts'
import { removePipeline } from '../pipelines/life-cycle.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Tokens } from './tokens.ts'

export interface Removal {
  context: PipelineContext
  operators: Operators
  tokens: Tokens
  rates: RateLimit
}

/** @throws SpqrError NOT_FOUND, INVALID_STATE of `default`, IN_USE where it has pipelines and `force` is not given */
export async function removeTenant(removal: Removal, id: string, force: boolean): Promise<void> {
  const { context, tokens } = removal
  if (id === DEFAULT_TENANT) throw new SpqrError('INVALID_STATE', 'The tenant "default" is always there.')
  context.tenants.get(id)
  const { length } = context.index.list(id)
  if (length > 0 && !force) {
    const what = length === 1 ? 'a pipeline' : `${length} pipelines`
    throw new SpqrError('IN_USE', `Cannot remove the tenant "${id}": it has ${what}; remove them or say ?force=true.`)
  }
  context.tenants.beginRemoval(id)
  tokens.revokeAll(id)
  await finishTenant(removal, id)
}

/** What a removal does after its begin; done again after a crash. */
export async function finishTenant({ context, operators, tokens, rates }: Removal, id: string): Promise<void> {
  tokens.revokeAll(id)
  for (const entry of context.index.list(id)) {
    // One that is just being made is waited for.
    await removePipeline(context, id, entry.id, false).catch((error: unknown) => {
      if (!(error instanceof SpqrError && error.code === 'NOT_FOUND')) throw error
    })
  }
  operators.removeAll(id)
  const host = context.hosts.any()
  const { items } = await host.json<{ items: { name: string }[] }>(
    'GET',
    `/topics?prefix=${encodeURIComponent(topicPrefix(id))}`,
  )
  for (const { name } of items) {
    if (tenantTopic(id, name) !== undefined) await host.json('DELETE', `/topics/${encodeURIComponent(name)}`)
  }
  await context.tenants.finishRemoval(id)
  rates.forget(id)
}
