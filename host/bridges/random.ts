// A seeded stream of random numbers whose state is four words, so that a checkpoint can keep it. The algorithm is
// xoshiro128** (Blackman, Vigna: Scrambled Linear Pseudorandom Number Generators, 2021).
// Runs on: bridge.

export type RandomState = [number, number, number, number]

export class Random {
  #a: number
  #b: number
  #c: number
  #d: number

  private constructor(state: RandomState) {
    this.#a = state[0] | 0
    this.#b = state[1] | 0
    this.#c = state[2] | 0
    this.#d = state[3] | 0
  }

  /** @param seed any number; the same gives the same stream */
  static seeded(seed: number): Random {
    const words = new Uint32Array(new Float64Array([seed]).buffer)
    // splitmix32 spreads the seed over the state, which must not be all zeros.
    let x = (words[0]! ^ Math.imul(words[1]!, 0x9e3779b9)) | 0
    const next = (): number => {
      x = (x + 0x9e3779b9) | 0
      let z = x ^ (x >>> 16)
      z = Math.imul(z, 0x21f0aaad)
      z ^= z >>> 15
      z = Math.imul(z, 0x735a2d97)
      return z ^ (z >>> 15)
    }
    return new Random([next(), next(), next(), next() | 1])
  }

  static restored(state: RandomState): Random {
    return new Random(state)
  }

  get state(): RandomState {
    return [this.#a >>> 0, this.#b >>> 0, this.#c >>> 0, this.#d >>> 0]
  }

  /** 0 … 2^32 - 1 // hot */
  u32(): number {
    const r = Math.imul(this.#b, 5)
    const result = Math.imul((r << 7) | (r >>> 25), 9) >>> 0
    const t = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= t
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result
  }

  /** 0 ≤ x < 1, of 53 bits // hot */
  unit(): number {
    const high = this.u32() >>> 6
    return (high * 134217728 + (this.u32() >>> 5)) / 9007199254740992
  }

  /** A whole number from `low` to `high`, both included. // hot */
  int(low: number, high: number): number {
    const span = high - low + 1
    if (span <= 4294967296) return low + Math.floor((this.u32() / 4294967296) * span)
    return low + Math.floor(this.unit() * span)
  }
}
