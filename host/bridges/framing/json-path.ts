// The steps of a path that stands in a component's settings.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'
import { type PathSegment, parsePath } from '../../../schemas/json-path.ts'

/**
 * @param setting name of the setting that holds the path
 * @throws SpqrError INVALID_DOCUMENT where it is no path
 */
export function pathSteps(path: string, setting: string): PathSegment[] {
  const parsed = parsePath(path)
  if (!('problem' in parsed)) return parsed.segments
  throw new SpqrError('INVALID_DOCUMENT', `Cannot use ${setting}: ${parsed.problem}.`, {
    issues: [{ pointer: `/${setting}`, message: parsed.problem }],
  })
}
