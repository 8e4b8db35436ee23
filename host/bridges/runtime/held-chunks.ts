// What a source under at-most-once has read and may not let flow yet: a record counts as done, durably, before anybody sees
// it, so that a crash cannot bring it a second time. Reading goes on meanwhile, so one commit stands for many chunks.
// Runs on: bridge.

import type { Chunk } from '../bridge.ts'

/** Above, nothing more is read. */
const HELD_BYTES_MAX = 8 << 20

export class HeldChunks {
  /** Count as done. */
  private readonly ready: Chunk[] = []
  /** Will, once the checkpoint that is under way says so. */
  private noted: Chunk[] = []
  /** Do not yet. */
  private waiting: Chunk[] = []
  private bytes = 0

  get isFull(): boolean {
    return this.bytes >= HELD_BYTES_MAX
  }

  get isEmpty(): boolean {
    return this.ready.length === 0 && this.noted.length === 0 && this.waiting.length === 0
  }

  get records(): number {
    return [...this.ready, ...this.noted, ...this.waiting].reduce((sum, chunk) => sum + chunk.records, 0)
  }

  /** The position behind all of them. */
  get end(): unknown {
    return (this.waiting.at(-1) ?? this.noted.at(-1) ?? this.ready.at(-1))?.position
  }

  /** Takes a copy: the source reuses its memory. */
  add({ bytes, from, to, records, position }: Chunk): void {
    this.waiting.push({ bytes: bytes.slice(from, to), from: 0, to: to - from, records, position })
    this.bytes += to - from
  }

  /** The next one that may flow. */
  take(): Chunk | undefined {
    const chunk = this.ready.shift()
    if (chunk) this.bytes -= chunk.to
    return chunk
  }

  /**
   * Has what waits count as done, unless that is under way.
   * @param note makes this position durable
   * @param onReady is called when something may flow
   */
  settle(note: (position: unknown) => Promise<void>, onReady: () => void): void {
    if (this.noted.length > 0 || this.waiting.length === 0) return
    this.noted = this.waiting
    this.waiting = []
    void note(this.noted.at(-1)!.position).then(
      () => {
        this.ready.push(...this.noted)
        this.noted = []
        onReady()
      },
      // Only a slot that is being dropped gives up.
      () => undefined,
    )
  }
}
