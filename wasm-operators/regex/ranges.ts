// Sets of code points as ranges: pairs [low, high] in a plain array.

export const POINT_MAX: u32 = 0x10ffff

/** Sorted, without overlaps, touching ranges joined. */
export function normalized(ranges: u32[]): u32[] {
  const count = ranges.length >> 1
  const order: i32[] = []
  for (let i = 0; i < count; i++) order.push(i)
  // Insertion sort by the low ends: few ranges, mostly in order.
  for (let i = 1; i < count; i++) {
    const item = order[i]
    let j = i - 1
    while (j >= 0 && ranges[order[j] * 2] > ranges[item * 2]) {
      order[j + 1] = order[j]
      j--
    }
    order[j + 1] = item
  }
  const out: u32[] = []
  for (let i = 0; i < count; i++) {
    const low = ranges[order[i] * 2]
    const high = ranges[order[i] * 2 + 1]
    if (out.length > 0 && low <= out[out.length - 1] + 1) out[out.length - 1] = max(out[out.length - 1], high)
    else {
      out.push(low)
      out.push(high)
    }
  }
  return out
}

/** All other code points. */
export function negated(ranges: u32[]): u32[] {
  const sorted = normalized(ranges)
  const out: u32[] = []
  let next: u32 = 0
  for (let i = 0; i < sorted.length; i += 2) {
    if (sorted[i] > next) {
      out.push(next)
      out.push(sorted[i] - 1)
    }
    next = sorted[i + 1] + 1
  }
  if (next <= POINT_MAX) {
    out.push(next)
    out.push(POINT_MAX)
  }
  return out
}

export function contains(ranges: u32[], point: u32): bool {
  let low = 0
  let high = ranges.length >> 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (point > ranges[middle * 2 + 1]) low = middle + 1
    else high = middle
  }
  return low < ranges.length >> 1 && point >= ranges[low * 2]
}

export function append(to: u32[], from: u32[]): void {
  for (let i = 0; i < from.length; i++) to.push(from[i])
}

/** With the other case of each letter: Latin, Greek, Cyrillic, Armenian, and the letters that fold into those. */
export function folded(ranges: u32[]): u32[] {
  const out = ranges.slice(0)
  for (let i = 0; i < ranges.length; i += 2) {
    const low = ranges[i]
    const high = ranges[i + 1]
    shift(low, high, 0x41, 0x5a, 0x20, out)
    shift(low, high, 0xc0, 0xd6, 0x20, out)
    shift(low, high, 0xd8, 0xde, 0x20, out)
    shift(low, high, 0x391, 0x3a1, 0x20, out)
    shift(low, high, 0x3a3, 0x3ab, 0x20, out)
    shift(low, high, 0x410, 0x42f, 0x20, out)
    shift(low, high, 0x400, 0x40f, 0x50, out)
    shift(low, high, 0x531, 0x556, 0x30, out)
    pairs(low, high, 0x100, 0x12f, out)
    pairs(low, high, 0x132, 0x137, out)
    pairs(low, high, 0x139, 0x148, out)
    pairs(low, high, 0x14a, 0x177, out)
    pairs(low, high, 0x179, 0x17e, out)
    pairs(low, high, 0x1e00, 0x1e95, out)
    pairs(low, high, 0x1ea0, 0x1eff, out)
    pairs(low, high, 0x460, 0x481, out)
    pairs(low, high, 0x48a, 0x4bf, out)
    pairs(low, high, 0x4d0, 0x52f, out)
    together(low, high, [0x4b, 0x6b, 0x212a], out)
    together(low, high, [0x53, 0x73, 0x17f], out)
    together(low, high, [0xc5, 0xe5, 0x212b], out)
    together(low, high, [0xb5, 0x39c, 0x3bc], out)
    together(low, high, [0x3a3, 0x3c2, 0x3c3], out)
    together(low, high, [0x178, 0xff], out)
    together(low, high, [0xdf, 0x1e9e], out)
  }
  return normalized(out)
}

/** Upper case is from … to, lower case `distance` above. */
function shift(low: u32, high: u32, from: u32, to: u32, distance: u32, out: u32[]): void {
  if (low <= to && high >= from) {
    out.push(max(low, from) + distance)
    out.push(min(high, to) + distance)
  }
  if (low <= to + distance && high >= from + distance) {
    out.push(max(low, from + distance) - distance)
    out.push(min(high, to + distance) - distance)
  }
}

/** Upper and lower case take turns, beginning with upper at `from`. */
function pairs(low: u32, high: u32, from: u32, to: u32, out: u32[]): void {
  if (low > to || high < from) return
  const first = max(low, from)
  const last = min(high, to)
  out.push(first - ((first - from) & 1))
  out.push(last + (((last - from) & 1) ^ 1))
}

function together(low: u32, high: u32, points: u32[], out: u32[]): void {
  for (let i = 0; i < points.length; i++) {
    if (points[i] < low || points[i] > high) continue
    for (let j = 0; j < points.length; j++) {
      out.push(points[j])
      out.push(points[j])
    }
    return
  }
}
