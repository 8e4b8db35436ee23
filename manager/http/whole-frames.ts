// Cuts a stream of unmasked WebSocket frames (RFC 6455, 5.2) where frames end: only there may something else be written between.
// Runs on: control.

const NOTHING = new Uint8Array(0)

export class WholeFrames {
  #rest = NOTHING

  /** @returns the frames that are whole now, often the chunk itself; what is left waits for the next chunk */
  add(chunk: Uint8Array): Uint8Array {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let end = 0
    for (let next = endOf(bytes, 0); next <= bytes.length; next = endOf(bytes, next)) end = next
    // A copy: what is left is little, what it is cut from may be much.
    this.#rest = end === bytes.length ? NOTHING : bytes.slice(end)
    return end === bytes.length ? bytes : bytes.subarray(0, end)
  }
}

/** Where the frame at `at` ends; beyond the bytes where its head is not whole. */
function endOf(bytes: Uint8Array, at: number): number {
  const short = bytes[at + 1]
  if (short === undefined) return Number.POSITIVE_INFINITY
  if (short < 126) return at + 2 + short
  const size = short === 126 ? 2 : 8
  if (at + 2 + size > bytes.length) return Number.POSITIVE_INFINITY
  let length = 0
  for (let i = 0; i < size; i++) length = length * 256 + bytes[at + 2 + i]!
  return at + 2 + size + length
}
