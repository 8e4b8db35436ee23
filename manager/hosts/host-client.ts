// One host, over its HTTP API: in `spqr dev` its `fetch` handed over in memory, else the network.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Plan, PlanComponent, StartFrom } from '../../schemas/plan.ts'
import { problemOf } from './problem-of.ts'

export type Fetch = (request: Request) => Response | Promise<Response>

/** Bytes and source map of a module, or undefined where nobody has it. */
export type ModuleReader = (digest: string) => { wasm: Uint8Array; sourceMap: string | null } | undefined

/** What a host found out when it admitted the module; more fields are kept as they came. */
export interface AdmissionReport {
  digest: string
  bytes: number
  abi: number
  manifest?: {
    description?: string
    ports?: string[] | '*'
    settingsSchema?: Record<string, unknown>
    permissions?: ('clock' | 'random' | 'log')[]
  }
  [field: string]: unknown
}

export interface ComponentChange {
  component: string
  /** The change holds from this record that leaves the component on. */
  sequence: number
  stateReset: boolean
}

/** Why a pipeline is `failed`. */
export interface Reason {
  code: string
  message: string
  component?: string
}

export interface Placed {
  state: string
  reason?: Reason
  /** Sentences about the whole. */
  warnings?: string[]
  timings?: { placeMs?: number; instantiateMs?: number }
  changes?: ComponentChange[]
}

export interface HostPipeline {
  tenant: string
  id: string
  state: string
  reason?: Reason
  revision?: number
  checkpoint?: { revision?: number }
}

/** How a plan is carried out; `put` of a host says the rest. */
export interface PutOptions {
  keepState: boolean
  live: boolean
}

/** Gives a host of this process a plan as it is: it is to hold before the promise resolves. @throws SpqrError of the host */
export type PutPlan = (plan: Plan, options: PutOptions) => Promise<Placed>

export class HostClient {
  readonly id: string
  readonly url: string
  /** In this process: what is asked of it is on its way to the workers when the call returns. */
  readonly isHere: boolean
  /** Not heard for seconds: nothing is asked of it. */
  isAway = false
  /** A call got no answer: what was asked may hold there or not, until both have been compared. */
  isInDoubt = false
  readonly #fetch: Fetch
  readonly #modules: ModuleReader
  readonly #put: PutPlan
  /** Modules that the host has, or that are on their way to it. */
  readonly #known = new Map<string, Promise<unknown>>()

  /**
   * @param url where its API is; only a name where `fetch` is in memory
   * @param put where the host is in this process: a create is worth no request in memory
   */
  constructor(id: string, url: string, fetch: Fetch, modules: ModuleReader, put?: PutPlan) {
    this.id = id
    this.url = url.replace(/\/$/, '')
    this.#fetch = fetch
    this.#modules = modules
    this.isHere = put !== undefined
    this.#put = put ?? ((plan, options) => this.#send(plan, options))
  }

  /** Passes a request on and its answer back as it is, problems too. @throws SpqrError TRANSPORT_UNAVAILABLE */
  async forward(method: string, path: string, body?: RequestBody, headers?: Record<string, string>): Promise<Response> {
    if (this.isAway) throw this.awayError()
    // A stream needs `duplex`; for bytes and text it changes nothing.
    const init = { method, body: body ?? null, headers, duplex: 'half' }
    try {
      return await this.#fetch(new Request(this.url + path, init as RequestInit))
    } catch (error) {
      this.isInDoubt = true
      throw error
    }
  }

  awayError(): SpqrError {
    const message = `The host "${this.id}" is away: it was not heard for some seconds; see whether it runs.`
    return new SpqrError('TRANSPORT_UNAVAILABLE', message, { retriable: true })
  }

  /** @throws SpqrError of the host's problem */
  async json<T>(method: string, path: string, body?: string): Promise<T> {
    const response = await this.forward(method, path, body, body === undefined ? undefined : JSON_BODY)
    if (!response.ok) throw await problemOf(response)
    if (response.status === 204) return undefined as T
    try {
      return (await response.json()) as T
    } catch (error) {
      this.isInDoubt = true
      const message = `The host "${this.id}" went away within its answer: see whether it runs, and try again.`
      throw new SpqrError('TRANSPORT_UNAVAILABLE', message, { retriable: true, cause: error })
    }
  }

  /**
   * Hands the plan over; answered when it holds. The host keeps it: it is not changed afterwards.
   * @throws SpqrError why it was refused; what ran before goes on
   */
  put(
    plan: Plan,
    options: { keepState?: boolean; live?: boolean; paused?: boolean; startFrom?: StartFrom; fresh?: boolean } = {},
  ): Promise<Placed> {
    const whole = { ...plan }
    if (options.fresh) whole.fresh = true
    if (options.paused) whole.paused = true
    if (options.startFrom) whole.startFrom = options.startFrom
    return this.#put(whole, { keepState: options.keepState ?? false, live: options.live ?? false })
  }

  /** Makes sure that the host has the modules of these; each is sent once. @throws SpqrError MODULE_REFUSED, INTERNAL */
  async ensure(users: Iterable<PlanComponent | { digest: string }>): Promise<void> {
    for (const user of users) {
      if ('digest' in user && this.#known.get(user.digest) !== READY) await this.#sendModule(user.digest)
    }
  }

  /** Admits a module. @returns its admission report @throws SpqrError MODULE_REFUSED with every broken rule */
  async admit(digest: string, wasm: Uint8Array, sourceMap: string | null): Promise<AdmissionReport> {
    const path = `/modules/${digest}`
    const response = await this.forward('PUT', path, wasm as Uint8Array<ArrayBuffer>, {
      'content-type': 'application/wasm',
    })
    if (!response.ok) throw await problemOf(response)
    const report = (await response.json()) as AdmissionReport
    if (sourceMap !== null) await this.json('PUT', `${path}/source-map`, sourceMap)
    this.#known.set(digest, READY)
    return report
  }

  #send(plan: Plan, { keepState, live }: PutOptions): Promise<Placed> {
    const query = [...(keepState ? ['keepState=required'] : []), ...(live ? ['live=required'] : [])]
    const path = pipelinePath(plan.tenant, plan.id)
    return this.json('PUT', query.length > 0 ? `${path}?${query.join('&')}` : path, JSON.stringify(plan))
  }

  async #sendModule(digest: string): Promise<void> {
    let sending = this.#known.get(digest)
    if (!sending) {
      const files = this.#modules(digest)
      // A module that is missing here may still be known there: the plan then decides.
      sending = files ? this.admit(digest, files.wasm, files.sourceMap) : READY
      this.#known.set(digest, sending)
      sending.catch(() => this.#known.delete(digest))
    }
    await sending
  }
}

export type RequestBody = string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>

const READY = Promise.resolve()
const JSON_BODY = { 'content-type': 'application/json' }

export function pipelinePath(tenant: string, id: string): string {
  return `/pipelines/${tenant}/${id}`
}
