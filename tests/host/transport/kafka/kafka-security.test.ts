// TLS and logins against a real broker that asks for both.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type KafkaOptions, KafkaTransport } from '../../../../host/transport/kafka/kafka-transport.ts'
import { SpqrError } from '../../../../schemas/errors.ts'
import { Client } from '../../../support/client.ts'
import { type Secured, skipWithoutKafka, startSecuredKafka, type TestKafka } from '../../../support/kafka.ts'
import { freePort, isReady, ProductProcess } from '../../../support/product-process.ts'
import { append, readAll, texts, topicName, values } from '../suite.ts'

const NAME = 'kafka security'
const isSkipped = skipWithoutKafka(NAME) || skipWithoutOwn()
const test = suite(NAME)
const securely: typeof test = isSkipped ? (test.skip as typeof test) : test
let kafka: (TestKafka & { secured: Secured }) | undefined

/** Brokers that are named listen as they do, and certificates have to be made. */
function skipWithoutOwn(): boolean {
  const hasOpenssl = spawnSync('openssl', ['version']).status === 0
  if (hasOpenssl && !process.env.KAFKA_BROKERS) return false
  const why = hasOpenssl ? 'the brokers of KAFKA_BROKERS are not ours to configure' : 'there is no openssl'
  return process.stdout.write(`SKIP ${NAME}: ${why}\n`)
}

async function secured(): Promise<Secured> {
  kafka ??= await startSecuredKafka()
  return kafka.secured
}

async function options(more: Partial<KafkaOptions> = {}): Promise<KafkaOptions> {
  const { brokers, ca, username, password } = await secured()
  return { brokers, tls: { ca }, sasl: { mechanism: 'scram-sha-512', username, password }, startMs: 10_000, ...more }
}

async function refusal(more: Partial<KafkaOptions>): Promise<SpqrError> {
  const started = await KafkaTransport.start(await options(more)).catch((thrown: unknown) => thrown)
  if (started instanceof KafkaTransport) await started.stop()
  assert.instance(started, SpqrError)
  return started as SpqrError
}

for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
  securely(`records go in and out over TLS, with a login by ${mechanism}`, async () => {
    const { username, password } = await secured()
    const transport = await KafkaTransport.start(await options({ sasl: { mechanism, username, password } }))
    try {
      const topic = topicName()
      await transport.createTopic({ name: topic })
      await append(transport, topic, values(0, 100))
      assert.equal(texts(await readAll(transport, topic)), texts(values(0, 100)))
      assert.ok((await transport.clusterId()).length > 10)
    } finally {
      await transport.stop()
    }
  })

  securely(`a wrong password is refused at once by ${mechanism}, and said in no message`, async () => {
    const { username } = await secured()
    const error = await refusal({ sasl: { mechanism, username, password: 'not-the-password' } })
    assert.is(error.code, 'UNAUTHENTICATED', error.message)
    assert.match(error.message, /check user, password and mechanism/)
    assert.not.match(error.message, /not-the-password/)
  })
}

securely('a certificate that nobody vouches for is not talked to, nor a TLS port in plain', async () => {
  const unknown = await refusal({ tls: {}, startMs: 1000 })
  assert.is(unknown.code, 'TRANSPORT_UNAVAILABLE')
  assert.match(unknown.message, /self-signed certificate/)
  assert.is((await refusal({ tls: undefined, startMs: 1000 })).code, 'TRANSPORT_UNAVAILABLE')
})

securely('the whole of it by flags, with the password from the environment', async () => {
  const { brokers, ca, username, password } = await secured()
  const folder = mkdtempSync(join(tmpdir(), 'spqr-secured-'))
  const authority = join(folder, 'ca.pem')
  writeFileSync(authority, ca)
  const [port, topic] = [await freePort(), topicName()]
  const flags = ['--kafka', brokers.join(), '--kafka-tls', '--kafka-sasl', 'scram-sha-256']
  const dev = new ProductProcess(['dev', '--empty', '--port', String(port), '--data', folder, ...flags], {
    SPQR_KAFKA_USERNAME: username,
    SPQR_KAFKA_PASSWORD: password,
    NODE_EXTRA_CA_CERTS: authority,
  })
  try {
    const url = `http://127.0.0.1:${port}`
    await dev.until(() => isReady(url))
    const client = new Client((request) => fetch(new Request(url + new URL(request.url).pathname, request)))
    await client.topics(topic)
    await client.feed(topic, 0, 10)
    const { records } = await client.ok('GET', `/v1/topics/${topic}/records`)
    assert.is(records.length, 10)
    assert.not.ok(dev.log.includes(password))
  } finally {
    await dev.end('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }
})

test.after(() => kafka?.stop())
test.run()
