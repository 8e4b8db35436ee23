// Says how many records are due at a rate, by the clock and not by intervals, so that the rate holds over hours.
// Runs on: bridge.

/** A source that was held up longer than this does not make up for it. */
const CATCH_UP_MS = 1000
/** Waking more often than this costs more than the smoothness is worth, */
const WAKE_MS_MIN = 2
/** unless so many records gather meanwhile that moving them is most of the work. */
const WAKE_MS_FAST = 1
const FAST_PER_MS = 20
/** Node's timers take 31 bits. */
const WAIT_MS_MAX = 2 ** 31 - 1

export class Pacer {
  #perMs: number
  /** When the next record is due, performance.now(). */
  #nextAt: number

  /** @param recordsPerSecond above 0 */
  constructor(recordsPerSecond: number, now: number) {
    this.#perMs = recordsPerSecond / 1000
    this.#nextAt = now
  }

  /** Records that are due at `now`. // hot */
  due(now: number): number {
    const behind = now - this.#nextAt
    if (behind < 0) return 0
    const missed = behind - Math.max(CATCH_UP_MS, 1 / this.#perMs)
    if (missed > 0) {
      this.#nextAt += missed
      return Math.floor((behind - missed) * this.#perMs) + 1
    }
    return Math.floor(behind * this.#perMs) + 1
  }

  took(records: number): void {
    this.#nextAt += records / this.#perMs
  }

  /** How long until a record is due, for a timer. */
  waitMs(now: number): number {
    const least = this.#perMs >= FAST_PER_MS ? WAKE_MS_FAST : WAKE_MS_MIN
    return Math.min(WAIT_MS_MAX, Math.max(least, Math.ceil(this.#nextAt - now)))
  }

  /** Another rate from the next record on. */
  setRate(recordsPerSecond: number): void {
    const before = this.#perMs
    this.#perMs = recordsPerSecond / 1000
    // The wait for the next record was reckoned by the old rate.
    this.#nextAt += 1 / this.#perMs - 1 / before
  }
}
