// What one emitter sends to one partition: a batch under way, batches that are closed, and one that still gathers.
// Runs on: bridge.

import { SpqrError } from '../../schemas/errors.ts'
import { decodeRecord, RECORD_LENGTH, RecordBuffer } from '../record/record.ts'
import { Backoff } from './backoff.ts'
import type { BridgeContext } from './bridge.ts'
import { Flushes } from './flushes.ts'

/** So much waiting is sent at once. */
const FULL_BYTES = 1 << 20
/** Rests between appends. */
const REST_MS_MIN = 1
const REST_MS_MAX = 10
/** From here on a batch keeps the memory that it was gathered in, and another one is used for the next. */
const LARGE_BYTES = 32 << 10

interface Batch {
  /** The transport's until it settles; more may gather meanwhile, elsewhere. */
  frames: Uint8Array
  memory: RecordBuffer | undefined
  records: number
  transaction: string | undefined
}

export class TopicLane {
  readonly #context: BridgeContext
  readonly #topic: string
  readonly #partition: number
  /** The topic is the pipeline's own dead letters: made on its first write, and the end of the road. */
  readonly #isLetters: boolean
  readonly #onDelivered: () => void
  #gathering = new RecordBuffer(0)
  /** Used before, for the next large batch. */
  #spare: RecordBuffer | undefined
  #transaction: string | undefined
  readonly #closed: Batch[] = []
  #isSending = false
  #stopped = false
  readonly #backoff = new Backoff()
  #timer: NodeJS.Timeout | undefined
  readonly #rests: boolean
  #restTimer: NodeJS.Timeout | undefined
  #tookMs = 0
  #endedAt = 0
  readonly #flushes = new Flushes()
  /** Bytes given and not delivered. */
  waitingBytes = 0

  /** @param onDelivered called after each batch */
  constructor(context: BridgeContext, topic: string, partition: number, isLetters: boolean, onDelivered: () => void) {
    this.#isLetters = isLetters
    this.#context = context
    this.#rests = context.transport.kind === 'embedded'
    this.#topic = topic
    this.#partition = partition
    this.#onDelivered = onDelivered
  }

  /** What is added from now on belongs to this transaction. */
  begin(transaction: string | undefined): void {
    if (transaction === this.#transaction) return
    this.#close()
    this.#transaction = transaction
  }

  /** Adds a run of whole records. // hot */
  add(bytes: Uint8Array, from: number, to: number, records: number): void {
    this.#gathering.append(bytes, from, to, records)
    this.waitingBytes += to - from
  }

  /** Sends what there is, unless a batch is under way, or the log is to have its rest. */
  send(): void {
    if (this.#isSending || this.#stopped || this.#rest()) return
    this.#sendNow()
  }

  /**
   * The embedded log does one thing at a time: while it waits for the disk, nothing is read. Between two appends that it took
   * long for it gets as long for its readers, unless much waits.
   */
  #rest(): boolean {
    if (this.#closed.length > 0 || this.waitingBytes >= FULL_BYTES) return false
    if (this.#restTimer !== undefined) return true
    const leftMs = Math.min(this.#tookMs, REST_MS_MAX) - (performance.now() - this.#endedAt)
    if (leftMs < REST_MS_MIN) return false
    this.#restTimer = setTimeout(() => {
      this.#restTimer = undefined
      if (!this.#isSending && !this.#stopped) this.#sendNow()
    }, leftMs)
    return true
  }

  #sendNow(): void {
    clearTimeout(this.#restTimer)
    this.#restTimer = undefined
    if (this.#closed.length === 0) this.#close()
    const batch = this.#closed.shift()
    if (!batch) return
    this.#isSending = true
    const began = performance.now()
    this.#deliver(batch).then(
      () => {
        this.#isSending = false
        this.#endedAt = performance.now()
        // Staged, it does not wait for the disk.
        this.#tookMs = this.#rests && batch.transaction === undefined ? this.#endedAt - began : 0
        if (this.#stopped) return
        this.waitingBytes -= batch.frames.length
        this.#spare = batch.memory ?? this.#spare
        this.#flushes.delivered()
        this.#onDelivered()
        this.send()
      },
      (error: unknown) => {
        if (!this.#stopped) this.#context.fail(SpqrError.from(error))
      },
    )
  }

  /** Resolves when all that was added so far is delivered. */
  flush(): Promise<void> {
    this.#close()
    if (!this.#isSending && !this.#stopped) this.#sendNow()
    return this.#flushes.wait()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#restTimer)
    const message = `The emitter was stopped before it wrote all to "${this.#topic}".`
    this.#flushes.stop(new SpqrError('INVALID_STATE', message))
  }

  #close(): void {
    const { length, records, bytes } = this.#gathering
    if (records === 0) return
    const memory = length < LARGE_BYTES ? undefined : this.#gathering
    const frames = memory ? bytes.subarray(0, length) : bytes.slice(0, length)
    this.#closed.push({ frames, memory, records, transaction: this.#transaction })
    this.#flushes.closed()
    if (memory) {
      this.#gathering = this.#spare ?? new RecordBuffer(0)
      this.#spare = undefined
    }
    this.#gathering.clear()
  }

  /** Tries until it went through. @throws what trying again does not cure */
  async #deliver(batch: Batch): Promise<void> {
    const { frames, records, transaction } = batch
    const options = this.#isLetters ? { transaction, create: true } : { transaction }
    while (!this.#stopped) {
      try {
        await this.#context.transport.append(this.#topic, this.#partition, frames, records, options)
        this.#backoff.reset()
        return
      } catch (thrown) {
        const error = SpqrError.from(thrown)
        if (this.#stopped) return
        if (error.code === 'RECORD_TOO_LARGE') {
          await this.#deliverApart(batch, error)
          return
        }
        if (!error.retriable) throw error
        this.#context.report(error)
        await new Promise<void>((done) => {
          this.#timer = setTimeout(done, this.#backoff.next())
        })
        // A stopped one is never heard of again: its batch is lost, as the one before it may have been.
      }
    }
  }

  /** Halves the batch until the record that is too large stands alone: it goes to dead letters. */
  async #deliverApart({ frames, memory, records, transaction }: Batch, error: SpqrError): Promise<void> {
    if (records === 1) {
      if (this.#isLetters) {
        this.#context.report(error)
        return
      }
      const record = decodeRecord(frames, 0)
      this.#context.deadLetter(
        error,
        { key: record.key, value: record.value ?? new Uint8Array(0) },
        record.sourceOffset ?? 0,
      )
      return
    }
    const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
    const half = records >> 1
    let middle = 0
    for (let i = 0; i < half; i++) middle += view.getUint32(middle + RECORD_LENGTH, true)
    await this.#deliver({ frames: frames.subarray(0, middle), memory, records: half, transaction })
    await this.#deliver({ frames: frames.subarray(middle), memory, records: records - half, transaction })
  }
}
