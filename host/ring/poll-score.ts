// Whether it is worth to look for a moment before a thread sleeps. A wake-up costs more than most batches take, but a thread
// that looks holds a core: where the other side has none, what is looked for comes later for it. So polling goes on as long as
// it finds something, is left off where it does not, and is tried again now and then.
// Runs on: bridge, compute.

const SCORE_MAX = 16
/** While it is not worth it, one time in so many it is tried. */
const TRY_EVERY = 64

export class PollScore {
  private score = SCORE_MAX
  private skipped = 0

  /** Asked before each time. // hot, once per batch */
  isWorth(): boolean {
    if (this.score === 0 && ++this.skipped < TRY_EVERY) return false
    this.skipped = 0
    return true
  }

  /** Something came while it looked. */
  hit(): void {
    this.score = Math.min(SCORE_MAX, this.score + 2)
  }

  /** Nothing did. */
  miss(): void {
    this.score >>= 1
  }
}
