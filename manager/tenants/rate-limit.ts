// Requests per tenant: a bucket that fills at a steady rate and holds a burst. In memory; a restart fills it.
// Runs on: control, once per request.

import { SpqrError } from '../../schemas/errors.ts'

export const REQUESTS_PER_SECOND = 200
export const REQUESTS_BURST = 400

interface Bucket {
  left: number
  /** ms of `performance.now()` */
  filledAt: number
}

export class RateLimit {
  readonly #buckets = new Map<string, Bucket>()
  readonly #perSecond: number
  readonly #burst: number

  constructor(perSecond = REQUESTS_PER_SECOND, burst = REQUESTS_BURST) {
    this.#perSecond = perSecond
    this.#burst = burst
  }

  /** Takes one. @param now ms @throws SpqrError QUOTA_EXCEEDED, saying when to come again */
  take(tenant: string, now = performance.now()): void {
    let bucket = this.#buckets.get(tenant)
    if (!bucket) {
      bucket = { left: this.#burst, filledAt: now }
      this.#buckets.set(tenant, bucket)
    }
    bucket.left = Math.min(this.#burst, bucket.left + ((now - bucket.filledAt) / 1000) * this.#perSecond)
    bucket.filledAt = now
    if (bucket.left < 1) {
      const retryAfterSeconds = Math.max(1, Math.ceil((1 - bucket.left) / this.#perSecond))
      throw new SpqrError(
        'QUOTA_EXCEEDED',
        `The tenant "${tenant}" asks more than ${this.#perSecond} times a second; ask again in ${retryAfterSeconds} s, or put more into each request.`,
        { retriable: true, extra: { retryAfterSeconds } },
      )
    }
    bucket.left--
  }

  forget(tenant: string): void {
    this.#buckets.delete(tenant)
  }
}
