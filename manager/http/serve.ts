// Listens: the API's `fetch` on a TCP port, with WebSocket.
// Runs on: control.

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
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
  await new Promise<void>((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => fail(cannotListen(error, hostname, port)))
    server.listen(port, hostname, done)
  })
  const address = server.address() as AddressInfo
  const name = hostname.includes(':') ? `[${hostname}]` : hostname
  return {
    url: `http://${name}:${address.port}`,
    port: address.port,
    stop: (graceMs = 2000) => stop(server, sockets, graceMs),
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

async function stop(server: Server, sockets: WebSocketServer, graceMs: number): Promise<void> {
  const closed = new Promise<void>((done) => server.close(() => done()))
  server.closeIdleConnections()
  for (const socket of sockets.clients) socket.close(1001, 'the manager stops')
  const timer = setTimeout(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
  }, graceMs)
  await closed
  clearTimeout(timer)
}
