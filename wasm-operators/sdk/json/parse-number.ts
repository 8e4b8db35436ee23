// Text → double, rounded correctly to the nearest, ties to even, as JSON.parse does. Three ways, each exact in its range:
// doubles alone (15 digits), 128 bits (19 digits, 10^±19), and a guess that is put right with whole numbers of any size.

import { BIG_BYTES, bigCompare, bigMultiply, bigSet, bigShift, bigTimesFive } from './big-number.ts'

/** 10^0 … 10^22, each exact. */
const POWERS: usize = memory.data<f64>([
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
  1e21, 1e22,
])
/** More digits than this do not change the result, except that they are not all zero. */
const DIGITS_MAX: i32 = 800
const EXACT: u64 = 1 << 53
const HIDDEN: u64 = 1 << 52
const LEFT: usize = memory.data(BIG_BYTES, 8)
const RIGHT: usize = memory.data(BIG_BYTES, 8)

/** 10^power for 0 … 22. */
@inline
export function powerOfTen(power: i32): f64 {
  return load<f64>(POWERS + (power << 3))
}

/** The number at `at … end`, whose form was checked before. // hot */
export function parseNumber(at: usize, end: usize): f64 {
  const begin = at
  const negative = load<u8>(at) == 0x2d
  if (negative) at++
  let mantissa: u64 = 0
  let digits: i32 = 0
  let power: i32 = 0
  let fraction: i32 = 0
  let truncated = false
  for (; at < end; at++) {
    const c: u32 = load<u8>(at)
    const digit = c - 0x30
    if (digit <= 9) {
      if (digits < 19) {
        mantissa = mantissa * 10 + digit
        digits += i32(mantissa != 0)
        power -= fraction
      } else {
        power += 1 - fraction
        truncated = truncated || digit != 0
      }
    } else if (c == 0x2e) fraction = 1
    else break
  }
  if (at < end) power += parseExponent(at + 1, end)
  const value = mantissa == 0 ? 0 : truncated ? slowly(begin, end, mantissa, power) : compose(begin, end, mantissa, power)
  return negative ? -value : value
}

function parseExponent(at: usize, end: usize): i32 {
  const sign: u32 = load<u8>(at)
  if (sign == 0x2b || sign == 0x2d) at++
  let exponent: i32 = 0
  for (; at < end; at++) exponent = min(exponent * 10 + (load<u8>(at) - 0x30), 100_000_000)
  return sign == 0x2d ? -exponent : exponent
}

@inline
function compose(begin: usize, end: usize, mantissa: u64, power: i32): f64 {
  if (power == 0) return mantissa as f64
  if (mantissa <= EXACT) {
    if (power > 0 && power <= 22) return (mantissa as f64) * powerOfTen(power)
    if (power < 0 && power >= -22) return (mantissa as f64) / powerOfTen(-power)
  }
  if (power > 0 && power <= 19) return multiplied(mantissa, powerOfTen(power) as u64)
  if (power < 0 && power >= -19) return divided(mantissa, powerOfTen(-power) as u64)
  return slowly(begin, end, mantissa, power)
}

/** `bits * 2^exponent`, and a little more if `sticky`; bits has its highest or second highest bit set. */
function rounded(bits: u64, sticky: bool, exponent: i32): f64 {
  const shift = clz(bits) as i32
  bits = (bits << shift) | u64(sticky)
  let mantissa = bits >> 11
  const rest = bits & 0x7ff
  if (rest > 0x400 || (rest == 0x400 && mantissa & 1)) mantissa++
  return reinterpret<f64>((((exponent - shift + 11 + 1075) as u64) << 52) + (mantissa - HIDDEN))
}

function multiplied(a: u64, b: u64): f64 {
  const a0 = a & 0xffffffff
  const a1 = a >> 32
  const b0 = b & 0xffffffff
  const b1 = b >> 32
  const low = a0 * b0
  const middle = a1 * b0 + (low >> 32)
  const other = a0 * b1 + (middle & 0xffffffff)
  const high = a1 * b1 + (middle >> 32) + (other >> 32)
  const rest = (other << 32) | (low & 0xffffffff)
  if (high == 0) return rest as f64
  const shift = clz(high)
  const bits = shift ? (high << shift) | (rest >> (64 - shift)) : high
  return rounded(bits, rest << shift != 0, 64 - (shift as i32))
}

function divided(a: u64, b: u64): f64 {
  const aShift = clz(a)
  const bShift = clz(b)
  const n = a << aShift
  const d = b << bShift
  // (n << 63) / d in two halves of 32 bits each (Knuth, TAOCP 4.3.1 D; Hacker's Delight divlu).
  const d1 = d >> 32
  const d0 = d & 0xffffffff
  const high = n >> 1
  const low = n << 63
  const q1 = quotientHalf(high, low >> 32, d, d1, d0)
  const rest1 = ((high << 32) | (low >> 32)) - q1 * d
  const q0 = quotientHalf(rest1, low & 0xffffffff, d, d1, d0)
  const rest0 = ((rest1 << 32) | (low & 0xffffffff)) - q0 * d
  return rounded((q1 << 32) | q0, rest0 != 0, (bShift as i32) - (aShift as i32) - 63)
}

@inline
function quotientHalf(high: u64, next: u64, d: u64, d1: u64, d0: u64): u64 {
  let q = high / d1
  let r = high - q * d1
  while (q >> 32 || q * d0 > ((r << 32) | next)) {
    q--
    r += d1
    if (r >> 32) break
  }
  return q
}

/** A guess by doubles, then steps of one unit until the exact value lies between both neighbours' middles. */
function slowly(begin: usize, end: usize, mantissa: u64, power: i32): f64 {
  const magnitude = power + decimalDigits(mantissa)
  if (magnitude > 310) return Infinity
  if (magnitude < -325) return 0
  let value = mantissa as f64
  let left = power
  for (; left > 0; left -= min(left, 22)) value *= powerOfTen(min(left, 22))
  for (; left < 0; left += min(-left, 22)) value /= powerOfTen(min(-left, 22))
  let bits = reinterpret<u64>(min(value, f64.MAX_VALUE))
  while (true) {
    const above = compareToMiddle(begin, end, bits)
    if (above > 0 || (above == 0 && bits & 1)) {
      if (++bits == 0x7ff0000000000000) return Infinity
      continue
    }
    if (bits == 0) return 0
    const below = compareToMiddle(begin, end, bits - 1)
    if (below > 0 || (below == 0 && !(bits & 1))) return reinterpret<f64>(bits)
    bits--
  }
}

function decimalDigits(value: u64): i32 {
  let digits = 0
  for (; value; value /= 10) digits++
  return digits
}

/** The text against the middle between the double of these bits and the next one. */
function compareToMiddle(begin: usize, end: usize, bits: u64): i32 {
  const biased = (bits >> 52) as i32
  const mantissa = biased ? (bits & 0xfffffffffffff) | HIDDEN : bits
  const exponent = (biased ? biased : 1) - 1075 - 1
  const power = readDigits(begin, end, LEFT)
  bigSet(RIGHT, (mantissa << 1) | 1)
  if (power > 0) bigTimesFive(LEFT, power)
  else bigTimesFive(RIGHT, -power)
  const shift = power - exponent
  if (shift > 0) bigShift(LEFT, shift)
  else bigShift(RIGHT, -shift)
  return bigCompare(LEFT, RIGHT)
}

/** The digits as one whole number → the power of ten that it is to be multiplied with. */
function readDigits(at: usize, end: usize, to: usize): i32 {
  bigSet(to, 0)
  let power: i32 = 0
  let fraction: i32 = 0
  let digits: i32 = 0
  let rest = false
  for (; at < end; at++) {
    const c: u32 = load<u8>(at)
    const digit = c - 0x30
    if (digit <= 9) {
      if (digits < DIGITS_MAX) {
        if (digits > 0 || digit != 0) {
          bigMultiply(to, 10, digit)
          digits++
        }
        power -= fraction
      } else {
        power += 1 - fraction
        rest = rest || digit != 0
      }
    } else if (c == 0x2e) fraction = 1
    else if (c != 0x2d) break
  }
  if (at < end) power += parseExponent(at + 1, end)
  if (rest) {
    bigMultiply(to, 10, 1)
    power--
  }
  return power
}
