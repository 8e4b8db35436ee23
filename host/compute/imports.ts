// The functions that a guest may call, shared by all instances of the worker: only one guest runs at a time, and the
// imports act on that one. Nothing is made per instance.
// Runs on: compute.

import { GuestAbort } from './fault.ts'

/** What the imports need of the instance that runs. */
export interface RunningGuest {
  /** They ask for the text where they keep it: reading it takes longer than the call. */
  readonly owner: {
    rejected(inputOffset: number, message: () => string): void
    logged(level: number, text: () => string): void
  }
  readonly replaying: boolean
  wantsFlush: boolean
  readonly clock: number
  seed: number
  /** Sees memory as it is now, also when it grew. */
  handOver(): void
  memoryView(): Uint8Array
}

const TEXT_BYTES_MAX = 4096
const decoder = new TextDecoder()
const utf16 = new TextDecoder('utf-16le')
let guest: RunningGuest | null = null

/** Runs `call` with the imports acting on this guest. */
export function runAs(running: RunningGuest, call: () => void): void {
  guest = running
  try {
    call()
  } finally {
    guest = null
  }
}

function current(): RunningGuest {
  if (guest === null) throw new GuestAbort('OPERATOR_TRAP', 'a guest ran outside of a call')
  return guest
}

/** UTF-8 in guest memory, cut at a limit; the guest's lengths are not trusted. */
function text(pointer: number, bytes: number): string {
  const memory = current().memoryView()
  const from = Math.min(pointer >>> 0, memory.length)
  return decoder.decode(memory.slice(from, Math.min(from + Math.min(bytes >>> 0, TEXT_BYTES_MAX), memory.length)))
}

/** A string of AssemblyScript: UTF-16, its length in bytes four bytes before it. */
function assemblyScriptString(pointer: number): string {
  const memory = current().memoryView()
  const at = pointer >>> 0
  if (at < 4 || at > memory.length) return ''
  const length = new DataView(memory.buffer).getUint32(at - 4, true)
  return utf16.decode(memory.slice(at, Math.min(at + Math.min(length & ~1, TEXT_BYTES_MAX), memory.length)))
}

/** xorshift: the same numbers whenever the same call runs again. */
function random(): number {
  const running = current()
  let x = running.seed | 0 || 1
  x ^= x << 13
  x ^= x >>> 17
  x ^= x << 5
  running.seed = x >>> 0
  return (x >>> 0) / 4294967296
}

export const guestImports: WebAssembly.Imports = {
  env: {
    hand_over: () => current().handOver(),
    reject: (inputOffset: number, pointer: number, bytes: number) => {
      const running = current()
      if (!running.replaying) running.owner.rejected(inputOffset >>> 0, () => text(pointer, bytes))
    },
    abort: (message: number, file: number, line: number, column: number) => {
      const where = file ? ` (${assemblyScriptString(file)}:${line >>> 0}:${column >>> 0})` : ''
      throw new GuestAbort('OPERATOR_TRAP', `${message ? assemblyScriptString(message) : 'aborted'}${where}`)
    },
    log: (level: number, pointer: number, bytes: number) => {
      const running = current()
      if (!running.replaying) running.owner.logged(level, () => text(pointer, bytes))
    },
    flush_now: () => {
      current().wantsFlush = true
    },
    clock: () => current().clock,
    random,
    seed: random,
    trace: (message: number, n: number, ...values: number[]) => {
      const running = current()
      if (running.replaying) return
      const shown = values.slice(0, Math.max(0, Math.min(5, n)))
      running.owner.logged(0, () => [assemblyScriptString(message), ...shown].join(' '))
    },
  },
}
