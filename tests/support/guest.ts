// Runs an operator's module by its ABI alone, without a host: for tests of operators and of the SDK.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { decodeRecord, type PlainRecord, RECORD_LENGTH, RecordBuffer } from '../../host/record/record.ts'
import { compileOperator } from '../../manager/operators/compile.ts'
import {
  MAILBOX_INPUT,
  MAILBOX_INPUT_CAPACITY,
  MAILBOX_OUTPUT,
  MAILBOX_OUTPUT_BYTES,
  MAILBOX_PORTS_HIGH,
  MAILBOX_PORTS_LOW,
  MAILBOX_PROGRESS,
} from '../../wasm-operators/abi.ts'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
export const operatorsFolder = join(root, 'wasm-operators')
export const asconfig = readFileSync(join(root, 'asconfig.json'), 'utf8')

interface GuestExports {
  memory: WebAssembly.Memory
  spqr_start(): void
  spqr_abi(): number
  allocate(inputBytes: number, outputBytes: number): number
  configure(bytes: number): number
  process(bytes: number): number
  flush(): number
  watermark(eventTimeMs: number): number
}

export interface Rejected {
  /** Index in the batch that was given. */
  index: number
  message: string
}

/** A guest's abort, with its own message. */
export class GuestAbort extends Error {}

const decoder = new TextDecoder()
const encoder = new TextEncoder()
const modules = new Map<string, WebAssembly.Module>()

/** The bytes of a shipped operator, as the build left them. */
export function shippedWasm(name: string): Uint8Array<ArrayBuffer> {
  const index = join(root, 'dist', 'wasm-operators', 'index.json')
  if (!existsSync(index)) throw new Error('run node dist/wasm-operators/build.js first')
  const entries = JSON.parse(readFileSync(index, 'utf8')) as { name: string; file: string }[]
  const entry = entries.find((known) => known.name === name)
  if (!entry) throw new Error(`${name} is not among the built operators`)
  return new Uint8Array(readFileSync(join(dirname(index), entry.file)))
}

/** A shipped operator. */
export function shipped(name: string): WebAssembly.Module {
  const module = modules.get(name) ?? new WebAssembly.Module(shippedWasm(name))
  modules.set(name, module)
  return module
}

/** Compiles source of a test; fails with the diagnostics. */
export async function compiled(source: string, debug = false): Promise<WebAssembly.Module> {
  const result = await compileOperator({ name: 'test', version: '1.0.0', source, debug, operatorsFolder, asconfig })
  if ('diagnostics' in result) throw new Error(JSON.stringify(result.diagnostics, null, 2))
  return new WebAssembly.Module(new Uint8Array(result.wasm))
}

export class Guest {
  readonly exports: GuestExports
  readonly mailbox: number
  /** What left in the last call. */
  readonly out: PlainRecord[] = []
  readonly rejected: Rejected[] = []
  readonly logs: { level: number; text: string }[] = []
  flushRequests = 0
  handOvers = 0
  clock = 0
  private batch = new RecordBuffer()

  constructor(module: WebAssembly.Module, inputBytes = 1 << 16, outputBytes = 1 << 16) {
    const text = (pointer: number, bytes: number): string =>
      decoder.decode(new Uint8Array(this.exports.memory.buffer, pointer, bytes))
    const env = {
      hand_over: () => {
        this.handOvers++
        this.take()
      },
      reject: (offset: number, pointer: number, bytes: number) => {
        this.rejected.push({ index: this.indexAt(offset), message: text(pointer, bytes) })
      },
      log: (level: number, pointer: number, bytes: number) => {
        this.logs.push({ level, text: text(pointer, bytes) })
      },
      flush_now: () => {
        this.flushRequests++
      },
      clock: () => this.clock,
      random: () => 0.5,
      seed: () => 1,
      trace: () => {},
      abort: (message: number, _file: number, line: number) => {
        throw new GuestAbort(`${this.string(message)} (line ${line})`)
      },
    }
    const instance = new WebAssembly.Instance(module, { env })
    this.exports = instance.exports as unknown as GuestExports
    this.exports.spqr_start()
    this.mailbox = this.exports.allocate(4096, 4096)
    if (inputBytes > 4096 || outputBytes > 4096) this.exports.allocate(inputBytes, outputBytes)
    this.connect(0xffffffff, 0xffffffff)
  }

  /** Which ports something listens at. */
  connect(low: number, high = 0): void {
    this.set(MAILBOX_PORTS_LOW, low)
    this.set(MAILBOX_PORTS_HIGH, high)
  }

  word(at: number): number {
    return new DataView(this.exports.memory.buffer).getUint32(this.mailbox + at, true)
  }

  set(at: number, value: number): void {
    new DataView(this.exports.memory.buffer).setUint32(this.mailbox + at, value, true)
  }

  get progress(): number {
    return this.word(MAILBOX_PROGRESS)
  }

  configure(settings: unknown): number {
    const bytes = encoder.encode(typeof settings === 'string' ? settings : JSON.stringify(settings))
    this.give(bytes)
    return this.exports.configure(bytes.length)
  }

  /** One call of `process` with these records → its result; `out` and `rejected` hold what came of it. */
  process(records: PlainRecord[]): number {
    this.batch.clear()
    for (const record of records) this.batch.add(record)
    this.begin()
    this.give(this.batch.bytes.subarray(0, this.batch.length))
    const result = this.exports.process(this.batch.length)
    this.take()
    return result
  }

  /** `process` of values alone. */
  values(...values: (string | Uint8Array)[]): number {
    return this.process(values.map((value, i) => ({ value: bytesOf(value), timestamp: 1000 + i })))
  }

  flush(): PlainRecord[] {
    this.begin()
    const result = this.exports.flush()
    if (result !== 0) throw new Error(`flush gave ${result}`)
    this.take()
    return this.out
  }

  watermark(eventTimeMs: number): void {
    this.begin()
    this.exports.watermark(eventTimeMs)
    this.take()
  }

  /** Values that left by a port in the last call, as text. */
  texts(port = 0): string[] {
    return this.out.filter((record) => record.port === port).map((record) => decoder.decode(record.value))
  }

  private begin(): void {
    this.out.length = 0
    this.rejected.length = 0
    this.flushRequests = 0
    this.handOvers = 0
  }

  private give(bytes: Uint8Array): void {
    if (bytes.length > this.word(MAILBOX_INPUT_CAPACITY)) this.exports.allocate(bytes.length, 0)
    new Uint8Array(this.exports.memory.buffer).set(bytes, this.word(MAILBOX_INPUT))
  }

  private take(): void {
    const bytes = new Uint8Array(this.exports.memory.buffer)
    const view = new DataView(this.exports.memory.buffer)
    const start = this.word(MAILBOX_OUTPUT)
    const end = start + this.word(MAILBOX_OUTPUT_BYTES)
    for (let at = start; at < end; at += view.getUint32(at + RECORD_LENGTH, true))
      this.out.push(decodeRecord(bytes, at))
    this.set(MAILBOX_OUTPUT_BYTES, 0)
  }

  private indexAt(offset: number): number {
    let index = 0
    for (let at = 0; at < offset; at += this.batch.view.getUint32(at + RECORD_LENGTH, true)) index++
    return index
  }

  /** One of AssemblyScript's own strings: UTF-16, its bytes in the word before. */
  private string(pointer: number): string {
    if (!pointer) return ''
    const bytes = new DataView(this.exports.memory.buffer).getUint32(pointer - 4, true)
    return Buffer.from(this.exports.memory.buffer, pointer, Math.min(bytes, 4096)).toString('utf16le')
  }
}

export function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? encoder.encode(value) : value
}
