// Listens: the API's `fetch` on a TCP port, with WebSocket.
// Runs on: control.

import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { WebSocketServer } from 'ws'
import { SpqrError } from '../../schemas/errors.ts'

export interface ServeOptions {
  fetch: (request: Request, env: unknown) => Response | Promise<Response>
  port: number
  /** 127.0.0.1 unless given. */
  hostname?: string
}

export interface Listening {
  readonly url: string
  readonly port: number
  /** Takes no new connection, lets requests in work end for up to `graceMs` (2,000), then closes what is left. */
  stop(graceMs?: number): Promise<void>
}

/** A frame from a reader says nothing to us; a larger one closes its connection. */
const FRAME_BYTES_MAX = 64 * 1024

/** @throws SpqrError IN_USE where the port is taken */
export async function serve(options: ServeOptions): Promise<Listening> {
  const { fetch, port, hostname = '127.0.0.1' } = options
  const sockets = new WebSocketServer({ noServer: true, maxPayload: FRAME_BYTES_MAX })
  const server = createAdaptorServer({
    fetch,
    hostname,
    websocket: { server: sockets },
    serverOptions: { requestTimeout: 120_000, headersTimeout: 20_000, keepAliveTimeout: 60_000 },
  }) as Server
  ignoreOtherProtocols(server)
  server.on('clientError', refuseUnreadable)
  const connections = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  await new Promise<void>((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => fail(cannotListen(error, hostname, port)))
    server.listen(port, hostname, done)
  })
  const address = server.address() as AddressInfo
  const name = hostname.includes(':') ? `[${hostname}]` : hostname
  return {
    url: `http://${name}:${address.port}`,
    port: address.port,
    stop: (graceMs = 2000) => stop(server, sockets, connections, graceMs),
  }
}

function cannotListen(error: NodeJS.ErrnoException, hostname: string, port: number): Error {
  if (error.code === 'EADDRINUSE') {
    return new SpqrError(
      'IN_USE',
      `Cannot listen on ${hostname}:${port}: the port is taken; stop what uses it or name another with --port.`,
    )
  }
  if (error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL') {
    return new SpqrError('INVALID_STATE', `Cannot listen on ${hostname}:${port}: ${error.code}; name another port.`)
  }
  return error
}

/**
 * A request that would rather speak another protocol than WebSocket (curl and Java offer `h2c`) is answered in HTTP/1.1, as
 * RFC 9110, 7.8 has it. Node hands over the connection of every `Upgrade` that anybody listens for: it is given back
 * with the request as it was, but for the offer.
 */
function ignoreOtherProtocols(server: Server): void {
  const [webSocket] = server.listeners('upgrade') as ((
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
  ) => void)[]
  server.removeAllListeners('upgrade')
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (request.headers.upgrade?.toLowerCase() === 'websocket') {
      webSocket?.(request, socket, head)
      return
    }
    const { rawHeaders, method, url } = request
    const lines = [`${method} ${url} HTTP/${request.httpVersion}`]
    for (let i = 0; i < rawHeaders.length; i += 2) {
      if (!/^(?:upgrade|connection|http2-settings)$/i.test(rawHeaders[i]!)) {
        lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`)
      }
    }
    socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]))
    server.emit('connection', socket)
  })
}

/** What is no HTTP, or too much of it, never becomes a request; it is told why all the same. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW'
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const why = tooLarge ? 'its headers are over 16 KiB' : late ? 'it did not come in time' : error.message
  const status = tooLarge ? '431 Request Header Fields Too Large' : late ? '408 Request Timeout' : '400 Bad Request'
  const problem = new SpqrError(tooLarge ? 'TOO_LARGE' : 'INVALID_BODY', `Cannot read the request: ${why}.`).toProblem()
  const body = JSON.stringify({ ...problem, status: Number.parseInt(status, 10) })
  const head = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n`
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

async function stop(
  server: Server,
  sockets: WebSocketServer,
  connections: Iterable<Socket>,
  graceMs: number,
): Promise<void> {
  const closed = new Promise<void>((done) => server.close(() => done()))
  server.closeIdleConnections()
  for (const socket of sockets.clients) socket.close(1001, 'the manager stops')
  const timer = setTimeout(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
    // Also those that the server has lost sight of: a handshake that nobody finished.
    for (const socket of connections) socket.destroy()
  }, graceMs)
  await closed
  clearTimeout(timer)
}
