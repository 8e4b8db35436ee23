// Double → the shortest text that reads back as the same double, in the form in which JavaScript prints it. Whole numbers
// and numbers of up to 15 digits are done with doubles, the rest by whole numbers of any size (Steele and White 1990).

import {
  BIG_BYTES,
  bigAdd,
  bigCompare,
  bigMultiply,
  bigSet,
  bigShift,
  bigSubtract,
  bigTimesFive,
} from './big-number.ts'
import { powerOfTen } from './parse-number.ts'
import { copyBytes } from '../memory.ts'
import { Writer } from './writer.ts'

/** More than a double takes, as copies are made 16 bytes at a time. */
const TEXT_MAX: usize = 64
/** With room for 16 bytes to be read behind them. */
const DIGITS: usize = memory.data(48)
const R: usize = memory.data(BIG_BYTES, 8)
const S: usize = memory.data(BIG_BYTES, 8)
const PLUS: usize = memory.data(BIG_BYTES, 8)
const MINUS: usize = memory.data(BIG_BYTES, 8)
const SUM: usize = memory.data(BIG_BYTES, 8)

const HIDDEN: u64 = 1 << 52

/** Digits in DIGITS after `shortest`. */
let count: i32 = 0

/** Appends the number as JSON: what JSON has no number for (NaN, infinities) as `null`, -0 as `0`. */
export function printNumber(value: f64, to: Writer): void {
  if (!isFinite(value)) {
    store<u32>(to.room(4), 0x6c6c756e)
    to.length += 4
    return
  }
  if (value < 0) {
    to.byte(0x2d)
    value = -value
  }
  if (value < 9007199254740992.0 && Math.floor(value) == value) {
    printInteger(value as u64, to)
    return
  }
  const point = fifteenDigits(value)
  layOut(point == i32.MIN_VALUE ? shortest(value) : point, to)
}

/** Appends a whole number. */
export function printInteger(value: u64, to: Writer): void {
  const at = to.room(20)
  to.length += writeDigits(value, at)
}

/** Digits of a whole number at `at` → how many. Nine at a time: division by a constant is quick with 32 bits only. */
function writeDigits(value: u64, at: usize): i32 {
  let digits: i32 = 1
  for (let power: u64 = 10; digits < 20 && value >= power; power *= 10) digits++
  let end = at + digits
  while (value > U32.MAX_VALUE) {
    const rest = (value % 1000000000) as u32
    value /= 1000000000
    writeSmall(rest, end - 9, end)
    end -= 9
  }
  writeSmall(value as u32, at, end)
  return digits
}

/** Digits of `value` that end at `end`, with zeros before them from `at` on. */
function writeSmall(value: u32, at: usize, end: usize): void {
  while (end > at) {
    end--
    store<u8>(end, 0x30 + (value % 10))
    value /= 10
  }
}

/**
 * Two numbers of 15 digits are never the same double, so if one reads back as this double it is the shortest text.
 *
 * @returns where the point stands before the first digit (value = 0.DIGITS * 10^point), MIN_VALUE: 15 digits do not do
 */
function fifteenDigits(value: f64): i32 {
  if (value >= 1e15 || value < 1e-6) return i32.MIN_VALUE
  let point: i32 = 0
  if (value >= 1) while (value >= powerOfTen(point)) point++
  else while (value * powerOfTen(-point) < 0.1) point--
  // Most have few digits behind the point: two, then five, then all are tried.
  let whole = wholeAt(value, 2, point)
  if (whole == 0) whole = wholeAt(value, 5, point)
  if (whole == 0) whole = wholeAt(value, 15 - point, point)
  if (whole == 0) return i32.MIN_VALUE
  while (whole > U32.MAX_VALUE && whole % 10 == 0) whole /= 10
  if (whole <= U32.MAX_VALUE) {
    let small = whole as u32
    while (small % 10 == 0) small /= 10
    whole = small
  }
  count = writeDigits(whole, DIGITS)
  return point
}

/** The number times 10^digits, if it is whole, and is the number again when divided; 0 where not. */
@inline
function wholeAt(value: f64, digits: i32, point: i32): u64 {
  if (point + digits > 15 || point + digits < 1) return 0
  const scale = powerOfTen(digits)
  const scaled = nearest<f64>(value * scale)
  // Fewer or more digits than `point` says: rounded up to the next power of ten.
  if (scaled / scale != value || scaled >= powerOfTen(point + digits) || scaled < powerOfTen(point + digits - 1)) return 0
  return scaled as u64
}

/** The shortest digits that read back, and of these the nearest; → the point as above. */
function shortest(value: f64): i32 {
  const bits = reinterpret<u64>(value)
  const biased = (bits >> 52) as i32
  const fraction = bits & 0xfffffffffffff
  const mantissa = biased ? fraction | HIDDEN : fraction
  const exponent = (biased ? biased : 1) - 1075
  const even = (mantissa & 1) == 0
  // value = R / S; the next doubles are half of PLUS / S above and of MINUS / S below: all times 2 to keep them whole.
  const narrow = fraction == 0 && biased > 1
  const extra = narrow ? 2 : 1
  bigSet(R, mantissa)
  bigSet(S, 1)
  bigSet(PLUS, narrow ? 2 : 1)
  bigSet(MINUS, 1)
  bigShift(R, extra + max(exponent, 0))
  bigShift(PLUS, max(exponent, 0))
  bigShift(MINUS, max(exponent, 0))
  bigShift(S, extra + max(-exponent, 0))
  let point = i32(Math.ceil(((64 - (clz(mantissa) as i32) + exponent - 1) as f64) * 0.30102999566398114 - 1e-10))
  scaleBy(S, point)
  scaleBy(R, -point)
  scaleBy(PLUS, -point)
  scaleBy(MINUS, -point)
  bigAdd(SUM, R, PLUS)
  const over = bigCompare(SUM, S)
  if (over > 0 || (over == 0 && even)) point++
  else timesTen()
  count = 0
  while (true) {
    let digit = 0
    while (bigCompare(R, S) >= 0) {
      bigSubtract(R, S)
      digit++
    }
    const low = bigCompare(R, MINUS)
    const isLow = low < 0 || (low == 0 && even)
    bigAdd(SUM, R, PLUS)
    const high = bigCompare(SUM, S)
    const isHigh = high > 0 || (high == 0 && even)
    if (isLow || isHigh) {
      if (isHigh) {
        let up = true
        if (isLow) {
          bigShift(R, 1)
          const half = bigCompare(R, S)
          up = half > 0 || (half == 0 && (digit & 1) == 1)
        }
        if (up) digit++
      }
      store<u8>(DIGITS + count++, 0x30 + digit)
      return point
    }
    store<u8>(DIGITS + count++, 0x30 + digit)
    timesTen()
  }
}

function timesTen(): void {
  bigMultiply(R, 10, 0)
  bigMultiply(PLUS, 10, 0)
  bigMultiply(MINUS, 10, 0)
}

/** a = a * 10^power, for a power above 0. */
function scaleBy(a: usize, power: i32): void {
  if (power <= 0) return
  bigTimesFive(a, power)
  bigShift(a, power)
}

/** DIGITS in the form of ECMA-262, Number::toString. */
function layOut(point: i32, to: Writer): void {
  const at = to.room(TEXT_MAX)
  let n: usize = 0
  if (count <= point && point <= 21) {
    copyBytes(at, DIGITS, count)
    memory.fill(at + count, 0x30, point - count)
    n = point
  } else if (point > 0 && point <= 21) {
    copyBytes(at, DIGITS, point)
    store<u8>(at + point, 0x2e)
    copyBytes(at + point + 1, DIGITS + point, count - point)
    n = count + 1
  } else if (point > -6 && point <= 0) {
    memory.fill(at, 0x30, 2 - point)
    store<u8>(at + 1, 0x2e)
    copyBytes(at + 2 - point, DIGITS, count)
    n = 2 - point + count
  } else {
    store<u8>(at, load<u8>(DIGITS))
    n = 1
    if (count > 1) {
      store<u8>(at + 1, 0x2e)
      copyBytes(at + 2, DIGITS + 1, count - 1)
      n = count + 1
    }
    store<u8>(at + n, 0x65)
    store<u8>(at + n + 1, point > 0 ? 0x2b : 0x2d)
    to.length += n + 2
    printInteger(abs(point - 1), to)
    return
  }
  to.length += n
}
