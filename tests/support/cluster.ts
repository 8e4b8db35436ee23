// `spqr manager` and hosts as processes of their own, each of which can be killed and started again where it was.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from './client.ts'
import { freePort, isReady, ProductProcess } from './product-process.ts'

const TOKEN = 'a secret of at least 32 characters'
const ENV = { SPQR_HOST_TOKEN: TOKEN }

export class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'spqr-cluster-'))
  readonly url: string
  readonly client: Client
  manager: ProductProcess | undefined
  readonly hosts = new Map<string, ProductProcess>()
  readonly #port: number
  readonly #ports = new Map<string, number>()

  /** A manager, without hosts. */
  static async start(): Promise<Cluster> {
    const cluster = new Cluster(await freePort())
    await cluster.startManager()
    return cluster
  }

  private constructor(port: number) {
    this.#port = port
    this.url = `http://127.0.0.1:${port}`
    this.client = new Client((request) => {
      const { pathname, search } = new URL(request.url)
      return fetch(new Request(this.url + pathname + search, request))
    })
  }

  /** Starts it where it was, and waits until it answers. */
  async startManager(env: Record<string, string> = {}): Promise<void> {
    const args = ['manager', '--port', String(this.#port), '--data', join(this.folder, 'manager')]
    const manager = new ProductProcess(args, { ...ENV, ...env })
    this.manager = manager
    await manager.until(() =>
      fetch(`${this.url}/healthz`).then(
        () => true,
        () => undefined,
      ),
    )
  }

  /** Starts one where it was, without waiting. @param flags more of the command line */
  async launchHost(id = 'one', flags: string[] = [], env: Record<string, string> = {}): Promise<ProductProcess> {
    const port = this.#ports.get(id) ?? (await freePort())
    this.#ports.set(id, port)
    const args = ['host', '--manager', this.url, '--port', String(port), '--data', join(this.folder, id), '--id', id]
    const host = new ProductProcess([...args, ...flags], { ...ENV, ...env })
    this.hosts.set(id, host)
    return host
  }

  /** The same, and waits until all that shall run there runs. */
  async startHost(id = 'one', flags: string[] = []): Promise<ProductProcess> {
    const host = await this.launchHost(id, flags)
    await host.until(() => host.log.includes('is ready') || undefined)
    return host
  }

  hostUrl(id = 'one'): string {
    return `http://127.0.0.1:${this.#ports.get(id)}`
  }

  /** Waits until every pipeline runs. */
  async ready(): Promise<void> {
    await this.manager!.until(() => isReady(this.url))
  }

  async killManager(): Promise<void> {
    await this.manager?.end('SIGKILL')
  }

  async killHost(id = 'one'): Promise<void> {
    await this.hosts.get(id)?.end('SIGKILL')
  }

  async remove(): Promise<void> {
    await Promise.all([this.killManager(), ...[...this.hosts.keys()].map((id) => this.killHost(id))])
    rmSync(this.folder, { recursive: true, force: true })
  }
}
