// Turns what V8 says of a trap in a rewritten module into file and line of the author's source.
// Runs on: wherever a fault is reported; never on the hot path.

import { TraceMap, traceSegment } from '@jridgewell/trace-mapping'
import { locate, type OffsetMap } from './offset-map.ts'

/** What decoding needs of an admission; plain data. */
export interface StackContext {
  offsetMap: OffsetMap
  functionNames: Record<number, string>
  /** Where the body of each function begins in the original module, by function index. */
  functionStarts: Uint32Array
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
/** How far back a position is looked for. */
const SEGMENTS_MAX = 100
/** AssemblyScript's standard library, whose functions are often inlined. */
const LIBRARY = '~lib/'

/** The source map that asc wrote beside a module; `undefined` where it is no source map. */
export function readSourceMap(json: string): TraceMap | undefined {
  try {
    return new TraceMap(json)
  } catch {
    return undefined
  }
}

/**
 * @param offset byte in the module as it was pushed
 * @param start where the function begins: positions before it are another's
 * @param inlined whether the standard library's lines may be the answer; if not, what stands before them in the function
 */
export function sourcePositionOf(map: TraceMap, offset: number, start = 0, inlined = true): SourcePosition | undefined {
  let at = offset
  for (let steps = 0; steps < SEGMENTS_MAX; steps++) {
    // asc's maps have one line whose columns are byte offsets. Calls of abort have no position of their own.
    const segment = traceSegment(map, 0, at)
    if (!segment || segment[0] < start) return undefined
    const file = segment.length === 1 ? undefined : map.sources[segment[1]]
    if (file && segment.length !== 1 && (inlined || !file.startsWith(LIBRARY))) {
      return { file, line: segment[2] + 1, column: segment[3] + 1 }
    }
    at = segment[0] - 1
  }
  return undefined
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
    const start = context.functionStarts[index] ?? 0
    const position = map && offset !== undefined ? sourcePositionOf(map, offset, start) : undefined
    if (map && offset !== undefined && position) {
      lines.push(`${position.file}:${position.line}:${position.column} (${name})`)
      // The library's code was inlined into the author's function: say where that is, too.
      const author = position.file.startsWith(LIBRARY) ? sourcePositionOf(map, offset, start, false) : undefined
      if (author) lines.push(`${author.file}:${author.line}:${author.column} (${name})`)
    } else lines.push(`${offset === undefined ? 'wasm' : `wasm:0x${offset.toString(16)}`} (${name})`)
    if (lines.length >= FRAMES_MAX) break
  }
  return lines
}
