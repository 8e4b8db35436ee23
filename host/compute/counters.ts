// Counters of components in shared memory: the thread that does the work writes, the control thread reads; nobody asks.
// One block per component; blocks stand in slabs, which are shared once with every worker.
//
//    f64 0…9   see the constants
//    i32 …     latency histogram: LATENCY_BUCKETS counts, four buckets an octave of microseconds
//
// Each word has one writing thread: FLOW words of a source and of an emitter the bridge's, those of an operator the compute worker's.

export const RECORDS_IN = 0
export const RECORDS_OUT = 1
export const BYTES_IN = 2
export const BYTES_OUT = 3
export const ERRORS = 4
export const DEAD_LETTERS = 5
export const FUEL_USED = 6
export const BUSY_MS = 7
export const MEMORY_BYTES = 8
export const DROPPED = 9
export const FLOATS = 10

export const LATENCY_BUCKETS = 96
const BLOCK_BYTES = 512
export const SLAB_BLOCKS = 2048

export function makeSlab(): SharedArrayBuffer {
  return new SharedArrayBuffer(SLAB_BLOCKS * BLOCK_BYTES)
}

/** Counters that no other thread sees. */
export function ownCounters(): Counters {
  return new Counters(new SharedArrayBuffer(BLOCK_BYTES), 0)
}

/** All slabs of the host, as one thread sees them. A block's number is the same in all threads. */
export class Slabs {
  private readonly slabs: SharedArrayBuffer[] = []

  add(index: number, memory: SharedArrayBuffer): void {
    this.slabs[index] = memory
  }

  block(number: number): Counters {
    const slab = this.slabs[Math.floor(number / SLAB_BLOCKS)]
    if (slab === undefined) throw new RangeError(`there is no counter block ${number}`)
    return new Counters(slab, (number % SLAB_BLOCKS) * BLOCK_BYTES)
  }
}

export interface CountersView {
  recordsIn: number
  recordsOut: number
  bytesIn: number
  bytesOut: number
  errors: number
  deadLetters: number
  fuelUsed: number
  busyMs: number
  memoryBytes: number
  dropped: number
  latencyUs: { p50: number | null; p99: number | null }
}

export class Counters {
  readonly values: Float64Array
  readonly latency: Int32Array

  constructor(slab: SharedArrayBuffer, at: number) {
    this.values = new Float64Array(slab, at, FLOATS)
    this.latency = new Int32Array(slab, at + FLOATS * 8, LATENCY_BUCKETS)
  }

  /** Notes that `records` took this long from their arrival to their departure. // hot, once per batch */
  took(us: number, records: number): void {
    const bucket = us < 1 ? 0 : Math.min(LATENCY_BUCKETS - 1, Math.floor(Math.log2(us) * 4))
    this.latency[bucket]! += records
  }

  clear(): void {
    this.values.fill(0)
    this.latency.fill(0)
  }

  /** Counts what another has counted as well. */
  add(other: Counters): void {
    for (let i = 0; i < FLOATS; i++) this.values[i]! += other.values[i]!
    for (let i = 0; i < LATENCY_BUCKETS; i++) this.latency[i]! += other.latency[i]!
  }

  read(): CountersView {
    const v = this.values
    return {
      recordsIn: v[RECORDS_IN]!,
      recordsOut: v[RECORDS_OUT]!,
      bytesIn: v[BYTES_IN]!,
      bytesOut: v[BYTES_OUT]!,
      errors: v[ERRORS]!,
      deadLetters: v[DEAD_LETTERS]!,
      fuelUsed: v[FUEL_USED]!,
      busyMs: Math.round(v[BUSY_MS]! * 1000) / 1000,
      memoryBytes: v[MEMORY_BYTES]!,
      dropped: v[DROPPED]!,
      latencyUs: { p50: this.percentile(0.5), p99: this.percentile(0.99) },
    }
  }

  /** Upper bound of the bucket that holds this share of the records, µs; null before the first. */
  private percentile(share: number): number | null {
    let total = 0
    for (const count of this.latency) total += count
    if (total === 0) return null
    let seen = 0
    for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
      seen += this.latency[bucket]!
      if (seen >= total * share) return Math.round(2 ** ((bucket + 1) / 4) * 10) / 10
    }
    return null
  }
}
