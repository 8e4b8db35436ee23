// The emitter `console`: one line per record on standard output, with its pipeline and component before it.
// Runs on: bridge.

import { isatty } from 'node:tty'
import pc from 'picocolors'
import type { BridgeContext, Emitter, EmitterType } from './bridge.ts'
import { RecordReader } from './record-reader.ts'

/** Of a value at most so much is printed. */
const VALUE_BYTES_MAX = 64 << 10
const decoder = new TextDecoder()

/** Where it prints. */
export interface Output {
  write(text: string, done?: () => void): boolean
  once(event: 'drain', listener: () => void): unknown
}

export class ConsoleEmitter implements Emitter {
  readonly #context: BridgeContext
  readonly #output: Output
  readonly #prefix: string
  readonly #records = new RecordReader()
  #isFull = false

  /** @param colours whether a terminal reads along */
  constructor(context: BridgeContext, output: Output, colours: boolean) {
    this.#context = context
    this.#output = output
    this.#prefix = `${pc.createColors(colours).cyan(`${context.pipeline}/${context.component}`)} `
  }

  open(): Promise<void> {
    return Promise.resolve()
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    if (this.#isFull) return 0
    const records = this.#records
    records.set(bytes, from, to)
    let text = ''
    while (records.next()) text += `${this.#prefix}${records.isTombstone ? 'null' : this.#valueText()}\n`
    if (!this.#output.write(text)) {
      this.#isFull = true
      this.#output.once('drain', () => {
        this.#isFull = false
        this.#context.ready()
      })
    }
    return to - from
  }

  async flush(): Promise<unknown> {
    await new Promise<void>((done) => this.#output.write('', done))
    return undefined
  }

  configure(): boolean {
    return true
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }

  /** On one line, and without what would steer a terminal. */
  #valueText(): string {
    const { bytes, valueAt, end } = this.#records
    const cut = end - valueAt > VALUE_BYTES_MAX
    const text = decoder.decode(bytes.slice(valueAt, cut ? valueAt + VALUE_BYTES_MAX : end))
    const plain = text
      .replace(/[\r\n]+/g, ' ')
      .replace(/\p{Cc}/gu, (c) => (c === '\t' ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`))
    return cut ? `${plain} … (${end - valueAt} bytes)` : plain
  }
}

export const consoleEmitter: EmitterType = {
  create: (_settings, context) => new ConsoleEmitter(context, process.stdout, isatty(1) && !process.env.NO_COLOR),
}
