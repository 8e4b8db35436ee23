// What an author extends.

import { CHANGE_KEEP, CHANGE_RESET } from '../abi.ts'
import { Emitter } from './emitter.ts'
import { Record } from './record.ts'
import { Settings } from './settings.ts'

/** What new settings do to the state. */
export enum Change {
  /** The state goes on. */
  Keep = CHANGE_KEEP,
  /** The operator has dropped its state and starts anew. */
  Reset = CHANGE_RESET,
}

/**
 * A step of a pipeline. One instance works for one component, alone; what it keeps in its fields is its state, and is
 * part of every checkpoint.
 *
 * @example
 * class Purchases extends Operator {
 *   process(record: Record, out: Emitter): void {
 *     if (record.json('action').str == 'purchase') out.emit(record)
 *   }
 * }
 * register(new Purchases())
 */
export abstract class Operator {
  /** Before the first record, and at each change of the settings. An error thrown here refuses them. */
  configure(settings: Settings): Change {
    return Change.Keep
  }

  /** For every record: emit none, one or many, now. */
  process(record: Record, out: Emitter): void {}

  /** `emitWhen` fired, or the sources ended. */
  flush(out: Emitter): void {}

  /** No record with an earlier time than this is expected any more. */
  watermark(eventTimeMs: i64, out: Emitter): void {}
}

let registered: Operator | null = null

/** Names the operator of this module: called once, at the top level of its file. */
export function register(operator: Operator): void {
  if (registered) throw new Error('register was called twice: a module is one operator')
  registered = operator
}

/** @throws Error where `register` was not called */
export function operatorOfModule(): Operator {
  if (!registered) throw new Error('no operator: call register(new …()) at the top level')
  return registered!
}
