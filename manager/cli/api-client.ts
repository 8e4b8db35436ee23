// Asks the manager that SPQR_URL names, as whom SPQR_TOKEN says.

import { SpqrError } from '../../schemas/errors.ts'
import { problemOf } from '../hosts/problem-of.ts'
import { type ServerSentEvent, serverSentEvents } from '../http/server-sent-events.ts'
import { SPQR } from './product.ts'

export const DEFAULT_URL = 'http://127.0.0.1:8400'

export interface Body {
  type: string
  content: string | Uint8Array<ArrayBuffer>
}

export const jsonBody = (value: unknown): Body => ({ type: 'application/json', content: JSON.stringify(value) })

const TOKEN = /^[\x21-\x7e]+$/

/** Nothing answers at the address. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable'
}

export class ApiClient {
  readonly url: string
  readonly #token: string | undefined

  constructor(env: NodeJS.ProcessEnv = process.env) {
    this.url = (env.SPQR_URL || DEFAULT_URL).replace(/\/+$/, '')
    this.#token = env.SPQR_TOKEN || undefined
    if (this.#token !== undefined && !TOKEN.test(this.#token)) {
      // What it is stands in no message: it may be the token with a line end.
      throw new SpqrError(
        'INVALID_BODY',
        'SPQR_TOKEN is no token: it holds a space, a line end or another such character.',
      )
    }
  }

  /** @throws SpqrError of the manager's problem; Unreachable */
  async json<T>(method: string, path: string, body?: Body): Promise<T> {
    const text = await this.text(method, path, body)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  /** The answer as it came. @throws as `json` */
  async text(method: string, path: string, body?: Body): Promise<string> {
    return (await this.#fetch(method, path, body)).text()
  }

  /** Every item of a listing, page after page. */
  async all<T>(path: string): Promise<T[]> {
    const items: T[] = []
    let after: string | undefined
    do {
      const query = new URLSearchParams({ limit: '1000', ...(after === undefined ? {} : { after }) })
      const page = await this.json<{ items: T[]; next?: string }>('GET', `${path}?${query}`)
      items.push(...page.items)
      after = page.next
    } while (after !== undefined)
    return items
  }

  /** Server-sent events until the stream ends or the caller stops. */
  async *events(path: string): AsyncGenerator<ServerSentEvent, void> {
    const response = await this.#fetch('GET', path, undefined, { accept: 'text/event-stream' })
    if (response.body) yield* serverSentEvents(response.body as ReadableStream<Uint8Array>)
  }

  async #fetch(method: string, path: string, body?: Body, more: Record<string, string> = {}): Promise<Response> {
    const headers: Record<string, string> = { ...more }
    if (this.#token !== undefined) headers.authorization = `Bearer ${this.#token}`
    if (body) headers['content-type'] = body.type
    let response: Response
    try {
      response = await fetch(this.url + path, { method, headers, body: body?.content })
    } catch (error) {
      throw this.#unreachable(error as Error)
    }
    if (!response.ok) throw await problemOf(response, 'The manager')
    return response
  }

  #unreachable(error: Error): Error {
    if (error instanceof TypeError && /Invalid URL|Failed to parse URL/.test(error.message)) {
      return new SpqrError('INVALID_BODY', `SPQR_URL is "${this.url}", which is no address such as ${DEFAULT_URL}.`)
    }
    const { code, message } = (error.cause ?? error) as NodeJS.ErrnoException
    const why = code === 'ECONNREFUSED' ? 'nothing listens there' : (code ?? message)
    return new Unreachable(
      `Cannot reach a manager at ${this.url}: ${why}. Start one with "${SPQR} dev", or say in SPQR_URL where it is.`,
    )
  }
}
