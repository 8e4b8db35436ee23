// Turns V8's stack of a trap into lines of the author's file.
// Runs on: compute, once per dead letter.

import { decodeStack, readSourceMap } from '../sandbox/stack.ts'
import type { TraceInfo } from './messages.ts'

/** Parsing a source map takes longer than using it: it is kept, with its module. */
const parsed = new WeakMap<TraceInfo, { text: string; map: ReturnType<typeof readSourceMap> }>()

/** The guest's frames, innermost first. */
export function traceLines(stack: string, trace: TraceInfo): string[] {
  if (stack === '') return []
  let known = parsed.get(trace)
  if (trace.sourceMap !== null && known?.text !== trace.sourceMap) {
    known = { text: trace.sourceMap, map: readSourceMap(trace.sourceMap) }
    parsed.set(trace, known)
  }
  return decodeStack({ stack }, trace, known?.map)
}
