// Reads zigzag varints out of bytes; a place that moves on.
// Runs on: bridge. Never reads more than ten bytes past a number's begin; the caller checks where it came out.

const TWO_28 = 268435456

export class VarintCursor {
  at = 0
  #bytes: Uint8Array = new Uint8Array(0)

  /** @param bytes a plain Uint8Array, so that the readers below see one kind of array */
  begin(bytes: Uint8Array, at: number): void {
    this.#bytes = bytes
    this.at = at
  }

  /** A signed 32-bit number. // hot */
  varint(): number {
    const bytes = this.#bytes
    let at = this.at
    let byte = bytes[at++]!
    let value = byte & 0x7f
    for (let shift = 7; byte >= 0x80 && shift < 35; shift += 7) {
      byte = bytes[at++]!
      value |= (byte & 0x7f) << shift
    }
    this.at = at
    return (value >>> 1) ^ -(value & 1)
  }

  /** A signed 64-bit number, exact within ±2^52. // hot */
  varlong(): number {
    const bytes = this.#bytes
    let at = this.at
    let byte = bytes[at++]!
    let low = byte & 0x7f
    let shift = 7
    for (; byte >= 0x80 && shift < 28; shift += 7) {
      byte = bytes[at++]!
      low |= (byte & 0x7f) << shift
    }
    if (byte < 0x80) {
      this.at = at
      return (low >>> 1) ^ -(low & 1)
    }
    let value = low
    for (let factor = TWO_28; byte >= 0x80 && shift < 70; shift += 7, factor *= 128) {
      byte = bytes[at++]!
      value += (byte & 0x7f) * factor
    }
    this.at = at
    return low & 1 ? -(value + 1) / 2 : value / 2
  }
}
