// `${env:NAME}` in settings, resolved on the host and nowhere else.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import type { Permissions } from '../permissions/permissions.ts'

const REFERENCE = /\$\{(env|secret):([A-Za-z_][A-Za-z0-9_.-]*)\}/g

/** The plan with every reference replaced. @throws SpqrError PERMISSION_DENIED, INVALID_DOCUMENT (no such name) */
export function resolveSettings(plan: Plan, permissions: Permissions): Plan {
  return {
    ...plan,
    components: plan.components.map((component) => ({
      ...component,
      settings: resolve(component.settings, component.id, permissions) as Record<string, unknown>,
    })),
  }
}

function resolve(value: unknown, component: string, permissions: Permissions): unknown {
  if (typeof value === 'string') {
    if (!value.includes('${')) return value
    return value.replace(REFERENCE, (_, kind: string, name: string) => lookUp(kind, name, component, permissions))
  }
  if (Array.isArray(value)) return value.map((item) => resolve(item, component, permissions))
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, component, permissions)]))
  }
  return value
}

function lookUp(kind: string, name: string, component: string, permissions: Permissions): string {
  if (kind === 'env') {
    permissions.checkEnv(name)
    const found = process.env[name]
    if (found !== undefined) return found
  }
  const what = kind === 'env' ? 'environment variable' : 'secret'
  throw new SpqrError('INVALID_DOCUMENT', `Component "${component}" uses the ${what} ${name}, which is not set`)
}
