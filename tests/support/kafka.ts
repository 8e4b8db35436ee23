// A real Kafka for tests: the brokers that KAFKA_BROKERS names; else brokers of our own, as plain processes in KRaft mode
// from jars that mvn fetches once into a folder outside the checkout. Without either, who asks is told why.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import type { FaultyNetwork } from './faulty-network.ts'

const KAFKA_VERSION = '4.3.1'
const JAVA_MIN = 17
const START_LIMIT_MS = 60_000
const CACHE = process.env.SPQR_KAFKA_CACHE ?? join(homedir(), '.cache', 'spqr', `kafka-${KAFKA_VERSION}`)
const JARS = join(CACHE, 'lib')
const SETPRIV = '/usr/bin/setpriv'

export interface TestKafka {
  /** `host:port` of every broker. */
  readonly brokers: string[]
  /** Of brokers that were started with it: where they ask for TLS and a name, and what is good there. */
  readonly secured?: Secured
  /** Of brokers that were started behind a network: `host:port` of every broker through it. */
  readonly behind?: string[]
  /** Ends one broker, by its place in `brokers`, as a power cut does. Only of brokers of our own. */
  kill(broker: number): Promise<void>
  /** Starts one again that was killed. */
  restart(broker: number): Promise<void>
  stop(): Promise<void>
}

export interface Secured {
  /** `host:port` of every broker. */
  brokers: string[]
  /** PEM of the certificate that signed theirs. */
  ca: string
  username: string
  password: string
}

const SASL_MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']

/** @returns why no Kafka can be had; undefined: one can */
export function kafkaMissing(): string | undefined {
  if (process.env.KAFKA_BROKERS) return undefined
  const java = javaVersion()
  if (java === undefined) return 'there is neither KAFKA_BROKERS nor java'
  if (java < JAVA_MIN) return `java is of version ${java}, Kafka ${KAFKA_VERSION} needs ${JAVA_MIN}`
  if (existsSync(JARS)) return undefined
  try {
    fetchJars()
    return undefined
  } catch (thrown) {
    const text = thrown instanceof Error ? thrown.message : String(thrown)
    return `Kafka's jars are not at hand and cannot be fetched by mvn: ${text.split('\n')[0]}`
  }
}

/** Says by name which tests are left out, and why, in the form that the runner shows. @returns whether they are */
export function skipWithoutKafka(name: string): boolean {
  const reason = kafkaMissing()
  if (reason !== undefined) process.stdout.write(`SKIP ${name}: ${reason}\n`)
  return reason !== undefined
}

/**
 * A broker that is not stopped ends with this process.
 * @param isBench brokers compile their code as well as they can, which costs them more at the start
 */
export async function startKafka(count = 1, isBench = false): Promise<TestKafka> {
  const named = process.env.KAFKA_BROKERS
  if (named && count === 1) {
    const brokers = named.split(',')
    const refuse = (): Promise<void> => Promise.reject(new Error('These brokers are not ours to end'))
    return { brokers, kill: refuse, restart: refuse, stop: () => Promise.resolve() }
  }
  const missing = kafkaMissing()
  if (missing) throw new Error(missing)
  for (let attempt = 1; ; attempt++) {
    const cluster = new BrokerProcesses(count, isBench)
    try {
      await cluster.start()
      return cluster
    } catch (thrown) {
      await cluster.stop()
      // Another process may have taken a port between its choice and its use.
      if (attempt === 3 || !String(thrown).includes('BindException')) throw thrown
    }
  }
}

/** One broker of our own that also listens with TLS and SASL. @throws Error where there is no openssl */
export async function startSecuredKafka(): Promise<TestKafka & { secured: Secured }> {
  const cluster = new BrokerProcesses(1, false)
  cluster.secure()
  await cluster.start()
  return cluster as TestKafka & { secured: Secured }
}

/** One broker of our own that can also be reached through this network: `behind`, which is what it advertises there. */
export async function startKafkaBehind(network: FaultyNetwork): Promise<TestKafka & { behind: string[] }> {
  const missing = kafkaMissing()
  if (missing) throw new Error(missing)
  const cluster = new BrokerProcesses(1, false)
  cluster.network = network
  await cluster.start()
  return cluster as TestKafka & { behind: string[] }
}

class BrokerProcesses implements TestKafka {
  brokers: string[] = []
  secured: Secured | undefined
  /** Of one broker. */
  network: FaultyNetwork | undefined
  readonly #count: number
  readonly #isBench: boolean
  readonly #data = mkdtempSync(join(tmpdir(), 'spqr-kafka-'))
  readonly #running = new Map<number, { child: ChildProcess; ended: Promise<void> }>()
  readonly #endAll = (): void => {
    for (const { child } of this.#running.values()) child.kill('SIGKILL')
    rmSync(this.#data, { recursive: true, force: true, maxRetries: 5 })
  }

  constructor(count: number, isBench: boolean) {
    this.#count = count
    this.#isBench = isBench
  }

  /** Makes certificates: it will also listen with TLS and SASL. */
  secure(): void {
    const password = randomBytes(12).toString('hex')
    const [key, ca, store] = ['key.pem', 'ca.pem', 'store.p12'].map((name) => join(this.#data, name)) as [
      string,
      string,
      string,
    ]
    const openssl = (args: string[]): Buffer => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
    openssl(['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', ca, ...names])
    openssl(['pkcs12', '-export', '-inkey', key, '-in', ca, '-out', store, '-passout', `pass:${password}`])
    this.secured = { brokers: [], ca: readFileSync(ca, 'utf8'), username: 'spqr', password }
  }

  get behind(): string[] | undefined {
    return this.network && [`127.0.0.1:${this.network.port}`]
  }

  async start(): Promise<void> {
    process.once('exit', this.#endAll)
    const ports = await freePorts(this.#count * 3)
    this.brokers = ports.slice(0, this.#count).map((port) => `127.0.0.1:${port}`)
    if (this.secured) this.secured.brokers = ports.slice(2 * this.#count).map((port) => `127.0.0.1:${port}`)
    this.network?.leadTo(ports[2 * this.#count]!)
    // Never with a "-" in front, which the tool would take for an option.
    const clusterId = `A${randomBytes(16).toString('base64url').slice(1)}`
    for (let index = 0; index < this.#count; index++) this.#writeSettings(index, ports)
    await Promise.all(
      Array.from({ length: this.#count }, (_, index) => {
        const settings = join(this.#folder(index), 'server.properties')
        const args = ['kafka.tools.StorageTool', 'format', '--cluster-id', clusterId, '--config', settings]
        for (const mechanism of this.secured ? SASL_MECHANISMS.slice(1) : []) {
          const { username, password } = this.secured!
          args.push('--add-scram', `${mechanism}=[name=${username},password=${password}]`)
        }
        return this.#java(index, 'format', ['-Xmx128m', ...classPath(), ...args]).ended
      }),
    )
    this.#running.clear()
    for (let index = 0; index < this.#count; index++) this.#launch(index)
    await this.#untilAnswered(this.#count)
  }

  async kill(broker: number): Promise<void> {
    const running = this.#running.get(broker)
    running?.child.ref()
    running?.child.kill('SIGKILL')
    await running?.ended.catch(() => {})
    this.#running.delete(broker)
  }

  async restart(broker: number): Promise<void> {
    this.#launch(broker)
    await this.#untilAnswered(this.#count)
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((broker) => this.kill(broker)))
    process.off('exit', this.#endAll)
    this.#endAll()
  }

  #folder(index: number): string {
    return join(this.#data, `broker-${index}`)
  }

  #launch(index: number): void {
    const flags = ['-Xmx512m', '-Xms128m', ...(this.#isBench ? [] : ['-XX:TieredStopAtLevel=1']), ...classPath()]
    const settings = join(this.#folder(index), 'server.properties')
    const log4j = `-Dlog4j2.configurationFile=${join(this.#folder(index), 'log4j2.properties')}`
    const running = this.#java(index, 'broker', [log4j, ...flags, 'kafka.Kafka', settings])
    running.ended.catch(() => {})
    // It does not keep the tests' process, and ends with it.
    running.child.unref()
    this.#running.set(index, running)
  }

  #java(index: number, what: string, args: string[]): { child: ChildProcess; ended: Promise<void> } {
    const log = join(this.#folder(index), `${what}.log`)
    const out = openSync(log, 'a')
    const guard = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', '--'] : []
    const [command, ...rest] = [...guard, javaPath(), '-XX:+UseSerialGC', '-Djava.awt.headless=true', ...args]
    const child = spawn(command!, rest, { stdio: ['ignore', out, out], cwd: this.#folder(index) })
    const ended = new Promise<void>((done, failed) => {
      child.on('error', failed)
      child.on('exit', (code, signal) => {
        if (code === 0) done()
        else failed(new Error(`${what} ended with ${signal ?? code}:\n${readFileSync(log, 'utf8').slice(-3_000)}`))
      })
    })
    return { child, ended }
  }

  #writeSettings(index: number, ports: number[]): void {
    const count = this.#count
    const replicas = Math.min(3, count)
    const inSync = Math.max(1, replicas - 1)
    const folder = this.#folder(index)
    mkdirSync(folder, { recursive: true })
    const all: Record<string, string | number | boolean> = {
      'process.roles': 'broker,controller',
      'node.id': index + 1,
      listeners: `PLAINTEXT://127.0.0.1:${ports[index]},CONTROLLER://127.0.0.1:${ports[count + index]}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${ports[index]}`,
      'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'controller.listener.names': 'CONTROLLER',
      'inter.broker.listener.name': 'PLAINTEXT',
      'controller.quorum.voters': Array.from(
        { length: count },
        (_, i) => `${i + 1}@127.0.0.1:${ports[count + i]}`,
      ).join(),
      'log.dirs': join(folder, 'logs'),
      'auto.create.topics.enable': false,
      'default.replication.factor': replicas,
      'min.insync.replicas': inSync,
      'offsets.topic.replication.factor': replicas,
      'offsets.topic.num.partitions': 2,
      'transaction.state.log.replication.factor': replicas,
      'transaction.state.log.min.isr': inSync,
      'transaction.state.log.num.partitions': 2,
      'share.coordinator.state.topic.replication.factor': replicas,
      'share.coordinator.state.topic.min.isr': inSync,
      'group.initial.rebalance.delay.ms': 0,
      // Tests write old timestamps.
      'log.retention.hours': -1,
      'log.segment.bytes': 64 << 20,
      'log.cleaner.dedupe.buffer.size': 4 << 20,
      'controlled.shutdown.enable': false,
      'broker.session.timeout.ms': 3_000,
      'broker.heartbeat.interval.ms': 500,
    }
    Object.assign(all, this.#securitySettings(all), this.#networkSettings(all, ports[2 * count]!))
    const text = Object.entries(all).map(([name, value]) => `${name}=${value}\n`)
    writeFileSync(join(folder, 'server.properties'), text.join(''))
    const log4j = [
      'status = error',
      'appender.console.type = Console',
      'appender.console.name = console',
      'appender.console.layout.type = PatternLayout',
      'appender.console.layout.pattern = [%d] %p %m (%c)%n',
      'rootLogger.level = warn',
      'rootLogger.appenderRef.console.ref = console',
    ]
    writeFileSync(join(folder, 'log4j2.properties'), log4j.join('\n'))
  }

  /** A listener beside the plain one, which brokers keep for each other. */
  #securitySettings({
    listeners,
    'advertised.listeners': advertised,
    ...all
  }: Record<string, unknown>): Record<string, string> {
    if (!this.secured) return {}
    const { brokers, username, password } = this.secured
    const here = `SECURE://${brokers[Number(all['node.id']) - 1]}`
    const login = 'org.apache.kafka.common.security'
    const settings: Record<string, string> = {
      listeners: `${listeners},${here}`,
      'advertised.listeners': `${advertised},${here}`,
      'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL',
      'ssl.keystore.type': 'PKCS12',
      'ssl.keystore.location': join(this.#data, 'store.p12'),
      'ssl.keystore.password': password,
      'ssl.key.password': password,
      'listener.name.secure.sasl.enabled.mechanisms': SASL_MECHANISMS.join(),
      'listener.name.secure.plain.sasl.jaas.config': `${login}.plain.PlainLoginModule required user_${username}="${password}";`,
    }
    for (const mechanism of SASL_MECHANISMS.slice(1)) {
      const name = `listener.name.secure.${mechanism.toLowerCase()}.sasl.jaas.config`
      settings[name] = `${login}.scram.ScramLoginModule required;`
    }
    return settings
  }

  /** A listener beside the plain one, whose address is the network's. */
  #networkSettings(all: Record<string, unknown>, port: number): Record<string, string> {
    if (!this.behind) return {}
    return {
      listeners: `${all.listeners},BEHIND://127.0.0.1:${port}`,
      'advertised.listeners': `${all['advertised.listeners']},BEHIND://${this.behind[0]}`,
      'listener.security.protocol.map': `${all['listener.security.protocol.map']},BEHIND:PLAINTEXT`,
    }
  }

  async #untilAnswered(count: number): Promise<void> {
    const until = Date.now() + START_LIMIT_MS
    const kafka = new Kafka({ brokers: this.brokers, logLevel: logLevel.NOTHING, retry: { retries: 0 } })
    for (;;) {
      const admin = kafka.admin()
      try {
        await admin.connect()
        const { brokers, controller } = await admin.describeCluster()
        if (brokers.length === count && controller !== null) return
      } catch (thrown) {
        const ended = [...this.#running.values()].find(
          ({ child }) => child.exitCode !== null || child.signalCode !== null,
        )
        if (ended) await ended.ended
        if (Date.now() > until) throw thrown
      } finally {
        await admin.disconnect().catch(() => {})
      }
      if (Date.now() > until) throw new Error(`Not all brokers came up in ${START_LIMIT_MS} ms`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

function javaPath(): string {
  return process.env.JAVA_HOME ? join(process.env.JAVA_HOME, 'bin', 'java') : 'java'
}

function javaVersion(): number | undefined {
  try {
    const text = execFileSync(javaPath(), ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const found = /\b(\d+)(\.\d+)*/.exec(text)
    return found ? Number(found[1]) : undefined
  } catch {
    return undefined
  }
}

function classPath(): string[] {
  const jars = readdirSync(JARS).filter((name) => name.endsWith('.jar'))
  const lines = jars.sort().map((name) => join(JARS, name))
  return ['-cp', lines.join(delimiter)]
}

function fetchJars(): void {
  const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>spqr</groupId><artifactId>test-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
  <build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version>
  </plugin></plugins></build>
</project>
`
  mkdirSync(CACHE, { recursive: true })
  const own = join(CACHE, `${createHash('sha256').update(pom).digest('hex').slice(0, 8)}-${process.pid}`)
  mkdirSync(own)
  writeFileSync(join(own, 'pom.xml'), pom)
  const lib = join(own, 'lib')
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${lib}`]
  try {
    execFileSync('mvn', ['-q', '-B', '-ntp', '-f', join(own, 'pom.xml'), ...goal], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    // Moved as a whole, so that two at once cannot mix.
    if (!existsSync(JARS)) renameSync(lib, JARS)
  } finally {
    rmSync(own, { recursive: true, force: true })
  }
}

/** Free ports, all held until each is known, so that no two are the same. */
async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = []
  for (let i = 0; i < count; i++) {
    const server = createServer()
    servers.push(server)
    await new Promise<void>((done, failed) => server.once('error', failed).listen(0, '127.0.0.1', done))
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))))
  return ports
}
