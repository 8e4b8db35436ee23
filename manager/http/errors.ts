// Every error of the API leaves through here, as `application/problem+json`.
// Runs on: control.

import type { ErrorHandler, NotFoundHandler } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import type { Api, Env } from './context.ts'

export type Log = (error: SpqrError, method: string, path: string) => void

/** @param log is told of what is no fault of the caller */
export function onError(log: Log): ErrorHandler<Env> {
  return (thrown, c) => {
    const error = SpqrError.from(thrown)
    if (error.status >= 500) log(error, c.req.method, c.req.path)
    return problemResponse(error)
  }
}

export function problemResponse(error: SpqrError): Response {
  const problem = error.toProblem()
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' }
  if (problem.status === 413) {
    // The rest of the body is still on its way; a client that keeps the connection would read it as the next answer.
    headers.connection = 'close'
  }
  if (problem.status === 429) headers['retry-after'] = String(error.extra?.retryAfterSeconds ?? 1)
  if (problem.status === 401) headers['www-authenticate'] = 'Bearer'
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}

/** 404 for an unknown path, 405 with `Allow` for a known one, and `OPTIONS` of it. Made when all routes are there. */
export function notFound(app: Api): NotFoundHandler<Env> {
  const routes = new Map<string, { pattern: RegExp; methods: Set<string> }>()
  for (const { method, path } of app.routes) {
    if (method === 'ALL') continue
    let route = routes.get(path)
    if (!route) {
      route = { pattern: new RegExp(`^${path.replace(/:[^/]+/g, '[^/]+')}$`), methods: new Set() }
      routes.set(path, route)
    }
    route.methods.add(method)
    if (method === 'GET') route.methods.add('HEAD')
  }
  return (c) => {
    const methods = new Set<string>()
    for (const route of routes.values()) {
      if (route.pattern.test(c.req.path)) for (const method of route.methods) methods.add(method)
    }
    if (methods.size === 0) {
      return problemResponse(
        new SpqrError('NOT_FOUND', `There is no ${c.req.path.slice(0, 200)}; /docs lists what there is.`),
      )
    }
    const allow = [...methods, 'OPTIONS'].sort().join(', ')
    if (c.req.method === 'OPTIONS') return new Response(null, { status: 204, headers: { allow } })
    const response = problemResponse(
      new SpqrError('METHOD_NOT_ALLOWED', `${c.req.path.slice(0, 200)} knows ${allow}, not ${c.req.method}.`),
    )
    response.headers.set('allow', allow)
    return response
  }
}
