// What workers tell the host of themselves, in shared memory: who is awake, and that each of them moves on.
//
//    word 0      awake          threads that run now (each adds itself when it wakes, takes itself out when it sleeps)
//    word 1+2n   heartbeat      of compute worker n: grows with each turn of its loop
//    word 2+2n   pipeline       the pipeline it works on, -1 between two

const AWAKE = 0
export const WORKERS_MAX = 64

export function makeStatus(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * (1 + 2 * WORKERS_MAX))
}

export class Status {
  private readonly words: Int32Array

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
    this.words[2 + 2 * worker] = pipeline
    // A plain counter with one writer; the atomic store lets the control thread see it soon.
    Atomics.store(this.words, 1 + 2 * worker, (this.words[1 + 2 * worker]! + 1) | 0)
  }

  heartbeat(worker: number): number {
    return Atomics.load(this.words, 1 + 2 * worker)
  }

  pipeline(worker: number): number {
    return Atomics.load(this.words, 2 + 2 * worker)
  }
}
