// The only file that touches the inside of kafkajs: its connection to one broker (sockets, TLS, SASL, API versions,
// request queue, time-outs), through which requests of our own go. The version is pinned exactly; tests name what is used:
//
//   kafkajs/src/network/connectionPool   new ({host, port, …}), getConnection(index), destroy()
//   kafkajs/src/broker                   new ({connectionPool, logger}), connect(): the versions it learns, SASL
//   a connection                         send({request: {apiKey, apiVersion, apiName, encode}, response: {decode, parse}})
//   an encoder                           {buf, buffer}: bytes of a request
//   Kafka.logger()                       namespace(name)
//
// Runs on: bridge.

import { createRequire } from 'node:module'
import { connect as connectSocket, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { Kafka, logLevel, type SASLOptions } from 'kafkajs'
import { SpqrError } from '../../../schemas/errors.ts'
import type { KafkaRequest } from './request.ts'
import { WireReader } from './wire.ts'

interface Protocol<T> {
  request: {
    apiKey: number
    apiVersion: number
    apiName: string
    encode(): Promise<{ buf: Buffer; buffer: Buffer }>
  }
  response: { decode(bytes: Buffer): Promise<T>; parse(decoded: T): Promise<T> }
  requestTimeout: number
}

export interface InsideConnection {
  isConnected(): boolean
  send<T>(protocol: Protocol<T>): Promise<T>
}

export interface InsidePool {
  getConnection(index: number): Promise<InsideConnection>
  destroy(): Promise<void>
}

interface InsideBroker {
  connect(): Promise<void>
}

type Class<T> = new (options: object) => T

const require = createRequire(import.meta.url)

export interface ConnectionSettings {
  clientId: string
  connectTimeoutMs: number
  tls?: ConnectionOptions
  sasl?: SASLOptions
}

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
  #ready: Promise<void> | undefined
  readonly #lanes: (Promise<InsideConnection> | undefined)[] = []

  constructor(host: string, port: number, settings: ConnectionSettings) {
    const { Broker, ConnectionPool } = insideClasses()
    // It logs what we throw: nothing of it is wanted twice.
    const logger = new Kafka({ brokers: ['none'], logLevel: logLevel.NOTHING }).logger()
    this.#pool = new ConnectionPool({
      logger,
      host,
      port,
      clientId: settings.clientId,
      connectionTimeout: settings.connectTimeoutMs,
      requestTimeout: 30_000,
      enforceRequestTimeout: true,
      ssl: settings.tls ?? null,
      sasl: settings.sasl ?? null,
      socketFactory,
    })
    this.#broker = new Broker({ connectionPool: this.#pool, logger, allowAutoTopicCreation: false })
  }

  /**
   * Sends one request and reads its answer. A broker answers the requests of one lane one after the other.
   * @param lane 0 … POOL_CONNECTIONS - 1
   * @throws what kafkajs throws of the connection; KafkaFault of the answer
   */
  async send<T>(request: KafkaRequest<T>, lane: number, timeoutMs: number): Promise<T> {
    this.#ready ??= this.#broker.connect()
    await this.#ready
    this.#lanes[lane] ??= this.#pool.getConnection(lane)
    const connection = await this.#lanes[lane]
    const { apiKey, apiVersion, apiName, body } = request
    const { value } = await connection.send({
      request: { apiKey, apiVersion, apiName, encode: () => Promise.resolve({ buf: body, buffer: body }) },
      response: {
        // Not read here: what it throws would be logged and taken for a broken connection.
        decode: (bytes) => Promise.resolve(readAnswer(request, bytes)),
        parse: (decoded) => Promise.resolve(decoded),
      },
      requestTimeout: timeoutMs,
    })
    return value()
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }
}

function readAnswer<T>(request: KafkaRequest<T>, bytes: Buffer): { value: () => T; clientSideThrottleTime: number } {
  const reader = new WireReader(bytes)
  try {
    const value = request.read(reader)
    return { value: () => value, clientSideThrottleTime: reader.throttleMs }
  } catch (thrown) {
    const fail = (): T => {
      throw thrown
    }
    return { value: fail, clientSideThrottleTime: reader.throttleMs }
  }
}

/** kafkajs's own leaves Nagle's algorithm on, which holds back a small request behind one that is under way. */
function socketFactory(options: { host: string; port: number; ssl?: ConnectionOptions; onConnect(): void }): Socket {
  const { host, port, ssl, onConnect } = options
  const names = isIP(host) ? {} : { servername: host }
  const socket = ssl
    ? connectTls({ host, port, ...names, ...ssl }, onConnect)
    : connectSocket({ host, port }, onConnect)
  socket.setNoDelay(true)
  socket.setKeepAlive(true, 60_000)
  return socket
}
