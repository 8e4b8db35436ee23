// Writes an admitted module anew: the same sections with memory and table bounded, the globals of admission added, mutable
// globals exported, code charged; custom sections are left out.
// Runs on: admission.

import { type Charges, hasExit } from './charges.ts'
import { FunctionWriter, type OwnGlobals } from './instrument.ts'
import { ModuleReader } from './module-reader.ts'
import {
  type ModuleShape,
  SECTION_CODE,
  SECTION_DATA,
  SECTION_DATA_COUNT,
  SECTION_ELEMENT,
  SECTION_EXPORT,
  SECTION_FUNCTION,
  SECTION_GLOBAL,
  SECTION_IMPORT,
  SECTION_MEMORY,
  SECTION_TABLE,
  SECTION_TYPE,
} from './module-shape.ts'
import { ModuleWriter } from './module-writer.ts'
import { type OffsetMap, OffsetMapBuilder } from './offset-map.ts'
import { OP_END, OP_I32_CONST, TYPE_EMPTY, TYPE_FUNCREF, TYPE_I32 } from './opcodes.ts'
import type { FunctionScan } from './scan-function.ts'

/** Exported mutable i32 global: what the present call may still do. The host sets it before each call. */
export const FUEL_EXPORT = 'spqr:fuel'
/** Exported mutable i32 global: bytes of stack that counted calls take now. The host sets it to 0 after a trap. */
export const DEPTH_EXPORT = 'spqr:depth'
/** Exported mutable i32 global: 1 once memory.grow was refused. The host sets it to 0 before each call. */
export const GROW_FAILED_EXPORT = 'spqr:grow-failed'
/**
 * Exported mutable i32 global: pages that the memory may have during the present call, unsigned. What would grow beyond ends the
 * call as if its fuel were used up: before the pages are there. -1, which it begins with: as many as the maximum allows.
 */
export const PAGES_EXPORT = 'spqr:pages'

/** In the order of their indices, behind those of the module. */
const OWN_GLOBALS = [
  { name: FUEL_EXPORT, initial: 0 },
  { name: DEPTH_EXPORT, initial: 0 },
  { name: GROW_FAILED_EXPORT, initial: 0 },
  { name: PAGES_EXPORT, initial: -1 },
]

/** A mutable global of the module itself: with the memory, all of its state. */
export interface StateGlobal {
  export: string
  type: 'i32' | 'i64' | 'f32' | 'f64'
}

export interface WriteOptions {
  memoryPagesMax: number
  depthLimit: number
  /** Mutable globals that the module does not export, with the names that they get. */
  addedExports: { name: string; global: number }[]
}

export function writeModule(
  shape: ModuleShape,
  scans: FunctionScan[],
  charges: Charges,
  options: WriteOptions,
): { module: Uint8Array<ArrayBuffer>; offsetMap: OffsetMap } {
  const { bytes, sections } = shape
  const out = new ModuleWriter(bytes.length + (bytes.length >> 1) + 1024)
  const content = new ModuleWriter(1024)
  out.copy(bytes, 0, 8)
  const section = (id: number, write: () => void): void => {
    content.clear()
    write()
    out.u8(id)
    out.u32(content.length)
    out.append(content)
  }
  const same = (id: number): void => {
    const span = sections.get(id)
    if (span) section(id, () => content.copy(bytes, span.from, span.to))
  }
  /** A section that is a vector, with further entries behind its own. */
  const extended = (id: number, further: number, write: () => void): void =>
    section(id, () => {
      const span = sections.get(id)
      const reader = new ModuleReader(bytes, span?.from ?? 0, span?.to ?? 0)
      content.u32((span ? reader.u32() : 0) + further)
      content.copy(bytes, reader.at, reader.end)
      write()
    })

  const own: OwnGlobals = {
    fuel: shape.globals.length,
    depth: shape.globals.length + 1,
    growFailed: shape.globals.length + 2,
    pages: shape.globals.length + 3,
  }
  const wrappers = wrapperTypes(shape, scans, charges)
  extended(SECTION_TYPE, wrappers.added.length, () => {
    for (const results of wrappers.added) {
      content.u8(0x60)
      content.u8(0)
      content.u32(results.length)
      for (const type of results) content.u8(type)
    }
  })
  same(SECTION_IMPORT)
  same(SECTION_FUNCTION)
  const table = shape.tables[0]
  if (table) {
    section(SECTION_TABLE, () => {
      content.u8(1)
      content.u8(TYPE_FUNCREF)
      bounded(content, table.initial, table.initial)
    })
  }
  const memory = shape.memories[0]!
  section(SECTION_MEMORY, () => {
    content.u8(1)
    bounded(content, memory.initial, options.memoryPagesMax)
  })
  extended(SECTION_GLOBAL, OWN_GLOBALS.length, () => {
    for (const { initial } of OWN_GLOBALS) {
      content.u8(TYPE_I32)
      content.u8(1)
      content.u8(OP_I32_CONST)
      content.s32(initial)
      content.u8(OP_END)
    }
  })
  extended(SECTION_EXPORT, OWN_GLOBALS.length + options.addedExports.length, () => {
    const added = [...OWN_GLOBALS.map(({ name }, i) => ({ name, global: own.fuel + i })), ...options.addedExports]
    for (const { name, global } of added) {
      content.name(name)
      content.u8(3)
      content.u32(global)
    }
  })
  same(SECTION_ELEMENT)
  same(SECTION_DATA_COUNT)

  const map = new OffsetMapBuilder()
  const code = new ModuleWriter(bytes.length * 2)
  const body = new ModuleWriter(4096)
  const writer = new FunctionWriter(body, map, own, options.depthLimit)
  code.u32(scans.length)
  for (const [index, scan] of scans.entries()) {
    body.clear()
    // Its size is written before it and not known yet; sizes are padded to four bytes so that offsets are.
    writer.startAt(code.length + SIZE_BYTES)
    writer.write(bytes, scan, charges.functions, index, wrappers.blockType(index))
    padded(code, body.length)
    code.append(body)
  }
  out.u8(SECTION_CODE)
  out.u32(code.length)
  const base = out.length
  out.append(code)
  same(SECTION_DATA)
  return { module: out.take(), offsetMap: map.take(base) }
}

const SIZE_BYTES = 4

/** A LEB128 of four bytes, up to 2^28. */
function padded(out: ModuleWriter, value: number): void {
  out.u8((value & 0x7f) | 0x80)
  out.u8(((value >>> 7) & 0x7f) | 0x80)
  out.u8(((value >>> 14) & 0x7f) | 0x80)
  out.u8((value >>> 21) & 0x7f)
}

function bounded(out: ModuleWriter, initial: number, maximum: number): void {
  out.u8(1)
  out.u32(initial)
  out.u32(maximum)
}

/** Block types for the bodies of functions with something to do at the exit: several results need a function type of their own. */
function wrapperTypes(
  shape: ModuleShape,
  scans: FunctionScan[],
  charges: Charges,
): {
  added: number[][]
  blockType: (index: number) => number[]
} {
  const added: number[][] = []
  const known = new Map<string, number>()
  for (const [index, scan] of scans.entries()) {
    const { results } = scan.type
    if (results.length < 2 || !hasExit(charges.functions[index]!) || known.has(results.join())) continue
    known.set(results.join(), shape.types.length + added.length)
    added.push(results)
  }
  const blockType = (index: number): number[] => {
    const { results } = scans[index]!.type
    if (results.length === 0) return [TYPE_EMPTY]
    if (results.length === 1) return results
    const writer = new ModuleWriter(8)
    writer.s32(known.get(results.join()) ?? 0)
    return [...writer.take()]
  }
  return { added, blockType }
}
