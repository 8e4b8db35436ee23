// One commit of log.db that many writes share, with what has to happen in memory when it holds or does not.
// Runs on: log thread.

import type { Database } from './database.ts'

export class WriteTransaction {
  readonly #afterCommit: (() => void)[] = []
  readonly #afterRollback: (() => void)[] = []
  readonly #beforeCommit: (() => void)[] = []

  /** The last writes of the transaction, e.g. of what was gathered from several appends. */
  beforeCommit(act: () => void): void {
    this.#beforeCommit.push(act)
  }

  onCommit(act: () => void): void {
    this.#afterCommit.push(act)
  }

  /** Puts memory back as it was; called in reverse order. */
  onRollback(act: () => void): void {
    this.#afterRollback.push(act)
  }

  /**
   * Runs `body` in a transaction. Memory and file agree afterwards, whatever happened.
   * @throws what `body` or the database threw, after everything was undone
   */
  static run<T>(db: Database, body: (tx: WriteTransaction) => T): T {
    const tx = new WriteTransaction()
    let result: T
    try {
      db.exec('begin immediate')
      result = body(tx)
      for (const act of tx.#beforeCommit) act()
      db.exec('commit')
    } catch (thrown) {
      try {
        // A full disk has rolled it back already.
        if (db.inTransaction) db.exec('rollback')
      } finally {
        for (const act of tx.#afterRollback.reverse()) act()
      }
      throw thrown
    }
    for (const act of tx.#afterCommit) act()
    return result
  }
}
