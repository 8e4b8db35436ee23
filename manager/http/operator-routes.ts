// /v1/operators: push, list, describe, remove.
// Runs on: control.

import type { Hono } from 'hono'
import { listQuery, noQuery, operatorBody } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import { OPERATOR_NAME_PATTERN, VERSION_PATTERN } from '../../schemas/names.ts'
import { describeOperator } from '../operators/describe.ts'
import type { Operators } from '../operators/operators.ts'
import { page } from '../page.ts'
import { bodyBytes, mediaType, WASM_BYTES_MAX, wrongType } from './body.ts'
import type { Env } from './context.ts'
import { jsonBody, queryOf } from './input.ts'

export function operatorRoutes(app: Hono<Env>, operators: Operators): void {
  const { registry } = operators

  app.put('/v1/operators/:name/:version', async (c) => {
    queryOf(c, noQuery)
    if (mediaType(c) !== 'application/wasm') throw wrongType(c, 'application/wasm')
    const { name, version } = c.req.param()
    checkNames(name, version)
    const wasm = await bodyBytes(c, WASM_BYTES_MAX)
    const { entry, created } = await operators.put(c.get('tenant'), name, version, wasm)
    c.header('location', `/v1/operators/${entry.name}/${entry.version}`)
    return c.json(describeOperator(entry), created ? 201 : 200)
  })

  app.post('/v1/operators', async (c) => {
    queryOf(c, noQuery)
    const input = await jsonBody(c, operatorBody)
    const { entry, created } = await operators.push(c.get('tenant'), input)
    c.header('location', `/v1/operators/${entry.name}/${entry.version}`)
    return c.json(describeOperator(entry), created ? 201 : 200)
  })

  app.get('/v1/operators', (c) => {
    const query = queryOf(c, listQuery)
    const all = registry
      .names(c.get('tenant'))
      .flatMap((name) => [...registry.versions(c.get('tenant'), name)].reverse())
    // Names and versions in their order, so that `after` means the same on every page.
    const { items, ...next } = page(all, (entry) => `${entry.name}@${versionKey(entry.version)}`, {
      ...query,
      after: query.after === undefined ? undefined : afterKey(query.after),
    })
    const last = items.at(-1)
    return c.json({
      items: items.map(describeOperator),
      ...('next' in next && last ? { next: `${last.name}@${last.version}` } : {}),
    })
  })

  app.get('/v1/operators/:name', (c) => {
    queryOf(c, noQuery)
    const name = c.req.param('name')
    const versions = registry.versions(c.get('tenant'), name)
    const [newest] = versions
    if (!newest) throw new SpqrError('NOT_FOUND', `There is no operator "${name.slice(0, 80)}".`)
    return c.json({ ...describeOperator(newest), items: versions.map(describeOperator) })
  })

  app.get('/v1/operators/:name/:version', (c) => {
    queryOf(c, noQuery)
    const { name, version } = c.req.param()
    const entry = operators.find(c.get('tenant'), name, version)
    return c.json({
      ...describeOperator(entry),
      report: entry.report,
      ...(entry.source ? { source: entry.source } : {}),
    })
  })

  app.delete('/v1/operators/:name/:version', async (c) => {
    queryOf(c, noQuery)
    const { name, version } = c.req.param()
    await operators.remove(c.get('tenant'), name, version)
    return c.body(null, 204)
  })
}

function checkNames(name: string, version: string): void {
  const issues = []
  if (!OPERATOR_NAME_PATTERN.test(name)) {
    issues.push({ pointer: '/name', message: 'must be 1 to 63 of the characters a–z, 0–9 and "-"' })
  }
  if (!VERSION_PATTERN.test(version)) issues.push({ pointer: '/version', message: 'must be x.y.z' })
  if (issues.length) throw new SpqrError('INVALID_DOCUMENT', 'The path names no operator and version.', { issues })
}

/** A version as text that sorts as the version does. */
function versionKey(version: string): string {
  return version
    .split('.')
    .map((part) => part.padStart(6, '0'))
    .join('.')
}

function afterKey(after: string): string {
  const at = after.indexOf('@')
  return at < 0 ? after : `${after.slice(0, at)}@${versionKey(after.slice(at + 1))}`
}
