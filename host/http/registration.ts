// A host at its manager: registers as schemas/registration.ts says, is heard from then on, and registers again when the manager
// was started anew. While no manager answers, all that runs goes on.
// Runs on: control.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { HostBody } from '../../schemas/api.ts'
import { type ProblemCode, SpqrError, STATUS_OF } from '../../schemas/errors.ts'
import { HEARTBEAT_MS, hostText, managerText, sessionTexts, takenText } from '../../schemas/registration.ts'

export interface RegistrationOptions {
  /** Base URL. */
  manager: string
  secret: string
  host: Omit<HostBody, 'own' | 'nonce' | 'proof' | 'process'>
  /** The id of the manager that this host belonged to before; undefined: none yet. */
  managerId?: string
  /** Is told once of the manager that it belongs to from now on. */
  onManager(id: string): void
  /** Is told each time when all that shall run here runs. */
  onReady(): void
  log(line: string): void
}

/** The manager does not answer, or not as one. */
class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
}

const CALL_MS = 10_000
const AGAIN_MS_MAX = 2000
/** Answers that trying again does not change. */
const FINAL: readonly string[] = [
  'IN_USE',
  'INVALID_STATE',
  'UNAUTHENTICATED',
  'INVALID_DOCUMENT',
  'FORBIDDEN',
  'NOT_FOUND',
]

export class Registration {
  /** Rejects when this process may not go on: another one is the host of its id. */
  readonly closed: Promise<never>
  readonly #options: RegistrationOptions
  readonly #process = randomBytes(16).toString('base64url')
  #managerId: string | undefined
  #call: Buffer | undefined
  #heartbeat = ''
  #isStopped = false
  #wake: () => void = () => undefined
  #end: (error: Error) => void = () => undefined

  constructor(options: RegistrationOptions) {
    this.#options = options
    this.#managerId = options.managerId
    this.closed = new Promise((_, failed) => (this.#end = failed))
    this.closed.catch(() => undefined)
  }

  /** Whether a request brings the token of this registration. */
  readonly isToken = (token: string): boolean => {
    const given = Buffer.from(token)
    return this.#call !== undefined && given.length === this.#call.length && timingSafeEqual(given, this.#call)
  }

  /**
   * Resolves when it is registered; waits for a manager that does not answer.
   * @throws SpqrError why this manager will not have it
   */
  async start(): Promise<void> {
    await this.#registerAgain((error) => {
      throw error
    })
    // Where it must end, `closed` says so.
    this.#beat().catch(() => undefined)
  }

  stop(): void {
    this.#isStopped = true
    this.#wake()
  }

  async #beat(): Promise<void> {
    let wasReady = false
    while (!this.#isStopped) {
      await this.#sleep(HEARTBEAT_MS)
      try {
        const { id } = this.#options.host
        const body = { process: this.#process }
        const { ready } = (await this.#post(`/v1/hosts/${id}/heartbeat`, body, this.#heartbeat)) as { ready: boolean }
        if (ready && !wasReady) this.#options.onReady()
        wasReady = ready
      } catch (error) {
        if (this.#isStopped) return
        if (error instanceof SpqrError && this.#mustEnd(error)) return
        wasReady = false
        // Whatever else it is: a fresh registration tells.
        await this.#registerAgain((refusal) => this.#options.log(refusal.message))
      }
    }
  }

  /** @param onFinal is told of a refusal that stays; where it returns, it is tried again all the same */
  async #registerAgain(onFinal: (error: SpqrError) => void): Promise<void> {
    let told = ''
    for (let waitMs = 100; !this.#isStopped; waitMs = Math.min(waitMs * 2, AGAIN_MS_MAX)) {
      try {
        await this.#register()
        if (told) this.#options.log(`Registered at ${this.#options.manager}.`)
        return
      } catch (thrown) {
        const error = thrown as Error
        if (error instanceof SpqrError && this.#mustEnd(error)) throw error
        if (error.message !== told) {
          if (error instanceof SpqrError && FINAL.includes(error.code)) onFinal(error)
          else this.#options.log(`${error.message} It is tried again.`)
        }
        told = error.message
      }
      await this.#sleep(waitMs)
    }
  }

  async #register(): Promise<void> {
    const own = randomBytes(16).toString('base64url')
    const hello = (await this.#post('/v1/hosts/hello', { own })) as { manager: string; nonce: string; proof: string }
    const { manager, nonce, proof } = hello
    if (!isSame(String(proof), this.#sign(managerText(own, nonce, manager)))) {
      const message = `What answers at ${this.#options.manager} does not know this host's SPQR_HOST_TOKEN: give both the same.`
      throw new SpqrError('UNAUTHENTICATED', message)
    }
    this.#requireOwn(manager)
    const body: Omit<HostBody, 'proof'> = { ...this.#options.host, process: this.#process, own, nonce }
    const texts = sessionTexts(own, nonce)
    // The manager may call before it has answered.
    this.#call = Buffer.from(this.#sign(texts.call))
    await this.#post('/v1/hosts', { ...body, proof: this.#sign(hostText(body)) })
    this.#heartbeat = this.#sign(texts.heartbeat)
  }

  /** What runs here is another manager's: it must not be ended because an address changed. */
  #requireOwn(manager: string): void {
    if (this.#managerId === undefined) this.#options.onManager(manager)
    else if (this.#managerId !== manager) {
      const message = `The manager at ${this.#options.manager} is not the one of this data folder: name another folder with --data.`
      throw new SpqrError('INVALID_STATE', message)
    }
    this.#managerId = manager
  }

  #mustEnd(error: SpqrError): boolean {
    const expected = this.#sign(takenText(this.#options.host.id, this.#process))
    if (error.code !== 'IN_USE' || !isSame(String(error.extra?.proof), expected)) return false
    this.#end(error)
    return true
  }

  async #post(path: string, body: object, token?: string): Promise<unknown> {
    const { manager } = this.#options
    const headers: Record<string, string> = { 'content-type': 'application/json' }
    if (token !== undefined) headers.authorization = `Bearer ${token}`
    let text: string
    let status: number
    try {
      const init: RequestInit = { method: 'POST', headers, body: JSON.stringify(body), redirect: 'error' }
      const response = await fetch(manager + path, { ...init, signal: AbortSignal.timeout(CALL_MS) })
      status = response.status
      text = await response.text()
    } catch (error) {
      const cause = (error as Error).cause ?? error
      const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
      throw new NoAnswer(`No manager answers at ${manager} (${why}).`)
    }
    const answer = parsed(text)
    if (status < 300 && answer) return answer
    const { code, detail, proof } = answer ?? {}
    if (typeof code !== 'string' || !(code in STATUS_OF)) {
      throw new NoAnswer(`What answers at ${manager} is no manager (status ${status}).`)
    }
    throw new SpqrError(code as ProblemCode, String(detail), { extra: { proof } })
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, ms)
      this.#wake = () => {
        clearTimeout(timer)
        done()
      }
    })
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#options.secret).update(text).digest('base64url')
  }
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
