// Dead letters under exactly-once: they become visible with their epoch, but those that led to a failure are kept although
// its epoch never is. So what is not stored yet is remembered here.
// Runs on: bridge.

import { countRecords, RecordBuffer } from '../../record/record.ts'
import type { Emitter } from '../bridge.ts'

/** Remembered at most; of more the first are. */
const BYTES_MAX = 16 << 20

export class KeptLetters implements Emitter {
  private readonly inner: Emitter
  /** By epoch, oldest first; the last is the present one's. */
  private readonly epochs: RecordBuffer[] = [new RecordBuffer(0)]
  private bytes = 0

  constructor(inner: Emitter) {
    this.inner = inner
  }

  open(position: unknown): Promise<void> {
    return this.inner.open(position)
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    const taken = this.inner.write(bytes, from, to)
    if (taken > 0 && this.bytes + taken <= BYTES_MAX) {
      this.epochs.at(-1)!.append(bytes, from, from + taken, countRecords(bytes, from, from + taken))
      this.bytes += taken
    }
    return taken
  }

  flush(): Promise<unknown> {
    return this.inner.flush()
  }

  /** What is written from now on is the next epoch's. */
  epochEnded(): void {
    this.epochs.push(new RecordBuffer(0))
  }

  stop(): Promise<void> {
    return this.inner.stop()
  }

  /** The oldest epoch is stored. */
  stored(): void {
    if (this.epochs.length > 1) this.bytes -= this.epochs.shift()!.length
  }

  /** What no stored epoch holds, in order. */
  rest(): RecordBuffer[] {
    return this.epochs.filter((letters) => letters.records > 0)
  }
}
