// Compiles pushed sources away from the control thread: one process, one source at a time, tenants in turn, each with a time limit. It is
// started for the first one and ends when nothing came for a while, for the compiler is large. A process, since a source may
// lead it to where V8 ends all threads of its own (a table above what there can be), whatever the limit of one thread's heap.
// Runs on: control. The other side is compile.process.ts.

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { SpqrError } from '../../schemas/errors.ts'
import type { Compiled, CompileInput, CompileResult } from './compile.ts'

/** A pushed source. */
export interface CompileRequest {
  name: string
  version: string
  /** AssemblyScript. */
  source: string
  manifest?: CompileInput['manifest']
}

/** Where the compiler finds the SDK; the argument of the process. */
export interface CompilerFiles {
  /** Folder with `sdk/` and `abi.ts`. */
  operatorsFolder: string
  /** Path of asconfig.json. */
  asconfig: string
}

/** What the process answers: `failure` where the compiler itself fell. */
export type CompileReply = { output: CompileResult } | { failure: string }

interface Job {
  tenant: string
  input: CompileRequest
  done: (output: CompileResult) => void
  fail: (error: SpqrError) => void
  took: (ms: number) => void
  /** ms of `performance.now()`; 0: it waits. */
  startedAt: number
}

const WAITING_MAX = 32

export class Compiler {
  readonly #files: CompilerFiles
  readonly #timeLimitMs: number
  readonly #idleMs: number
  readonly #heapMiB: number
  readonly #waiting: Job[] = []
  /** Whose source was compiled last, and before that. */
  #served: string[] = []
  #process: ChildProcess | undefined
  #current: Job | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param timeLimitMs of one source, waiting not included */
  constructor(files: CompilerFiles, timeLimitMs = 60_000, idleMs = 60_000, heapMiB = 1024) {
    this.#files = files
    this.#timeLimitMs = timeLimitMs
    this.#idleMs = idleMs
    this.#heapMiB = heapMiB
  }

  /**
   * Tenants take turns, each with one source: who pushes many waits for himself.
   *
   * @param took is told how many ms the compiler worked on it, also where it failed
   * @throws SpqrError COMPILE_FAILED with the compiler's diagnostics; BACK_PRESSURE where too many wait
   */
  async compile(
    tenant: string,
    input: CompileRequest,
    took: (ms: number) => void = () => undefined,
  ): Promise<Compiled> {
    if (this.#waiting.length >= WAITING_MAX) {
      throw new SpqrError('BACK_PRESSURE', `Cannot compile "${input.name}": ${WAITING_MAX} sources wait; try again.`, {
        retriable: true,
        extra: { retryAfterSeconds: 5 },
      })
    }
    const output = await new Promise<CompileResult>((done, fail) => {
      this.#waiting.push({ tenant, input, done, fail, took, startedAt: 0 })
      this.#next()
    })
    if ('wasm' in output) return output
    const issues = output.diagnostics.map(({ message, line, column }) => ({
      pointer: '/source',
      message,
      line,
      column,
    }))
    throw new SpqrError(
      'COMPILE_FAILED',
      `Cannot compile ${input.name}@${input.version}: ${issues.length === 1 ? 'one error' : `${issues.length} errors`}.`,
      { issues },
    )
  }

  /** Ends the process; what waits fails. */
  async stop(): Promise<void> {
    const gone = new SpqrError('INVALID_STATE', 'Cannot compile: the manager stops.')
    for (const job of this.#waiting.splice(0)) job.fail(gone)
    this.#current?.fail(gone)
    this.#current = undefined
    await this.#end()
  }

  #next(): void {
    if (this.#current) return
    const job = this.#takeNext()
    clearTimeout(this.#timer)
    if (!job) {
      this.#timer = setTimeout(() => void this.#end(), this.#idleMs).unref()
      return
    }
    this.#current = job
    job.startedAt = performance.now()
    this.#process ??= this.#start()
    this.#process.ref()
    this.#process.channel?.ref()
    this.#process.send(job.input)
    this.#timer = setTimeout(() => {
      // Only an end stops a compile: it is synchronous.
      void this.#end()
      const seconds = this.#timeLimitMs / 1000
      this.#settle({ diagnostics: [{ message: `took longer than the limit of ${seconds} s`, line: 1, column: 1 }] })
    }, this.#timeLimitMs)
  }

  /** The oldest source of the tenant who was served the longest ago, or never. */
  #takeNext(): Job | undefined {
    const waits = (job: Job): number => this.#served.indexOf(job.tenant)
    let next = this.#waiting[0]
    for (const job of this.#waiting) {
      const ago = waits(job)
      if (ago < 0) next = waits(next!) < 0 ? next : job
      else if (waits(next!) >= 0 && ago > waits(next!)) next = job
    }
    if (!next) {
      this.#served = []
      return undefined
    }
    this.#waiting.splice(this.#waiting.indexOf(next), 1)
    this.#served = [next.tenant, ...this.#served.filter((tenant) => tenant !== next.tenant)].slice(0, WAITING_MAX)
    return next
  }

  #start(): ChildProcess {
    const child = fork(
      fileURLToPath(new URL('./compile.process.js', import.meta.url)),
      [JSON.stringify(this.#files), String(process.pid)],
      {
        execArgv: [`--max-old-space-size=${this.#heapMiB}`],
        env: {},
        serialization: 'advanced',
        // What it says when it falls is no word of ours.
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      },
    )
    child.on('message', (reply: CompileReply) => {
      if (child !== this.#process) return
      if ('output' in reply) this.#settle(reply.output)
      else this.#fall(child, reply.failure)
    })
    child.on('error', (error) => this.#fall(child, error.message))
    child.on('exit', () => this.#fall(child, 'its process ended; the source may be too much for it'))
    return child
  }

  #settle(output: CompileResult): void {
    const job = this.#current
    this.#current = undefined
    this.#process?.unref()
    this.#process?.channel?.unref()
    job?.took(performance.now() - job.startedAt)
    job?.done(output)
    this.#next()
  }

  #fall(process: ChildProcess, message: string): void {
    if (process !== this.#process) return
    void this.#end()
    this.#settle({ diagnostics: [{ message: `the compiler gave up: ${message}`, line: 1, column: 1 }] })
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer)
    const process = this.#process
    this.#process = undefined
    if (!process || process.exitCode !== null || process.signalCode !== null || process.pid === undefined) return
    const gone = new Promise((done) => process.once('exit', done))
    process.ref()
    process.kill('SIGKILL')
    await gone
  }
}
