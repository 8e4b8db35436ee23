// Who is a host: those that prove that they know the shared secret (schemas/registration.ts), and are heard since.
// Runs on: control.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { HostBody } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import { AWAY_MS, hostText, managerText, NONCE_MS, sessionTexts, takenText } from '../../schemas/registration.ts'
import type { HostsTable } from '../store/hosts-table.ts'
import type { HostClient } from './host-client.ts'
import type { Hosts } from './hosts.ts'
import { networkFetch } from './network-fetch.ts'

export interface RegistrarOptions {
  secret: string
  /** Of the product: a plan is the same to both sides. */
  version: string
  hosts: Hosts
  table: HostsTable
  /** Tells a host all that it must know and starts what shall run there; again whenever that is in doubt. */
  welcome(host: HostClient): Promise<void>
  onAway(host: HostClient): void
  log(line: string): void
}

/** One registration of one process. */
interface Session {
  host: HostClient
  folder: string
  process: string
  /** When the manager made its nonce: no older registration takes this one's place. */
  since: number
  heartbeat: Buffer
  heardAt: number
  isReady: boolean
  isWelcoming: boolean
  /** Ends, each, what is under way there. */
  underWay: Set<() => void>
}

const LOOK_MS = 250

export class Registrar {
  readonly #options: RegistrarOptions
  readonly #sessions = new Map<string, Session>()
  readonly #manager: string
  readonly #timer: NodeJS.Timeout

  constructor(options: RegistrarOptions) {
    this.#options = options
    const { table } = options
    const manager = table.fact('manager') ?? randomBytes(16).toString('base64url')
    if (table.fact('manager') === undefined) table.setFact('manager', manager)
    this.#manager = manager
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
  }

  /** Proves to a host that this manager knows the secret. */
  hello(own: string): { manager: string; nonce: string; proof: string } {
    const stamp = `${Date.now()}.${randomBytes(16).toString('base64url')}`
    const nonce = `${stamp}.${this.#stampProof(own, stamp)}`
    return { manager: this.#manager, nonce, proof: this.#sign(managerText(own, nonce, this.#manager)) }
  }

  /**
   * @throws SpqrError UNAUTHENTICATED (no proof), IN_USE (another host of that id is present), INVALID_STATE (another version,
   *   another transport)
   */
  register(body: HostBody): HostClient {
    const since = this.#requireProof(body)
    const { id, url, folder, process, own, nonce } = body
    const before = this.#sessions.get(id)
    if (before && since <= before.since) throw unproven()
    if (before && before.folder !== folder && !before.host.isAway) {
      throw this.#taken(id, process, `A host "${id}" is present at ${before.host.url}: give this one another --id.`)
    }
    this.#requireSame(body)
    if (before) endAll(before)
    const texts = sessionTexts(own, nonce)
    const underWay = new Set<() => void>()
    const fetch = networkFetch({
      id,
      token: this.#sign(texts.call),
      underWay,
      onGone: () => this.#lose(session, 'nothing listens there'),
    })
    const session: Session = {
      host: this.#options.hosts.add({ id, url, fetch }),
      folder,
      process,
      since,
      heartbeat: Buffer.from(this.#sign(texts.heartbeat)),
      heardAt: performance.now(),
      isReady: false,
      isWelcoming: false,
      underWay,
    }
    this.#sessions.set(id, session)
    void this.#welcome(session)
    return session.host
  }

  /**
   * @throws SpqrError UNAUTHENTICATED: it must register again; IN_USE: another process took its id, and it must end
   */
  heartbeat(id: string, process: string, token: string): { ready: boolean } {
    const session = this.#sessions.get(id)
    const given = Buffer.from(token)
    const isHeld = session && given.length === session.heartbeat.length && timingSafeEqual(given, session.heartbeat)
    if (!isHeld) {
      if (session && session.process !== process && !session.host.isAway) {
        throw this.#taken(id, process, `Another process is the host "${id}" now: this one must end.`)
      }
      throw new SpqrError('UNAUTHENTICATED', `The host "${id}" is not registered with this token: register again.`)
    }
    session.heardAt = performance.now()
    if (session.host.isAway) {
      session.host.isAway = false
      session.host.isInDoubt = true
      this.#options.log(`The host "${id}" is back.`)
    }
    if (session.host.isInDoubt) void this.#welcome(session)
    return { ready: session.isReady }
  }

  /** Forgets a host; it may register again as a new one. */
  remove(id: string): void {
    const session = this.#sessions.get(id)
    if (session) endAll(session)
    this.#sessions.delete(id)
    this.#options.hosts.remove(id)
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const session of this.#sessions.values()) endAll(session)
  }

  /** @returns when the manager made the nonce, ms since 1970 */
  #requireProof(body: HostBody): number {
    const { own, nonce, proof } = body
    const [at = '', random = '', stampProof = ''] = nonce.split('.')
    const stamp = `${at}.${random}`
    const age = Date.now() - Number(at)
    const isOurs = isSame(stampProof, this.#stampProof(own, stamp)) && age >= 0 && age <= NONCE_MS
    if (!isOurs || !isSame(proof, this.#sign(hostText(body)))) throw unproven()
    return Number(at)
  }

  #requireSame({ version, transport }: HostBody): void {
    if (version !== this.#options.version) {
      const message = `This manager is of version ${this.#options.version}, the host of ${version}: start both from the same.`
      throw new SpqrError('INVALID_STATE', message)
    }
    const given = `${transport.kind} ${transport.id}`
    const kept = this.#options.table.fact('transport')
    if (kept === undefined) this.#options.table.setFact('transport', given)
    else if (kept !== given) throw otherTransport(kept, given)
  }

  async #welcome(session: Session): Promise<void> {
    if (session.isWelcoming) return
    session.isWelcoming = true
    const { host } = session
    host.isInDoubt = false
    try {
      await this.#options.welcome(host)
      session.isReady = true
    } catch (error) {
      // The next heartbeat tries again.
      host.isInDoubt = true
      if (!host.isAway) this.#options.log(`Cannot prepare the host "${host.id}": ${(error as Error).message}`)
    } finally {
      session.isWelcoming = false
    }
  }

  #look(): void {
    const now = performance.now()
    for (const session of this.#sessions.values()) {
      if (now - session.heardAt >= AWAY_MS) this.#lose(session, `it was not heard for ${AWAY_MS / 1000} s`)
    }
  }

  #lose(session: Session, why: string): void {
    const { host } = session
    if (host.isAway || this.#sessions.get(host.id) !== session) return
    host.isAway = true
    endAll(session)
    this.#options.log(`The host "${host.id}" at ${host.url} is away: ${why}.`)
    this.#options.onAway(host)
  }

  /** Signed, since a host that runs ends where it is told so. */
  #taken(id: string, process: string, message: string): SpqrError {
    return new SpqrError('IN_USE', message, { extra: { proof: this.#sign(takenText(id, process)) } })
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#options.secret).update(text).digest('base64url')
  }

  #stampProof(own: string, stamp: string): string {
    return this.#sign(JSON.stringify(['spqr nonce', own, stamp]))
  }
}

function endAll({ underWay }: Session): void {
  for (const end of underWay) end()
}

function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function unproven(): SpqrError {
  const message =
    'This is no host of this manager: it must know the same SPQR_HOST_TOKEN, and answer within half a minute.'
  return new SpqrError('UNAUTHENTICATED', message)
}

function otherTransport(kept: string, given: string): SpqrError {
  const isEmbedded = kept.startsWith('embedded') || given.startsWith('embedded')
  const remedy = isEmbedded
    ? 'a host with the embedded transport is the only one of its manager, and must be started with the --data it had; several need --kafka'
    : 'start it with the --kafka of the others'
  return new SpqrError(
    'INVALID_STATE',
    `This manager's topics are in another transport (${kept}, not ${given}): ${remedy}.`,
  )
}
