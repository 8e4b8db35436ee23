// throttle: `records` in each window of `perMs`; a window begins with the first record that comes after the one before
// ended. Time is the host's, not the records', for a throttle protects what comes behind it.

import { Change, clock, Emitter, Operator, Record, register, Settings } from 'spqr'

const OUT: u32 = 0
const EXCESS: u32 = 1

class Throttle extends Operator {
  private records: f64 = 1
  private perMs: f64 = 1
  private windowEnd: f64 = -Infinity
  private passed: f64 = 0

  configure(settings: Settings): Change {
    const records = settings.f64('records', NaN)
    const perMs = settings.f64('perMs', NaN)
    if (!(records >= 1)) throw new Error('records is a number of 1 or more')
    if (!(perMs >= 1)) throw new Error('perMs is a number of milliseconds, 1 or more')
    if (this.windowEnd != -Infinity) this.windowEnd += perMs - this.perMs
    this.records = Math.floor(records)
    this.perMs = perMs
    return Change.Keep
  }

  // hot
  process(record: Record, out: Emitter): void {
    const now = clock()
    // A clock that was set back must not close the window for as long.
    if (now >= this.windowEnd || now < this.windowEnd - this.perMs) {
      this.windowEnd = now + this.perMs
      this.passed = 0
    }
    if (this.passed < this.records) {
      this.passed++
      out.emitTo(OUT, record)
    } else out.emitTo(EXCESS, record)
  }
}

register(new Throttle())
