// One heap of due times per worker: a pipeline with nothing to emit has no entry and costs nothing.
// Runs on: compute.

export interface Timer {
  dueMs: number
  /** Taken out: it stays in the heap until its time and is passed over then. */
  cancelled: boolean
  readonly fire: () => void
}

export class Timers {
  private readonly heap: Timer[] = []

  /** @param dueMs of `performance.now()` */
  add(dueMs: number, fire: () => void): Timer {
    const timer: Timer = { dueMs, cancelled: false, fire }
    this.heap.push(timer)
    let i = this.heap.length - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (this.heap[parent]!.dueMs <= dueMs) break
      this.heap[i] = this.heap[parent]!
      i = parent
    }
    this.heap[i] = timer
    return timer
  }

  /** ms until the next one; Infinity without any. */
  next(nowMs: number): number {
    while (this.heap.length > 0 && this.heap[0]!.cancelled) this.pop()
    return this.heap.length === 0 ? Number.POSITIVE_INFINITY : Math.max(0, this.heap[0]!.dueMs - nowMs)
  }

  /** Fires what is due. */
  run(nowMs: number): void {
    while (this.heap.length > 0 && this.heap[0]!.dueMs <= nowMs) {
      const timer = this.pop()
      if (!timer.cancelled) timer.fire()
    }
  }

  private pop(): Timer {
    const top = this.heap[0]!
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
