// An HTTP/1.1 client of one keep-alive connection that costs next to nothing, so that what is measured is the server.

import { connect, type Socket } from 'node:net'

export interface Answer {
  status: number
  body: Buffer
}

interface Waiting {
  done(answer: Answer): void
  failed(error: Error): void
}

const HEAD_END = Buffer.from('\r\n\r\n')
const NOTHING = Buffer.alloc(0)

/** Requests on it come one after the other; a second one waits for the first. */
export class HttpClient {
  private readonly port: number
  private socket: Socket | undefined
  private waiting: Waiting | undefined
  private received: Buffer = NOTHING
  private turn: Promise<unknown> = Promise.resolve()

  constructor(port: number) {
    this.port = port
  }

  /** @throws Error where the connection breaks */
  request(method: string, path: string, body?: string | Buffer, contentType = 'application/json'): Promise<Answer> {
    const answer = this.turn.then(() => this.send(method, path, body, contentType))
    this.turn = answer.catch(() => undefined)
    return answer
  }

  stop(): void {
    this.socket?.destroy()
  }

  private async send(method: string, path: string, body: string | Buffer | undefined, type: string): Promise<Answer> {
    if (!this.socket || this.socket.destroyed) this.socket = await this.connected()
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    const about = bytes ? `content-type: ${type}\r\ncontent-length: ${bytes.length}\r\n` : ''
    const head = Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${this.port}\r\n${about}\r\n`)
    const { socket } = this
    return new Promise((done, failed) => {
      this.waiting = { done, failed }
      socket.write(bytes ? Buffer.concat([head, bytes]) : head)
    })
  }

  private connected(): Promise<Socket> {
    return new Promise((done, failed) => {
      const socket = connect({ port: this.port, host: '127.0.0.1', noDelay: true }, () => done(socket))
      const broken = (error?: Error): void => {
        const reason = error ?? new Error('the server closed the connection')
        this.waiting?.failed(reason)
        this.waiting = undefined
        failed(reason)
      }
      socket.on('error', broken)
      socket.on('close', () => broken())
      socket.on('data', (data: Buffer) => this.take(data))
    })
  }

  private take(data: Buffer): void {
    this.received = this.received.length === 0 ? data : Buffer.concat([this.received, data])
    const answer = answerIn(this.received)
    if (!answer || !this.waiting) return
    const { done } = this.waiting
    this.waiting = undefined
    this.received = NOTHING
    done(answer)
  }
}

/** @returns the answer, once it is there as a whole */
function answerIn(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf(HEAD_END)
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd).toLowerCase()
  const status = Number(head.slice(9, 12))
  const from = headEnd + 4
  const length = /\r\ncontent-length: (\d+)/.exec(head)
  if (length) {
    const to = from + Number(length[1])
    return bytes.length < to ? undefined : { status, body: bytes.subarray(from, to) }
  }
  if (head.includes('transfer-encoding: chunked')) return chunked(bytes, from, status)
  return { status, body: NOTHING }
}

function chunked(bytes: Buffer, from: number, status: number): Answer | undefined {
  const parts: Buffer[] = []
  for (let at = from; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const next = lineEnd + 2 + size + 2
    if (bytes.length < next) return undefined
    if (size === 0) return { status, body: Buffer.concat(parts) }
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = next
  }
}
