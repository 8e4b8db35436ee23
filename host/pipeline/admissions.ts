// Has modules admitted and compiled away from the control thread: one after the other, each with a time limit. The thread is
// started for the first one and ends when nothing came for a while.
// Runs on: control. The other side is sandbox/admission.worker.ts.

import { SpqrError } from '../../schemas/errors.ts'
import type { AdmissionMessage, AdmissionReply, CompiledAdmission } from '../sandbox/admission.worker.ts'
import { Thread } from './thread.ts'

/** Many times what 4 MiB of malice take. */
const TIME_LIMIT_MS = 30_000
const IDLE_MS = 60_000
const WAITING_MAX = 64

export class Admissions {
  private readonly timeLimitMs: number
  private thread: Thread<AdmissionMessage, AdmissionReply> | null = null
  private last: Promise<unknown> = Promise.resolve()
  private waiting = 0
  private idle: NodeJS.Timeout | undefined
  private stopped = false

  constructor(timeLimitMs = TIME_LIMIT_MS) {
    this.timeLimitMs = timeLimitMs
  }

  /**
   * Judges a module, and compiles it where it is admitted.
   * @throws SpqrError BACK_PRESSURE where too many wait, MODULE_REFUSED where it takes too long or breaks the thread
   */
  async admit(bytes: Uint8Array, memoryMiB: number): Promise<CompiledAdmission> {
    if (this.waiting >= WAITING_MAX) {
      throw new SpqrError('BACK_PRESSURE', `Cannot admit the module: ${WAITING_MAX} others wait; try again.`, {
        retriable: true,
        extra: { retryAfterSeconds: 2 },
      })
    }
    this.waiting++
    const mine = this.last
      .then(() => this.next(bytes, memoryMiB))
      .finally(() => {
        this.waiting--
        if (this.waiting === 0) this.idle = setTimeout(() => void this.end(), IDLE_MS).unref()
      })
    this.last = mine.catch(() => undefined)
    return mine
  }

  /** Ends the thread; what waits fails. */
  async stop(): Promise<void> {
    this.stopped = true
    await this.end()
  }

  private async next(bytes: Uint8Array, memoryMiB: number): Promise<CompiledAdmission> {
    clearTimeout(this.idle)
    if (this.stopped) throw new SpqrError('INVALID_STATE', 'Cannot admit the module: the host stops.')
    this.thread ??= new Thread(
      'admission',
      new URL('../sandbox/admission.worker.js', import.meta.url),
      {},
      [],
      () => undefined,
    )
    let isLate = false
    const limit = setTimeout(() => {
      isLate = true
      // Only an end stops it: it is synchronous.
      void this.end()
    }, this.timeLimitMs)
    try {
      const reply = await this.thread.ask({ type: 'admit', bytes, memoryMiB })
      if (reply.type === 'refused') throw SpqrError.fromMessage(reply.error)
      return reply.admission
    } catch (thrown) {
      // The thread ended: of the limit, or of the module.
      await this.end()
      if (this.stopped) throw thrown
      const why = isLate ? `reading it took longer than ${this.timeLimitMs / 1000} s` : 'it could not be read'
      throw new SpqrError('MODULE_REFUSED', `The module is refused: ${why}; make it smaller or simpler.`, {
        cause: thrown,
      })
    } finally {
      clearTimeout(limit)
    }
  }

  private async end(): Promise<void> {
    clearTimeout(this.idle)
    const { thread } = this
    this.thread = null
    await thread?.kill()
  }
}
