// What a request brings, checked at the edge: its query, its JSON body, its document.
// Runs on: control.

import * as v from 'valibot'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { issuesOf, limited } from '../../schemas/problems.ts'
import { documentFormat, type ReadDocument, readDocument } from '../../schemas/read-document.ts'
import { BODY_BYTES_MAX, bodyBytes, mediaType, wrongType } from './body.ts'
import type { ApiContext } from './context.ts'

type Schema = v.GenericSchema<unknown, unknown>

/** The query, checked; an unknown or doubled parameter is a problem at its own pointer. @throws SpqrError INVALID_DOCUMENT */
export function queryOf<S extends Schema>(c: ApiContext, schema: S): v.InferOutput<S> {
  // No prototype: `__proto__` is a name like others, and unknown.
  const given = Object.create(null) as Record<string, string>
  const issues: Issue[] = []
  const at = c.req.url.indexOf('?')
  for (const [name, value] of at < 0 ? [] : new URLSearchParams(c.req.url.slice(at))) {
    // Whom the request is for: the guard has judged it.
    if (name === 'tenant' && (c.get('caller')?.by ?? 'local') !== 'local') continue
    if (name in given) issues.push({ pointer: `/${name}`, message: 'is given more than once' })
    else given[name] = value
  }
  const checked = v.safeParse(schema, given)
  if (checked.issues) issues.push(...issuesOf(checked.issues))
  if (issues.length) throw wrong('query', issues)
  return checked.output
}

/** A JSON body, checked. @throws SpqrError UNSUPPORTED_MEDIA_TYPE, INVALID_BODY (unreadable), INVALID_DOCUMENT, TOO_LARGE */
export async function jsonBody<S extends Schema>(
  c: ApiContext,
  schema: S,
  optional = false,
): Promise<v.InferOutput<S>> {
  const type = mediaType(c)
  const bytes = await bodyBytes(c, BODY_BYTES_MAX)
  if (optional && bytes.length === 0) return checkBody(schema, {})
  if (type !== 'application/json' && !type.endsWith('+json')) throw wrongType(c, 'application/json')
  return checkBody(schema, readable(bytes, 'application/json').value)
}

function checkBody<S extends Schema>(schema: S, value: unknown): v.InferOutput<S> {
  const checked = v.safeParse(schema, value)
  if (checked.issues) throw wrong('body', issuesOf(checked.issues))
  return checked.output
}

export type GivenDocument = Extract<ReadDocument, { value: unknown }>

/** A pipeline document as JSON or YAML. @throws SpqrError UNSUPPORTED_MEDIA_TYPE, INVALID_BODY with line and column */
export async function documentBody(c: ApiContext): Promise<GivenDocument> {
  const type = mediaType(c)
  if (!documentFormat(type)) throw wrongType(c, 'application/json or application/yaml')
  return readable(await bodyBytes(c, BODY_BYTES_MAX), type)
}

function readable(bytes: Uint8Array, type: string): GivenDocument {
  const read = readDocument(bytes, type)
  if (read.issues === undefined) return read
  const [first] = read.issues
  const place = first?.line === undefined ? '' : `line ${first.line}, column ${first.column}: `
  throw new SpqrError('INVALID_BODY', `Cannot read the body as ${type}: ${place}${first?.message ?? 'it is empty'}.`, {
    issues: read.issues,
  })
}

function wrong(what: string, issues: Issue[]): SpqrError {
  const count = issues.length === 1 ? 'one problem' : `${issues.length} problems`
  return new SpqrError('INVALID_DOCUMENT', `The ${what} has ${count}; each is named with its place.`, {
    issues: limited(issues),
  })
}
