// Drives a source or an emitter the way the runtime does, in the test's own thread: pulls until a condition holds, keeps
// what the bridge says of itself.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BridgeContext, type Emitter, ENDED, type Source, WAIT } from '../../host/bridges/bridge.ts'
import { Permissions } from '../../host/permissions/permissions.ts'
import { decodeRecord, type PlainRecord, RECORD_LENGTH } from '../../host/record/record.ts'
import type { Transport } from '../../host/transport/transport.ts'
import type { SpqrError } from '../../schemas/errors.ts'

/** A bridge that is never heard of again fails the test after this time. */
const LIMIT_MS = 20_000

export interface DeadLetter {
  error: SpqrError
  key?: Uint8Array
  value: Uint8Array
  offset: number
}

export class BridgeDriver {
  readonly context: BridgeContext
  readonly deadLetters: DeadLetter[] = []
  readonly reports: SpqrError[] = []
  readonly logs: string[] = []
  failure: SpqrError | undefined
  /** The position after the last chunk. */
  position: unknown
  ended = false
  #wake: (() => void) | undefined
  #isReady = false

  constructor(options: Partial<BridgeContext> & { flags?: string[] } = {}) {
    const { flags, ...rest } = options
    this.context = {
      tenant: 'default',
      pipeline: 'p',
      component: 'c',
      delivery: 'at-least-once',
      // Bridges that reach for a transport are given one; others fail here when they do.
      transport: undefined as unknown as Transport,
      permissions: Permissions.parse(flags ?? []),
      recordBytesMax: 1 << 20,
      ready: () => {
        this.#isReady = true
        this.#wake?.()
      },
      report: (error) => this.reports.push(error),
      deadLetter: (error, record, offset) => {
        this.deadLetters.push({ error, key: record.key?.slice(), value: record.value.slice(), offset })
      },
      fail: (error) => {
        this.failure ??= error
        this.#wake?.()
      },
      log: (_level, text) => this.logs.push(text),
      checkpoint: () => Promise.resolve(),
      transaction: () => undefined,
      ...rest,
    }
  }

  /** Pulls until there are `count` records, the source ends or it fails. */
  async pull(source: Source, count = Number.POSITIVE_INFINITY): Promise<PlainRecord[]> {
    const records: PlainRecord[] = []
    const until = Date.now() + LIMIT_MS
    while (records.length < count && !this.failure) {
      this.#isReady = false
      const chunk = source.pull()
      if (chunk === ENDED) {
        this.ended = true
        break
      }
      if (chunk === WAIT) {
        await this.#ready(until)
        continue
      }
      records.push(...decodeRun(chunk.bytes, chunk.from, chunk.to))
      // A position crosses threads and is kept as JSON.
      this.position = JSON.parse(JSON.stringify(chunk.position))
    }
    return records
  }

  /** Writes a run as the runtime does: what is not taken is given again when the emitter is ready. */
  async write(emitter: Emitter, bytes: Uint8Array, from: number, to: number): Promise<void> {
    const until = Date.now() + LIMIT_MS
    for (let at = from; at < to; ) {
      this.#isReady = false
      at += emitter.write(bytes, at, to)
      if (at < to) await this.#ready(until)
    }
  }

  async #ready(until: number): Promise<void> {
    if (this.#isReady || this.failure) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((done, fail) => {
      this.#wake = done
      timer = setTimeout(() => fail(new Error(`the bridge was not ready in ${LIMIT_MS} ms`)), until - Date.now())
    })
    clearTimeout(timer)
    this.#wake = undefined
  }
}

/** Records of a run, as objects. */
export function decodeRun(bytes: Uint8Array, from: number, to: number): PlainRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const records: PlainRecord[] = []
  for (let at = from; at < to; at += view.getUint32(at + RECORD_LENGTH, true)) records.push(decodeRecord(bytes, at))
  return records
}

export const textOf = (record: PlainRecord): string | undefined =>
  record.value === undefined ? undefined : new TextDecoder().decode(record.value)

export const textsOf = (records: PlainRecord[]): (string | undefined)[] => records.map(textOf)

/** A folder of its own for a test; `remove` takes it away. */
export function testFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'spqr-test-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Waits until it holds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + LIMIT_MS; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`not within ${LIMIT_MS} ms: ${what}`)
    await new Promise((done) => setTimeout(done, 5))
  }
}
