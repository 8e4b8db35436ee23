// Turns what V8 says of a trap in a rewritten module into file and line of the author's source.
// Runs on: wherever a fault is reported; never on the hot path.

import { TraceMap, traceSegment } from '@jridgewell/trace-mapping'
import { locate, type OffsetMap } from './offset-map.ts'

/** What decoding needs of an admission; plain data. */
export interface StackContext {
  offsetMap: OffsetMap
  functionNames: Record<number, string>
}

export interface SourcePosition {
  file: string
  /** Both 1-based. */
  line: number
  column: number
}

/** V8: `at name (wasm://wasm/hash:wasm-function[12]:0x1a2)` */
const FRAME = /wasm-function\[(\d{1,9})\]:0x([0-9a-f]{1,8})/
const FRAMES_MAX = 50
const UNMAPPED_MAX = 4

/** The source map that asc wrote beside a module; `undefined` where it is no source map. */
export function readSourceMap(json: string): TraceMap | undefined {
  try {
    return new TraceMap(json)
  } catch {
    return undefined
  }
}

/** @param offset byte in the module as it was pushed */
export function sourcePositionOf(map: TraceMap, offset: number): SourcePosition | undefined {
  // asc's maps have one line whose columns are byte offsets.
  let segment = traceSegment(map, 0, offset)
  // Calls of abort have no position of their own; what stands right before them does.
  for (let steps = 0; segment?.length === 1 && steps < UNMAPPED_MAX; steps++)
    segment = traceSegment(map, 0, segment[0] - 1)
  if (!segment || segment.length === 1) return undefined
  const file = map.sources[segment[1]]
  return file ? { file, line: segment[2] + 1, column: segment[3] + 1 } : undefined
}

/**
 * The wasm frames of an error, innermost first: `file.ts:6:12 (function)`, or `wasm:0x1a2 (function)` by the offset in the
 * original module where no source is known.
 * @param error what the call threw; a plain `{stack}` that crossed threads will do
 * @param sourceMap its JSON, or what `readSourceMap` made of it (better where many are decoded)
 */
export function decodeStack(
  error: { stack?: string | undefined },
  context: StackContext,
  sourceMap?: string | TraceMap,
): string[] {
  const map = typeof sourceMap === 'string' ? readSourceMap(sourceMap) : sourceMap
  const lines: string[] = []
  for (const frame of (error.stack ?? '').split('\n')) {
    const match = FRAME.exec(frame)
    if (!match) continue
    const index = Number(match[1])
    const name = context.functionNames[index] ?? `function ${index}`
    const offset = locate(context.offsetMap, Number.parseInt(match[2]!, 16))
    const position = map && offset !== undefined ? sourcePositionOf(map, offset) : undefined
    if (position) lines.push(`${position.file}:${position.line}:${position.column} (${name})`)
    else lines.push(`${offset === undefined ? 'wasm' : `wasm:0x${offset.toString(16)}`} (${name})`)
    if (lines.length === FRAMES_MAX) break
  }
  return lines
}
