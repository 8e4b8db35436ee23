// What workers tell the host of themselves, in shared memory: who is awake, and that each of them moves on.
//
//    word 0      slots          how many slots of `awake` are in use
//    word 1+3n   heartbeat      of compute worker n: grows with each turn of its loop
//    word 2+3n   pipeline       the pipeline it works on, -1 between two
//    word 3+3n   busy           µs spent on pipelines, modulo 2^32
//    behind them awake          one word per slot: 1 while its thread runs; written by it, and by the control thread once it is dead

const SLOTS = 0
const HEARTBEAT = 1
const PIPELINE = 2
const BUSY = 3
const WORDS = 3
export const WORKERS_MAX = 64
/** The trial thread's number among the workers. */
export const TRIALS = WORKERS_MAX
const AWAKE = 1 + WORDS * (WORKERS_MAX + 1)
/** Slot of the thread that drives bridges, or pipes; there is one. */
export const BRIDGE_SLOT = 0
export const slotOf = (worker: number): number => worker + 1

export function makeStatus(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * (AWAKE + slotOf(WORKERS_MAX)))
}

export class Status {
  private readonly words: Int32Array
  private readonly slot: number
  private carriedUs = 0

  /** @param slot of the thread that says of itself that it wakes and sleeps */
  constructor(memory: SharedArrayBuffer, slot = BRIDGE_SLOT) {
    this.words = new Int32Array(memory)
    this.slot = slot
  }

  woke(): void {
    const { words, slot } = this
    // Another thread may raise it at the same time: the exchange keeps the higher one.
    for (let slots = words[SLOTS]!; slots <= slot; ) slots = Atomics.compareExchange(words, SLOTS, slots, slot + 1)
    Atomics.store(words, AWAKE + slot, 1)
  }

  slept(): void {
    Atomics.store(this.words, AWAKE + this.slot, 0)
  }

  /** The thread of this slot has ended, awake or not. */
  died(slot: number): void {
    Atomics.store(this.words, AWAKE + slot, 0)
  }

  /** Threads of the host that run now. // hot */
  get awake(): number {
    const { words } = this
    const slots = words[SLOTS]!
    let awake = 0
    // Each is told by its own thread; a sum that is a moment old does no harm.
    for (let slot = 0; slot < slots; slot++) awake += Atomics.load(words, AWAKE + slot)
    return awake
  }

  /** The worker begins a turn with this pipeline; -1: with none. // hot, once per turn */
  turn(worker: number, pipeline: number): void {
    this.words[PIPELINE + WORDS * worker] = pipeline
    // A plain counter with one writer; the atomic store lets the control thread see it soon.
    const heartbeat = HEARTBEAT + WORDS * worker
    Atomics.store(this.words, heartbeat, (this.words[heartbeat]! + 1) | 0)
  }

  /** The worker spent so long on a pipeline. // hot, once per turn */
  worked(worker: number, ms: number): void {
    const busy = BUSY + WORDS * worker
    // One writer; parts of a microsecond are carried, or many short turns would not count.
    const us = ms * 1000 + this.carriedUs
    const whole = Math.floor(us)
    this.carriedUs = us - whole
    Atomics.store(this.words, busy, (this.words[busy]! + whole) | 0)
  }

  /** Microseconds that a worker spent on pipelines since it began, modulo 2^32. */
  busyUs(worker: number): number {
    return Atomics.load(this.words, BUSY + WORDS * worker) >>> 0
  }

  heartbeat(worker: number): number {
    return Atomics.load(this.words, HEARTBEAT + WORDS * worker)
  }

  pipeline(worker: number): number {
    return Atomics.load(this.words, PIPELINE + WORDS * worker)
  }
}
