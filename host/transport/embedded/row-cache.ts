// The uncompressed records of rows that were just written or read: consumers of the same fresh data decompress nothing.
// Runs on: log thread.

const ROWS_MAX = 8192

export class RowCache {
  readonly #rows = new Map<number, Uint8Array>()
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get(id: number): Uint8Array | undefined {
    const frames = this.#rows.get(id)
    if (frames === undefined) return undefined
    // Moved to the end of the map: the first is the one not used for longest.
    this.#rows.delete(id)
    this.#rows.set(id, frames)
    return frames
  }

  set(id: number, frames: Uint8Array): void {
    this.delete(id)
    this.#rows.set(id, frames)
    this.#bytes += frames.length
    while (this.#bytes > this.#bytesMax || this.#rows.size > ROWS_MAX) {
      const oldest = this.#rows.keys().next()
      if (oldest.done) return
      this.delete(oldest.value)
    }
  }

  delete(id: number): void {
    const frames = this.#rows.get(id)
    if (frames === undefined) return
    this.#rows.delete(id)
    this.#bytes -= frames.length
  }
}
