// A problem that a host answered, as the error it was.
// Runs on: control, and the command line.

import { type Issue, type ProblemCode, SpqrError, STATUS_OF } from '../../schemas/errors.ts'

/** Reads `application/problem+json`; what is none becomes INTERNAL with the status in its message. */
export async function problemOf(response: Response, who = 'The host'): Promise<SpqrError> {
  const text = await response.text()
  let body: Record<string, unknown> = {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) body = value as Record<string, unknown>
  } catch {
    // Not ours: said below.
  }
  const { type: _type, title: _title, status: _status, code, detail, issues, ...extra } = body
  if (typeof code !== 'string' || !(code in STATUS_OF)) {
    return new SpqrError('INTERNAL', `${who} answered ${response.status}: ${text.slice(0, 500) || 'nothing'}`)
  }
  return new SpqrError(code as ProblemCode, typeof detail === 'string' ? detail : code, {
    issues: Array.isArray(issues) ? (issues as Issue[]) : undefined,
    extra,
    retriable: response.status === 503 || response.status === 429,
  })
}
