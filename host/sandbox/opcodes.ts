// What follows each opcode, what it takes from and leaves on the operand stack, and what it costs. Written after the
// WebAssembly core specification 2.0, appendix "Index of Instructions". What is not in these tables is refused.
// Runs on: admission.

/** What follows an opcode. */
export const REFUSED = 0
export const PLAIN = 1
export const BLOCK = 2
export const LABEL = 3
export const LABEL_TABLE = 4
export const FUNCTION = 5
export const INDIRECT = 6
export const LOCAL = 7
export const GLOBAL = 8
/** Alignment and offset. */
export const ADDRESS = 9
/** Memory index: one zero byte. */
export const MEMORY = 10
export const INT32 = 11
export const INT64 = 12
export const FLOAT32 = 13
export const FLOAT64 = 14
export const TYPED_SELECT = 15
export const PREFIX_BULK = 16
export const PREFIX_VECTOR = 17
export const ELSE = 18
export const END = 19
export const ADDRESS_LANE = 20
export const LANE = 21
export const BYTES_16 = 22

export const OP_UNREACHABLE = 0x00
export const OP_BLOCK = 0x02
export const OP_LOOP = 0x03
export const OP_IF = 0x04
export const OP_END = 0x0b
export const OP_BR = 0x0c
export const OP_BR_IF = 0x0d
export const OP_RETURN = 0x0f
export const OP_NOP = 0x01
export const OP_SELECT = 0x1b
export const OP_LOCAL_GET = 0x20
export const OP_LOCAL_SET = 0x21
export const OP_LOCAL_TEE = 0x22
export const OP_GLOBAL_GET = 0x23
export const OP_GLOBAL_SET = 0x24
export const OP_MEMORY_SIZE = 0x3f
export const OP_MEMORY_GROW = 0x40
export const OP_I32_CONST = 0x41
export const OP_I64_CONST = 0x42
export const OP_F32_CONST = 0x43
export const OP_F64_CONST = 0x44
export const OP_I32_EQ = 0x46
export const OP_I32_LT_S = 0x48
export const OP_I32_LT_U = 0x49
export const OP_I32_GT_S = 0x4a
export const OP_I32_GT_U = 0x4b
export const OP_I32_ADD = 0x6a
export const OP_I32_SUB = 0x6b
export const OP_I32_SHL = 0x74
export const OP_I32_SHR_U = 0x76
export const OP_VECTOR = 0xfd
export const OP_V128_CONST = 0x0c

export const TYPE_I32 = 0x7f
export const TYPE_I64 = 0x7e
export const TYPE_F32 = 0x7d
export const TYPE_F64 = 0x7c
export const TYPE_V128 = 0x7b
export const TYPE_FUNCREF = 0x70
export const TYPE_EMPTY = 0x40

/** Names of the value types that may stand anywhere. */
export const TYPE_NAMES: Record<number, 'i32' | 'i64' | 'f32' | 'f64' | 'v128'> = {
  [TYPE_I32]: 'i32',
  [TYPE_I64]: 'i64',
  [TYPE_F32]: 'f32',
  [TYPE_F64]: 'f64',
  [TYPE_V128]: 'v128',
}

/**
 * Cost of a call besides what the callee costs, of one out of the sandbox, of growing the memory by nothing, of filling or copying
 * nothing: about the time they take, where operators use 20 units a nanosecond.
 */
export const WEIGHT_CALL = 12
export const WEIGHT_CALL_INDIRECT = 24
export const WEIGHT_CALL_IMPORT = 1_000
export const WEIGHT_GROW = 4_096
export const WEIGHT_BULK = 128

/** A table of instructions of one prefix: follows, pops, pushes, weight, all by opcode. */
export class Instructions {
  readonly follows = new Uint8Array(256)
  readonly pops = new Uint8Array(256)
  readonly pushes = new Uint8Array(256)
  readonly weight = new Uint8Array(256)

  /** Names the opcodes `from … to`, both included. */
  set(from: number, to: number, follows: number, pops: number, pushes: number, weight = 1): void {
    for (let op = from; op <= to; op++) {
      this.follows[op] = follows
      this.pops[op] = pops
      this.pushes[op] = pushes
      this.weight[op] = weight
    }
  }
}

/** Opcodes of one byte. */
export const PLAIN_INSTRUCTIONS = new Instructions()
{
  const is = PLAIN_INSTRUCTIONS
  is.set(0x00, 0x01, PLAIN, 0, 0, 0) // unreachable, nop
  is.set(0x02, 0x03, BLOCK, 0, 0, 0) // block, loop
  is.set(0x04, 0x04, BLOCK, 1, 0)
  is.set(0x05, 0x05, ELSE, 0, 0, 0)
  is.set(0x0b, 0x0b, END, 0, 0, 0)
  is.set(0x0c, 0x0c, LABEL, 0, 0)
  is.set(0x0d, 0x0d, LABEL, 1, 0)
  is.set(0x0e, 0x0e, LABEL_TABLE, 1, 0, 3)
  is.set(0x0f, 0x0f, PLAIN, 0, 0)
  is.set(0x10, 0x10, FUNCTION, 0, 0, 0) // weighed by callee
  is.set(0x11, 0x11, INDIRECT, 1, 0, WEIGHT_CALL_INDIRECT)
  is.set(0x1a, 0x1a, PLAIN, 1, 0, 0) // drop
  is.set(0x1b, 0x1b, PLAIN, 3, 1)
  is.set(0x1c, 0x1c, TYPED_SELECT, 3, 1)
  is.set(0x20, 0x20, LOCAL, 0, 1)
  is.set(0x21, 0x21, LOCAL, 1, 0)
  is.set(0x22, 0x22, LOCAL, 1, 1)
  is.set(0x23, 0x23, GLOBAL, 0, 1)
  is.set(0x24, 0x24, GLOBAL, 1, 0)
  is.set(0x28, 0x35, ADDRESS, 1, 1) // loads
  is.set(0x36, 0x3e, ADDRESS, 2, 0) // stores
  is.set(0x3f, 0x3f, MEMORY, 0, 1)
  is.set(0x40, 0x40, MEMORY, 1, 1, 1) // weighed by pages
  is.set(0x41, 0x41, INT32, 0, 1)
  is.set(0x42, 0x42, INT64, 0, 1)
  is.set(0x43, 0x43, FLOAT32, 0, 1)
  is.set(0x44, 0x44, FLOAT64, 0, 1)
  is.set(0x45, 0x45, PLAIN, 1, 1) // i32.eqz
  is.set(0x46, 0x4f, PLAIN, 2, 1)
  is.set(0x50, 0x50, PLAIN, 1, 1) // i64.eqz
  is.set(0x51, 0x66, PLAIN, 2, 1)
  is.set(0x67, 0x69, PLAIN, 1, 1) // i32 clz ctz popcnt
  is.set(0x6a, 0x6c, PLAIN, 2, 1)
  is.set(0x6d, 0x70, PLAIN, 2, 1, 8) // i32 div rem
  is.set(0x71, 0x78, PLAIN, 2, 1)
  is.set(0x79, 0x7b, PLAIN, 1, 1) // i64 clz ctz popcnt
  is.set(0x7c, 0x7e, PLAIN, 2, 1)
  is.set(0x7f, 0x82, PLAIN, 2, 1, 12) // i64 div rem
  is.set(0x83, 0x8a, PLAIN, 2, 1)
  is.set(0x8b, 0x90, PLAIN, 1, 1) // f32 abs … nearest
  is.set(0x91, 0x91, PLAIN, 1, 1, 6) // f32.sqrt
  is.set(0x92, 0x94, PLAIN, 2, 1)
  is.set(0x95, 0x95, PLAIN, 2, 1, 6) // f32.div
  is.set(0x96, 0x98, PLAIN, 2, 1)
  is.set(0x99, 0x9e, PLAIN, 1, 1)
  is.set(0x9f, 0x9f, PLAIN, 1, 1, 8) // f64.sqrt
  is.set(0xa0, 0xa2, PLAIN, 2, 1)
  is.set(0xa3, 0xa3, PLAIN, 2, 1, 6) // f64.div
  is.set(0xa4, 0xa6, PLAIN, 2, 1)
  is.set(0xa7, 0xc4, PLAIN, 1, 1) // conversions, sign extension
  is.set(0xfc, 0xfc, PREFIX_BULK, 0, 0)
  is.set(0xfd, 0xfd, PREFIX_VECTOR, 0, 0)
}

/** Opcodes after 0xfd: fixed-width SIMD. */
export const VECTOR_INSTRUCTIONS = new Instructions()
{
  const is = VECTOR_INSTRUCTIONS
  const unary = (from: number, to = from, weight = 1): void => is.set(from, to, PLAIN, 1, 1, weight)
  const binary = (from: number, to = from, weight = 1): void => is.set(from, to, PLAIN, 2, 1, weight)
  is.set(0x00, 0x0a, ADDRESS, 1, 1)
  is.set(0x0b, 0x0b, ADDRESS, 2, 0)
  is.set(0x0c, 0x0c, BYTES_16, 0, 1)
  is.set(0x0d, 0x0d, BYTES_16, 2, 1) // shuffle
  binary(0x0e)
  unary(0x0f, 0x14) // splats
  for (const op of [0x15, 0x16, 0x18, 0x19, 0x1b, 0x1d, 0x1f, 0x21]) is.set(op, op, LANE, 1, 1)
  for (const op of [0x17, 0x1a, 0x1c, 0x1e, 0x20, 0x22]) is.set(op, op, LANE, 2, 1)
  binary(0x23, 0x4c) // comparisons
  unary(0x4d)
  binary(0x4e, 0x51)
  is.set(0x52, 0x52, PLAIN, 3, 1) // bitselect
  unary(0x53)
  is.set(0x54, 0x57, ADDRESS_LANE, 2, 1)
  is.set(0x58, 0x5b, ADDRESS_LANE, 2, 0)
  is.set(0x5c, 0x5d, ADDRESS, 1, 1)
  unary(0x5e, 0x64)
  binary(0x65, 0x66)
  unary(0x67, 0x6a)
  binary(0x6b, 0x73)
  unary(0x74, 0x75)
  binary(0x76, 0x79)
  unary(0x7a)
  binary(0x7b)
  unary(0x7c, 0x81)
  binary(0x82)
  unary(0x83, 0x84)
  binary(0x85, 0x86)
  unary(0x87, 0x8a)
  binary(0x8b, 0x93)
  unary(0x94)
  binary(0x95, 0x99)
  binary(0x9b, 0x9f)
  unary(0xa0, 0xa1)
  unary(0xa3, 0xa4)
  unary(0xa7, 0xaa)
  binary(0xab, 0xae)
  binary(0xb1)
  binary(0xb5, 0xba)
  binary(0xbc, 0xbf)
  unary(0xc0, 0xc1)
  unary(0xc3, 0xc4)
  unary(0xc7, 0xca)
  binary(0xcb, 0xce)
  binary(0xd1)
  binary(0xd5, 0xdf)
  unary(0xe0, 0xe1)
  unary(0xe3, 0xe3, 12) // f32x4.sqrt
  binary(0xe4, 0xe6)
  binary(0xe7, 0xe7, 12) // f32x4.div
  binary(0xe8, 0xeb)
  unary(0xec, 0xed)
  unary(0xef, 0xef, 16) // f64x2.sqrt
  binary(0xf0, 0xf2)
  binary(0xf3, 0xf3, 12) // f64x2.div
  binary(0xf4, 0xf7)
  unary(0xf8, 0xff)
}

/** The feature that a refused opcode belongs to, for the message. */
export function featureOf(opcode: number): string {
  if (opcode >= 0x06 && opcode <= 0x0a) return 'exceptions'
  if (opcode === 0x18 || opcode === 0x19 || opcode === 0x1f) return 'exceptions'
  if (opcode === 0x12 || opcode === 0x13) return 'tail calls'
  if (opcode === 0x14 || opcode === 0x15) return 'function references'
  if (opcode === 0x25 || opcode === 0x26 || (opcode >= 0xd0 && opcode <= 0xd2)) return 'reference types'
  if (opcode >= 0xd3 && opcode <= 0xd6) return 'garbage collection'
  if (opcode === 0xfb) return 'garbage collection'
  if (opcode === 0xfe) return 'threads'
  return 'an unknown instruction'
}
