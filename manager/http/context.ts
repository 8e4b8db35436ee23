// What every request of the API carries with it.
// Runs on: control.

import type { Context, Hono } from 'hono'

export interface Env {
  Variables: {
    /** Whose names are meant. */
    tenant: string
  }
}

export type ApiContext = Context<Env>
export type Api = Hono<Env>
