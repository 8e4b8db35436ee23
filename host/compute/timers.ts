// One heap of due times per worker: a pipeline with nothing to emit has no entry and costs nothing.
// Runs on: compute.

export interface Timer {
  dueMs: number
  state: 'waits' | 'cancelled' | 'fired'
  fire: () => void
}

/** So few cancelled ones are not worth a sweep. */
const SWEEP_MIN = 64

export class Timers {
  private heap: Timer[] = []
  private cancelled = 0

  /** Timers in the heap, cancelled ones included. */
  get size(): number {
    return this.heap.length
  }

  /** @param dueMs of `performance.now()` */
  add(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, state: 'waits', fire }
    this.insert(timer)
    return timer
  }

  /** Takes a timer out. What it would have fired is let go of at once: its time may be hours away. */
  cancel(timer: Timer): void {
    if (timer.state !== 'waits') return
    timer.state = 'cancelled'
    timer.fire = nothing
    this.cancelled++
    if (this.cancelled >= SWEEP_MIN && this.cancelled * 2 > this.heap.length) this.sweep()
  }

  /** ms until the next one; Infinity without any. */
  next(nowMs: number): number {
    while (this.heap.length > 0 && this.heap[0]!.state === 'cancelled') this.pop()
    return this.heap.length === 0 ? Number.POSITIVE_INFINITY : Math.max(0, this.heap[0]!.dueMs - nowMs)
  }

  /** Fires what is due. */
  run(nowMs: number): void {
    while (this.heap.length > 0 && this.heap[0]!.dueMs <= nowMs) {
      const timer = this.pop()
      if (timer.state === 'cancelled') continue
      timer.state = 'fired'
      timer.fire()
    }
  }

  /** Rebuilds the heap without the cancelled ones. */
  private sweep(): void {
    const waiting = this.heap.filter((timer) => timer.state === 'waits')
    this.heap = []
    this.cancelled = 0
    for (const timer of waiting) this.insert(timer)
  }

  private insert(timer: Timer): void {
    this.heap.push(timer)
    let i = this.heap.length - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (this.heap[parent]!.dueMs <= timer.dueMs) break
      this.heap[i] = this.heap[parent]!
      i = parent
    }
    this.heap[i] = timer
  }

  private pop(): Timer {
    const top = this.heap[0]!
    if (top.state === 'cancelled') this.cancelled--
    const last = this.heap.pop()!
    if (this.heap.length > 0) {
      let i = 0
      for (;;) {
        let child = 2 * i + 1
        if (child >= this.heap.length) break
        if (child + 1 < this.heap.length && this.heap[child + 1]!.dueMs < this.heap[child]!.dueMs) child++
        if (this.heap[child]!.dueMs >= last.dueMs) break
        this.heap[i] = this.heap[child]!
        i = child
      }
      this.heap[i] = last
    }
    return top
  }
}

function nothing(): void {}
