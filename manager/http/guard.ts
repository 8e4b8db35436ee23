// Who may ask. Without an administrator's token the manager serves the one tenant of this machine, so a web page of
// another origin must not reach it: not by its own name (Host, against DNS rebinding) and not across sites (Origin).
// Runs on: control.

import type { MiddlewareHandler } from 'hono'
import { SpqrError } from '../../schemas/errors.ts'
import { DEFAULT_TENANT } from '../../schemas/names.ts'
import type { Env } from './context.ts'

const LOOPBACK = /^(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i

/** Lets requests through that are meant for a loopback name and come from no foreign page. */
export function localOnly(): MiddlewareHandler<Env> {
  return async (c, next) => {
    const host = c.req.header('host')
    if (host !== undefined && !LOOPBACK.test(host)) {
      throw new SpqrError('FORBIDDEN', `This manager answers on loopback names only, not as "${host.slice(0, 100)}".`)
    }
    const origin = c.req.header('origin')
    if (origin !== undefined && !isLoopbackOrigin(origin)) {
      throw new SpqrError('FORBIDDEN', `Pages of "${origin.slice(0, 100)}" may not use this manager.`)
    }
    await next()
  }
}

function isLoopbackOrigin(origin: string): boolean {
  const rest = /^https?:\/\/(.*)$/i.exec(origin)?.[1]
  return rest !== undefined && LOOPBACK.test(rest)
}

/** Says whose request it is. */
export function authorize(): MiddlewareHandler<Env> {
  return async (c, next) => {
    c.set('tenant', DEFAULT_TENANT)
    await next()
  }
}
