// How long a bridge looks for records before it sleeps: for what a worker makes of those that it was sent, and for more.
// Runs on: bridge.

import { PollScore } from '../../ring/poll-score.ts'

/** What a worker needs from its wake-up to its answer, where there is a core for it. */
const ANSWER_MS = 0.15
const MORE_MS = 0.05

export class BridgePoll {
  private readonly answers = new PollScore()
  private readonly more = new PollScore()
  /** What it looks for now. */
  private awaited: PollScore | null = null
  private until = 0

  /** Records went to a worker. // hot, once per batch */
  sent(nowMs: number): void {
    this.await(this.answers, nowMs + ANSWER_MS)
  }

  /** Records came. // hot, once per batch */
  moved(nowMs: number): void {
    this.await(this.more, nowMs + MORE_MS)
  }

  private await(score: PollScore, until: number): void {
    if (this.awaited !== null || !score.isWorth()) return
    this.awaited = score
    this.until = until
  }

  /** A worker has signalled. // hot */
  came(): void {
    this.awaited?.hit()
    this.awaited = null
  }

  /** Whether to look again; else to sleep. */
  goesOn(nowMs: number): boolean {
    if (this.awaited === null) return false
    if (nowMs < this.until) return true
    this.awaited.miss()
    this.awaited = null
    return false
  }
}
