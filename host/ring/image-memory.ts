// The copy of an operator's memory that a barrier takes: made on the compute worker, stored by another thread. New memory costs
// several times the copy, for the kernel hands it out page by page; so large copies stand in shared memory that is used again.
// Runs on: compute (`ImageMemory`), whoever stores it (`releaseImage`).
//
//    word 0   1: somebody has it, from `copy` until `releaseImage`        byte 64 …   the copy

const HEAD_BYTES = 64
const FREE = 0
const TAKEN = 1
/** Smaller ones are given away as they are. */
const SHARED_FROM_BYTES = 1 << 20
const PAGE_BYTES = 4096
/** Touched at each call of `prepare`: a tenth of a millisecond. */
const PREPARED_BYTES = 128 << 10
/** One is stored while the next is made; where more are out, or one never comes back, new memory takes its place. */
const KEPT_MAX = 2

export class ImageMemory {
  private kept: SharedArrayBuffer[] = []
  private preparedTo = 0
  private isPrepared = false

  /**
   * Has the kernel hand out memory for the first large copy, a little at each call: at once it takes longer than a checkpoint may.
   * @param bytes of what will be copied
   */
  prepare(bytes: number): void {
    if (this.isPrepared || bytes < SHARED_FROM_BYTES) return
    const size = HEAD_BYTES + bytes
    if (this.kept[0]?.byteLength !== size) {
      this.kept = [new SharedArrayBuffer(size)]
      this.preparedTo = 0
    }
    const memory = new Uint8Array(this.kept[0]!)
    const to = Math.min(size, this.preparedTo + PREPARED_BYTES)
    for (let at = this.preparedTo; at < to; at += PAGE_BYTES) memory[at] = 0
    this.preparedTo = to
    this.isPrepared = to === size
  }

  /** @returns a copy, the receiver's: to be transferred, or released where it is shared */
  copy(bytes: Uint8Array): Uint8Array {
    if (bytes.length < SHARED_FROM_BYTES) return bytes.slice()
    this.isPrepared = true
    const memory = this.free(HEAD_BYTES + bytes.length)
    const copy = new Uint8Array(memory, HEAD_BYTES, bytes.length)
    copy.set(bytes)
    return copy
  }

  private free(size: number): SharedArrayBuffer {
    this.kept = this.kept.filter((one) => one.byteLength === size)
    for (const one of this.kept) {
      // Taken by this thread alone; the load that finds it free comes after all that its reader did with it.
      if (Atomics.compareExchange(new Int32Array(one, 0, 1), 0, FREE, TAKEN) === FREE) return one
    }
    const made = new SharedArrayBuffer(size)
    Atomics.store(new Int32Array(made, 0, 1), 0, TAKEN)
    if (this.kept.length === KEPT_MAX) this.kept.shift()
    this.kept.push(made)
    return made
  }
}

/** Nobody looks at the copy any more. A copy that is not shared, or was released before, is let be. */
export function releaseImage(copy: Uint8Array): void {
  const { buffer, byteOffset } = copy
  // After all reads of the copy: from here on the compute worker writes to it.
  if (buffer instanceof SharedArrayBuffer && byteOffset === HEAD_BYTES)
    Atomics.store(new Int32Array(buffer, 0, 1), 0, FREE)
}

/** The same bytes in memory that can be moved or is shared: a copy is given away, but not what lies beside it. */
export function movableImage(copy: Uint8Array): Uint8Array {
  const { buffer, byteLength } = copy
  return buffer instanceof SharedArrayBuffer || byteLength === buffer.byteLength ? copy : new Uint8Array(copy)
}

/** What of these copies is moved to another thread, not shared with it. */
export function movableBuffers(copies: readonly Uint8Array[]): ArrayBuffer[] {
  const buffers = new Set(copies.map((copy) => copy.buffer))
  return [...buffers].filter((buffer) => buffer instanceof ArrayBuffer)
}
