// Writes that need not be on the disk when they return: they survive the end of the process at once, and that of the machine
// with the next write that is durable. A way to the disk holds up the control thread, and with it every request.
// Runs on: control.

import type Database from 'libsql'

/** Not within a transaction. */
export function unhurried(db: Database.Database, write: () => void): void {
  // Not `pragma`, which prepares a statement and asks it for rows.
  db.exec('PRAGMA synchronous = NORMAL')
  try {
    write()
  } finally {
    db.exec('PRAGMA synchronous = FULL')
  }
}
