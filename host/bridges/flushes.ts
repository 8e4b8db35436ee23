// Who waits until batches are delivered: a flush waits for those that were closed before it, not for later ones.
// Runs on: bridge.

import type { SpqrError } from '../../schemas/errors.ts'

interface Waiting {
  until: number
  done: () => void
  fail: (error: SpqrError) => void
}

export class Flushes {
  #closed = 0
  #delivered = 0
  #waiting: Waiting[] = []
  #stopped: SpqrError | undefined

  /** A batch was closed. */
  closed(): void {
    this.#closed++
  }

  /** The oldest batch that was not delivered yet, was. */
  delivered(): void {
    this.#delivered++
    while (this.#waiting.length > 0 && this.#waiting[0]!.until <= this.#delivered) this.#waiting.shift()!.done()
  }

  /** Resolves when every batch that is closed now is delivered. @throws SpqrError: it was stopped before */
  wait(): Promise<void> {
    const until = this.#closed
    if (this.#delivered >= until) return Promise.resolve()
    if (this.#stopped) return Promise.reject(this.#stopped)
    return new Promise((done, fail) => this.#waiting.push({ until, done, fail }))
  }

  /** Nothing will be delivered any more. */
  stop(error: SpqrError): void {
    this.#stopped = error
    for (const { fail } of this.#waiting.splice(0)) fail(error)
  }
}
