// Work on one thing is done one after the other; different things do not wait for each other.
// Runs on: control.

export class Serial {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Runs the work when all that was given before under this key has ended, however it ended; at once where none is. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const mine = before ? before.then(work, work) : work()
    this.#last.set(key, mine)
    const forget = (): void => {
      if (this.#last.get(key) === mine) this.#last.delete(key)
    }
    mine.then(forget, forget)
    return mine
  }
}
