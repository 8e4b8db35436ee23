// What a host asks of a plan before anything of it starts: that it can run here, with what its tenant may use.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { reachableTopic } from '../../schemas/names.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { Permissions } from '../permissions/permissions.ts'
import type { Tenants } from '../quota/tenants.ts'
import { resolveSettings } from './settings.ts'

/** The plan with its references resolved. @throws SpqrError INVALID_DOCUMENT, PERMISSION_DENIED */
export function resolvePlan(plan: Plan, tenants: Tenants, hostPermissions: Permissions): Plan {
  const { grants, secrets } = tenants.get(plan.tenant).spec
  const permissions = grants ? hostPermissions.narrow(grants) : hostPermissions
  const resolved = resolveSettings(plan, permissions, secrets)
  requireOwnTopics(resolved, permissions, (id) => tenants.has(id))
  return resolved
}

/** Workers name components; pointers of the document count them. */
export function inDocument(plan: Plan, thrown: unknown): SpqrError {
  const error = SpqrError.from(thrown)
  const issues = error.issues?.map((issue) => {
    const match = /^\/components\/([^/]+)(.*)$/.exec(issue.pointer)
    const index = plan.components.findIndex((component) => component.id === match?.[1])
    return index < 0 ? issue : { ...issue, pointer: `/components/${index}${match![2]}` }
  })
  const { code, message, retriable, extra } = error
  return issues ? new SpqrError(code, message, { issues, retriable, extra, cause: thrown }) : error
}

/** A name that came out of `${env:…}` is looked at here for the first time. */
function requireOwnTopics(plan: Plan, permissions: Permissions, isTenant: (id: string) => boolean): void {
  plan.components.forEach((component, i) => {
    if (component.kind === 'operator' || component.type !== 'topic') return
    for (const field of ['topic', 'group']) {
      const name = component.settings[field]
      if (typeof name !== 'string' || (field === 'topic' && permissions.topicAlias(name) !== undefined)) continue
      if (reachableTopic(plan.tenant, name, isTenant) !== undefined) continue
      throw notHere(`/components/${i}/settings/${field}`, `the ${field} belongs to another tenant`)
    }
  })
}

function notHere(pointer: string, message: string): SpqrError {
  return new SpqrError('INVALID_DOCUMENT', `Cannot run the pipeline here: ${message}`, {
    issues: [{ pointer, message }],
  })
}
