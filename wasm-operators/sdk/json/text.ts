// Strings between their two forms: as they stand in JSON (escaped), and as bytes. Bytes are UTF-8, in which the half of
// a surrogate pair that stands alone (`"\ud800"`) keeps three bytes of its own, and is escaped again when written.

import { stops } from './scan.ts'
import { Writer } from './writer.ts'

/** Appends the bytes of the string between two quotes at `at … end`, which was checked before. */
export function decodeString(at: usize, end: usize, to: Writer): void {
  while (at < end) {
    const mask = stops(v128.load(at))
    const plain = min(mask ? (ctz(mask) as usize) : 16, end - at)
    if (plain) to.bytes(at, plain)
    at += plain
    if (at >= end || load<u8>(at) != 0x5c) continue
    const c: u32 = load<u8>(at + 1)
    at += 2
    switch (c) {
      case 0x62:
        to.byte(8)
        break
      case 0x66:
        to.byte(12)
        break
      case 0x6e:
        to.byte(10)
        break
      case 0x72:
        to.byte(13)
        break
      case 0x74:
        to.byte(9)
        break
      case 0x75: {
        let point = hex4(at)
        at += 4
        if ((point & 0xfc00) == 0xd800 && at + 6 <= end && load<u16>(at) == 0x755c) {
          const low = hex4(at + 2)
          if ((low & 0xfc00) == 0xdc00) {
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00)
            at += 6
          }
        }
        to.codePoint(point)
        break
      }
      default:
        to.byte(c as u8)
    }
  }
}

function hex4(at: usize): u32 {
  let value: u32 = 0
  for (let i: usize = 0; i < 4; i++) {
    const c: u32 = load<u8>(at + i)
    value = (value << 4) | (c <= 0x39 ? c - 0x30 : (c | 0x20) - 0x57)
  }
  return value
}

/** Appends bytes as a JSON string with its quotes, escaped as JSON.stringify does. */
export function encodeString(at: usize, bytes: usize, to: Writer): void {
  const end = at + bytes
  to.byte(0x22)
  while (at < end) {
    // A byte 0xed (-0x13) may begin a lone surrogate.
    const v = v128.load(at)
    const mask = stops(v) | i8x16.bitmask(i8x16.eq(v, i8x16.splat(-0x13)))
    const plain = min(mask ? (ctz(mask) as usize) : 16, end - at)
    if (plain) to.bytes(at, plain)
    at += plain
    if (at >= end || plain == 16) continue
    const c: u32 = load<u8>(at)
    if (c == 0xed) {
      const lone = at + 3 <= end && load<u8>(at + 1) >= 0xa0
      const count: usize = min<usize>(3, end - at)
      if (lone) escapeUnit(0xd000 | ((load<u8>(at + 1) & 0x3f) << 6) | (load<u8>(at + 2) & 0x3f), to)
      else to.bytes(at, count)
      at += count
      continue
    }
    at++
    switch (c) {
      case 0x22:
        to.two(0x225c)
        break
      case 0x5c:
        to.two(0x5c5c)
        break
      case 8:
        to.two(0x625c)
        break
      case 12:
        to.two(0x665c)
        break
      case 10:
        to.two(0x6e5c)
        break
      case 13:
        to.two(0x725c)
        break
      case 9:
        to.two(0x745c)
        break
      default:
        escapeUnit(c, to)
    }
  }
  to.byte(0x22)
}

function escapeUnit(unit: u32, to: Writer): void {
  to.two(0x755c)
  for (let shift: i32 = 12; shift >= 0; shift -= 4) {
    const digit = (unit >> shift) & 15
    to.byte((digit < 10 ? 0x30 + digit : 0x57 + digit) as u8)
  }
}
