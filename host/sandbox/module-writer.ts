// Writes the primitives of the WebAssembly binary format into a buffer that grows.
// Runs on: admission.

export class ModuleWriter {
  #bytes: Uint8Array
  length = 0

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity)
  }

  #room(count: number): void {
    const need = this.length + count
    if (need <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(need, this.#bytes.length * 2))
    larger.set(this.#bytes.subarray(0, this.length))
    this.#bytes = larger
  }

  u8(value: number): void {
    if (this.length === this.#bytes.length) this.#room(1)
    this.#bytes[this.length++] = value
  }

  u32(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.u8(rest)
  }

  s32(value: number): void {
    let rest = value
    for (;;) {
      const byte = rest & 0x7f
      rest >>= 7
      if ((rest === 0 && (byte & 0x40) === 0) || (rest === -1 && (byte & 0x40) !== 0)) {
        this.u8(byte)
        return
      }
      this.u8(byte | 0x80)
    }
  }

  name(text: string): void {
    const bytes = new TextEncoder().encode(text)
    this.u32(bytes.length)
    this.copy(bytes, 0, bytes.length)
  }

  /** Appends `source[from … to)`. */
  copy(source: Uint8Array, from: number, to: number): void {
    this.#room(to - from)
    // Most runs are short, and a view of each would be garbage.
    if (to - from < 64) for (let i = from; i < to; i++) this.#bytes[this.length++] = source[i]!
    else {
      this.#bytes.set(source.subarray(from, to), this.length)
      this.length += to - from
    }
  }

  append(other: ModuleWriter): void {
    this.copy(other.#bytes, 0, other.length)
  }

  clear(): void {
    this.length = 0
  }

  /** A copy of what was written. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length)
  }
}
