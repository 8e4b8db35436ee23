// A guest's log, bounded: so many lines a second, and a count of the others.
// Runs on: compute.

import { LOG_WARN } from '../record/record.ts'

const LINES_PER_SECOND = 100

export class LogLines {
  private second = 0
  private lines = 0
  private readonly tell: (level: number, text: string) => void

  constructor(tell: (level: number, text: string) => void) {
    this.tell = tell
  }

  /** @param text not asked for where the line is not kept */
  add(level: number, text: () => string): void {
    const second = Math.floor(performance.now() / 1000)
    if (second !== this.second) {
      const dropped = this.lines - LINES_PER_SECOND
      if (dropped > 0) this.tell(LOG_WARN, `${dropped} more lines were not kept`)
      this.second = second
      this.lines = 0
    }
    if (++this.lines <= LINES_PER_SECOND) this.tell(level, text())
  }

  /** Counts lines that nobody kept. */
  drop(lines: number): void {
    this.lines += lines
  }
}
