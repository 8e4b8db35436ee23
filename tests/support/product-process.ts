// A command of `spqr` as a process of its own, which ends with the test.

import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { ROOT } from '../../manager/cli/product.ts'
import { until } from './client.ts'

const LOG_LENGTH = 20_000

export class ProductProcess {
  readonly child: ChildProcess
  readonly closed: Promise<number | null>
  readonly #name: string
  #log = ''

  constructor(args: string[], env: Record<string, string> = {}) {
    this.#name = args[0]!
    const main = join(ROOT, 'dist/manager/cli/main.js')
    this.child = spawn(process.execPath, [main, ...args], { env: { ...process.env, ...env } })
    const take = (chunk: Buffer): void => {
      this.#log = (this.#log + chunk.toString()).slice(-LOG_LENGTH)
    }
    this.child.stdout!.on('data', take)
    this.child.stderr!.on('data', take)
    this.closed = new Promise((done) => this.child.once('close', (code) => done(code)))
    const endWithUs = (): boolean => this.child.kill('SIGKILL')
    process.once('exit', endWithUs)
    this.child.once('close', () => process.off('exit', endWithUs))
  }

  /** What it printed last. */
  get log(): string {
    return this.#log
  }

  /** Asks until it is answered. @throws Error with what the process printed where it ends instead */
  until<T>(ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
    return until(
      () => {
        const { exitCode, signalCode } = this.child
        if (exitCode === null && signalCode === null) return ask()
        throw new Error(`spqr ${this.#name} ended with ${signalCode ?? exitCode}\n${this.#log}`)
      },
      () => `spqr ${this.#name} is not ready\n${this.#log}`,
    )
  }

  /** @returns its exit code, null where the signal ended it */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    this.child.kill(signal)
    return this.closed
  }
}

/** Whether every pipeline runs. */
export async function isReady(url: string): Promise<true | undefined> {
  return fetch(`${url}/readyz`).then(
    (response) => response.ok || undefined,
    () => undefined,
  )
}

export function freePort(): Promise<number> {
  return new Promise((done) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => done(port))
    })
  })
}
