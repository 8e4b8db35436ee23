// Compiles pushed sources away from the control thread: one worker, one source at a time, each with a time limit. The
// worker is started for the first one and ends when nothing came for a while, for the compiler is large.
// Runs on: control. The other side is compile.worker.ts.

import { Worker } from 'node:worker_threads'
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

/** Where the compiler finds the SDK; the worker's data. */
export interface CompilerFiles {
  /** Folder with `sdk/` and `abi.ts`. */
  operatorsFolder: string
  /** Path of asconfig.json. */
  asconfig: string
}

/** What the worker answers: `failure` where the compiler itself fell. */
export type CompileReply = { output: CompileResult } | { failure: string }

interface Job {
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
  readonly #waiting: Job[] = []
  #worker: Worker | undefined
  #current: Job | undefined
  #timer: NodeJS.Timeout | undefined

  /** @param timeLimitMs of one source, waiting not included */
  constructor(files: CompilerFiles, timeLimitMs = 60_000, idleMs = 60_000) {
    this.#files = files
    this.#timeLimitMs = timeLimitMs
    this.#idleMs = idleMs
  }

  /**
   * @param took is told how many ms the compiler worked on it, also where it failed
   * @throws SpqrError COMPILE_FAILED with the compiler's diagnostics; BACK_PRESSURE where too many wait
   */
  async compile(input: CompileRequest, took: (ms: number) => void = () => undefined): Promise<Compiled> {
    if (this.#waiting.length >= WAITING_MAX) {
      throw new SpqrError('BACK_PRESSURE', `Cannot compile "${input.name}": ${WAITING_MAX} sources wait; try again.`, {
        retriable: true,
        extra: { retryAfterSeconds: 5 },
      })
    }
    const output = await new Promise<CompileResult>((done, fail) => {
      this.#waiting.push({ input, done, fail, took, startedAt: 0 })
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

  /** Ends the worker; what waits fails. */
  async stop(): Promise<void> {
    const gone = new SpqrError('INVALID_STATE', 'Cannot compile: the manager stops.')
    for (const job of this.#waiting.splice(0)) job.fail(gone)
    this.#current?.fail(gone)
    this.#current = undefined
    await this.#end()
  }

  #next(): void {
    if (this.#current) return
    const job = this.#waiting.shift()
    clearTimeout(this.#timer)
    if (!job) {
      this.#timer = setTimeout(() => void this.#end(), this.#idleMs).unref()
      return
    }
    this.#current = job
    job.startedAt = performance.now()
    this.#worker ??= this.#start()
    this.#worker.ref()
    this.#worker.postMessage(job.input)
    this.#timer = setTimeout(() => {
      // Only an end stops a compile: it is synchronous.
      void this.#end()
      const seconds = this.#timeLimitMs / 1000
      this.#settle({ diagnostics: [{ message: `took longer than the limit of ${seconds} s`, line: 1, column: 1 }] })
    }, this.#timeLimitMs)
  }

  #start(): Worker {
    const worker = new Worker(new URL('./compile.worker.js', import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: 1024 },
      env: {},
      workerData: this.#files,
    })
    worker.on('message', (reply: CompileReply) => {
      if (worker !== this.#worker) return
      if ('output' in reply) this.#settle(reply.output)
      else this.#fall(worker, reply.failure)
    })
    worker.on('error', (error) => this.#fall(worker, error.message))
    worker.on('exit', () => this.#fall(worker, 'its thread ended'))
    return worker
  }

  #settle(output: CompileResult): void {
    const job = this.#current
    this.#current = undefined
    this.#worker?.unref()
    job?.took(performance.now() - job.startedAt)
    job?.done(output)
    this.#next()
  }

  #fall(worker: Worker, message: string): void {
    if (worker !== this.#worker) return
    void this.#end()
    this.#settle({ diagnostics: [{ message: `the compiler gave up: ${message}`, line: 1, column: 1 }] })
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer)
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}
