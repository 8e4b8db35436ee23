// Loaded into every thread of the server under test (`node --import`): in the bridge worker it writes the time into each record
// that the source `generator` hands out, and puts a measuring emitter in the place of `console`. Both ends are one thread, so
// there is one clock. The emitter prints one line of JSON when it stops.

import { writeSync } from 'node:fs'
import { isMainThread, workerData } from 'node:worker_threads'
import type { BridgeContext, Emitter, Source } from '../../host/bridges/bridge.ts'
import { RECORD_HEADER_BYTES } from '../../host/record/record.ts'

/** A template begins with this field: 16 digits, µs. */
export const STAMP = '0000000000000000'
/** `{"t":"` stands before the digits, `","n":` behind them. */
const STAMP_AT = 6
const NUMBER_AT = STAMP_AT + STAMP.length + 6
/** Gaps below are none, µs. */
const GAP_US = 1000
const GAPS_MAX = 100_000
const ZERO = 48

export interface ProbeReport {
  probe: string
  records: number
  /** Numbers that did not come, and such that came again or out of order. */
  missing: number
  doubled: number
  /** By µs, the last one is for all above. */
  latencyUs: { p50: number; p99: number; max: number }
  /** `[when it ended, how long]` of pauses of 1 ms and more, µs since 1970 and µs. */
  gaps: [number, number][]
  /** When barriers came, µs since 1970. */
  barriersUs: number[]
}

const nowUs = (): number => Math.round((performance.timeOrigin + performance.now()) * 1000)

class ProbeEmitter implements Emitter {
  readonly #name: string
  /** Records by latency in µs. */
  readonly #latencies = new Uint32Array(1_000_001)
  readonly #gaps: [number, number][] = []
  readonly #barriersUs: number[] = []
  #records = 0
  #missing = 0
  #doubled = 0
  #lastNumber = 0
  #lastUs = 0

  constructor(context: BridgeContext) {
    this.#name = context.pipeline
  }

  open(): Promise<void> {
    return Promise.resolve()
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    const now = nowUs()
    const gap = now - this.#lastUs
    if (this.#lastUs > 0 && gap >= GAP_US && this.#gaps.length < GAPS_MAX) this.#gaps.push([now, gap])
    this.#lastUs = now
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
    for (let at = from; at < to; at += words[at >> 2]!) {
      const value = at + RECORD_HEADER_BYTES
      const stamp = digits(bytes, value + STAMP_AT)
      const number = digits(bytes, value + NUMBER_AT)
      this.#latencies[Math.min(this.#latencies.length - 1, Math.max(0, now - stamp))]! += 1
      if (number > this.#lastNumber) {
        this.#missing += number - this.#lastNumber - 1
        this.#lastNumber = number
      } else this.#doubled++
      this.#records++
    }
    return to - from
  }

  flush(): Promise<unknown> {
    if (this.#barriersUs.length < GAPS_MAX) this.#barriersUs.push(nowUs())
    return Promise.resolve(undefined)
  }

  stop(): Promise<void> {
    const report: ProbeReport = {
      probe: this.#name,
      records: this.#records,
      missing: this.#missing,
      doubled: this.#doubled,
      latencyUs: { p50: this.#percentile(0.5), p99: this.#percentile(0.99), max: this.#percentile(1) },
      gaps: this.#gaps,
      barriersUs: this.#barriersUs,
    }
    writeWhole(Buffer.from(`${JSON.stringify(report)}\n`))
    return Promise.resolve()
  }

  #percentile(share: number): number {
    let left = Math.ceil(this.#records * share)
    for (let us = 0; us < this.#latencies.length; us++) {
      left -= this.#latencies[us]!
      if (left <= 0) return us
    }
    return 0
  }
}

/** To standard output, a pipe that takes what it has room for. */
function writeWhole(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EAGAIN') throw thrown
    }
  }
}

function digits(bytes: Uint8Array, at: number): number {
  let number = 0
  for (let c = bytes[at]! - ZERO; c >= 0 && c <= 9; c = bytes[++at]! - ZERO) number = number * 10 + c
  return number
}

/** Writes the present time into the records of each chunk. */
function stamped(source: Source): Source {
  const pull = source.pull.bind(source)
  source.pull = () => {
    const chunk = pull()
    if (typeof chunk === 'symbol') return chunk
    const { bytes, from, to } = chunk
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
    const text = String(nowUs()).padStart(STAMP.length, '0')
    for (let at = from; at < to; at += words[at >> 2]!) {
      const target = at + RECORD_HEADER_BYTES + STAMP_AT
      for (let i = 0; i < STAMP.length; i++) bytes[target + i] = text.charCodeAt(i)
    }
    return chunk
  }
  return source
}

const isBridge = !isMainThread && typeof workerData === 'object' && workerData !== null && 'permissions' in workerData
if (isBridge) {
  const { emitterTypes, sourceTypes } = await import('../../host/bridges/registry.ts')
  const { generator } = sourceTypes
  emitterTypes.console = { create: (_settings, context) => new ProbeEmitter(context) }
  sourceTypes.generator = { create: (settings, context) => stamped(generator!.create(settings, context)) }
}
