// Reads the primitives of the WebAssembly binary format. Bounded: no read passes `end`, no integer has more bytes than its
// type allows, and nothing is allocated by a count that the module claims.
// Runs on: admission. Copies nothing; the module's bytes belong to the caller.

import { Malformed } from './problems.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

export class ModuleReader {
  readonly bytes: Uint8Array
  at: number
  end: number

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  u8(): number {
    if (this.at >= this.end) throw new Malformed('it ends in the middle of something', this.at)
    return this.bytes[this.at++]!
  }

  /** Unsigned LEB128 of 32 bits. */
  u32(): number {
    // Nearly all have one byte.
    if (this.at < this.end && this.bytes[this.at]! < 0x80) return this.bytes[this.at++]!
    let value = 0
    const start = this.at
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8()
      if (shift === 28 && byte > 0x0f) break
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new Malformed('an unsigned number has more than 32 bits', start)
  }

  /** Signed LEB128 of up to 33 bits. */
  s33(): number {
    if (this.at < this.end && this.bytes[this.at]! < 0x80) return (this.bytes[this.at++]! << 25) >> 25
    let value = 0
    const start = this.at
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return byte & 0x40 ? value - 2 ** (shift + 7) : value
    }
    throw new Malformed('a signed number has more than 33 bits', start)
  }

  s32(): number {
    const start = this.at
    const value = this.s33()
    if (value < -2147483648 || value > 2147483647) throw new Malformed('a signed number has more than 32 bits', start)
    return value
  }

  /** Passes over a signed LEB128 of 64 bits. */
  skipS64(): void {
    const start = this.at
    for (let i = 0; i < 10; i++) if (this.u8() < 0x80) return
    throw new Malformed('a signed number has more than 64 bits', start)
  }

  skip(count: number): void {
    if (count > this.end - this.at) throw new Malformed(`it ends where ${count} more bytes are due`, this.at)
    this.at += count
  }

  /** The length of a vector; an entry takes at least one byte, so a longer one cannot be. */
  count(of: string, max: number): number {
    const start = this.at
    const count = this.u32()
    if (count > max) throw new Malformed(`${count} ${of}, at most ${max} are allowed`, start, 'limits')
    if (count > this.end - this.at)
      throw new Malformed(`${count} ${of} are said to follow, the bytes end before`, start)
    return count
  }

  name(max: number): string {
    const start = this.at
    const length = this.u32()
    if (length > this.end - this.at) throw new Malformed('a name reaches past the end', start)
    if (length > max) throw new Malformed(`a name has ${length} bytes, at most ${max} are allowed`, start, 'limits')
    this.at += length
    try {
      return utf8.decode(this.bytes.subarray(this.at - length, this.at))
    } catch {
      throw new Malformed('a name is not UTF-8', start)
    }
  }
}
