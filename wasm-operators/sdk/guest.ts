// The exports of every operator module: the guest's half of wasm-operators/abi.ts.

import { ABI_VERSION, FAULT_OPERATOR, RECORD_LENGTH } from '../abi.ts'
import { Emitter } from './emitter.ts'
import { allocateRegions, input, MAILBOX, setProgress } from './mailbox.ts'
import { Operator, operatorOfModule } from './operator.ts'
import { Record } from './record.ts'
import { Settings } from './settings.ts'

/** Garbage that is let lie, in bytes, besides as much as is alive. */
const GARBAGE_MAX: usize = 128 << 10

const record = new Record()
const emitter = new Emitter()
let operator: Operator | null = null
/** Bytes of managed objects at which they are collected. */
let collectAt: usize = GARBAGE_MAX

export function spqr_abi(): i32 {
  return ABI_VERSION
}

export function allocate(inputBytes: i32, outputBytes: i32): i32 {
  allocateRegions(inputBytes, outputBytes)
  return MAILBOX as i32
}

export function configure(bytes: i32): i32 {
  operator = operatorOfModule()
  const settings = Settings.read(input, bytes)
  if (!settings) throw new Error('the settings are not JSON')
  const change = operator!.configure(settings)
  collect()
  return change as i32
}

/** // hot */
export function process(bytes: i32): i32 {
  const target = operator
  if (!target) return FAULT_OPERATOR
  const end = input + bytes
  record.fault = 0
  for (let at = input; at < end; at += load<u32>(at, RECORD_LENGTH)) {
    setProgress((at - input) as u32)
    record.move(at)
    emitter.follow(record)
    target.process(record, emitter)
    if (record.fault) return record.fault
    if (emitter.flushRequested) {
      // The host flushes before it gives the rest.
      emitter.flushRequested = false
      return (at - input) as i32 + load<u32>(at, RECORD_LENGTH) as i32
    }
    if (__total() > collectAt) collect()
  }
  return bytes
}

export function flush(): i32 {
  if (!operator) return FAULT_OPERATOR
  emitter.followNone()
  operator!.flush(emitter)
  if (__total() > collectAt) collect()
  return 0
}

export function watermark(eventTimeMs: f64): i32 {
  if (!operator) return FAULT_OPERATOR
  emitter.followNone()
  operator!.watermark(eventTimeMs as i64, emitter)
  if (__total() > collectAt) collect()
  return 0
}

/** Between records no managed object is on the stack alone, which the minimal runtime asks for. */
function collect(): void {
  __collect()
  collectAt = __total() * 2 + GARBAGE_MAX
}
