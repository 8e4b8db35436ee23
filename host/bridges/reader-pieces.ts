// Records as those who read them over HTTP get them, many in one piece of bytes: made once for all readers that stand at the same
// place. As server-sent events, or as frames of WebSocket (RFC 6455, 5.2: text, unmasked), which the manager writes as they are.
// Runs on: bridge.

import type { ReaderForm } from '../../schemas/reader-form.ts'

/** A piece has about so many bytes at most, where it holds more than one record. */
export const PIECE_BYTES_MAX = 128 << 10

/** Between hand-overs, for each reader: so many pieces a second are what the control thread passes on at a small share of its time. */
const PACE_MS_PER_READER = 0.25
const PACE_MS_MAX = 100

/** How long pieces are held together where there are so many readers. A single reader does not notice. */
export function paceMs(readers: number): number {
  return Math.min(readers * PACE_MS_PER_READER, PACE_MS_MAX)
}

const FIN_TEXT = 0x81
const encoder = new TextEncoder()
const [DATA, END] = ['data: ', '\n\n'].map((text) => encoder.encode(text)) as [Uint8Array, Uint8Array]
const GAP_EVENT = encoder.encode('event: gap\ndata: {}\n\n')
const GAP_FRAME = encoder.encode('{"event":"gap"}')

export class PieceWriter {
  readonly #form: ReaderForm
  readonly #parts: Uint8Array[] = []
  /** Bytes so far. */
  length = 0

  constructor(form: ReaderForm) {
    this.#form = form
  }

  /** Records before the next one are missing. */
  gap(): void {
    if (this.#form === 'events') this.#add(GAP_EVENT)
    else this.record(GAP_FRAME)
  }

  /**
   * One record.
   * @param line JSON on one line; the bytes are looked at when the piece is made
   * @param id of the event; frames have none
   */
  record(line: Uint8Array, id?: string): void {
    if (this.#form === 'frames') {
      this.#add(frameHead(line.length))
      this.#add(line)
      return
    }
    this.#add(id === undefined ? DATA : encoder.encode(`id: ${id}\ndata: `))
    this.#add(line)
    this.#add(END)
  }

  /** @returns all of it, in memory of its own */
  piece(): Uint8Array<ArrayBuffer> {
    const piece = new Uint8Array(this.length)
    let at = 0
    for (const part of this.#parts) {
      piece.set(part, at)
      at += part.length
    }
    return piece
  }

  #add(part: Uint8Array): void {
    this.#parts.push(part)
    this.length += part.length
  }
}

function frameHead(bytes: number): Uint8Array {
  if (bytes < 126) return Uint8Array.of(FIN_TEXT, bytes)
  if (bytes < 1 << 16) return Uint8Array.of(FIN_TEXT, 126, bytes >> 8, bytes & 255)
  const head = new Uint8Array(10)
  head[0] = FIN_TEXT
  head[1] = 127
  new DataView(head.buffer).setUint32(6, bytes)
  return head
}
