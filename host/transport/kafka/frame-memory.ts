// Memory of large frames, used again. Records are fetched and sent in pieces of up to a megabyte; if each were in new memory, V8
// would collect garbage all the time, which costs more than to read them.
// Runs on: bridge. What was given back is anybody's: give only what nobody looks at any more.

/** What is smaller is cheap to make. */
const BYTES_MIN = 64 << 10
const BYTES_MAX = 4 << 20
/** Kept for later; what is given beyond it is let go. */
const KEPT_MAX = 16

const free = new Set<ArrayBuffer>()

/** @returns a view of exactly so many bytes, with anything in them */
export function takeMemory(bytes: number): Uint8Array {
  if (bytes >= BYTES_MIN) {
    for (const memory of free) {
      if (memory.byteLength < bytes || memory.byteLength > bytes * 2) continue
      free.delete(memory)
      return new Uint8Array(memory, 0, bytes)
    }
  }
  // Rounded up, so that it fits others too.
  const room = bytes < BYTES_MIN ? bytes : Math.ceil(bytes / BYTES_MIN) * BYTES_MIN
  return new Uint8Array(Buffer.allocUnsafeSlow(room).buffer, 0, bytes)
}

export function giveMemory(memory: ArrayBufferLike): void {
  const { byteLength } = memory
  if (!(memory instanceof ArrayBuffer) || byteLength < BYTES_MIN || byteLength > BYTES_MAX) return
  if (free.size < KEPT_MAX) free.add(memory)
}

/** It was given back too early: somebody looks at it again. */
export function keepMemory(memory: ArrayBufferLike): void {
  if (memory instanceof ArrayBuffer) free.delete(memory)
}
