// A view of bytes in the input region, such as a record's key or value.

/** Valid during the call alone: keep what `toString` or `toArray` give, never the view. */
@final
export class Bytes {
  pointer: usize = 0
  length: i32 = 0

  /** The byte at `index`; traps outside. */
  @operator('[]')
  at(index: i32): u8 {
    if (<u32>index >= <u32>this.length) throw new RangeError('index out of range')
    return load<u8>(this.pointer + index)
  }

  /** As text, read as UTF-8. */
  toString(): string {
    return String.UTF8.decodeUnsafe(this.pointer, this.length)
  }

  /** A copy. */
  toArray(): Uint8Array {
    const copy = new Uint8Array(this.length)
    memory.copy(copy.dataStart, this.pointer, this.length)
    return copy
  }

  /** The bytes are this text in UTF-8. */
  equals(text: string): bool {
    const encoded = String.UTF8.encode(text)
    return (
      encoded.byteLength == this.length && memory.compare(changetype<usize>(encoded), this.pointer, this.length) == 0
    )
  }
}
