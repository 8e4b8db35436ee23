// How many may read one thing at the same time: each holds a connection and what waits in it.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'

/** Of one pipeline's outputs and taps, of one topic. */
export const READERS_MAX = 256

export class ReaderPlaces {
  readonly #taken = new Map<string, number>()

  /**
   * @param what is read, as it is told
   * @returns gives the place back; calling it again does nothing
   * @throws SpqrError QUOTA_EXCEEDED
   */
  take(what: string): () => void {
    const taken = this.#taken.get(what) ?? 0
    if (taken >= READERS_MAX) {
      const message = `The ${what} has ${READERS_MAX} readers already, and may have no more: close one, and try again.`
      throw new SpqrError('QUOTA_EXCEEDED', message, { retriable: true })
    }
    this.#taken.set(what, taken + 1)
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      const left = this.#taken.get(what)! - 1
      if (left > 0) this.#taken.set(what, left)
      else this.#taken.delete(what)
    }
  }
}
