// `spqr dev` as a process of its own, with a data folder that goes away with it, and what it takes of the machine.

import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HttpClient } from './http-client.ts'
import type { ProbeReport } from './probe.ts'

const MAIN = fileURLToPath(new URL('../../manager/cli/main.js', import.meta.url))
/** Flags of Node that put the probe into the server. */
export const PROBE = ['--import', new URL('probe.js', import.meta.url).href]
const READY_MS_MAX = 30_000
/** What the kernel counts processor time in; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

export class Server {
  readonly port: number
  readonly pid: number
  readonly client: HttpClient
  private readonly child: ChildProcess
  private readonly folder: string

  /** @param flags of `spqr dev`; @param nodeFlags of Node itself, for profiles. @throws Error where it does not come up */
  static async start(flags: string[] = [], nodeFlags: string[] = []): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), 'spqr-bench-'))
    const args = [...profileFlags(), ...nodeFlags, MAIN, 'dev', '--empty', '--port', '0', '--data', folder, ...flags]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      return new Server(child, folder, await portOf(child))
    } catch (error) {
      child.kill('SIGKILL')
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  private constructor(child: ChildProcess, folder: string, port: number) {
    this.child = child
    this.folder = folder
    this.port = port
    this.pid = child.pid!
    this.client = new HttpClient(port)
  }

  /** Processor time of all its threads so far, s. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  }

  /** Resident memory, bytes. */
  residentBytes(): number {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))
    return Number(kib![1]) * 1024
  }

  /** Calls the API with a JSON body. @throws Error where it does not answer 2xx */
  async api<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.client.request(method, path, body === undefined ? undefined : JSON.stringify(body))
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString()}`)
    return (answer.body.length === 0 ? undefined : JSON.parse(answer.body.toString())) as T
  }

  async stats(pipeline: string): Promise<Record<string, ComponentStats>> {
    const { components } = await this.api<{ components: Record<string, ComponentStats> }>(
      'GET',
      `/v1/pipelines/${pipeline}/stats`,
    )
    return components
  }

  /** @returns when it printed this, ms of `performance.now()` */
  async printed(text: string): Promise<number> {
    await this.lineWith(text)
    return performance.now()
  }

  /** What the probe in this pipeline measured, once the pipeline has ended. */
  async report(pipeline: string): Promise<ProbeReport> {
    return JSON.parse(await this.lineWith(`{"probe":"${pipeline}"`)) as ProbeReport
  }

  /** The next line it prints that holds this text. */
  private lineWith(text: string): Promise<string> {
    return new Promise((done) => {
      let tail = ''
      const look = (data: Buffer): void => {
        const lines = (tail + data.toString()).split('\n')
        tail = lines.pop()!
        const line = lines.find((one) => one.includes(text))
        if (line === undefined) return
        this.child.stdout!.off('data', look)
        done(line)
      }
      this.child.stdout!.on('data', look)
    })
  }

  async stop(): Promise<void> {
    this.client.stop()
    const ended = new Promise<void>((done) => this.child.once('exit', () => done()))
    if (this.child.exitCode === null && this.child.kill('SIGTERM')) await ended
    await rm(this.folder, { recursive: true, force: true })
  }
}

export interface ComponentStats {
  recordsIn: number
  recordsOut: number
  errors: number
  latencyUs: { p50: number; p99: number }
}

/** BENCH_PROFILE names a folder: the server then writes one CPU profile per thread into it. */
function profileFlags(): string[] {
  const folder = process.env.BENCH_PROFILE
  return folder ? ['--cpu-prof', `--cpu-prof-dir=${folder}`] : []
}

function portOf(child: ChildProcess): Promise<number> {
  return new Promise((done, fail) => {
    let text = ''
    const timer = setTimeout(() => fail(new Error('spqr dev did not become ready')), READY_MS_MAX)
    child.once('exit', (code) => fail(new Error(`spqr dev ended with ${code}: ${text}`)))
    child.stdout!.on('data', (data: Buffer) => {
      text += data.toString()
      const found = /ready at http:\/\/127\.0\.0\.1:(\d+)/.exec(text)
      if (!found) return
      clearTimeout(timer)
      done(Number(found[1]))
    })
  })
}
