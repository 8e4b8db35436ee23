// A manager over a real host in this process, or `spqr dev` as a process that can be killed, with an operator that counts:
// what the tests of delivery look at.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHostApp } from '../../host/http/app.ts'
import { Permissions } from '../../host/permissions/permissions.ts'
import { Host } from '../../host/pipeline/host.ts'
import { COMPILER_FILES, SHIPPED_FOLDER } from '../../manager/cli/product.ts'
import { createManager } from '../../manager/http/create-manager.ts'
import { ControlStore } from '../../manager/store/control-store.ts'
import { Client } from './client.ts'
import { freePort, isReady, ProductProcess } from './product-process.ts'

/** Numbers come in, `{n, count}` go out; a negative one is poison after it has left its traces. */
const COUNTING = `import { Operator, Record, Emitter, register } from 'spqr'
let count: i64 = 0
class Counting extends Operator {
  process(record: Record, out: Emitter): void {
    const n = <i64>record.json('n').f64
    count++
    out.write('{"n":' + n.toString() + ',"count":' + count.toString() + '}')
    if (n < 0) throw new Error('boom at ' + n.toString())
  }
}
register(new Counting())
`

export type Delivery = 'at-most-once' | 'at-least-once' | 'exactly-once'
export const DELIVERIES: readonly Delivery[] = ['at-most-once', 'at-least-once', 'exactly-once']

/** A topic, through the counting operator, into another. */
export function counting(id: string, input: string, output: string, more: object = {}): Record<string, unknown> {
  return {
    id,
    checkpointEveryMs: 50,
    ...more,
    components: [
      { id: 'in', source: 'topic', settings: { topic: input, from: 'earliest' } },
      { id: 'c', operator: 'counting@1', from: 'in' },
      { id: 'out', emitter: 'topic', from: 'c', settings: { topic: output } },
    ],
  }
}

export async function pushCounting(client: Client, version = '1.0.0', source = COUNTING): Promise<void> {
  await client.ok('POST', '/v1/operators', { name: 'counting', version, source })
}

export const countingSource = COUNTING

export const makeFolder = (): string => mkdtempSync(join(tmpdir(), 'spqr-delivery-'))

/** Manager and host in this process. */
export class Product {
  readonly folder: string
  readonly host: Host
  readonly client: Client
  readonly #stop: () => Promise<void>

  /**
   * @param flags permissions, as on the command line
   * @param brokers Kafka's, in place of the embedded transport
   */
  static async start({
    folder = makeFolder(),
    flags = [] as string[],
    workers = 2,
    brokers = undefined as string[] | undefined,
  } = {}): Promise<Product> {
    mkdirSync(folder, { recursive: true })
    const store = ControlStore.open(folder)
    const permissions = Permissions.parse(flags)
    const kafka = brokers && { brokers }
    const host = await Host.start({ dataDir: folder, permissions, computeWorkers: workers, kafka })
    const app = createHostApp(host)
    const manager = await createManager({
      store,
      hosts: [
        {
          id: 'local',
          url: 'http://host',
          fetch: (request) => app.fetch(request),
          put: (plan, options) => host.put(plan, options),
        },
      ],
      shippedFolder: SHIPPED_FOLDER,
      compiler: COMPILER_FILES,
      version: '0.0.0',
      log: () => undefined,
    })
    await manager.started
    return new Product(folder, host, new Client(manager.fetch), async () => {
      await manager.stop()
      await host.stop()
      store.stop()
    })
  }

  private constructor(folder: string, host: Host, client: Client, stop: () => Promise<void>) {
    this.folder = folder
    this.host = host
    this.client = client
    this.#stop = stop
  }

  stop(): Promise<void> {
    return this.#stop()
  }

  async remove(): Promise<void> {
    await this.#stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** `spqr dev` as a process of its own. */
export class DevProcess extends ProductProcess {
  readonly client: Client
  readonly url: string

  /** Starts it, and waits until it is ready unless told otherwise. */
  static async start({ folder, flags = [] as string[], wait = true }: DevOptions): Promise<DevProcess> {
    const made = new DevProcess(await freePort(), folder, flags)
    if (wait) await made.ready()
    return made
  }

  private constructor(port: number, folder: string, flags: string[]) {
    super(['dev', '--empty', '--port', String(port), '--data', folder, ...flags])
    const url = `http://127.0.0.1:${port}`
    this.url = url
    this.client = new Client((request) => {
      const { pathname, search } = new URL(request.url)
      return fetch(new Request(url + pathname + search, request))
    })
  }

  /** @throws Error with what it printed where it ends instead */
  async ready(): Promise<void> {
    await this.until(() => isReady(this.url))
  }
}

interface DevOptions {
  folder: string
  flags?: string[]
  wait?: boolean
}
