// A document on its way to be a pipeline: read, checked as a whole, its operators resolved.
// Runs on: control.

import { checkDocument } from '../../schemas/check-document.ts'
import type { PipelineDocument } from '../../schemas/document.ts'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT } from '../../schemas/names.ts'
import type { Plan } from '../../schemas/plan.ts'
import { planOf } from '../../schemas/plan-of.ts'
import type { Locate } from '../../schemas/read-document.ts'
import { secretProblems } from '../tenants/secret-uses.ts'
import type { PipelineContext } from './pipeline-context.ts'

export interface Draft {
  tenant: string
  id: string
  /** As it was given, but for the id's normal form. */
  given: Record<string, unknown>
  document: PipelineDocument
  warnings: Issue[]
  plan(revision: number): Plan
}

/**
 * Checks a document against what exists now.
 * @param locate line and column of a pointer, where the document came as text
 * @throws SpqrError INVALID_DOCUMENT with every problem
 */
export function draftOf(context: PipelineContext, tenant: string, value: unknown, locate?: Locate): Draft {
  const checked = checkDocument(value, context.catalogs.of(tenant), { locate })
  if (checked.issues) throw invalid(checked.issues)
  const { document, warnings, resolved } = checked
  const problems = tenantProblems(context, tenant, document)
  if (problems.length) throw invalid(problems.map((issue) => ({ ...issue, ...locate?.(issue.pointer) })))
  return {
    tenant,
    id: document.id,
    given: { ...(value as Record<string, unknown>), id: document.id },
    document,
    warnings,
    plan: (revision) => planOf(tenant, document, resolved, revision),
  }
}

/** What the document is right in, but not this tenant's to say. */
function tenantProblems(context: PipelineContext, tenant: string, document: PipelineDocument): Issue[] {
  const issues = secretProblems(document, (name) => context.tenants.hasSecret(tenant, name))
  if (tenant !== DEFAULT_TENANT && document.id === 'ingest') {
    // Its dead letters would have the name that a pipeline of "default" gives to what a source takes in.
    issues.push({ pointer: '/id', message: '"ingest" names topics; choose another id' })
  }
  return issues
}

/** A refusal of the host with line and column, where the document came as text. */
export function locatedError(thrown: unknown, locate: Locate | undefined): unknown {
  if (!locate || !(thrown instanceof SpqrError) || !thrown.issues) return thrown
  const { code, message, retriable, extra } = thrown
  const issues = thrown.issues.map((issue) => ({ ...issue, ...locate(issue.pointer) }))
  return new SpqrError(code, message, { issues, retriable, extra, cause: thrown })
}

export function invalid(issues: Issue[]): SpqrError {
  const count = issues.length === 1 ? 'one problem' : `${issues.length} problems`
  return new SpqrError('INVALID_DOCUMENT', `The document has ${count}; each is named with its place.`, { issues })
}
