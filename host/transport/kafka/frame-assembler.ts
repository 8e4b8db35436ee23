// Puts the frames of a socket together as they come, each in memory of its own: no list of chunks, no second copy.
// Runs on: bridge.

import { asBuffer } from '../pack.ts'
import { takeMemory } from './frame-memory.ts'

const SIZE_BYTES = 4
/** No answer of a broker is larger; whoever says so speaks something else. */
export const FRAME_BYTES_MAX = 128 << 20

export class FrameAssembler {
  readonly #onFrame: (frame: Buffer) => void
  readonly #size = Buffer.alloc(SIZE_BYTES)
  #sizeAt = 0
  #frame: Buffer | undefined
  #at = 0

  /** @param onFrame takes whole frames, size in front; they are its own */
  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame
  }

  /** @param chunk of the socket, valid during the call. @throws RangeError where it is no Kafka */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (!this.#frame) {
        while (this.#sizeAt < SIZE_BYTES && at < chunk.length) this.#size[this.#sizeAt++] = chunk[at++]!
        if (this.#sizeAt < SIZE_BYTES) return
        this.#begin(this.#size.readInt32BE())
      }
      const frame = this.#frame!
      const end = Math.min(chunk.length, at + frame.length - this.#at)
      frame.set(chunk.subarray(at, end), this.#at)
      this.#at += end - at
      at = end
      if (this.#at < frame.length) return
      this.#frame = undefined
      this.#sizeAt = 0
      this.#onFrame(frame)
    }
  }

  #begin(bytes: number): void {
    if (bytes < 0 || bytes > FRAME_BYTES_MAX) {
      throw new RangeError(`An answer of ${bytes >>> 0} bytes was announced: this is no broker of Kafka`)
    }
    this.#frame = asBuffer(takeMemory(SIZE_BYTES + bytes))
    this.#frame.set(this.#size)
    this.#at = SIZE_BYTES
  }
}
