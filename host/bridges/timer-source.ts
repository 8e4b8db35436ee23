// The source `timer`: a record {sequence, timestamp} every so many ms. A tick that could not be taken in time is left
// out, not made up for.
// Runs on: bridge. Owns the chunk it hands out.

import { RECORD_SOURCE_OFFSET, RecordBuffer, writeU64 } from '../record/record.ts'
import { type BridgeContext, type Chunk, type Source, type SourceType, WAIT } from './bridge.ts'

interface Settings {
  everyMs: number
}

interface Position {
  /** Of the last record. */
  sequence: number
}

/** Node's timers take 31 bits. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1
const encoder = new TextEncoder()

export class TimerSource implements Source {
  #everyMs: number
  readonly #context: BridgeContext
  readonly #chunk = new RecordBuffer(256)
  #timer: NodeJS.Timeout | undefined
  #sequence = 0
  /** When the next record is due, performance.now(). */
  #dueAt = 0

  constructor(settings: Settings, context: BridgeContext) {
    this.#everyMs = settings.everyMs
    this.#context = context
  }

  open(position: unknown): Promise<void> {
    if (position !== undefined) this.#sequence = (position as Position).sequence
    this.#dueAt = performance.now() + this.#everyMs
    return Promise.resolve()
  }

  pull(): Chunk | typeof WAIT {
    const now = performance.now()
    if (now < this.#dueAt) {
      this.#wake(this.#dueAt - now)
      return WAIT
    }
    this.#dueAt += this.#everyMs * (1 + Math.floor((now - this.#dueAt) / this.#everyMs))
    const timestamp = Date.now()
    const value = encoder.encode(`{"sequence":${++this.#sequence},"timestamp":${timestamp}}`)
    this.#chunk.clear()
    this.#chunk.bytes.set(value, this.#chunk.begin(-1, 0, value.length, timestamp))
    writeU64(this.#chunk.view, RECORD_SOURCE_OFFSET, this.#sequence)
    const position: Position = { sequence: this.#sequence }
    return { bytes: this.#chunk.bytes, from: 0, to: this.#chunk.length, records: 1, position }
  }

  configure(settings: Record<string, unknown>): boolean {
    this.#everyMs = (settings as unknown as Settings).everyMs
    this.#dueAt = performance.now() + this.#everyMs
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#context.ready()
    return true
  }

  stop(): Promise<void> {
    clearTimeout(this.#timer)
    return Promise.resolve()
  }

  #wake(waitMs: number): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined
        this.#context.ready()
      },
      Math.min(TIMEOUT_MS_MAX, Math.max(1, Math.ceil(waitMs))),
    )
  }
}

export const timerSource: SourceType = {
  create: (settings, context) => new TimerSource(settings as unknown as Settings, context),
}
