// What passes through the pipe between a host and a tenant's process: frames, each way in the same layout.
// Runs on: relay thread and the tenant's process.
//
//    0 u32 bytes     of the payload, without its padding
//    4 u32 type      FRAME_*
//    8 u32 channel   or another number, see the types
//   12 u32 extra
//   16     payload, padded to a multiple of 8: records stand aligned in the reader's window

export const FRAME_HEADER_BYTES = 16
/** A payload may be as long as the longest record: what a call may emit, and a dead letter of that in base64. */
export const FRAME_BYTES_MAX = 32 << 20

/** Whole records of a channel, of kinds data, barrier, watermark and end. */
export const FRAME_RECORDS = 1
/** The far side has moved `extra` bytes of the channel on. */
export const FRAME_CREDIT = 2
/** A part of a message; more follow. */
export const FRAME_PART = 3
/** The last part of a message. */
export const FRAME_MESSAGE = 4
/** Counter blocks, see counter-report.ts. From the process. */
export const FRAME_COUNTERS = 5
/** To the process: the tenant has `extra` units of fuel. Back: it has used `extra`. */
export const FRAME_FUEL = 6
/** To the process: are you there? */
export const FRAME_PING = 7
/** Back: `extra` is the heartbeat of its compute thread, `channel` the pipeline it works on plus 1. */
export const FRAME_PONG = 8
/** From the process: it is up. */
export const FRAME_HELLO = 9

/** A run of records, or a part of a message, in one frame. */
export const BATCH_BYTES = 256 << 10
export const PART_BYTES = 64 << 10
/** Bytes of a channel under way that the far side has not moved on. One batch more may be. */
export const CREDIT_BYTES = 512 << 10
/** Credit is given back in pieces of this size. */
export const CREDIT_PIECE_BYTES = CREDIT_BYTES >> 2

export const padded = (bytes: number): number => (bytes + 7) & ~7

/** The far side does not keep to the protocol. */
export class MalformedFrame extends Error {
  override readonly name = 'MalformedFrame'
}

export interface FrameSink {
  /** One whole frame; the payload, `bytes[from … to)`, is valid during the call and stands at a multiple of 8. */
  frame(
    type: number,
    channel: number,
    extra: number,
    bytes: Uint8Array,
    words: Int32Array,
    from: number,
    to: number,
  ): void
}

const WINDOW_BYTES = 1 << 20
const ROOM_BYTES_MIN = 64 << 10

/**
 * Cuts a stream of bytes into frames. The stream is read into `room()`, so that nothing is copied for a frame that is
 * whole; an unfinished one moves to the front of the window, which grows only as bytes really come.
 */
export class FrameReader {
  private bytes: Uint8Array<ArrayBuffer> = new Uint8Array(WINDOW_BYTES)
  private words = new Int32Array(this.bytes.buffer)
  private head = 0
  private tail = 0
  private readonly sink: FrameSink

  constructor(sink: FrameSink) {
    this.sink = sink
  }

  /** Where the next bytes go. */
  room(): Uint8Array {
    return this.bytes.subarray(this.tail)
  }

  /** So many bytes were written to the room. @throws MalformedFrame // hot */
  received(bytes: number): void {
    this.tail += bytes
    const words = this.words
    while (this.tail - this.head >= FRAME_HEADER_BYTES) {
      const at = this.head >> 2
      const payload = words[at]! >>> 0
      if (payload > FRAME_BYTES_MAX) throw new MalformedFrame(`a frame of ${payload} bytes`)
      const from = this.head + FRAME_HEADER_BYTES
      const end = from + padded(payload)
      if (end > this.tail) break
      this.head = end
      this.sink.frame(words[at + 1]!, words[at + 2]!, words[at + 3]!, this.bytes, words, from, from + payload)
    }
    this.makeRoom()
  }

  /** Takes a chunk that was read elsewhere. */
  take(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      const room = this.room()
      const bytes = Math.min(room.length, chunk.length - at)
      room.set(chunk.subarray(at, at + bytes))
      at += bytes
      this.received(bytes)
    }
  }

  private makeRoom(): void {
    if (this.head === this.tail) {
      this.head = this.tail = 0
      // One long frame does not hold its memory for ever.
      if (this.bytes.length > WINDOW_BYTES) this.use(new Uint8Array(WINDOW_BYTES))
      return
    }
    if (this.bytes.length - this.tail >= ROOM_BYTES_MIN) return
    const kept = this.tail - this.head
    if (kept > this.bytes.length >> 1) {
      const larger = new Uint8Array(this.bytes.length * 2)
      larger.set(this.bytes.subarray(this.head, this.tail))
      this.use(larger)
    } else {
      this.bytes.copyWithin(0, this.head, this.tail)
    }
    this.head = 0
    this.tail = kept
  }
  private use(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes
    this.words = new Int32Array(bytes.buffer)
  }
}
