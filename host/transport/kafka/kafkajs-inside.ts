// The only file that touches the inside of kafkajs: its connection to one broker (sockets, TLS, SASL, API versions,
// request queue), through which requests of our own go. The version is pinned exactly; tests name what is used:
//
//   kafkajs/src/network/connectionPool   new ({host, port, …}), getConnection(index)
//   kafkajs/src/broker                   new ({connectionPool, logger}), connect(): the versions it learns, SASL
//   a connection                         isConnected(), isAuthenticated(), authenticate(), nextCorrelationId(), clientId, socket,
//                                        chunks, bytesBuffered
//   its requestQueue                     push({entry, expectResponse, sendRequest}), maybeThrottle(ms), pending,
//                                        scheduleCheckPendingRequests()
//   Kafka.logger()                       namespace(name)
//
// A request is put on the socket here, not by the connection's own `send`, which copies it three times.
// Runs on: bridge.

import { createRequire } from 'node:module'
import { connect as connectSocket, isIP, type LookupFunction, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { Kafka, logLevel, type SASLOptions } from 'kafkajs'
import { SpqrError } from '../../../schemas/errors.ts'
import { FrameAssembler } from './frame-assembler.ts'
import type { KafkaRequest } from './request.ts'
import { WireReader, WireWriter } from './wire.ts'

interface PushedRequest {
  entry: {
    apiKey: number
    apiVersion: number
    apiName: string
    correlationId: number
    resolve(response: { payload: Buffer }): void
    reject(error: unknown): void
  }
  expectResponse: true
  sendRequest(): void
}

export interface InsideConnection {
  readonly clientId: string
  readonly socket: Socket
  /** What came of frames that are not whole, and how much that is. */
  chunks: Uint8Array[]
  readonly bytesBuffered: number
  readonly requestQueue: {
    readonly pending: readonly unknown[]
    push(request: PushedRequest): void
    maybeThrottle(ms: number): void
    scheduleCheckPendingRequests(): void
  }
  isConnected(): boolean
  isAuthenticated(): boolean
  authenticate(): Promise<void>
  nextCorrelationId(): number
}

export interface InsidePool {
  getConnection(index: number): Promise<InsideConnection>
}

interface InsideBroker {
  connect(): Promise<void>
}

interface SocketOptions {
  host: string
  port: number
  ssl?: ConnectionOptions
  onConnect(): void
}

type Class<T> = new (options: object) => T

const require = createRequire(import.meta.url)

export interface ConnectionSettings {
  clientId: string
  connectTimeoutMs: number
  tls?: ConnectionOptions
  sasl?: SASLOptions
  /** Asked before each connection, also to brokers that others name; absent: any may be reached. */
  guard?: ConnectionGuard
}

export interface ConnectionGuard {
  /** @throws SpqrError PERMISSION_DENIED */
  checkNet(host: string, port: number): void
  /** Resolves, checks, and answers the very address that was checked. */
  netLookup(port: number): LookupFunction
}

/** Read from a socket at once. */
const READ_BYTES = 256 << 10

/** How many connections a pool has. */
export const POOL_CONNECTIONS = 2

/** The classes of kafkajs that are used. @throws SpqrError where this kafkajs has them not */
export function insideClasses(): { Broker: Class<InsideBroker>; ConnectionPool: Class<InsidePool> } {
  const { version } = require('kafkajs/package.json') as { version: string }
  try {
    return {
      Broker: require('kafkajs/src/broker') as Class<InsideBroker>,
      ConnectionPool: require('kafkajs/src/network/connectionPool') as Class<InsidePool>,
    }
  } catch (thrown) {
    const text = `Cannot use kafkajs ${version}: it is not built as 2.2.4 is; install that version.`
    throw new SpqrError('INTERNAL', text, { cause: thrown })
  }
}

/** Connections to one broker, made when first used, gone after the first failure. */
export class BrokerConnections {
  readonly #pool: InsidePool
  readonly #broker: InsideBroker
  readonly #hasLogin: boolean
  readonly #guard: ConnectionGuard | undefined
  #ready: Promise<void> | undefined
  /** What waits for an answer: kafkajs forgets a request that comes while a connection closes. */
  readonly #waiting = new Set<(reason: Error) => void>()
  readonly #sockets = new Set<Socket>()
  /** Why nothing is sent here any more. */
  #lost: Error | undefined
  readonly #lanes: (Promise<InsideConnection> | undefined)[] = []

  constructor(host: string, port: number, settings: ConnectionSettings) {
    const { Broker, ConnectionPool } = insideClasses()
    this.#hasLogin = settings.sasl !== undefined
    this.#guard = settings.guard
    // It logs what we throw: nothing of it is wanted twice.
    const logger = new Kafka({ brokers: ['none'], logLevel: logLevel.NOTHING }).logger()
    this.#pool = new ConnectionPool({
      logger,
      host,
      port,
      clientId: settings.clientId,
      connectionTimeout: settings.connectTimeoutMs,
      // It looks ten times a second, and no more from when a connection begins to close: what waits there then waits for ever.
      enforceRequestTimeout: false,
      ssl: settings.tls ?? null,
      // A copy: kafkajs writes into it, and what it writes cannot go to another thread.
      sasl: settings.sasl ? { ...settings.sasl } : null,
      socketFactory: (options: SocketOptions) => this.#socket(options),
    })
    this.#broker = new Broker({ connectionPool: this.#pool, logger, allowAutoTopicCreation: false })
  }

  /**
   * Sends one request and reads its answer. A broker answers the requests of one lane one after the other.
   * @param lane 0 … POOL_CONNECTIONS - 1
   * @param timeoutMs how long the answer is waited for, and before that each step of connecting
   * @throws what kafkajs throws of the connection; KafkaFault of the answer
   */
  async send<T>(request: KafkaRequest<T>, lane: number, timeoutMs: number): Promise<T> {
    if (this.#lost) throw this.#lost
    this.#ready ??= this.#broker.connect()
    await this.#orLost(this.#ready, timeoutMs)
    this.#lanes[lane] ??= this.#pool.getConnection(lane).then(calmed)
    const connection = await this.#orLost(this.#lanes[lane], timeoutMs)
    if (this.#hasLogin && !connection.isAuthenticated()) await this.#orLost(connection.authenticate(), timeoutMs)
    const { payload } = await this.#orLost(ask(connection, request), timeoutMs)
    const reader = new WireReader(payload)
    try {
      return request.read(reader)
    } finally {
      connection.requestQueue.maybeThrottle(reader.throttleMs)
    }
  }

  /** At once: who waits for an answer is told that none will come. */
  close(): void {
    const reason = new Error('the connection was given up')
    this.#fail(reason)
    // As an error: by its end alone kafkajs would go on looking, every millisecond, at what waits.
    for (const socket of this.#sockets) socket.destroy(reason)
  }

  /** The same, or an error when a socket closes first, or nothing comes for so long. */
  #orLost<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
    return new Promise((done, failed) => {
      const over = (): void => {
        clearTimeout(late)
        this.#waiting.delete(lost)
      }
      const lost = (reason: Error): void => {
        over()
        failed(reason)
      }
      const late = setTimeout(() => lost(new Error(`no answer in ${timeoutMs / 1_000} s`)), timeoutMs)
      this.#waiting.add(lost)
      promise.then((value) => {
        over()
        done(value)
      }, lost)
      if (this.#lost) lost(this.#lost)
    })
  }

  #fail(reason: Error): void {
    this.#lost ??= reason
    for (const failed of [...this.#waiting]) failed(reason)
  }

  /** kafkajs's own leaves Nagle's algorithm on, which holds back a small request behind one that is under way. */
  #socket({ host, port, ssl, onConnect }: SocketOptions): Socket {
    this.#guard?.checkNet(host, port)
    const lookup = this.#guard?.netLookup(port)
    const names = isIP(host) ? {} : { servername: host }
    const socket = ssl
      ? connectTls({ host, port, lookup, ...names, ...ssl }, onConnect)
      : plainSocket(host, port, lookup, onConnect)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 60_000)
    let cause: Error | undefined
    socket.once('error', (error) => {
      cause = error
    })
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#fail(cause ?? new Error('the connection was closed'))
    })
    this.#sockets.add(socket)
    if (this.#lost) socket.destroy(this.#lost)
    return socket
  }
}

/**
 * kafkajs looks every millisecond, for ever, for requests that wait for their turn: only while there are any. And it puts what is
 * left of a frame before the next one, which copies that, also where nothing is left.
 */
function calmed(connection: InsideConnection): InsideConnection {
  const { requestQueue, socket } = connection
  const look = requestQueue.scheduleCheckPendingRequests.bind(requestQueue)
  requestQueue.scheduleCheckPendingRequests = () => {
    if (requestQueue.pending.length > 0) look()
  }
  socket.prependListener('data', () => {
    if (connection.bytesBuffered === 0) connection.chunks = []
  })
  return connection
}

function ask<T>(connection: InsideConnection, request: KafkaRequest<T>): Promise<{ payload: Buffer }> {
  const { apiKey, apiVersion, apiName, body, tail } = request
  const correlationId = connection.nextCorrelationId()
  const head = new WireWriter(64)
    .i32(0)
    .i16(apiKey)
    .i16(apiVersion)
    .i32(correlationId)
    .string(connection.clientId).bytes
  head.writeInt32BE(head.length - 4 + body.length + (tail?.length ?? 0))
  return new Promise((resolve, reject) => {
    const sendRequest = (): void => {
      const { socket } = connection
      if (!connection.isConnected()) throw new Error('The connection was closed')
      socket.cork()
      socket.write(head)
      socket.write(body)
      if (tail) socket.write(tail)
      socket.uncork()
    }
    const entry = { apiKey, apiVersion, apiName, correlationId, resolve, reject }
    connection.requestQueue.push({ entry, expectResponse: true, sendRequest })
  })
}

/** Hands kafkajs whole frames, so that it need not put chunks together, out of one buffer that is read into. */
function plainSocket(host: string, port: number, lookup: LookupFunction | undefined, onConnect: () => void): Socket {
  const assembler = new FrameAssembler((frame) => socket.emit('data', frame))
  const callback = (bytes: number, buffer: Uint8Array): boolean => {
    try {
      assembler.push(buffer.subarray(0, bytes))
    } catch (thrown) {
      socket.destroy(thrown as Error)
    }
    return true
  }
  const onread = { buffer: Buffer.allocUnsafeSlow(READ_BYTES), callback }
  const socket = connectSocket({ host, port, lookup, onread }, onConnect)
  return socket
}
