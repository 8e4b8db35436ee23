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

export function outputExceeded(limit: number): GuestAbort {
  return new GuestAbort('OUTPUT_EXCEEDED', `the operator emitted more than ${limit} bytes in one call`)
}

export interface GuestState {
  fuelLeft: number
  /** The depth counter of admission was above its limit. */
  tooDeep: boolean
  /** memory.grow was refused during the call. */
  growFailed: boolean
  memoryBytesMax: number
}

/** The code of a thrown thing, from what is known of the guest at that moment. */
export function faultOf(thrown: unknown, guest: GuestState): Fault {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  const stack = error.stack ?? ''
  if (guest.fuelLeft < 0 || (error instanceof GuestAbort && error.code === 'FUEL_EXHAUSTED')) {
    return { code: 'FUEL_EXHAUSTED', message: 'the record needs more fuel than its operator may use', stack }
  }
  if (guest.growFailed) {
    return { code: 'MEMORY_EXHAUSTED', message: `the operator used up its ${guest.memoryBytesMax >> 20} MiB`, stack }
  }
  if (error instanceof GuestAbort) return { code: error.code, message: error.message, stack }
  if (guest.tooDeep || error instanceof RangeError) {
    return { code: 'OPERATOR_TRAP', message: 'the calls go too deep: a recursion without end?', stack }
  }
  return { code: 'OPERATOR_TRAP', message: error.message, stack }
}
