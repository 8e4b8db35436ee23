// Writes one function anew with its charges. The sequences, of which none touches what is on the operand stack:
//
//   charge   F − weight → F; if negative: unreachable
//   entry    a charge, checked where the plan says so; where calls are counted: D + frame → D, if above the limit: unreachable
//   loop     a function with loops holds F in a local: it is fetched at the entry and charged there, at loops and for lengths;
//            stored before a call, an abort, `unreachable` and at the exit, fetched behind a call. So an iteration costs a
//            subtraction and a branch, and never waits for memory. A trap of the engine itself leaves the F of the last store
//   arm      F − weight → F, unchecked: the next loop, call or length looks
//   exit     where there is something to do at the exit, the body becomes a block and every return a branch to its end.
//            Where much may be done behind the last look, F is looked at there
//   bulk     a charge by the length on the stack
//   grow     the same; if the memory would have more than P pages: −1 → F, unreachable; and where memory.grow answered −1, G is set
//   import   a charge before a call out of the sandbox
//
// Runs on: admission.

import { type FunctionCharge, hasExit } from './charges.ts'
import type { ModuleWriter } from './module-writer.ts'
import type { OffsetMapBuilder } from './offset-map.ts'
import {
  OP_BLOCK,
  OP_BR,
  OP_END,
  OP_GLOBAL_GET,
  OP_GLOBAL_SET,
  OP_I32_ADD,
  OP_I32_CONST,
  OP_I32_EQ,
  OP_I32_GT_S,
  OP_I32_GT_U,
  OP_I32_LT_S,
  OP_I32_LT_U,
  OP_I32_SHL,
  OP_I32_SHR_U,
  OP_I32_SUB,
  OP_IF,
  OP_LOCAL_GET,
  OP_LOCAL_SET,
  OP_LOCAL_TEE,
  OP_MEMORY_SIZE,
  OP_NOP,
  OP_SELECT,
  OP_UNREACHABLE,
  TYPE_EMPTY,
  TYPE_I32,
  WEIGHT_BULK,
  WEIGHT_CALL_IMPORT,
  WEIGHT_GROW,
} from './opcodes.ts'
import type { FunctionScan, Site } from './scan-function.ts'

/** Indices of the globals that admission adds. */
export interface OwnGlobals {
  fuel: number
  depth: number
  growFailed: number
  pages: number
}

/** Four bytes cost one unit; a length of 2^32 still leaves the sum far from wrapping around. */
const BULK_SHIFT = 2
/** A page costs 2^10; more pages than there can be cost what no slice has. */
const GROW_SHIFT = 10
const GROW_PAGES_MAX = 65_535
const TOO_MUCH = 1 << 30

/** Whether there is nothing to write at this place. */
function isLeft(site: Site, charge: FunctionCharge, functions: FunctionCharge[]): boolean {
  const { held, weights } = charge
  switch (site.kind) {
    case 'arm':
      return weights[site.segment] === 0
    case 'return':
      return !hasExit(charge)
    case 'unreachable':
      return !held
    case 'call':
      return !held || functions[site.callee]?.folded === true
    default:
      return false
  }
}

export class FunctionWriter {
  readonly #out: ModuleWriter
  readonly #map: OffsetMapBuilder
  readonly #globals: OwnGlobals
  readonly #depthLimit: number
  /** Where `#out` comes to stand behind what was written before. */
  #base = 0
  // Of the function being written: its locals for fuel and for lengths, whether it holds fuel in the first.
  #fuel = 0
  #length = 0
  #held = false

  constructor(out: ModuleWriter, map: OffsetMapBuilder, globals: OwnGlobals, depthLimit: number) {
    this.#out = out
    this.#map = map
    this.#globals = globals
    this.#depthLimit = depthLimit
  }

  /**
   * Writes the body of a function, without its size.
   * @param blockType encoded type of a block that leaves the function's results, where it has something to do at its exit
   */
  write(bytes: Uint8Array, scan: FunctionScan, functions: FunctionCharge[], index: number, blockType: number[]): void {
    const out = this.#out
    const charge = functions[index]!
    if (charge.folded) {
      this.#copy(bytes, scan.body.from, scan.body.to)
      return
    }
    this.#fuel = scan.locals
    this.#length = scan.locals + 1
    this.#held = charge.held
    const measures = scan.sites.some((site) => site.kind === 'bulk' || site.kind === 'grow')
    out.u32(scan.groups + 1)
    this.#copy(bytes, scan.groupsAt, scan.codeAt)
    out.u32(measures ? 2 : 1)
    out.u8(TYPE_I32)

    this.#inserted(scan.codeAt)
    if (charge.held) this.#fetch()
    if (charge.checked) this.#charge(charge.weights[0]!)
    else this.#subtract(charge.weights[0]!)
    if (charge.counted) this.#enter(scan.frameBytes)
    const wrapped = hasExit(charge)
    if (wrapped) {
      out.u8(OP_BLOCK)
      for (const byte of blockType) out.u8(byte)
    }
    let at = scan.codeAt
    for (const site of scan.sites) {
      if (isLeft(site, charge, functions)) continue
      this.#copy(bytes, at, site.at)
      at = site.at
      switch (site.kind) {
        case 'loop':
          this.#copy(bytes, at, site.bodyAt)
          at = site.bodyAt
          this.#inserted(site.at)
          this.#charge(charge.weights[site.segment]!)
          break
        case 'arm':
          this.#inserted(at)
          this.#subtract(charge.weights[site.segment]!)
          break
        case 'return':
          this.#inserted(at)
          out.u8(OP_BR)
          out.u32(site.label)
          at += 1
          break
        case 'unreachable':
          this.#inserted(at)
          this.#store()
          break
        case 'call':
          this.#inserted(at)
          this.#store()
          this.#copy(bytes, at, site.to)
          this.#inserted(at)
          this.#fetch()
          at = site.to
          break
        case 'import':
          this.#inserted(at)
          if (!site.ends) this.#charge(WEIGHT_CALL_IMPORT)
          this.#store()
          this.#copy(bytes, at, site.to)
          // The host may have charged for what it did.
          this.#inserted(at)
          if (!site.ends) this.#fetch()
          at = site.to
          break
        case 'bulk':
          this.#inserted(at)
          this.#chargeLength(() => {
            this.#const(BULK_SHIFT)
            out.u8(OP_I32_SHR_U)
            this.#const(WEIGHT_BULK)
            out.u8(OP_I32_ADD)
          })
          this.#copy(bytes, at, site.to)
          at = site.to
          break
        case 'grow':
          this.#inserted(at)
          this.#chargePages()
          this.#boundPages()
          this.#copy(bytes, at, site.to)
          this.#inserted(at)
          this.#noteFailure()
          at = site.to
          break
        case 'drop':
          this.#inserted(at)
          out.u8(OP_NOP)
          at = site.to
          break
      }
    }
    this.#copy(bytes, at, scan.body.to - 1)
    if (wrapped) {
      this.#copy(bytes, scan.body.to - 1, scan.body.to)
      this.#inserted(scan.body.to - 1)
      if (charge.late) this.#look()
      this.#store()
      if (charge.counted) this.#leave(scan.frameBytes)
    }
    this.#copy(bytes, scan.body.to - 1, scan.body.to)
  }

  /** Says where the next body will begin. */
  startAt(base: number): void {
    this.#base = base - this.#out.length
  }

  #copy(bytes: Uint8Array, from: number, to: number): void {
    if (from === to) return
    this.#map.copied(this.#base + this.#out.length, from)
    this.#out.copy(bytes, from, to)
  }

  #inserted(original: number): void {
    this.#map.inserted(this.#base + this.#out.length, original)
  }

  #const(value: number): void {
    this.#out.u8(OP_I32_CONST)
    this.#out.s32(value)
  }

  /** F, held in the local from here on. */
  #fetch(): void {
    if (!this.#held) return
    this.#out.u8(OP_GLOBAL_GET)
    this.#out.u32(this.#globals.fuel)
    this.#out.u8(OP_LOCAL_SET)
    this.#out.u32(this.#fuel)
  }

  #store(): void {
    if (!this.#held) return
    this.#out.u8(OP_LOCAL_GET)
    this.#out.u32(this.#fuel)
    this.#out.u8(OP_GLOBAL_SET)
    this.#out.u32(this.#globals.fuel)
  }

  #getFuel(): void {
    this.#out.u8(this.#held ? OP_LOCAL_GET : OP_GLOBAL_GET)
    this.#out.u32(this.#held ? this.#fuel : this.#globals.fuel)
  }

  #charge(weight: number): void {
    this.#getFuel()
    this.#const(weight)
    this.#out.u8(OP_I32_SUB)
    this.#keep()
  }

  /** Charges without looking: the next loop, function or length does. */
  #subtract(weight: number): void {
    this.#getFuel()
    this.#const(weight)
    this.#out.u8(OP_I32_SUB)
    this.#out.u8(this.#held ? OP_LOCAL_SET : OP_GLOBAL_SET)
    this.#out.u32(this.#held ? this.#fuel : this.#globals.fuel)
  }

  /** F becomes what is on the stack; negative ends the call. */
  #keep(): void {
    const out = this.#out
    out.u8(OP_LOCAL_TEE)
    out.u32(this.#fuel)
    if (!this.#held) {
      out.u8(OP_GLOBAL_SET)
      out.u32(this.#globals.fuel)
      out.u8(OP_LOCAL_GET)
      out.u32(this.#fuel)
    }
    this.#endIfNegative()
  }

  #look(): void {
    this.#getFuel()
    this.#endIfNegative()
  }

  #endIfNegative(): void {
    const out = this.#out
    this.#const(0)
    out.u8(OP_I32_LT_S)
    out.u8(OP_IF)
    out.u8(TYPE_EMPTY)
    this.#store()
    out.u8(OP_UNREACHABLE)
    out.u8(OP_END)
  }

  /** Charges what `price` makes of the length on top of the stack, which stays. */
  #chargeLength(price: () => void): void {
    const out = this.#out
    out.u8(OP_LOCAL_TEE)
    out.u32(this.#length)
    this.#getFuel()
    out.u8(OP_LOCAL_GET)
    out.u32(this.#length)
    price()
    out.u8(OP_I32_SUB)
    this.#keep()
  }

  #chargePages(): void {
    const out = this.#out
    this.#chargeLength(() => {
      // pages > GROW_PAGES_MAX ? TOO_MUCH : WEIGHT_GROW + (pages << GROW_SHIFT), the pages being on the stack already
      this.#const(GROW_SHIFT)
      out.u8(OP_I32_SHL)
      this.#const(WEIGHT_GROW)
      out.u8(OP_I32_ADD)
      this.#const(TOO_MUCH)
      out.u8(OP_LOCAL_GET)
      out.u32(this.#length)
      this.#const(GROW_PAGES_MAX + 1)
      out.u8(OP_I32_LT_U)
      out.u8(OP_SELECT)
    })
  }

  /** Ends the call where the memory would have more pages than it may have now; the sum wraps around where memory.grow fails. */
  #boundPages(): void {
    const out = this.#out
    out.u8(OP_MEMORY_SIZE)
    out.u8(0)
    out.u8(OP_LOCAL_GET)
    out.u32(this.#length)
    out.u8(OP_I32_ADD)
    out.u8(OP_GLOBAL_GET)
    out.u32(this.#globals.pages)
    out.u8(OP_I32_GT_U)
    out.u8(OP_IF)
    out.u8(TYPE_EMPTY)
    this.#const(-1)
    out.u8(OP_GLOBAL_SET)
    out.u32(this.#globals.fuel)
    out.u8(OP_UNREACHABLE)
    out.u8(OP_END)
  }

  #noteFailure(): void {
    const out = this.#out
    out.u8(OP_LOCAL_TEE)
    out.u32(this.#length)
    out.u8(OP_LOCAL_GET)
    out.u32(this.#length)
    this.#const(-1)
    out.u8(OP_I32_EQ)
    out.u8(OP_IF)
    out.u8(TYPE_EMPTY)
    this.#const(1)
    out.u8(OP_GLOBAL_SET)
    out.u32(this.#globals.growFailed)
    out.u8(OP_END)
  }

  #enter(frameBytes: number): void {
    this.#moveDepth(frameBytes, OP_I32_ADD)
    this.#out.u8(OP_GLOBAL_GET)
    this.#out.u32(this.#globals.depth)
    this.#const(this.#depthLimit)
    this.#out.u8(OP_I32_GT_S)
    this.#out.u8(OP_IF)
    this.#out.u8(TYPE_EMPTY)
    this.#store()
    this.#out.u8(OP_UNREACHABLE)
    this.#out.u8(OP_END)
  }

  #leave(frameBytes: number): void {
    this.#moveDepth(frameBytes, OP_I32_SUB)
  }

  #moveDepth(frameBytes: number, op: number): void {
    this.#out.u8(OP_GLOBAL_GET)
    this.#out.u32(this.#globals.depth)
    this.#const(frameBytes)
    this.#out.u8(op)
    this.#out.u8(OP_GLOBAL_SET)
    this.#out.u32(this.#globals.depth)
  }
}
