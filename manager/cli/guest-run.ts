// Runs a module by itself: one instance, one batch, as a host does it, for `spqr operator test`. Nothing bounds it: it is
// the author's own code on the author's machine.

import {
  ABI_VERSION,
  KIND_DATA,
  MAILBOX_INPUT,
  MAILBOX_OUTPUT,
  MAILBOX_OUTPUT_BYTES,
  MAILBOX_PORTS_HIGH,
  MAILBOX_PORTS_LOW,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_KIND,
  RECORD_LENGTH,
  RECORD_PORT,
  RECORD_TIMESTAMP,
  RECORD_VALUE_BYTES,
} from '../../wasm-operators/abi.ts'

export interface GuestRun {
  /** Values by port name, in order. */
  output: Record<string, unknown[]>
  /** Messages of records that were refused as not readable. */
  rejected: string[]
  log: string[]
}

interface Guest {
  memory: WebAssembly.Memory
  spqr_abi(): number
  spqr_start?(): void
  allocate(inputBytes: number, outputBytes: number): number
  configure(bytes: number): number
  process(bytes: number): number
  flush(): number
}

const OUTPUT_BYTES = 1 << 20
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/**
 * Configures, gives it all records, then flushes once.
 * @param ports names of the output ports, by index
 * @throws Error what the guest aborted with, or a trap
 */
export function runGuest(wasm: Uint8Array, ports: string[], settings: unknown, values: unknown[]): GuestRun {
  const found: GuestRun = { output: {}, rejected: [], log: [] }
  const input = records(values)
  const text = encoder.encode(JSON.stringify(settings))
  let mailbox = 0
  const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>), {
    env: {
      hand_over: () => take(),
      reject: (_offset: number, pointer: number, bytes: number) => found.rejected.push(utf8(pointer, bytes)),
      log: (_level: number, pointer: number, bytes: number) => found.log.push(utf8(pointer, bytes)),
      flush_now: () => undefined,
      clock: () => Date.now(),
      random: () => Math.random(),
      seed: () => Math.random(),
      trace: (message: number) => found.log.push(managed(message)),
      abort: (message: number, file: number, line: number, column: number) => {
        throw new Error(`${managed(message)} (${managed(file)}:${line}:${column})`)
      },
    },
  })
  const guest = instance.exports as unknown as Guest
  guest.spqr_start?.()
  if (guest.spqr_abi() !== ABI_VERSION)
    throw new Error(`The module speaks ABI ${guest.spqr_abi()}, not ${ABI_VERSION}.`)
  mailbox = guest.allocate(Math.max(input.length, text.length, 4096), OUTPUT_BYTES)
  view().setUint32(mailbox + MAILBOX_PORTS_LOW, 0xffffffff, true)
  view().setUint32(mailbox + MAILBOX_PORTS_HIGH, 0xffffffff, true)
  give(text)
  if (guest.configure(text.length) < 0) throw new Error('configure failed.')
  for (let at = 0; at < input.length; ) {
    give(input.subarray(at))
    const consumed = guest.process(input.length - at)
    if (consumed <= 0) throw new Error(`process answered ${consumed} for the records from byte ${at}.`)
    take()
    at += consumed
  }
  if (guest.flush() < 0) throw new Error('flush failed.')
  take()
  return found

  function view(): DataView {
    return new DataView(guest.memory.buffer)
  }
  function give(bytes: Uint8Array): void {
    new Uint8Array(guest.memory.buffer).set(bytes, view().getUint32(mailbox + MAILBOX_INPUT, true))
  }
  function utf8(pointer: number, bytes: number): string {
    return decoder.decode(new Uint8Array(guest.memory.buffer, pointer, bytes))
  }
  /** AssemblyScript's string: its bytes stand before it. */
  function managed(pointer: number): string {
    if (pointer === 0) return ''
    const bytes = view().getUint32(pointer - 4, true)
    return Buffer.from(guest.memory.buffer, pointer, bytes).toString('utf16le')
  }
  function take(): void {
    const memory = view()
    const from = memory.getUint32(mailbox + MAILBOX_OUTPUT, true)
    const end = from + memory.getUint32(mailbox + MAILBOX_OUTPUT_BYTES, true)
    for (let at = from; at < end; at += memory.getUint32(at + RECORD_LENGTH, true)) {
      const valueAt =
        at +
        RECORD_HEADER_BYTES +
        memory.getUint32(at + RECORD_KEY_BYTES, true) +
        memory.getUint32(at + RECORD_HEADERS_BYTES, true)
      const port = ports[memory.getUint16(at + RECORD_PORT, true)] ?? `port ${memory.getUint16(at + RECORD_PORT, true)}`
      found.output[port] ??= []
      found.output[port].push(parsed(utf8(valueAt, memory.getUint32(at + RECORD_VALUE_BYTES, true))))
    }
    memory.setUint32(mailbox + MAILBOX_OUTPUT_BYTES, 0, true)
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** One record for each value: JSON, but a string as its text. */
function records(values: unknown[]): Uint8Array {
  const bodies = values.map((value) => encoder.encode(typeof value === 'string' ? value : JSON.stringify(value)))
  const lengths = bodies.map((body) => (RECORD_HEADER_BYTES + body.length + 7) & ~7)
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  bodies.forEach((body, i) => {
    view.setUint32(at + RECORD_LENGTH, lengths[i]!, true)
    view.setUint8(at + RECORD_KIND, KIND_DATA)
    view.setBigInt64(at + RECORD_TIMESTAMP, BigInt(Date.now()), true)
    view.setUint32(at + RECORD_VALUE_BYTES, body.length, true)
    bytes.set(body, at + RECORD_HEADER_BYTES)
    at += lengths[i]!
  })
  return bytes
}
