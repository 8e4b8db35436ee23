// Starts the log thread and hands out ports to it, one for each thread that wants an EmbeddedTransport.
// Runs on: control.

import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { SpqrError } from '../../../schemas/errors.ts'
import type { ControlMessage, ControlReply, LogOptions } from './messages.ts'

export type { LogOptions } from './messages.ts'

/**
 * The handle of the log thread, which is the only one that has log.db open.
 *
 * @example
 * const log = await EmbeddedLog.start({ dataDir })
 * const transport = new EmbeddedTransport(log.connect())     // here
 * bridgeWorker.postMessage({ port }, [port])                 // or there, `port` being another log.connect()
 */
export class EmbeddedLog {
  /** Resolves when the thread ended after `stop` or `kill`; rejects with TRANSPORT_UNAVAILABLE when it ended by itself. */
  readonly closed: Promise<void>
  readonly #worker: Worker
  #state: 'running' | 'stopping' | 'closed' = 'running'

  private constructor(worker: Worker, dataDir: string) {
    this.#worker = worker
    let failure: SpqrError | undefined
    worker.on('message', (reply: ControlReply) => {
      if (reply.kind === 'failed') failure = SpqrError.fromMessage(reply.error)
    })
    worker.on('error', (error) => {
      failure ??= failed(dataDir, error.message)
    })
    this.closed = new Promise((resolve, reject) => {
      worker.once('exit', () => {
        const expected = this.#state === 'stopping' && failure === undefined
        this.#state = 'closed'
        if (expected) resolve()
        else reject(failure ?? failed(dataDir, 'it ended'))
      })
    })
    // Whoever does not look at `closed` learns it from the transports.
    this.closed.catch(() => {})
  }

  /**
   * Opens the log of a data folder, making it if there is none.
   * @throws SpqrError IN_USE (another process has the folder), INVALID_STATE (damaged, or of a newer version),
   *   TRANSPORT_UNAVAILABLE (the folder cannot be used)
   */
  static async start(options: LogOptions): Promise<EmbeddedLog> {
    const worker = new Worker(new URL('./log.worker.js', import.meta.url), { workerData: options, name: 'log' })
    await new Promise<void>((resolve, reject) => {
      worker.once('message', (reply: ControlReply) => {
        if (reply.kind === 'ready') resolve()
        else reject(SpqrError.fromMessage(reply.error))
      })
      worker.once('error', (error) => reject(failed(options.dataDir, error.message)))
    })
    return new EmbeddedLog(worker, options.dataDir)
  }

  /** A port for one EmbeddedTransport, on this thread or (transferred) on another. */
  connect(): MessagePort {
    if (this.#state !== 'running') throw new SpqrError('TRANSPORT_UNAVAILABLE', 'Cannot use the log: it is stopped.')
    const { port1, port2 } = new MessageChannel()
    const message: ControlMessage = { kind: 'connect', port: port1 }
    this.#worker.postMessage(message, [port1])
    return port2
  }

  /** Finishes what waits, closes the file and ends the thread. Transports that are still open reject from then on. */
  async stop(): Promise<void> {
    if (this.#state === 'running') {
      this.#state = 'stopping'
      this.#worker.postMessage({ kind: 'stop' } satisfies ControlMessage)
    }
    await this.closed
  }

  /** Ends the thread at once; everything acknowledged is kept. */
  async kill(): Promise<void> {
    if (this.#state === 'running') this.#state = 'stopping'
    await this.#worker.terminate()
    await this.closed
  }
}

function failed(dataDir: string, reason: string): SpqrError {
  const text = `Cannot use the log in "${dataDir}": its thread failed (${reason}); restart.`
  return new SpqrError('TRANSPORT_UNAVAILABLE', text)
}
