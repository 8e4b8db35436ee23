// Waits between attempts: 100 ms, doubling, at most 5 s.
// Runs on: bridge.

const FIRST_MS = 100
const MOST_MS = 5000

export class Backoff {
  #nextMs = FIRST_MS

  /** How long to wait before the next attempt, ms. */
  next(): number {
    const wait = this.#nextMs
    this.#nextMs = Math.min(MOST_MS, wait * 2)
    return wait
  }

  /** It went well. */
  reset(): void {
    this.#nextMs = FIRST_MS
  }
}
