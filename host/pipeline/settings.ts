// `${env:NAME}` and `${secret:NAME}` in settings, resolved on the host and nowhere else.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan } from '../../schemas/plan.ts'
import { mayRefer } from '../../schemas/references.ts'
import type { Permissions } from '../permissions/permissions.ts'

interface Names {
  permissions: Permissions
  secrets: Record<string, string>
  /** It hands what it is given to nobody but where it sends its records. */
  mayHaveSecrets: boolean
}

const REFERENCE = /\$\{(env|secret):([A-Za-z_][A-Za-z0-9_.-]*)\}/g

/** The plan with every reference replaced; components without one are the same objects. @throws SpqrError PERMISSION_DENIED, INVALID_DOCUMENT (no such name) */
export function resolveSettings(plan: Plan, permissions: Permissions, secrets: Record<string, string>): Plan {
  const names = (mayHaveSecrets: boolean): Names => ({ permissions, secrets, mayHaveSecrets })
  return {
    ...plan,
    components: plan.components.map((component) => {
      const { id, kind, settings } = component
      if (!mayRefer(settings)) return component
      const mayHaveSecrets = kind === 'emitter' && component.type === 'http'
      return { ...component, settings: resolve(settings, id, names(mayHaveSecrets)) as Record<string, unknown> }
    }),
  }
}

function resolve(value: unknown, component: string, names: Names): unknown {
  if (typeof value === 'string') {
    if (!value.includes('${')) return value
    return value.replace(REFERENCE, (_, kind: string, name: string) => lookUp(kind, name, component, names))
  }
  if (Array.isArray(value)) return value.map((item) => resolve(item, component, names))
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, component, names)]))
  }
  return value
}

function lookUp(kind: string, name: string, component: string, names: Names): string {
  const { permissions, secrets, mayHaveSecrets } = names
  if (kind === 'secret' && !mayHaveSecrets) {
    const message = `Component "${component}" may not be given the secret ${name}: only an emitter http may`
    throw new SpqrError('INVALID_DOCUMENT', message)
  }
  if (kind === 'env') permissions.askedBy(`component "${component}"`).checkEnv(name)
  const found = kind === 'env' ? process.env[name] : secretOf(secrets, name)
  if (found !== undefined) return found
  const what = kind === 'env' ? 'environment variable' : 'secret'
  throw new SpqrError('INVALID_DOCUMENT', `Component "${component}" uses the ${what} ${name}, which is not set.`)
}

function secretOf(secrets: Record<string, string>, name: string): string | undefined {
  return Object.hasOwn(secrets, name) ? secrets[name] : undefined
}
