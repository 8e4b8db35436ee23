// Who has work, in the order of their turns: who had one stands behind all others, also where its turn alone takes all the time.
// Runs on: bridge.

export class TurnQueue<T> {
  readonly #queued = new Set<T>()

  get size(): number {
    return this.#queued.size
  }

  /** It has work; it keeps its place where it stands there already. */
  add(one: T): void {
    this.#queued.add(one)
  }

  delete(one: T): void {
    this.#queued.delete(one)
  }

  /**
   * Gives each a turn, until the time is up; the others have theirs the next time.
   * @param turn does a piece of work @returns whether there is more // hot
   */
  run(untilMs: number, turn: (one: T) => boolean): void {
    let left = this.#queued.size
    for (const one of this.#queued) {
      // Those behind have had theirs.
      if (left-- === 0) return
      // Before its turn: what is said of it meanwhile gives it another.
      this.#queued.delete(one)
      if (turn(one)) this.#queued.add(one)
      if (performance.now() > untilMs) return
    }
  }
}
