// The record that tells of a record which could not be processed, in the form of the product's API.
// Runs on: compute.

import { letterValue } from '../record/letter-value.ts'
import { decodeRecord, RECORD_SOURCE, RECORD_SOURCE_OFFSET, RecordBuffer, readI64 } from '../record/record.ts'
import type { Fault } from './fault.ts'
import type { GraphSpec, OperatorSpec, TraceInfo } from './messages.ts'
import { traceLines } from './trace.ts'
import { componentOf } from './units.ts'

const buffer = new RecordBuffer(4096)

/** @returns the record, alone in a buffer that is valid until the next call */
export function deadLetterRecord(
  spec: OperatorSpec,
  fault: Fault,
  trace: TraceInfo,
  graph: GraphSpec,
  input: Uint8Array,
  at: number,
): RecordBuffer {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  const source = view.getUint32(at + RECORD_SOURCE, true)
  const record = decodeRecord(input, at)
  const value = letterValue({
    code: fault.code,
    message: fault.message,
    component: componentOf(spec.component),
    operator: `${spec.name}@${spec.version}`,
    digest: spec.digest,
    source: {
      topic: graph.sources[source >>> 16]?.topic ?? null,
      partition: source & 0xffff,
      offset: String(readI64(view, at + RECORD_SOURCE_OFFSET)),
    },
    stack: traceLines(fault.stack, trace),
    record,
  })
  buffer.clear()
  buffer.add({ key: record.key, value, timestamp: Date.now() })
  return buffer
}
