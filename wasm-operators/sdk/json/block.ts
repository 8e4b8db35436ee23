// 64 bytes of JSON text at once, as masks: bit n stands for byte n. After Langdale and Lemire, "Parsing gigabytes of JSON
// per second" (2019), which finds strings and brackets without a branch per byte.

/** Bytes of a block; as many behind a text must be readable. */
export const BLOCK_BYTES: usize = 64

const EVEN: u64 = 0x5555555555555555

/** The lanes that are this byte. */
@inline
export function bytesIn(v: v128, byte: i8): v128 {
  return i8x16.eq(v, i8x16.splat(byte))
}

/** The lanes that are this brace, or the bracket of the same direction, which differs by one bit. */
@inline
export function bracketsIn(v: v128, brace: i8): v128 {
  return i8x16.eq(v128.or(v, i8x16.splat(0x20)), i8x16.splat(brace))
}

/** One bit per lane of four comparisons. */
@inline
export function bitsOf(a: v128, b: v128, c: v128, d: v128): u64 {
  const low = (i8x16.bitmask(a) | (i8x16.bitmask(b) << 16)) as u32
  const high = (i8x16.bitmask(c) | (i8x16.bitmask(d) << 16)) as u32
  return (low as u64) | ((high as u64) << 32)
}

/**
 * From each opening quote up to the byte before its closing one.
 *
 * @param quotes those that are not escaped
 */
@inline
export function stringsOf(quotes: u64): u64 {
  quotes ^= quotes << 1
  quotes ^= quotes << 2
  quotes ^= quotes << 4
  quotes ^= quotes << 8
  quotes ^= quotes << 16
  return quotes ^ (quotes << 32)
}

/** 1: the first byte of the next block is escaped; from the last `escapedOf`. */
export let escapedNext: u64 = 0

/**
 * The bytes that a backslash stands before which is not escaped itself.
 *
 * @param carried 1: the first byte is one
 */
export function escapedOf(slashes: u64, carried: u64): u64 {
  slashes &= ~carried
  const follows = (slashes << 1) | carried
  const oddStarts = slashes & ~EVEN & ~follows
  const evenRuns = oddStarts + slashes
  escapedNext = u64(evenRuns < slashes)
  return (EVEN ^ (evenRuns << 1)) & follows
}
