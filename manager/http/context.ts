// What every request of the API carries with it.
// Runs on: control.

import type { Context, Hono } from 'hono'
import type { Scope } from '../../schemas/api.ts'

/** Who asks. */
export interface Caller {
  /** Id of a token; `admin`: the administrator's token; `local`: no token is asked for. */
  by: string
  /** Administers the manager and all tenants. */
  isAdmin: boolean
  scopes: readonly Scope[]
  /** The administrator acts for a tenant by name. */
  choseTenant: boolean
  /** Aborted when the token is revoked or over. */
  end?: AbortSignal
}

export interface Env {
  Variables: {
    /** Whose names are meant. */
    tenant: string
    caller: Caller
  }
}

export type ApiContext = Context<Env>
export type Api = Hono<Env>
