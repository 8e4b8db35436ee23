// Seeded random numbers for fuzzers: the same seed gives the same run.

/** @returns a whole number from 0, below `below` */
export type Pick = (below: number) => number

export function picker(seed: number): Pick {
  let state = seed >>> 0
  return (below) => {
    // Mulberry32.
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}
