// What workers tell the host of themselves, in shared memory: who is awake, and that each of them moves on.
//
//    word 0      awake          threads that run now (each adds itself when it wakes, takes itself out when it sleeps)
//    word 1+3n   heartbeat      of compute worker n: grows with each turn of its loop
//    word 2+3n   pipeline       the pipeline it works on, -1 between two
//    word 3+3n   busy           µs spent on pipelines, modulo 2^32

const AWAKE = 0
const HEARTBEAT = 1
const PIPELINE = 2
const BUSY = 3
const WORDS = 3
export const WORKERS_MAX = 64
/** The trial thread's number among the workers. */
export const TRIALS = WORKERS_MAX

export function makeStatus(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * (1 + WORDS * (WORKERS_MAX + 1)))
}

export class Status {
  private readonly words: Int32Array
  private carriedUs = 0

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory)
  }

  woke(): void {
    Atomics.add(this.words, AWAKE, 1)
  }

  slept(): void {
    Atomics.sub(this.words, AWAKE, 1)
  }

  /** Threads of the host that run now. */
  get awake(): number {
    return Atomics.load(this.words, AWAKE)
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
