// A document on its way to be a pipeline: read, checked as a whole, its operators resolved.
// Runs on: control.

import { type CheckedDocument, checkChanged, checkDocument, type Known } from '../../schemas/check-document.ts'
import type { PipelineDocument } from '../../schemas/document.ts'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT } from '../../schemas/names.ts'
import type { Plan } from '../../schemas/plan.ts'
import { planChanged, planOf } from '../../schemas/plan-of.ts'
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
  known: Known
  plan(revision: number): Plan
}

/**
 * Checks a document against what exists now.
 * @param locate line and column of a pointer, where the document came as text
 * @throws SpqrError INVALID_DOCUMENT with every problem
 */
export function draftOf(context: PipelineContext, tenant: string, value: unknown, locate?: Locate): Draft {
  const checked = checkDocument(value, context.catalogs.of(tenant), { locate })
  return draftAs(context, tenant, value as Record<string, unknown>, checked, locate)
}

/**
 * Checks a document that differs in one component from a checked one.
 * @param present what was found out about that one, with the operators that exist now, and its plan
 * @param component what is in the place of its `index`th
 * @throws SpqrError INVALID_DOCUMENT with every problem, as `draftOf`
 */
export function draftOfChanged(
  context: PipelineContext,
  tenant: string,
  present: { known: Known; plan: Plan },
  index: number,
  component: unknown,
): Draft {
  const checked = checkChanged(present.known, index, component)
  const draft = draftAs(context, tenant, present.known.input, checked, undefined)
  const { document, resolved } = checked as Extract<CheckedDocument, { document: PipelineDocument }>
  return { ...draft, plan: (revision) => planChanged(present.plan, index, document, resolved, revision) }
}

function draftAs(
  context: PipelineContext,
  tenant: string,
  value: Record<string, unknown>,
  checked: CheckedDocument,
  locate: Locate | undefined,
): Draft {
  if (checked.issues) throw invalid(checked.issues)
  const { document, warnings, resolved, known } = checked
  const problems = tenantProblems(context, tenant, document)
  if (problems.length) throw invalid(problems.map((issue) => ({ ...issue, ...locate?.(issue.pointer) })))
  return {
    tenant,
    id: document.id,
    given: { ...value, id: document.id },
    document,
    warnings,
    known,
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
