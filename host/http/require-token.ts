// The host's API on a network: only for the manager that it is registered at, in memory for `spqr dev`.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'

type Fetch = (request: Request) => Response | Promise<Response>

const BEARER = /^Bearer +(\S{1,1024}) *$/i

/** @param isToken in the same time whatever differs */
export function requireToken(fetch: Fetch, isToken: (token: string) => boolean): Fetch {
  return (request) => {
    const token = BEARER.exec(request.headers.get('authorization') ?? '')?.[1]
    if (token !== undefined && isToken(token)) return fetch(request)
    // For whoever keeps the process: it says no more than that it is there.
    if (new URL(request.url).pathname === '/healthz' && request.method === 'GET') return Response.json({ ok: true })
    const error = new SpqrError('UNAUTHENTICATED', 'A host answers its manager alone: ask that one.')
    const headers = { 'content-type': 'application/problem+json', 'www-authenticate': 'Bearer', connection: 'close' }
    return new Response(JSON.stringify(error.toProblem()), { status: 401, headers })
  }
}
