// The words that host and guest share, and the two regions that they point to. Nothing here is touched before `allocate`.

import {
  MAILBOX_BYTES,
  MAILBOX_INPUT,
  MAILBOX_INPUT_CAPACITY,
  MAILBOX_OUTPUT,
  MAILBOX_OUTPUT_BYTES,
  MAILBOX_OUTPUT_CAPACITY,
  MAILBOX_PORTS_HIGH,
  MAILBOX_PORTS_LOW,
  MAILBOX_PROGRESS,
  PORTS_MAX,
} from '../abi.ts'
import { handOver } from './host.ts'
import { BLOCK_BYTES } from './json/block.ts'
import { allocateBytes } from './memory.ts'

export const MAILBOX: usize = memory.data(MAILBOX_BYTES, 16)

/** Address of the input region. */
export let input: usize = 0
let inputCapacity: usize = 0
let output: usize = 0
let outputCapacity: usize = 0

/** Makes both regions at least as large as asked; what they held is gone. */
export function allocateRegions(inputBytes: usize, outputBytes: usize): void {
  if (inputBytes > inputCapacity) {
    if (input) heap.free(input)
    input = allocateBytes(inputBytes + BLOCK_BYTES)
    inputCapacity = inputBytes
    store<u32>(MAILBOX, input as u32, MAILBOX_INPUT)
    store<u32>(MAILBOX, inputCapacity as u32, MAILBOX_INPUT_CAPACITY)
  }
  if (outputBytes > outputCapacity) growOutput(outputBytes)
}

/** The output region anew, larger. Only when it is empty. */
function growOutput(bytes: usize): void {
  if (output) heap.free(output)
  output = allocateBytes(bytes)
  outputCapacity = bytes
  store<u32>(MAILBOX, output as u32, MAILBOX_OUTPUT)
  store<u32>(MAILBOX, outputCapacity as u32, MAILBOX_OUTPUT_CAPACITY)
  store<u32>(MAILBOX, 0, MAILBOX_OUTPUT_BYTES)
}

/** Room for a record of `bytes` in the output region; what is there is handed over if need be. // hot */
export function roomForRecord(bytes: usize): usize {
  let used: usize = load<u32>(MAILBOX, MAILBOX_OUTPUT_BYTES)
  if (used + bytes > outputCapacity) {
    if (used) handOver()
    used = 0
    store<u32>(MAILBOX, 0, MAILBOX_OUTPUT_BYTES)
    // A single record that is larger than the region: the host reads the mailbox again when it takes the output.
    if (bytes > outputCapacity) growOutput((bytes + 0xfff) & ~0xfff)
  }
  return output + used
}

/** The record in the room given before is whole. // hot */
@inline
export function recordWritten(bytes: usize): void {
  store<u32>(MAILBOX, load<u32>(MAILBOX, MAILBOX_OUTPUT_BYTES) + (bytes as u32), MAILBOX_OUTPUT_BYTES)
}

@inline
export function setProgress(offset: u32): void {
  store<u32>(MAILBOX, offset, MAILBOX_PROGRESS)
}

/** Something listens at this port. // hot */
@inline
export function isConnected(port: u32): bool {
  if (port >= (PORTS_MAX as u32)) return false
  const mask = load<u32>(MAILBOX + (port < 32 ? MAILBOX_PORTS_LOW : MAILBOX_PORTS_HIGH))
  return ((mask >> (port & 31)) & 1) != 0
}
