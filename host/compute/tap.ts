// A copy of records that leave a component, for one reader. A reader that is slow gets fewer, never holds anything.
// Runs on: compute.

import { KIND_DATA, RECORD_KIND, RECORD_PORT } from '../record/record.ts'

/** Copied at most before the reader has taken them. */
const PENDING_BYTES_MAX = 256 << 10

export class Tap {
  readonly id: number
  readonly component: string
  /** -1: every port that has a consumer. */
  readonly port: number
  private readonly every: number
  private readonly send: (frames: Uint8Array, skipped: number) => void
  private seen = 0
  private skipped = 0
  private pendingBytes = 0

  constructor(
    id: number,
    component: string,
    port: number,
    every: number,
    send: (frames: Uint8Array, skipped: number) => void,
  ) {
    this.id = id
    this.component = component
    this.port = port
    this.every = every
    this.send = send
  }

  /** The reader took what it was sent. */
  ready(): void {
    this.pendingBytes = 0
  }

  /** Sees a run of whole records. */
  take(bytes: Uint8Array, words: Int32Array, from: number, to: number): void {
    const picked: number[] = []
    let sum = 0
    for (let at = from; at < to; at += words[at >> 2]!) {
      if (bytes[at + RECORD_KIND] !== KIND_DATA) continue
      if (this.port >= 0 && (bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8)) !== this.port) continue
      if (this.seen++ % this.every !== 0) continue
      const length = words[at >> 2]!
      if (this.pendingBytes + sum + length > PENDING_BYTES_MAX) {
        this.skipped++
        continue
      }
      picked.push(at)
      sum += length
    }
    if (sum === 0) return
    const frames = new Uint8Array(sum)
    let end = 0
    for (const at of picked) {
      frames.set(bytes.subarray(at, at + words[at >> 2]!), end)
      end += words[at >> 2]!
    }
    this.pendingBytes += sum
    this.send(frames, this.skipped)
    this.skipped = 0
  }
}
