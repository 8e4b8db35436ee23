// What is relied on of kafkajs's inside, each by its name: another version fails here first, and says what is missing.
// And what needs no broker: one that is not there, is refused in time.

import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { Kafka, logLevel } from 'kafkajs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { insideClasses, POOL_CONNECTIONS } from '../../../../host/transport/kafka/kafkajs-inside.ts'
import { rejects } from '../suite.ts'

const inside = suite('kafkajs’s inside')

function pool(): { pool: Record<string, unknown>[] } & Record<string, unknown> {
  const { ConnectionPool } = insideClasses()
  const logger = new Kafka({ brokers: ['none'], logLevel: logLevel.NOTHING }).logger()
  const made = new ConnectionPool({ logger, host: '127.0.0.1', port: 1, clientId: 'test', connectionTimeout: 100 })
  return made as unknown as ReturnType<typeof pool>
}

inside('a connection pool has two connections, to be had by index', () => {
  const made = pool()
  assert.is(made.pool.length, POOL_CONNECTIONS)
  assert.type(made.getConnection, 'function')
})

inside('a connection says its state, logs in, counts its requests and has its socket and queue in the open', () => {
  const connection = pool().pool[0]!
  for (const name of ['isConnected', 'isAuthenticated', 'authenticate', 'nextCorrelationId']) {
    assert.type(connection[name], 'function', name)
  }
  assert.is(connection.clientId, 'test')
  assert.is((connection.isConnected as () => boolean)(), false)
  assert.is((connection.nextCorrelationId as () => number)(), 0)
  const queue = connection.requestQueue as Record<string, unknown>
  assert.equal(connection.chunks, [])
  assert.is(connection.bytesBuffered, 0)
  assert.type(queue.push, 'function')
  assert.equal(queue.pending, [])
  assert.type(queue.scheduleCheckPendingRequests, 'function')
  assert.type(queue.maybeThrottle, 'function')
})

inside('a queue sends at once and answers by correlation id', async () => {
  const queue = pool().pool[0]!.requestQueue as unknown as {
    push(request: object): void
    fulfillRequest(answer: object): void
    destroy(): void
  }
  let sent = 0
  const answered = new Promise<{ payload: string }>((resolve, reject) => {
    const entry = { apiKey: 3, apiName: 'Metadata', apiVersion: 5, correlationId: 41, resolve, reject }
    const sendRequest = (): void => {
      sent++
    }
    queue.push({ entry, expectResponse: true, requestTimeout: 1_000, sendRequest })
  })
  assert.is(sent, 1)
  queue.fulfillRequest({ correlationId: 41, size: 4, payload: 'here' })
  assert.is((await answered).payload, 'here')
  queue.destroy()
})

inside('a broker connects', () => {
  const { Broker } = insideClasses()
  const logger = new Kafka({ brokers: ['none'], logLevel: logLevel.NOTHING }).logger()
  const broker = new Broker({ connectionPool: pool(), logger, allowAutoTopicCreation: false })
  assert.type(broker.connect, 'function')
})

inside.run()

const absent = suite('kafka that is not there')

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  await new Promise((done) => server.close(done))
  return port
}

absent('is waited for in sight, and then named in a clear error', async () => {
  const port = await freePort()
  const states: string[] = []
  const start = KafkaTransport.start({
    brokers: [`127.0.0.1:${port}`],
    startMs: 600,
    onState: (state, detail) => states.push(`${state} ${detail}`),
  })
  const error = await rejects(start, 'TRANSPORT_UNAVAILABLE')
  assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port}.*ECONNREFUSED.*0\\.6 s`))
  assert.is(error.retriable, true)
  assert.match(states[0]!, /^waiting .*ECONNREFUSED/)
})

absent('is not mistaken for something else that listens there', async () => {
  const server = createServer((socket) => socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  await rejects(KafkaTransport.start({ brokers: [`127.0.0.1:${port}`], startMs: 300 }), 'TRANSPORT_UNAVAILABLE')
  await new Promise((done) => server.close(done))
})

absent.run()
