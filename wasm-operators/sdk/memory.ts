// Bytes outside of the garbage collector: a copy that is quick for small runs, and a buffer that grows.
// Every block from `allocateBytes` has SLACK bytes behind its end, so that 16 bytes may be read or written at its last one.

/** Bytes behind the end of every block that may be touched. */
export const SLACK: usize = 32

/** A block of at least `bytes`, a multiple of 16 as address; freed by `heap.free`. */
export function allocateBytes(bytes: usize): usize {
  return heap.alloc(bytes + SLACK)
}

/** Copies from one such block into another. Up to 15 bytes behind both ends are touched. // hot */
@inline
export function copyBytes(to: usize, from: usize, bytes: usize): void {
  if (bytes > 1024) {
    memory.copy(to, from, bytes)
    return
  }
  for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, v128.load(from + i))
}

/** Both runs hold the same bytes. Up to 16 bytes behind both ends are read. // hot */
@inline
export function sameBytes(a: usize, b: usize, bytes: usize): bool {
  // Most are short: without a call.
  if (bytes > 16) return sameLongBytes(a, b, bytes)
  const same = i8x16.bitmask(i8x16.eq(v128.load(a), v128.load(b)))
  return (same | (-1 << (bytes as i32))) == -1
}

function sameLongBytes(a: usize, b: usize, bytes: usize): bool {
  let i: usize = 0
  for (; i + 16 <= bytes; i += 16) {
    if (i8x16.bitmask(i8x16.eq(v128.load(a + i), v128.load(b + i))) != 0xffff) return false
  }
  const rest = bytes - i
  if (rest == 0) return true
  const same = i8x16.bitmask(i8x16.eq(v128.load(a + i), v128.load(b + i)))
  return (same | (-1 << (rest as i32))) == -1
}

/** Order of two runs as unsigned bytes, which for UTF-8 is the order of code points: < 0, 0, > 0. */
export function compareBytes(a: usize, aBytes: usize, b: usize, bBytes: usize): i32 {
  const shorter = min(aBytes, bBytes)
  for (let i: usize = 0; i < shorter; i++) {
    const difference = (load<u8>(a + i) as i32) - (load<u8>(b + i) as i32)
    if (difference) return difference
  }
  return (aBytes as i32) - (bBytes as i32)
}

/** Where `needle` first occurs in the run, or -1. */
export function indexOfBytes(at: usize, bytes: usize, needle: usize, needleBytes: usize): i32 {
  if (needleBytes == 0) return 0
  if (needleBytes > bytes) return -1
  const last = bytes - needleBytes
  const first = load<u8>(needle)
  for (let i: usize = 0; i <= last; i++) {
    if (load<u8>(at + i) == first && sameBytes(at + i, needle, needleBytes)) return i as i32
  }
  return -1
}

/** Bytes of a constant, kept outside of the collector: constants of settings are compared with for every record. */
@final
export class Constant {
  pointer: usize = 0
  bytes: usize = 0

  static ofText(text: string): Constant {
    const encoded = String.UTF8.encode(text)
    return Constant.ofBytes(changetype<usize>(encoded), encoded.byteLength)
  }

  static ofBytes(from: usize, bytes: usize): Constant {
    const made = new Constant()
    made.pointer = allocateBytes(bytes)
    made.bytes = bytes
    memory.copy(made.pointer, from, bytes)
    return made
  }

  free(): void {
    heap.free(this.pointer)
    this.pointer = 0
    this.bytes = 0
  }
}
