// Maps byte offsets of a rewritten module to those of the original, so that a trap can be shown where its author wrote it.
// Runs on: any thread; a map is a plain array that can be sent and stored.
//
// The map is pairs {offset in the rewritten module, offset in the original}, ascending; each holds up to the next. The
// highest bit of the second says that the bytes were inserted: all of them stand for that one original instruction.

export type OffsetMap = Uint32Array

const INSERTED = 0x80000000

export class OffsetMapBuilder {
  #pairs = new Uint32Array(1024)
  #length = 0

  /** From `rewritten` on the bytes are those from `original` on. */
  copied(rewritten: number, original: number): void {
    this.#push(rewritten, original)
  }

  /** From `rewritten` on the bytes are ours, on behalf of the instruction at `original`. */
  inserted(rewritten: number, original: number): void {
    this.#push(rewritten, original + INSERTED)
  }

  #push(rewritten: number, original: number): void {
    // An empty run is replaced by what follows it.
    if (this.#length > 0 && this.#pairs[this.#length - 2] === rewritten) this.#length -= 2
    if (this.#length === this.#pairs.length) {
      const larger = new Uint32Array(this.#length * 2)
      larger.set(this.#pairs)
      this.#pairs = larger
    }
    this.#pairs[this.#length++] = rewritten
    this.#pairs[this.#length++] = original
  }

  /** @param base added to every rewritten offset: where the written bytes came to stand in the module */
  take(base: number): OffsetMap {
    const map = this.#pairs.slice(0, this.#length)
    for (let i = 0; i < map.length; i += 2) map[i]! += base
    return map
  }
}

/** The original's byte offset of what stands at `offset` of the rewritten module; undefined outside of its code. */
export function locate(map: OffsetMap, offset: number): number | undefined {
  let low = 0
  let high = map.length / 2
  while (low < high) {
    const middle = (low + high) >>> 1
    if (map[middle * 2]! <= offset) low = middle + 1
    else high = middle
  }
  if (low === 0) return undefined
  const original = map[low * 2 - 1]!
  return original >= INSERTED ? original - INSERTED : original + offset - map[low * 2 - 2]!
}
