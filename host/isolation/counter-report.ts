// Counters of a tenant's process on their way to the host: whole blocks that changed. The process counts from its own start,
// so the host adds what came since the last report; what is a level, not a count, it takes over.
// Runs on: the tenant's process (writes), relay thread (reads).
//
//    of each block: u32 number, u32 0, the floats, the latency histogram as i32

import {
  BUSY_MS,
  type Counters,
  FLOATS,
  FUEL_USED,
  LATENCY_BUCKETS,
  MEMORY_BYTES,
  type Slabs,
} from '../compute/counters.ts'
import { MalformedFrame } from './frames.ts'

const ENTRY_WORDS = 2 + 2 * FLOATS + LATENCY_BUCKETS
const ENTRY_BYTES = 4 * ENTRY_WORDS
/** Of one frame. */
const BLOCKS_MAX = 128
/** Of an instance that starts anew these do too. */
const LEVELS = new Set([FUEL_USED, BUSY_MS, MEMORY_BYTES])

/** The process's side: which blocks have changed since they were last told. */
export class CounterReporter {
  private readonly told = new Map<number, { counters: Counters; values: Float64Array; records: number }>()
  private readonly slabs: Slabs

  constructor(slabs: Slabs) {
    this.slabs = slabs
  }

  add(block: number): void {
    if (this.told.has(block)) return
    this.told.set(block, { counters: this.slabs.block(block), values: new Float64Array(FLOATS), records: 0 })
  }

  remove(block: number): void {
    // A block that is used again later begins at nothing, here as on the host.
    this.told.get(block)?.counters.clear()
    this.told.delete(block)
  }

  /** Frames of what has changed in these blocks, all where none are named. */
  *report(blocks: Iterable<number> = this.told.keys()): Generator<Uint8Array> {
    const changed: number[] = []
    for (const block of blocks) {
      const entry = this.told.get(block)
      if (entry && hasChanged(entry.counters.values, entry.values)) changed.push(block)
    }
    for (let at = 0; at < changed.length; at += BLOCKS_MAX) yield this.frame(changed.slice(at, at + BLOCKS_MAX))
  }

  private frame(blocks: number[]): Uint8Array {
    const words = new Int32Array(ENTRY_WORDS * blocks.length)
    blocks.forEach((block, i) => {
      const { counters, values } = this.told.get(block)!
      const at = i * ENTRY_WORDS
      words[at] = block
      // The copy first: what is counted meanwhile differs from it and is told the next time.
      values.set(counters.values)
      new Float64Array(words.buffer, 4 * (at + 2), FLOATS).set(values)
      words.set(counters.latency, at + 2 + 2 * FLOATS)
    })
    return new Uint8Array(words.buffer)
  }
}

function hasChanged(now: Float64Array, before: Float64Array): boolean {
  for (let i = 0; i < FLOATS; i++) if (now[i] !== before[i]) return true
  return false
}

/** The host's side. */
export class CounterMirror {
  private readonly seen = new Map<number, { counters: Counters; values: Float64Array; latency: Int32Array }>()

  /** Takes reports of this block from now on. */
  add(block: number, slabs: Slabs): void {
    if (this.seen.has(block)) return
    const latency = new Int32Array(LATENCY_BUCKETS)
    this.seen.set(block, { counters: slabs.block(block), values: new Float64Array(FLOATS), latency })
  }

  remove(block: number): void {
    this.seen.delete(block)
  }

  /** @throws MalformedFrame: a block of another, or a count that goes down */
  take(bytes: Uint8Array, from: number, to: number): void {
    if ((to - from) % ENTRY_BYTES !== 0) throw new MalformedFrame(`a counter report of ${to - from} bytes`)
    const report = bytes.slice(from, to)
    for (let at = 0; at < report.length; at += ENTRY_BYTES) {
      const head = new Uint32Array(report.buffer, at, 1)
      const entry = this.seen.get(head[0]!)
      if (!entry) throw new MalformedFrame(`counters of block ${head[0]}`)
      const values = new Float64Array(report.buffer, at + 8, FLOATS)
      const latency = new Int32Array(report.buffer, at + 8 + 8 * FLOATS, LATENCY_BUCKETS)
      values.forEach((value, i) => {
        const grown = LEVELS.has(i) ? value : value - entry.values[i]!
        if (!(grown >= 0 && grown <= Number.MAX_SAFE_INTEGER)) throw new MalformedFrame(`counter ${i} at ${value}`)
        if (LEVELS.has(i)) entry.counters.values[i] = value
        else entry.counters.values[i]! += grown
      })
      latency.forEach((count, i) => {
        entry.counters.latency[i]! += (count - entry.latency[i]!) | 0
      })
      entry.values.set(values)
      entry.latency.set(latency)
    }
  }
}
