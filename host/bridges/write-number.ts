// Numbers as decimal text, straight into bytes.
// Runs on: every thread. No allocation.

const ZERO = 48
const MINUS = 45
const POINT = 46
/** Bytes that a number may take, also by `toFixed(15)`. */
export const NUMBER_BYTES_MAX = 48

/** Writes a whole number within ±2^53. @returns where it ends // hot */
export function writeInteger(bytes: Uint8Array, at: number, value: number): number {
  if (value < 0) {
    bytes[at++] = MINUS
    value = -value
  }
  let digits = 1
  for (let bound = 10; value >= bound; bound *= 10) digits++
  writeDigits(bytes, at, value, digits)
  return at + digits
}

/** Writes a finite number with `decimals` places (0 … 9), |value| × 10^decimals within 2^53. @returns where it ends // hot */
export function writeFixed(bytes: Uint8Array, at: number, value: number, decimals: number): number {
  let scale = 1
  for (let i = 0; i < decimals; i++) scale *= 10
  let scaled = Math.round(Math.abs(value) * scale)
  if (value < 0 && scaled > 0) bytes[at++] = MINUS
  const whole = Math.floor(scaled / scale)
  at = writeInteger(bytes, at, whole)
  if (decimals === 0) return at
  bytes[at++] = POINT
  scaled -= whole * scale
  writeDigits(bytes, at, scaled, decimals)
  return at + decimals
}

/** The last `digits` digits of a whole number, zeros in front. */
function writeDigits(bytes: Uint8Array, at: number, value: number, digits: number): void {
  let end = at + digits
  // Integer division is quick up to 31 bits only.
  while (value > 0x7fffffff) {
    const high = Math.floor(value / 10)
    bytes[--end] = ZERO + (value - high * 10)
    value = high
  }
  let small = value | 0
  while (end > at) {
    const high = (small / 10) | 0
    bytes[--end] = ZERO + (small - high * 10)
    small = high
  }
}
