// apply and lint: documents in files, their problems as FILE:LINE:COLUMN.

import { extname } from 'node:path'
import { shippedCatalog } from '../../schemas/catalog.ts'
import { checkDocument } from '../../schemas/check-document.ts'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { normalId } from '../../schemas/names.ts'
import { readDocument } from '../../schemas/read-document.ts'
import { type ApiClient, type Body, Unreachable } from './api-client.ts'
import { Failed } from './failed.ts'
import { readFile } from './files.ts'
import { placed, print, printError, printJson } from './output.ts'

interface Applied {
  id: string
  state: string
  revision: number
  warnings: Issue[]
  timings: { totalMs: number }
}

interface Linted {
  file: string
  issues: Issue[]
  warnings: Issue[]
}

const OPERATOR_VERSION = '1.0.0'

/** Creates or replaces each; goes on after one that fails. @throws Failed where one did */
export async function applyFiles(client: ApiClient, files: string[], json?: boolean): Promise<void> {
  let failed = false
  const answers: unknown[] = []
  for (const file of files) {
    try {
      const { done, answer } = await apply(client, file)
      answers.push({ file, done, ...answer })
      if (json) continue
      for (const warning of answer.warnings) printError(placed(file, warning, 'warning'))
      print(
        `${done} ${answer.id}: ${answer.state}, revision ${answer.revision}, ${answer.timings.totalMs.toFixed(1)} ms`,
      )
    } catch (error) {
      if (!(error instanceof SpqrError)) throw error
      failed = true
      if (json) answers.push({ file, ...error.toProblem() })
      else report(file, error)
    }
  }
  if (json) printJson(answers.length === 1 ? answers[0] : answers)
  if (failed) throw new Failed()
}

async function apply(client: ApiClient, file: string): Promise<{ done: 'created' | 'replaced'; answer: Applied }> {
  const body = readBody(file)
  const read = readDocument(body.content, body.type)
  if (read.issues) throw unreadable(file, read.issues)
  const { id } = (read.value ?? {}) as { id?: unknown }
  // Without an id there is nothing to replace; the manager says what is wrong.
  if (typeof id === 'string' && id.trim() !== '') {
    try {
      const path = `/v1/pipelines/${encodeURIComponent(normalId(id))}`
      return { done: 'replaced', answer: await client.json<Applied>('PUT', path, body) }
    } catch (error) {
      if (!(error instanceof SpqrError) || error.code !== 'NOT_FOUND') throw error
    }
  }
  return { done: 'created', answer: await client.json<Applied>('POST', '/v1/pipelines', body) }
}

/** @throws Failed where a document has a problem; warnings are none */
export async function lintFiles(client: ApiClient, files: string[], json?: boolean): Promise<void> {
  const found: Linted[] = []
  for (const file of files) found.push(await lint(client, file))
  if (json) printJson({ items: found })
  else {
    for (const { file, issues, warnings } of found) {
      for (const issue of issues) print(placed(file, issue))
      for (const warning of warnings) print(placed(file, warning, 'warning'))
      if (issues.length === 0) print(`${file}: ok`)
    }
  }
  if (found.some(({ issues }) => issues.length > 0)) throw new Failed()
}

async function lint(client: ApiClient, file: string): Promise<Linted> {
  let body: Body | undefined
  try {
    body = readBody(file)
    const { warnings } = await client.json<{ warnings: Issue[] }>('POST', '/v1/pipelines?dryRun=true', body)
    return { file, issues: [], warnings }
  } catch (error) {
    if (error instanceof Unreachable && body) return lintHere(file, body)
    if (!(error instanceof SpqrError)) throw error
    return { file, issues: error.issues ?? [{ pointer: '', message: error.message }], warnings: [] }
  }
}

/** Without a manager: what comes with the product is known here. */
function lintHere(file: string, body: Body): Linted {
  const read = readDocument(body.content, body.type)
  if (read.issues) return { file, issues: read.issues, warnings: [] }
  const checked = checkDocument(read.value, shippedCatalog(OPERATOR_VERSION), { locate: read.locate })
  return checked.issues
    ? { file, issues: checked.issues, warnings: [] }
    : { file, issues: [], warnings: checked.warnings }
}

function report(file: string, error: SpqrError): void {
  if (!error.issues?.length) printError(placed(file, { pointer: '', message: error.message }))
  for (const issue of error.issues ?? []) printError(placed(file, issue))
}

function unreadable(file: string, issues: Issue[]): SpqrError {
  return new SpqrError('INVALID_BODY', `Cannot read "${file}".`, { issues })
}

/** A document with its media type by the file's name; without one, YAML, which reads JSON too. */
export function readBody(file: string): Body {
  const content = readFile(file)
  return { type: extname(file).toLowerCase() === '.json' ? 'application/json' : 'application/yaml', content }
}
