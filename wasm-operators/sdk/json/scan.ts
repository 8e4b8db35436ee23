// Walks over JSON text without building anything: each function takes the position of a value and answers the position
// behind it, or 0 where the text is not JSON (RFC 8259, as JSON.parse has it).
// The caller puts a byte 0 behind the text. As 0 is allowed nowhere in JSON, every walk ends there and no step compares
// with an end. 16 bytes are read at once, so SLACK bytes behind the text must be readable.

/** Containers inside containers; deeper is not accepted. */
export const DEPTH_MAX: i32 = 512

export const KIND_MISSING: u32 = 0
export const KIND_NULL: u32 = 1
export const KIND_FALSE: u32 = 2
export const KIND_TRUE: u32 = 3
export const KIND_NUMBER: u32 = 4
export const KIND_STRING: u32 = 5
export const KIND_ARRAY: u32 = 6
export const KIND_OBJECT: u32 = 7

const NULL: u32 = 0x6c6c756e
const TRUE: u32 = 0x65757274
const FALS: u32 = 0x736c6166

/** Opening brackets of the containers that are open; closing ones are 2 more. */
const OPEN: usize = memory.data(DEPTH_MAX + 8)

/** Counts escapes met; a string had one if the count differs before and after it. */
export let escapes: u32 = 0

@inline
export function skipSpace(at: usize): usize {
  return load<u8>(at) > 0x20 ? at : skipSpaces(at)
}

function skipSpaces(at: usize): usize {
  while (true) {
    const c: u32 = load<u8>(at)
    if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return at
    at++
  }
}

/** Bits of the bytes of 16 that end a plain run in a string: quote, backslash, control characters. */
@inline
export function stops(v: v128): i32 {
  return i8x16.bitmask(
    v128.or(
      v128.or(i8x16.eq(v, i8x16.splat(0x22)), i8x16.eq(v, i8x16.splat(0x5c))),
      i8x16.eq(i8x16.min_u(v, i8x16.splat(0x1f)), v),
    ),
  )
}

/** From behind the opening quote to behind the closing one. // hot */
@inline
export function skipString(at: usize): usize {
  // Most are short and plain: without a call.
  const mask = stops(v128.load(at))
  const end = at + ctz(mask)
  return mask != 0 && load<u8>(end) == 0x22 ? end + 1 : skipLongString(at)
}

function skipLongString(at: usize): usize {
  while (true) {
    const mask = stops(v128.load(at))
    if (mask == 0) {
      at += 16
      continue
    }
    at += ctz(mask)
    const c: u32 = load<u8>(at)
    if (c == 0x22) return at + 1
    if (c != 0x5c) return 0
    at = skipEscape(at + 1)
    if (at == 0) return 0
  }
}

/** From behind the backslash. */
function skipEscape(at: usize): usize {
  escapes++
  switch (load<u8>(at)) {
    case 0x22: case 0x5c: case 0x2f: case 0x62: case 0x66: case 0x6e: case 0x72: case 0x74:
      return at + 1
    case 0x75:
      for (let i: usize = 1; i <= 4; i++) if (!isHex(load<u8>(at + i))) return 0
      return at + 5
    default:
      return 0
  }
}

function isHex(c: u32): bool {
  return c - 0x30 <= 9 || (c | 0x20) - 0x61 <= 5
}

/** Behind a run of digits; the same position where there is none. // hot */
@inline
function skipDigits(at: usize): usize {
  const other = othersIn(at)
  return other ? at + ctz(other) : skipManyDigits(at + 16)
}

function skipManyDigits(at: usize): usize {
  while (true) {
    const other = othersIn(at)
    if (other) return at + ctz(other)
    at += 16
  }
}

/** Bits of the bytes of 16 that are no digits. */
@inline
function othersIn(at: usize): i32 {
  const v = i8x16.sub(v128.load(at), i8x16.splat(0x30))
  return i8x16.bitmask(i8x16.eq(i8x16.min_u(v, i8x16.splat(9)), v)) ^ 0xffff
}

/** // hot */
export function skipNumber(at: usize): usize {
  if (load<u8>(at) == 0x2d) at++
  let end = skipDigits(at)
  if (end == at || (load<u8>(at) == 0x30 && end != at + 1)) return 0
  let c: u32 = load<u8>(end)
  if (c == 0x2e) {
    at = end + 1
    end = skipDigits(at)
    if (end == at) return 0
    c = load<u8>(end)
  }
  if ((c | 0x20) == 0x65) {
    at = end + 1
    c = load<u8>(at)
    if (c == 0x2b || c == 0x2d) at++
    end = skipDigits(at)
    if (end == at) return 0
  }
  return end
}

/** A number, `true`, `false` or `null`. // hot */
@inline
export function skipScalar(at: usize): usize {
  const c: u32 = load<u8>(at)
  if (c - 0x30 <= 9 || c == 0x2d) return skipNumber(at)
  return skipLiteral(at)
}

function skipLiteral(at: usize): usize {
  const word = load<u32>(at)
  if (word == TRUE || word == NULL) return at + 4
  if (word == FALS && load<u8>(at + 4) == 0x65) return at + 5
  return 0
}

/** The kind of the value that begins here, by its first byte alone. */
export function kindAt(at: usize): u32 {
  switch (load<u8>(at)) {
    case 0x22: return KIND_STRING
    case 0x7b: return KIND_OBJECT
    case 0x5b: return KIND_ARRAY
    case 0x74: return KIND_TRUE
    case 0x66: return KIND_FALSE
    case 0x6e: return KIND_NULL
    default: return KIND_NUMBER
  }
}

/**
 * Any value. // hot
 *
 * @param depth containers that are open around it
 */
@inline
export function skipValue(at: usize, depth: i32): usize {
  const c: u32 = load<u8>(at)
  if (c == 0x22) return skipString(at + 1)
  if (c == 0x7b || c == 0x5b) return skipContainer(at, depth)
  return skipScalar(at)
}

/** An object or array; without recursion, so that depth costs no stack. // hot */
export function skipContainer(at: usize, depth: i32): usize {
  if (depth >= DEPTH_MAX) return 0
  const levels = DEPTH_MAX - depth
  let level = 1
  let top: u32 = load<u8>(at)
  let opened = true
  store<u8>(OPEN, top)
  at++
  while (true) {
    at = skipSpace(at)
    let c: u32 = load<u8>(at)
    if (!opened || c != top + 2) {
      if (top == 0x7b) {
        if (c != 0x22) return 0
        at = skipString(at + 1)
        if (at == 0) return 0
        at = skipSpace(at)
        if (load<u8>(at) != 0x3a) return 0
        at = skipSpace(at + 1)
        c = load<u8>(at)
      }
      if (c == 0x22) at = skipString(at + 1)
      else if (c == 0x7b || c == 0x5b) {
        if (level >= levels) return 0
        store<u8>(OPEN + level, c)
        level++
        top = c
        opened = true
        at++
        continue
      } else at = skipScalar(at)
      if (at == 0) return 0
      at = skipSpace(at)
      c = load<u8>(at)
    }
    // Behind a value, or at the end of an empty container.
    while (c == top + 2) {
      at++
      level--
      if (level == 0) return at
      top = load<u8>(OPEN + level - 1)
      at = skipSpace(at)
      c = load<u8>(at)
    }
    if (c != 0x2c) return 0
    at++
    opened = false
  }
}

/** The bytes are well-formed UTF-8 (RFC 3629). // hot */
export function isUtf8(at: usize, end: usize): bool {
  while (at + 16 <= end) {
    if (i8x16.bitmask(v128.load(at))) return isUtf8Slowly(at, end)
    at += 16
  }
  return at == end || (i8x16.bitmask(v128.load(at)) & ~(-1 << ((end - at) as i32))) == 0 || isUtf8Slowly(at, end)
}

function isUtf8Slowly(at: usize, end: usize): bool {
  while (at < end) {
    const c: u32 = load<u8>(at++)
    if (c < 0x80) continue
    let more: usize = 1
    let low: u32 = 0x80
    let high: u32 = 0xbf
    if (c < 0xc2 || c > 0xf4) return false
    if (c >= 0xf0) {
      more = 3
      if (c == 0xf0) low = 0x90
      if (c == 0xf4) high = 0x8f
    } else if (c >= 0xe0) {
      more = 2
      if (c == 0xe0) low = 0xa0
      if (c == 0xed) high = 0x9f
    }
    if (at + more > end) return false
    for (; more > 0; more--) {
      const next: u32 = load<u8>(at++)
      if (next < low || next > high) return false
      low = 0x80
      high = 0xbf
    }
  }
  return true
}
