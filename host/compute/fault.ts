// What went wrong inside a guest, and which code it gets.
// Runs on: compute.

import type { RecordFault } from '../../schemas/errors.ts'

export interface Fault {
  code: RecordFault
  message: string
  /** V8's stack of the trap; positions are of the admitted module. */
  stack: string
}

/** Thrown by imports to end a call. */
export class GuestAbort extends Error {
  override readonly name = 'GuestAbort'
  readonly code: RecordFault
  constructor(code: RecordFault, message: string) {
    super(message)
    this.code = code
  }
}

export interface GuestState {
  fuelLeft: number
  /** Depth counter of admission at the moment of the trap. */
  depth: number
  memoryBytes: number
  memoryBytesMax: number
}

/** A memory this close to its maximum when the guest trapped had no room left. */
const MEMORY_SLACK_BYTES = 1 << 20

/** The code of a thrown thing, from what is known of the guest at that moment. */
export function faultOf(thrown: unknown, guest: GuestState): Fault {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  const stack = error.stack ?? ''
  if (guest.fuelLeft < 0) {
    return { code: 'FUEL_EXHAUSTED', message: 'the record needs more fuel than its operator may use', stack }
  }
  const nearLimit = guest.memoryBytes + MEMORY_SLACK_BYTES > guest.memoryBytesMax && guest.memoryBytesMax > 0
  if (error instanceof GuestAbort) {
    const outOfMemory = nearLimit && /allocation too large|out of memory/i.test(error.message)
    return { code: outOfMemory ? 'MEMORY_EXHAUSTED' : error.code, message: error.message, stack }
  }
  if (nearLimit && /unreachable/.test(error.message)) {
    return { code: 'MEMORY_EXHAUSTED', message: `the operator used up its ${guest.memoryBytesMax >> 20} MiB`, stack }
  }
  if (error instanceof RangeError) return { code: 'OPERATOR_TRAP', message: 'the call stack is too deep', stack }
  return { code: 'OPERATOR_TRAP', message: error.message, stack }
}
