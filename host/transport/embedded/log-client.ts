// Calls over a port to the log thread: one message per tick in each direction, bounded, and never left unanswered.
// Runs on: control, bridge.

import type { MessagePort } from 'node:worker_threads'
import { SpqrError } from '../../../schemas/errors.ts'
import type { FromLog, GroupEvent, Operation, ReadBody, Request, Results, ToLog, WriteBody } from './messages.ts'

/** Bytes on their way to the log thread from one transport; above, calls are refused until some were answered. */
const PENDING_BYTES_MAX = 512 << 20

interface Pending {
  bytes: number
  resolve(value: unknown): void
  reject(error: SpqrError): void
}

export class LogClient {
  readonly #port: MessagePort
  readonly #pending = new Map<number, Pending>()
  #lastId = 0
  #pendingBytes = 0
  #outbox: Request[] = []
  #transfer: ArrayBuffer[] = []
  #failure?: SpqrError
  #drained?: () => void

  /**
   * @param onAppended records became readable
   * @param onGroup a group tells one of its members
   */
  constructor(
    port: MessagePort,
    onAppended: (topic: string, partition: number) => void,
    onGroup: (member: string, event: GroupEvent) => void,
  ) {
    this.#port = port
    port.on('message', (message: FromLog) => {
      switch (message.kind) {
        case 'replies':
          for (const reply of message.replies) this.#settle(reply)
          return
        case 'appended':
          for (const [topic, partition] of message.partitions) onAppended(topic, partition)
          return
        case 'group':
          onGroup(message.member, message.event)
          return
        case 'failed':
          this.#fail(SpqrError.fromMessage(message.error))
      }
    })
    // The log thread is gone, or this side was closed.
    port.on('close', () => this.#fail(new SpqrError('TRANSPORT_UNAVAILABLE', 'Cannot use the log: it is stopped.')))
  }

  /** @throws SpqrError what the log thread answers; TRANSPORT_UNAVAILABLE where it will not */
  call<O extends Operation>(
    _op: O,
    body: (WriteBody | ReadBody) & { op: O },
    transfer: ArrayBuffer[] = [],
  ): Promise<Results[O]> {
    if (this.#failure) return Promise.reject(this.#failure)
    let bytes = 0
    for (const buffer of transfer) bytes += buffer.byteLength
    if (this.#pending.size > 0 && this.#pendingBytes + bytes > PENDING_BYTES_MAX) {
      const text = `Cannot give more to the log: ${this.#pendingBytes} bytes wait for it already; try again when they are done.`
      return Promise.reject(new SpqrError('TRANSPORT_UNAVAILABLE', text, { retriable: true }))
    }
    const id = ++this.#lastId
    if (this.#outbox.push({ ...body, id } as Request) === 1) queueMicrotask(() => this.#flush())
    for (const buffer of transfer) this.#transfer.push(buffer)
    this.#pendingBytes += bytes
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { bytes, resolve: (value) => resolve(value as Results[O]), reject })
    })
  }

  /** Without an answer. */
  post(message: ToLog): void {
    if (!this.#failure) this.#port.postMessage(message)
  }

  /** Waits for every answer, then closes. */
  async stop(): Promise<void> {
    if (this.#pending.size > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve
      })
    }
    this.#port.close()
  }

  #flush(): void {
    const requests = this.#outbox
    const transfer = this.#transfer
    this.#outbox = []
    this.#transfer = []
    try {
      this.#port.postMessage({ kind: 'requests', requests } satisfies ToLog, transfer)
    } catch (thrown) {
      // Something that cannot be sent, e.g. memory that was given away before: the caller's mistake, so it shall hear of it.
      const error = SpqrError.from(thrown).toMessage()
      for (const { id } of requests) this.#settle({ id, error })
    }
  }

  #settle(reply: (FromLog & { kind: 'replies' })['replies'][number]): void {
    const pending = this.#pending.get(reply.id)
    if (!pending) return
    this.#pending.delete(reply.id)
    this.#pendingBytes -= pending.bytes
    if ('error' in reply) pending.reject(SpqrError.fromMessage(reply.error))
    else pending.resolve(reply.value)
    if (this.#pending.size === 0) this.#drained?.()
  }

  #fail(error: SpqrError): void {
    this.#failure ??= error
    for (const pending of this.#pending.values()) pending.reject(this.#failure)
    this.#pending.clear()
    this.#pendingBytes = 0
    this.#drained?.()
  }
}
