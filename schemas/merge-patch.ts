// JSON Merge Patch (RFC 7396).

import { FORBIDDEN_FIELD, isObject } from './shapes.ts'

/**
 * The target with the patch applied: `null` removes a field, an object goes deeper, anything else replaces.
 * Neither argument is changed; what did not change is shared with the target.
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    // As an assignment it would reach the prototype.
    if (key === FORBIDDEN_FIELD) continue
    if (value === null) delete merged[key]
    else merged[key] = mergePatch(Object.hasOwn(merged, key) ? merged[key] : undefined, value)
  }
  return merged
}
