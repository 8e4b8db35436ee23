// Walks the instructions of one function: refuses those that are not allowed, and notes what the rewriter needs to know:
// where loops begin, what they weigh, whom they call, where it returns, where it touches memory in bulk.
// Runs on: admission.

import type { AdmissionLimits } from './limits.ts'
import { ModuleReader } from './module-reader.ts'
import type { FunctionType, ModuleShape, Span } from './module-shape.ts'
import {
  ADDRESS,
  ADDRESS_LANE,
  BLOCK,
  BYTES_16,
  ELSE,
  END,
  FLOAT32,
  FLOAT64,
  FUNCTION,
  featureOf,
  GLOBAL,
  INDIRECT,
  INT32,
  INT64,
  LABEL,
  LABEL_TABLE,
  LANE,
  LOCAL,
  MEMORY,
  OP_BR,
  OP_IF,
  OP_LOOP,
  OP_MEMORY_GROW,
  OP_RETURN,
  OP_UNREACHABLE,
  PLAIN_INSTRUCTIONS,
  PREFIX_BULK,
  PREFIX_VECTOR,
  REFUSED,
  TYPE_EMPTY,
  TYPE_NAMES,
  TYPE_V128,
  TYPED_SELECT,
  VECTOR_INSTRUCTIONS,
  WEIGHT_CALL,
  WEIGHT_CALL_IMPORT,
} from './opcodes.ts'
import { Malformed } from './problems.ts'

/**
 * Instructions that one charge covers: from its place up to where control may join or part. An arm may be charged with its
 * parent instead, which is always passed before it.
 */
export interface Segment {
  kind: 'entry' | 'loop' | 'arm'
  /** Index of the segment that is passed before this one; below its own. -1: none. */
  parent: number
  weight: number
  /** Defined functions called by name, one entry per call. */
  calls: number[]
}

/** A place where the rewriter does something; in the order of `at`. */
export type Site =
  /** `at`: the loop instruction; `bodyAt`: behind its block type. */
  | { kind: 'loop'; at: number; bodyAt: number; segment: number }
  /** A segment begins in front of `at`. */
  | { kind: 'arm'; at: number; segment: number }
  | { kind: 'return'; at: number; label: number }
  /** memory.copy, fill, init: the topmost operand is a length in bytes. `at … to`: the instruction. */
  | { kind: 'bulk'; at: number; to: number }
  | { kind: 'grow'; at: number; to: number }
  /** A call out of the sandbox. `ends`: it is abort, which never comes back. */
  | { kind: 'import'; at: number; to: number; ends: boolean }
  /** A call of a defined function, or through the table (-1). */
  | { kind: 'call'; at: number; to: number; callee: number }
  | { kind: 'unreachable'; at: number }
  | { kind: 'drop'; at: number; to: number }

export interface FunctionScan {
  body: Span
  /** Where the groups of locals begin (behind their count), how many there are, where instructions begin. */
  groupsAt: number
  groups: number
  codeAt: number
  type: FunctionType
  /** Parameters and locals. */
  locals: number
  /** Stack that one call takes, as estimated, in bytes. */
  frameBytes: number
  /** The first begins at the entry. */
  segments: Segment[]
  sites: Site[]
  /** Type indices of its indirect calls. */
  indirectTypes: number[]
}

/** Most segments call nothing. */
const NONE: number[] = []

/** Return address, saved registers, instance, feedback: what a frame has besides values. */
const FRAME_BYTES_MIN = 96

/**
 * @param index among the defined functions
 * @param callsOut a call through the table may lead out of the sandbox
 * @throws Malformed at the first thing that is not allowed in it
 */
export function scanFunction(
  shape: ModuleShape,
  imported: number,
  index: number,
  limits: AdmissionLimits,
  callsOut: boolean,
): FunctionScan {
  const { bytes, types, globals } = shape
  const body = shape.bodies[index]!
  const type = types[shape.functions[index]!]!
  const functionCount = imported + shape.functions.length
  const reader = new ModuleReader(bytes, body.from, body.to)

  let vectors = type.params.includes(TYPE_V128)
  let locals = type.params.length
  const groups = reader.count('groups of locals', limits.localsMax)
  const groupsAt = reader.at
  for (let g = 0; g < groups; g++) {
    const at = reader.at
    locals += reader.u32()
    if (locals > limits.localsMax) {
      throw new Malformed(
        `a function has ${locals} locals, at most ${limits.localsMax} are allowed; split it`,
        at,
        'limits',
      )
    }
    const local = reader.u8()
    if (!TYPE_NAMES[local])
      throw new Malformed(`a local of type 0x${local.toString(16)} is not allowed`, reader.at - 1, 'features')
    if (local === TYPE_V128) vectors = true
  }
  const codeAt = reader.at

  const segments: Segment[] = [{ kind: 'entry', parent: -1, weight: 1 + (locals >> 3), calls: NONE }]
  const sites: Site[] = []
  const indirectTypes: number[] = []
  let segment = 0
  let height = 0
  let highest = 0
  let branches = 0
  // The control stack: height below a block, what it takes and leaves, the segment it began in.
  const bases: number[] = [0]
  const takes: number[] = [0]
  const leaves: number[] = [type.results.length]
  const outside: number[] = [0]
  let base = 0

  const label = (at: number): void => {
    const depth = reader.u32()
    if (depth >= bases.length) throw new Malformed(`label ${depth} does not exist`, at)
    branches++
  }
  const zero = (): void => {
    if (reader.u8() !== 0)
      throw new Malformed('there is one memory only (multiple memories)', reader.at - 1, 'features')
  }
  const address = (at: number): void => {
    if (reader.u32() >= 0x40) throw new Malformed('there is one memory only (multiple memories)', at, 'features')
    reader.u32()
  }
  const begin = (kind: 'loop' | 'arm', parent: number): void => {
    segment = segments.length
    segments.push({ kind, parent, weight: kind === 'loop' ? 1 : 0, calls: NONE })
    if (kind === 'arm') sites.push({ kind, at: reader.at, segment })
  }
  const effect = (pops: number, pushes: number): void => {
    height = Math.max(base, height - pops) + pushes
    if (height > highest) highest = height
  }

  while (bases.length > 0) {
    const at = reader.at
    const op = reader.u8()
    const follows = PLAIN_INSTRUCTIONS.follows[op]!
    const here = segments[segment]!
    here.weight += PLAIN_INSTRUCTIONS.weight[op]!
    effect(PLAIN_INSTRUCTIONS.pops[op]!, PLAIN_INSTRUCTIONS.pushes[op]!)
    switch (follows) {
      case REFUSED:
        throw new Malformed(`instruction 0x${op.toString(16)} is not allowed (${featureOf(op)})`, at, 'features')
      case BLOCK: {
        let takesHere = 0
        let leavesHere = 0
        const typeAt = reader.at
        const block = reader.s33()
        if (block >= 0) {
          const blockType = types[block]
          if (!blockType) throw new Malformed(`a block has the unknown type ${block}`, typeAt)
          takesHere = blockType.params.length
          leavesHere = blockType.results.length
        } else if ((block & 0x7f) !== TYPE_EMPTY) {
          if (!TYPE_NAMES[block & 0x7f])
            throw new Malformed('a block has a type that is not allowed', typeAt, 'features')
          leavesHere = 1
        }
        if (bases.length > limits.nestingMax) {
          throw new Malformed(`blocks are nested deeper than ${limits.nestingMax}; split the function`, at, 'limits')
        }
        base = Math.max(base, height - takesHere)
        bases.push(base)
        takes.push(takesHere)
        leaves.push(leavesHere)
        outside.push(segment)
        if (op === OP_LOOP) {
          begin('loop', segment)
          sites.push({ kind: 'loop', at, bodyAt: reader.at, segment })
        } else if (op === OP_IF) {
          branches++
          begin('arm', segment)
        }
        break
      }
      case ELSE:
        effect(0, 0)
        height = base + takes[takes.length - 1]!
        begin('arm', outside[outside.length - 1]!)
        break
      case END: {
        height = base + leaves.pop()!
        if (height > highest) highest = height
        takes.pop()
        bases.pop()
        begin('arm', outside.pop()!)
        base = bases[bases.length - 1] ?? 0
        break
      }
      case LABEL:
        label(at)
        if (op === OP_BR) height = base
        else begin('arm', segment)
        break
      case LABEL_TABLE:
        for (let n = reader.count('branch targets', limits.bodyBytesMax) + 1; n > 0; n--) label(at)
        height = base
        break
      case FUNCTION: {
        const callee = reader.u32()
        if (callee >= functionCount) throw new Malformed(`function ${callee} does not exist`, at)
        if (callee < imported) {
          // abort ends the call, and stands in the untaken branch of every check that AssemblyScript makes.
          const ends = shape.imports[callee]!.name === 'abort'
          if (ends) here.weight += 1
          sites.push({ kind: 'import', at, to: reader.at, ends })
          const t = types[shape.imports[callee]!.type]
          if (t) effect(t.params.length, t.results.length)
        } else {
          here.weight += WEIGHT_CALL
          if (here.calls === NONE) here.calls = []
          here.calls.push(callee - imported)
          sites.push({ kind: 'call', at, to: reader.at, callee: callee - imported })
          const t = types[shape.functions[callee - imported]!]
          if (t) effect(t.params.length, t.results.length)
        }
        break
      }
      case INDIRECT: {
        const t = reader.u32()
        const calleeType = types[t]
        if (!calleeType) throw new Malformed(`a call has the unknown type ${t}`, at)
        if (reader.u8() !== 0 || shape.tables.length === 0) throw new Malformed('an indirect call needs table 0', at)
        effect(calleeType.params.length, calleeType.results.length)
        if (callsOut) here.weight += WEIGHT_CALL_IMPORT
        sites.push({ kind: 'call', at, to: reader.at, callee: -1 })
        if (!indirectTypes.includes(t)) indirectTypes.push(t)
        break
      }
      case LOCAL:
        if (reader.u32() >= locals) throw new Malformed('a local that does not exist', at)
        break
      case GLOBAL:
        // The globals that admission adds have the next indices.
        if (reader.u32() >= globals.length) throw new Malformed('a global that does not exist', at)
        break
      case ADDRESS:
        address(at)
        break
      case MEMORY:
        zero()
        if (op === OP_MEMORY_GROW) {
          sites.push({ kind: 'grow', at, to: reader.at })
        }
        break
      case INT32:
        reader.s32()
        break
      case INT64:
        reader.skipS64()
        break
      case FLOAT32:
        reader.skip(4)
        break
      case FLOAT64:
        reader.skip(8)
        break
      case TYPED_SELECT:
        if (reader.u32() !== 1 || !TYPE_NAMES[reader.u8()])
          throw new Malformed('a select of this type is not allowed (reference types)', at, 'features')
        break
      case PREFIX_BULK: {
        const bulk = reader.u32()
        if (bulk <= 7) {
          effect(1, 1) // saturating float to int
          here.weight += 1
          break
        }
        if (bulk === 8 || bulk === 9) {
          const segment = reader.u32()
          if (shape.dataCount === undefined || segment >= shape.dataCount)
            throw new Malformed(`data segment ${segment} does not exist`, at)
        }
        if (bulk === 8) zero()
        else if (bulk === 10) {
          zero()
          zero()
        } else if (bulk === 11) zero()
        else if (bulk !== 9) {
          const name = bulk <= 17 ? 'tables that change, which no snapshot can hold' : 'an unknown instruction'
          throw new Malformed(`instruction 0xfc ${bulk} is not allowed (${name})`, at, 'features')
        }
        if (bulk === 9) sites.push({ kind: 'drop', at, to: reader.at })
        else {
          effect(3, 0)
          sites.push({ kind: 'bulk', at, to: reader.at })
        }
        break
      }
      case PREFIX_VECTOR: {
        const vector = reader.u32()
        const kind = vector < 256 ? VECTOR_INSTRUCTIONS.follows[vector]! : REFUSED
        if (kind === REFUSED) {
          const name = vector >= 256 ? 'relaxed SIMD' : 'an unknown instruction'
          throw new Malformed(`instruction 0xfd ${vector} is not allowed (${name})`, at, 'features')
        }
        here.weight += VECTOR_INSTRUCTIONS.weight[vector]!
        effect(VECTOR_INSTRUCTIONS.pops[vector]!, VECTOR_INSTRUCTIONS.pushes[vector]!)
        vectors = true
        if (kind === ADDRESS) address(at)
        else if (kind === ADDRESS_LANE) {
          address(at)
          reader.skip(1)
        } else if (kind === LANE) reader.skip(1)
        else if (kind === BYTES_16) reader.skip(16)
        break
      }
      default:
        if (op === OP_RETURN) sites.push({ kind: 'return', at, label: bases.length - 1 })
        if (op === OP_UNREACHABLE) sites.push({ kind: 'unreachable', at })
        if (op === OP_RETURN || op === OP_UNREACHABLE) height = base
    }
  }
  // Behind the last end.
  segments.pop()
  sites.pop()
  if (reader.at !== body.to) throw new Malformed('bytes follow behind the end of a function', reader.at)

  const values = locals + highest + type.results.length
  const frameBytes = FRAME_BYTES_MIN + values * (vectors ? 16 : 8)
  if (frameBytes > limits.frameBytesMax) {
    throw new Malformed(
      `a call takes about ${frameBytes} bytes of stack, at most ${limits.frameBytesMax} are allowed; split the function`,
      body.from,
      'limits',
    )
  }
  if (values * branches > limits.complexityMax) {
    throw new Malformed(
      `${values} values at ${branches} branches are too many (product above ${limits.complexityMax}); split the function`,
      body.from,
      'limits',
    )
  }
  return { body, groupsAt, groups, codeAt, type, locals, frameBytes, segments, sites, indirectTypes }
}
