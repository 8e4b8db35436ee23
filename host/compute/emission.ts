// What the calls of one instance emit: checked, numbered and staged; seen by consumers once the call has returned well.
// Runs on: compute. What a guest wrote is believed in nothing.

import {
  KIND_DATA,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_KIND,
  RECORD_PORT,
  RECORD_SEQUENCE,
  RECORD_VALUE_BYTES,
} from '../record/record.ts'
import { GuestAbort, outputExceeded } from './fault.ts'
import { Stage } from './output.ts'

/** Marks a header without a value. */
const NO_VALUE = 0xffffffff

export class Emission {
  readonly stage: Stage
  /** Number of the last record that left. */
  sequence: number
  /** Records of the present call. */
  records = 0
  private stagedSequence = 0
  /** Bytes that the present call has emitted so far, heard by somebody or not. */
  handedBytes = 0
  private portsLow = 0
  private portsHigh = 0

  /** @param replaced goes on where that stands */
  constructor(replaced?: Emission) {
    this.stage = replaced?.stage ?? new Stage()
    this.sequence = replaced?.sequence ?? 0
  }

  /** Says which ports have a consumer. */
  connect(portsLow: number, portsHigh: number): void {
    this.portsLow = portsLow
    this.portsHigh = portsHigh
  }

  /** A call begins. */
  begin(): void {
    this.stagedSequence = this.sequence
    this.records = 0
    this.handedBytes = 0
  }

  /**
   * The guest hands over `from … to`.
   * @param bytesMax of one call
   * @param ports that the operator has
   * @throws GuestAbort OUTPUT_EXCEEDED; OPERATOR_TRAP where it is no run of whole records
   */
  take(bytes: Uint8Array, from: number, to: number, bytesMax: number, ports: number): void {
    const { stage } = this
    // What nobody listens for counts as well: it has to be checked all the same.
    this.handedBytes += to - from
    if (this.handedBytes > bytesMax) throw outputExceeded(bytesMax)
    const start = stage.reserve(to - from)
    stage.bytes.set(bytes.subarray(from, to), start)
    stage.grow(this.checkFrames(start, start + (to - from), ports) - start)
  }

  /** The call returned well: what it staged is open. @param since when the records that led here came, µs */
  publish(since: number): void {
    this.sequence = this.stagedSequence
    this.stage.publish(since)
  }

  /** Checks what the guest wrote, stamps sequences, leaves out what no port listens to. @returns the new end // hot */
  private checkFrames(from: number, to: number, ports: number): number {
    const { bytes, words } = this.stage
    let kept = from
    for (let at = from; at < to; ) {
      const word = at >> 2
      const length = words[word]!
      const key = words[word + (RECORD_KEY_BYTES >> 2)]!
      const headers = words[word + (RECORD_HEADERS_BYTES >> 2)]!
      const value = words[word + (RECORD_VALUE_BYTES >> 2)]!
      // As unsigned numbers none may be negative; each is below 2^31, so the sum below is exact in a double.
      const needed = RECORD_HEADER_BYTES + key + headers + value
      const whole = length >= needed && length - needed < 8 && (length & 7) === 0 && at + length <= to
      const port = bytes[at + RECORD_PORT]! | (bytes[at + RECORD_PORT + 1]! << 8)
      if (
        (key | headers | value) < 0 ||
        !whole ||
        bytes[at + RECORD_KIND] !== KIND_DATA ||
        bytes[at + RECORD_FLAGS]! > 3
      ) {
        throw new GuestAbort('OPERATOR_TRAP', `the operator wrote no whole record at byte ${at - from} of its output`)
      }
      if (headers > 0 && !headersAreWhole(bytes, at + RECORD_HEADER_BYTES + key, headers)) {
        throw new GuestAbort(
          'OPERATOR_TRAP',
          `the operator wrote headers that are none at byte ${at - from} of its output`,
        )
      }
      if (port >= ports) {
        throw new GuestAbort('OPERATOR_TRAP', `the operator emitted to port ${port}, it has ${ports}`)
      }
      if (((port < 32 ? this.portsLow >>> port : this.portsHigh >>> (port - 32)) & 1) === 1) {
        const sequence = ++this.stagedSequence
        if (kept !== at) bytes.copyWithin(kept, at, at + length)
        const kw = (kept + RECORD_SEQUENCE) >> 2
        words[kw] = sequence | 0
        words[kw + 1] = (sequence / 4294967296) | 0
        kept += length
        this.records++
      }
      at += length
    }
    return kept
  }
}

/** Whether `length` bytes are a run of {u32 nameBytes, name, u32 valueBytes or none, value} and nothing else. */
function headersAreWhole(bytes: Uint8Array, from: number, length: number): boolean {
  const end = from + length
  let at = from
  while (at < end) {
    if (at + 4 > end) return false
    at += 4 + readU32(bytes, at)
    if (at + 4 > end) return false
    const valueBytes = readU32(bytes, at)
    at += 4 + (valueBytes === NO_VALUE ? 0 : valueBytes)
  }
  return at === end
}

function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}
