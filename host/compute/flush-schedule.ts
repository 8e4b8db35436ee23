// When an operator flushes, as its `emitWhen` says: after so many records, after so long, or when it asks for it.
// Runs on: compute. A flush that records asked for comes before the next record and before a barrier; one whose time is up
// waits while the pipeline is paused.

import type { EmitWhen } from '../../schemas/document.ts'
import type { Timer, Timers } from './timers.ts'

const NO_LIMIT = 1 << 30

export interface FlushScheduleOwner {
  readonly paused: boolean
  readonly timers: Timers
  /** The time of a flush has come. */
  wake(): void
}

export class FlushSchedule {
  /** Records since the last flush. */
  records = 0
  /** It comes next. */
  due = false
  private timeIsUp = false
  private timer: Timer | null = null
  private emitWhen: EmitWhen | undefined
  private readonly owner: FlushScheduleOwner

  constructor(emitWhen: EmitWhen | undefined, owner: FlushScheduleOwner) {
    this.emitWhen = emitWhen
    this.owner = owner
  }

  /** So many records may come before the next flush. */
  get recordsLeft(): number {
    const { emitWhen } = this
    return emitWhen && 'records' in emitWhen ? Math.max(1, emitWhen.records - this.records) : NO_LIMIT
  }

  /** @returns true: it is to flush now; told once // hot */
  takeDue(): boolean {
    if (!this.due && !(this.timeIsUp && !this.owner.paused)) return false
    this.due = this.timeIsUp = false
    return true
  }

  /** Records came. @param isAsked the operator asked for a flush at one of them */
  passed(records: number, isAsked: boolean): void {
    this.records += records
    const { emitWhen } = this
    if (isAsked && emitWhen && 'operator' in emitWhen) this.due = true
    else if (emitWhen && 'records' in emitWhen && this.records >= emitWhen.records) this.due = true
    else this.arm()
  }

  /** Goes by another `emitWhen` from now on. @returns false: it is the same */
  change(emitWhen: EmitWhen | undefined): boolean {
    const same = JSON.stringify(emitWhen) === JSON.stringify(this.emitWhen)
    this.emitWhen = emitWhen
    if (!same) this.disarm()
    return !same
  }

  /** The time until the next flush begins, where there is one. */
  arm(): void {
    const { emitWhen, owner } = this
    if (this.timer !== null || !emitWhen || !('everyMs' in emitWhen)) return
    this.timer = owner.timers.add(performance.now() + emitWhen.everyMs, () => {
      this.timer = null
      this.timeIsUp = true
      owner.wake()
    })
  }

  disarm(): void {
    if (this.timer) this.owner.timers.cancel(this.timer)
    this.timer = null
  }
}
