// The event loop of a relay: looks at its doorbell in turns, polls for a moment after work, then sleeps until it is rung.
// Sockets and message ports come in between by themselves.
// Runs on: relay thread and the tenant's process.

import type { Status } from '../compute/status.ts'
import type { DoorbellOwner } from '../ring/doorbell.ts'

/** After work it looks again so long before it sleeps. */
const POLL_MS = 0.05

export interface PumpOwner {
  /** The channel has records, or room. */
  signalled(channel: number): void
  /** After the signals of a turn. @returns true: something was done */
  pump(): boolean
}

export class PumpLoop {
  private readonly bell: DoorbellOwner
  private readonly status: Status
  private readonly cores: number
  private readonly owner: PumpOwner
  private readonly onSignal: (channel: number) => void
  private scheduled = false
  private asleep = false
  private lastWork = 0

  constructor(bell: DoorbellOwner, status: Status, cores: number, owner: PumpOwner) {
    this.bell = bell
    this.status = status
    this.cores = cores
    this.owner = owner
    this.onSignal = (channel) => owner.signalled(channel)
  }

  start(): void {
    this.status.woke()
    this.turn()
  }

  /** Records came from outside: more may follow soon. */
  worked(): void {
    this.lastWork = performance.now()
    if (!this.scheduled) this.turnSoon()
  }

  private turnSoon(): void {
    this.scheduled = true
    setImmediate(this.turn)
  }

  private readonly turn = (): void => {
    this.scheduled = false
    // Messages come by their ports; the bell is told that they were seen.
    this.bell.takeMessages()
    this.bell.takeSignals(this.onSignal)
    const now = performance.now()
    if (this.owner.pump()) this.lastWork = now
    if (now - this.lastWork < POLL_MS && this.status.awake <= this.cores) this.turnSoon()
    else this.sleep()
  }

  private sleep(): void {
    if (this.asleep) return
    this.asleep = true
    this.status.slept()
    void this.bell.rung().then(() => {
      this.asleep = false
      this.status.woke()
      if (!this.scheduled) this.turn()
    })
  }
}
