// A network that is not at its best: a TCP proxy between a host and a broker that, by a seed, cuts, stalls, delays, loses answers,
// leaves connections half open and refuses new ones. What was on its way when a connection ended may still arrive.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { seeded } from './client.ts'

/** What may happen to the connections that there are, each for a while. */
export const TROUBLES = [
  'cut',
  'reset',
  'stall-there',
  'stall-back',
  'slow',
  'late',
  'unanswered',
  'half-open',
  'refuse',
] as const
export type Trouble = (typeof TROUBLES)[number]

/** One way of a connection, frame by frame. */
class Way {
  mode: 'open' | 'held' | 'lost' = 'open'
  delayMs = 0
  readonly #to: Socket
  readonly #waiting: Buffer[] = []
  #rest: Buffer = Buffer.alloc(0)
  #timer: NodeJS.Timeout | undefined

  /** @param look sees each frame before it goes on, or does not */
  constructor(from: Socket, to: Socket, look: (frame: Buffer) => void) {
    this.#to = to
    from.on('data', (bytes) => {
      this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
      while (this.#rest.length >= 4 && this.#rest.length >= 4 + this.#rest.readInt32BE()) {
        const end = 4 + this.#rest.readInt32BE()
        const frame = this.#rest.subarray(0, end)
        this.#rest = this.#rest.subarray(end)
        look(frame)
        if (this.mode === 'lost') continue
        if (this.mode === 'open' && this.delayMs === 0 && this.#waiting.length === 0) this.#write(frame)
        else this.#keep(frame)
      }
    })
  }

  #write(bytes: Buffer): void {
    if (!this.#to.destroyed) this.#to.write(bytes)
  }

  #keep(bytes: Buffer): void {
    this.#waiting.push(bytes)
    if (this.mode === 'open') this.#timer ??= setTimeout(() => this.release(), this.delayMs)
  }

  /** What was held goes on its way. */
  release(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.mode === 'held') this.mode = 'open'
    for (const bytes of this.#waiting.splice(0)) this.#write(bytes)
  }
}

class Connection {
  readonly client: Socket
  readonly broker: Socket
  /** To the broker, and from it. */
  readonly there: Way
  readonly back: Way
  /** The client is not told when the broker has closed, until then. */
  isHalfOpen = false
  onAnswer: () => void = () => {}

  /** @param onRequest is told its kind before it goes to the broker */
  constructor(client: Socket, port: number, onRequest: (one: Connection, apiKey: number) => void, onEnd: () => void) {
    this.client = client
    this.broker = connect({ host: '127.0.0.1', port })
    for (const socket of [client, this.broker]) socket.setNoDelay(true).on('error', () => {})
    this.there = new Way(client, this.broker, (frame) => onRequest(this, frame.readInt16BE(4)))
    this.back = new Way(this.broker, client, () => this.onAnswer())
    client.on('close', () => {
      // What it sent may be under way still.
      if (this.there.mode !== 'held') this.broker.destroy()
      onEnd()
    })
    this.broker.on('close', () => {
      if (!this.isHalfOpen) client.destroy()
    })
  }

  end(): void {
    this.client.destroy()
    this.broker.destroy()
  }
}

interface Awaited {
  apiKey: number
  how: 'unanswered' | 'late' | 'silent'
  done(deliver: () => Promise<void>): void
}

export class FaultyNetwork {
  /** Where clients connect. */
  readonly port: number
  /** What has happened, for who reads of a failure: `ms kind`. */
  readonly story: string[] = []
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  readonly #random: (n: number) => number
  readonly #awaited: Awaited[] = []
  #target = 0
  #refuses = false
  /** What is to be undone, at the latest with `heal`. */
  readonly #undo = new Set<() => void>()
  readonly #began = performance.now()

  static async start(seed: number): Promise<FaultyNetwork> {
    const server = createServer()
    await new Promise<void>((done, failed) => server.once('error', failed).listen(0, '127.0.0.1', done))
    return new FaultyNetwork(server, seed)
  }

  private constructor(server: Server, seed: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    this.#random = seeded(seed)
    server.on('connection', (client) => {
      if (this.#refuses || this.#target === 0) {
        client.on('error', () => {}).destroy()
        return
      }
      const onRequest = (one: Connection, apiKey: number): void => this.#onRequest(one, apiKey)
      const made: Connection = new Connection(client, this.#target, onRequest, () => this.#connections.delete(made))
      this.#connections.add(made)
    })
    server.unref()
  }

  /** @param port of the broker, on this machine */
  leadTo(port: number): void {
    this.#target = port
  }

  /** Makes trouble of this kind for some or all connections. @param ms how long, where it takes its time */
  make(kind: Trouble, ms: number, some = this.#some()): void {
    this.story.push(`${((performance.now() - this.#began) / 1000).toFixed(2)} s: ${kind} of ${some.length}, ${ms} ms`)
    if (kind === 'refuse') {
      this.#refuses = true
      this.#later(ms, () => {
        this.#refuses = false
      })
    }
    for (const one of some) this.#trouble(one, kind, ms)
  }

  /**
   * Ends the connection on which the next request of this kind comes, before it is answered.
   * @param how `unanswered`: once the broker has taken it; `late`: at once, and the broker is given it when it is told to; `silent`:
   * nobody is told, and nothing goes either way any more
   * @returns when that has happened: gives it to the broker now, and resolves when that has taken it
   */
  intercept(apiKey: number, how: Awaited['how']): Promise<() => Promise<void>> {
    return new Promise((done) => this.#awaited.push({ apiKey, how, done }))
  }

  #onRequest(one: Connection, apiKey: number): void {
    const at = this.#awaited.findIndex((awaited) => awaited.apiKey === apiKey)
    if (at < 0) return
    const { how, done } = this.#awaited.splice(at, 1)[0]!
    one.back.mode = 'lost'
    if (how === 'silent') {
      one.there.mode = 'lost'
      done(() => Promise.resolve())
      return
    }
    const answered = new Promise<void>((taken) => {
      one.onAnswer = taken
    })
    if (how === 'late') {
      one.there.mode = 'held'
      one.client.destroy()
      done(async () => {
        one.there.release()
        await answered
        one.end()
      })
      return
    }
    void answered.then(() => {
      one.end()
      done(() => Promise.resolve())
    })
  }

  /** Makes trouble after trouble, for so long, and then none. */
  async rage(ms: number, stallMsMax: number): Promise<void> {
    for (const until = performance.now() + ms; performance.now() < until; ) {
      await sleep(20 + this.#random(400))
      this.make(TROUBLES[this.#random(TROUBLES.length)]!, 100 + this.#random(stallMsMax - 100))
    }
    this.heal()
  }

  /** From here on it is as good as none. */
  heal(): void {
    for (const undo of [...this.#undo]) undo()
  }

  stop(): void {
    this.heal()
    for (const one of this.#connections) one.end()
    this.#server.close()
  }

  #some(): Connection[] {
    const all = [...this.#connections]
    if (this.#random(2) === 0) return all
    return all.filter(() => this.#random(3) === 0)
  }

  #trouble(one: Connection, kind: Trouble, ms: number): void {
    switch (kind) {
      case 'cut':
      case 'refuse':
        one.client.end()
        one.broker.destroy()
        return
      case 'reset':
        one.client.resetAndDestroy()
        one.broker.resetAndDestroy()
        return
      case 'stall-there':
        one.there.mode = 'held'
        this.#later(ms, () => one.there.release())
        return
      case 'stall-back':
        one.back.mode = 'held'
        this.#later(ms, () => one.back.release())
        return
      case 'slow':
        one.there.delayMs = one.back.delayMs = 1 + (ms % 50)
        this.#later(ms, () => {
          one.there.delayMs = one.back.delayMs = 0
        })
        return
      case 'late':
        // The client finds it closed in a moment, and connects anew; what it had sent arrives behind that.
        one.there.mode = 'held'
        this.#later(Math.min(ms / 4, 100), () => one.client.destroy())
        this.#later(ms, () => {
          one.there.release()
          one.broker.end()
        })
        return
      case 'unanswered':
        one.back.mode = 'lost'
        this.#later(Math.min(ms, 500), () => one.end())
        return
      case 'half-open':
        one.isHalfOpen = true
        one.there.mode = one.back.mode = 'lost'
        one.broker.destroy()
        this.#later(ms, () => one.end())
    }
  }

  #later(ms: number, undo: () => void): void {
    const once = (): void => {
      clearTimeout(timer)
      if (this.#undo.delete(once)) undo()
    }
    const timer = setTimeout(once, ms)
    this.#undo.add(once)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}
