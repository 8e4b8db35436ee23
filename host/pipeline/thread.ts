// A worker thread as the control thread sees it: messages that ask and are answered, and its death.
// Runs on: control.

import { MessageChannel, type MessagePort, type TransferListItem, Worker } from 'node:worker_threads'
import { type ErrorMessage, SpqrError } from '../../schemas/errors.ts'

/**
 * Of a thread's heap, for what lives short. V8 would take 48 once pipelines are made one after the other, and never give it back;
 * what moves records allocates next to nothing.
 */
const YOUNG_MIB = 12

interface Answer {
  type: string
  request?: number
  error?: ErrorMessage
}

interface Waiting<From> {
  done: (answer: From) => void
  failed: (error: SpqrError) => void
}

/** A message that is answered, before it has its number. */
type Question<To> = To extends { request: number } ? Omit<To, 'request'> : never

/** `To` are messages to the thread, those with `request` are answered by `done` or `refused` of the same number. */
export class Thread<To extends { type: string }, From extends Answer> {
  readonly name: string
  readonly worker: Worker
  /** Resolves when the thread has ended, asked to or not, with what calls to it are told. */
  readonly closed: Promise<SpqrError>
  private readonly port: MessagePort
  private readonly waiting = new Map<number, Waiting<From>>()
  private readonly onPosted: () => void
  private nextRequest = 1
  private ended = false

  /**
   * @param entry the thread's file
   * @param data is given to it as workerData, with `control`: its port
   * @param onMessage gets what is no answer
   * @param onPosted runs after each message, where the thread does not wait on its event loop
   */
  constructor(
    name: string,
    entry: URL,
    data: Record<string, unknown>,
    transfer: TransferListItem[],
    onMessage: (message: From) => void,
    onPosted: () => void = () => undefined,
  ) {
    this.name = name
    this.onPosted = onPosted
    const { port1, port2 } = new MessageChannel()
    this.port = port1
    this.worker = new Worker(entry, {
      name,
      workerData: { ...data, control: port2 },
      transferList: [port2, ...transfer],
      resourceLimits: { stackSizeMb: 4, maxYoungGenerationSizeMb: YOUNG_MIB },
    })
    port1.on('message', (message: From) => {
      const request = message.request
      if (request === undefined) onMessage(message)
      else this.answered(request, message)
    })
    this.closed = new Promise((done) => {
      let cause: unknown
      this.worker.once('error', (error) => {
        cause = error
      })
      this.worker.once('exit', () => {
        this.ended = true
        port1.close()
        const why = cause instanceof Error ? `: ${cause.stack ?? cause.message}` : ''
        const error = new SpqrError('INTERNAL', `Thread ${this.name} ended${why}`, { retriable: true })
        for (const { failed } of this.waiting.values()) failed(error)
        this.waiting.clear()
        done(error)
      })
    })
  }

  /** Sends what needs no answer. */
  post(message: To, transfer: TransferListItem[] = []): void {
    if (this.ended) return
    this.port.postMessage(message, transfer)
    this.onPosted()
  }

  /** Sends and waits for the answer. @throws SpqrError as the thread says, or INTERNAL when it died */
  ask(message: Question<To>, transfer: TransferListItem[] = []): Promise<From> {
    return new Promise((done, failed) => {
      if (this.ended) {
        failed(new SpqrError('INTERNAL', `Thread ${this.name} has ended`, { retriable: true }))
        return
      }
      const request = this.nextRequest++
      this.waiting.set(request, { done, failed })
      this.port.postMessage({ ...message, request }, transfer)
      this.onPosted()
    })
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    await this.worker.terminate()
  }

  private answered(request: number, message: From): void {
    const waiting = this.waiting.get(request)
    if (!waiting) return
    this.waiting.delete(request)
    if (message.type === 'refused') waiting.failed(SpqrError.fromMessage(message.error!))
    else waiting.done(message)
  }
}
