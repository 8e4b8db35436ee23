// Whole numbers of up to 160 words of 32 bits, for the few conversions between text and doubles that 128 bits do not
// decide. Blocks of raw memory: word 0 is the count of words in use, the words follow, the lowest first.

/** Bytes of one number. */
export const BIG_BYTES: i32 = 4 + 160 * 4

@inline
export function bigLength(a: usize): usize {
  return load<u32>(a)
}

export function bigSet(a: usize, value: u64): void {
  store<u32>(a, value as u32, 4)
  store<u32>(a, (value >> 32) as u32, 8)
  store<u32>(a, value == 0 ? 0 : value >> 32 ? 2 : 1)
}

/** a = a * factor + addend */
export function bigMultiply(a: usize, factor: u32, addend: u32): void {
  const length = bigLength(a)
  let carry: u64 = addend
  for (let i: usize = 1; i <= length; i++) {
    carry += (load<u32>(a + (i << 2)) as u64) * factor
    store<u32>(a + (i << 2), carry as u32)
    carry >>= 32
  }
  if (carry) {
    store<u32>(a + ((length + 1) << 2), carry as u32)
    store<u32>(a, (length + 1) as u32)
  }
}

/** a = a * 5^power */
export function bigTimesFive(a: usize, power: i32): void {
  for (; power >= 13; power -= 13) bigMultiply(a, 1220703125, 0)
  let rest: u32 = 1
  for (; power > 0; power--) rest *= 5
  if (rest > 1) bigMultiply(a, rest, 0)
}

/** a = a << bits */
export function bigShift(a: usize, bits: i32): void {
  const length = bigLength(a)
  if (length == 0 || bits == 0) return
  const words: usize = bits >> 5
  const rest: u32 = bits & 31
  let carry: u32 = 0
  if (rest) {
    for (let i: usize = 1; i <= length; i++) {
      const word = load<u32>(a + (i << 2))
      store<u32>(a + (i << 2), (word << rest) | carry)
      carry = word >> (32 - rest)
    }
  }
  let count = length
  if (carry) store<u32>(a + (++count << 2), carry)
  if (words) {
    memory.copy(a + 4 + (words << 2), a + 4, count << 2)
    memory.fill(a + 4, 0, words << 2)
  }
  store<u32>(a, (count + words) as u32)
}

/** < 0, 0, > 0 */
export function bigCompare(a: usize, b: usize): i32 {
  const length = bigLength(a)
  if (length != bigLength(b)) return length < bigLength(b) ? -1 : 1
  for (let i = length; i > 0; i--) {
    const x = load<u32>(a + (i << 2))
    const y = load<u32>(b + (i << 2))
    if (x != y) return x < y ? -1 : 1
  }
  return 0
}

/** sum = a + b */
export function bigAdd(sum: usize, a: usize, b: usize): void {
  const aLength = bigLength(a)
  const bLength = bigLength(b)
  const length = max(aLength, bLength)
  let carry: u64 = 0
  for (let i: usize = 1; i <= length; i++) {
    if (i <= aLength) carry += load<u32>(a + (i << 2))
    if (i <= bLength) carry += load<u32>(b + (i << 2))
    store<u32>(sum + (i << 2), carry as u32)
    carry >>= 32
  }
  if (carry) store<u32>(sum + ((length + 1) << 2), carry as u32)
  store<u32>(sum, (carry ? length + 1 : length) as u32)
}

/** a = a - b, where a >= b */
export function bigSubtract(a: usize, b: usize): void {
  let length = bigLength(a)
  const bLength = bigLength(b)
  let borrow: i64 = 0
  for (let i: usize = 1; i <= length; i++) {
    borrow += load<u32>(a + (i << 2)) as i64
    if (i <= bLength) borrow -= load<u32>(b + (i << 2)) as i64
    store<u32>(a + (i << 2), borrow as u32)
    borrow >>= 32
  }
  while (length > 0 && load<u32>(a + (length << 2)) == 0) length--
  store<u32>(a, length as u32)
}
