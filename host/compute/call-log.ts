// The calls an instance got since its last snapshot, with their input: run again after a fault they give the same state.
// Runs on: compute. The memory is the log's own and bounded.

export const CALL_CONFIGURE = 0
export const CALL_PROCESS = 1
export const CALL_FLUSH = 2
export const CALL_WATERMARK = 3

/** Input kept at most; a full log forces a snapshot. */
export const CALL_LOG_BYTES_MAX = 1 << 20
const CALLS_MAX = 4096
const NO_BYTES = new Uint8Array(0)
const NO_ENDS = new Uint32Array(0)
const NO_NUMBERS = new Float64Array(0)

export class CallLog {
  /** Input of all calls, one behind the other. */
  bytes = NO_BYTES
  length = 0
  count = 0
  kinds = NO_BYTES
  /** Where each call's input ends in `bytes`. */
  ends = NO_ENDS
  /** The argument of a watermark; else the seed of random. */
  seeds = NO_NUMBERS
  clocks = NO_NUMBERS

  clear(): void {
    this.length = 0
    this.count = 0
  }

  hasRoom(bytes: number): boolean {
    return this.count < CALLS_MAX && (this.length === 0 || this.length + bytes <= CALL_LOG_BYTES_MAX)
  }

  /** Notes a call before it runs. @returns where to copy its input to in `bytes` // hot */
  add(kind: number, bytes: number, clock: number, seed: number): number {
    if (this.length + bytes > this.bytes.length) this.growBytes(this.length + bytes)
    if (this.count === this.kinds.length) this.growCalls()
    const at = this.length
    this.kinds[this.count] = kind
    this.clocks[this.count] = clock
    this.seeds[this.count] = seed
    this.length = at + bytes
    this.ends[this.count] = this.length
    this.count++
    return at
  }

  /** Takes the last call back: it never was. */
  dropLast(): void {
    this.count--
    this.length = this.count > 0 ? this.ends[this.count - 1]! : 0
  }

  /** Gives the memory back. */
  free(): void {
    this.clear()
    this.bytes = this.kinds = NO_BYTES
    this.ends = NO_ENDS
    this.seeds = this.clocks = NO_NUMBERS
  }

  private growBytes(needed: number): void {
    let capacity = Math.max(4096, this.bytes.length)
    while (capacity < needed) capacity *= 2
    const larger = new Uint8Array(capacity)
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
  }

  private growCalls(): void {
    const capacity = Math.max(64, this.kinds.length * 2)
    const kinds = new Uint8Array(capacity)
    kinds.set(this.kinds)
    this.kinds = kinds
    const ends = new Uint32Array(capacity)
    ends.set(this.ends)
    this.ends = ends
    const seeds = new Float64Array(capacity)
    seeds.set(this.seeds)
    this.seeds = seeds
    const clocks = new Float64Array(capacity)
    clocks.set(this.clocks)
    this.clocks = clocks
  }
}
