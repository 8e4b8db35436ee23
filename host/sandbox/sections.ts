// Reads the sections of a module into a `ModuleShape`. What it cannot read becomes a problem of that section, and it
// goes on with the next one, so that all problems show at once.
// Runs on: admission.

import type { AdmissionLimits } from './limits.ts'
import { ModuleReader } from './module-reader.ts'
import {
  type ExternKind,
  KIND_NAMES,
  type Limits,
  type ModuleShape,
  SECTION_CODE,
  SECTION_CUSTOM,
  SECTION_DATA,
  SECTION_DATA_COUNT,
  SECTION_ELEMENT,
  SECTION_EXPORT,
  SECTION_FUNCTION,
  SECTION_GLOBAL,
  SECTION_IMPORT,
  SECTION_MEMORY,
  SECTION_NAMES,
  SECTION_START,
  SECTION_TABLE,
  SECTION_TYPE,
  sectionPlace,
} from './module-shape.ts'
import {
  OP_END,
  OP_F32_CONST,
  OP_F64_CONST,
  OP_I32_CONST,
  OP_I64_CONST,
  OP_V128_CONST,
  OP_VECTOR,
  TYPE_F32,
  TYPE_F64,
  TYPE_FUNCREF,
  TYPE_I32,
  TYPE_I64,
  TYPE_NAMES,
  TYPE_V128,
} from './opcodes.ts'
import { Malformed, type Problems } from './problems.ts'

/** The order that the specification asks for; the data count stands between elements and code. */
const ORDER = [
  SECTION_TYPE,
  SECTION_IMPORT,
  SECTION_FUNCTION,
  SECTION_TABLE,
  SECTION_MEMORY,
  SECTION_GLOBAL,
  SECTION_EXPORT,
  SECTION_START,
  SECTION_ELEMENT,
  SECTION_DATA_COUNT,
  SECTION_CODE,
  SECTION_DATA,
]

type SectionParser = (reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits, problems: Problems) => void

const PARSERS: Record<number, SectionParser> = {
  [SECTION_TYPE]: readTypes,
  [SECTION_IMPORT]: readImports,
  [SECTION_FUNCTION]: (reader, shape, limits) => {
    for (let n = reader.count('functions', limits.functionsMax); n > 0; n--) shape.functions.push(reader.u32())
  },
  [SECTION_TABLE]: (reader, shape) => {
    for (let n = reader.count('tables', 1); n > 0; n--) shape.tables.push(readTable(reader))
  },
  [SECTION_MEMORY]: (reader, shape) => {
    for (let n = reader.count('memories', 1); n > 0; n--) shape.memories.push(readLimits(reader, 'memory'))
  },
  [SECTION_GLOBAL]: readGlobals,
  [SECTION_EXPORT]: readExports,
  [SECTION_START]: (reader, _shape, _limits, problems) => {
    const at = reader.at
    reader.u32()
    problems.add(
      'start',
      'the module has a start function, which would run before it can be metered; compile with --exportStart spqr_start',
      sectionPlace(SECTION_START),
      at,
    )
  },
  [SECTION_ELEMENT]: readElements,
  [SECTION_DATA_COUNT]: (reader, shape) => {
    shape.dataCount = reader.u32()
  },
  [SECTION_CODE]: readBodies,
  [SECTION_DATA]: readData,
}

/** @returns what could be read; `problems` has the rest */
export function readSections(bytes: Uint8Array, limits: AdmissionLimits, problems: Problems): ModuleShape {
  const shape: ModuleShape = {
    bytes,
    sections: new Map(),
    custom: [],
    types: [],
    imports: [],
    functions: [],
    tables: [],
    memories: [],
    globals: [],
    exports: [],
    elements: [],
    bodies: [],
    data: [],
  }
  const reader = new ModuleReader(bytes)
  if (bytes.length < 8 || bytes[0] !== 0 || bytes[1] !== 0x61 || bytes[2] !== 0x73 || bytes[3] !== 0x6d) {
    problems.add('header', 'this is no WebAssembly module: it must begin with 00 61 73 6d', 'header', 0)
    return shape
  }
  if (bytes[4] !== 1 || bytes[5] !== 0 || bytes[6] !== 0 || bytes[7] !== 0) {
    problems.add('header', 'the format version must be 1 (a core module, not a component)', 'header', 4)
    return shape
  }
  reader.at = 8
  let position = -1
  while (reader.at < bytes.length) {
    const at = reader.at
    let id = SECTION_CUSTOM
    let size = 0
    const readable = problems.guard('section header', () => {
      id = reader.u8()
      size = reader.u32()
      if (size > bytes.length - reader.at) {
        throw new Malformed(
          `the ${sectionPlace(id)} says it has ${size} bytes, ${bytes.length - reader.at} are left`,
          at,
        )
      }
    })
    if (!readable) break
    const from = reader.at
    const to = from + size
    reader.at = to
    if (id === SECTION_CUSTOM) {
      readCustom(new ModuleReader(bytes, from, to), shape, limits, problems, at)
      continue
    }
    const parse = PARSERS[id]
    if (!parse) {
      const what = id === 13 ? 'exceptions (a tag section)' : `a section with the unknown id ${id}`
      problems.add('features', `${what} is not allowed`, `section ${id}`, at)
      continue
    }
    if (shape.sections.has(id)) {
      problems.add('sections', `the ${SECTION_NAMES[id]} section stands twice`, sectionPlace(id), at)
      continue
    }
    const place = ORDER.indexOf(id)
    if (place < position) problems.add('sections', 'the section stands out of order', sectionPlace(id), at)
    position = Math.max(position, place)
    shape.sections.set(id, { from, to })
    problems.guard(sectionPlace(id), () => {
      const inner = new ModuleReader(bytes, from, to)
      parse(inner, shape, limits, problems)
      if (inner.at !== to) throw new Malformed(`${to - inner.at} bytes are left over`, inner.at)
    })
  }
  return shape
}

function readCustom(
  reader: ModuleReader,
  shape: ModuleShape,
  limits: AdmissionLimits,
  problems: Problems,
  at: number,
): void {
  problems.guard('custom section', () => {
    const name = reader.name(limits.nameBytesMax)
    shape.custom.push({ name, at, content: { from: reader.at, to: reader.end } })
  })
}

function valueType(reader: ModuleReader): number {
  const at = reader.at
  const type = reader.u8()
  if (TYPE_NAMES[type]) return type
  throw new Malformed(
    `value type 0x${type.toString(16)} is not allowed (reference types, garbage collection)`,
    at,
    'features',
  )
}

function readTypes(reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits): void {
  for (let n = reader.count('types', limits.typesMax); n > 0; n--) {
    const at = reader.at
    const form = reader.u8()
    if (form !== 0x60)
      throw new Malformed(`type form 0x${form.toString(16)} is not allowed (garbage collection)`, at, 'features')
    const params: number[] = []
    const results: number[] = []
    for (let p = reader.count('parameters', limits.paramsMax); p > 0; p--) params.push(valueType(reader))
    for (let r = reader.count('results', limits.resultsMax); r > 0; r--) results.push(valueType(reader))
    shape.types.push({ params, results })
  }
}

function readKind(reader: ModuleReader): ExternKind {
  const at = reader.at
  const kind = KIND_NAMES[reader.u8()]
  if (!kind) throw new Malformed('it is neither function nor table, memory or global', at)
  return kind
}

function readImports(reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits): void {
  for (let n = reader.count('imports', 64); n > 0; n--) {
    const at = reader.at
    const module = reader.name(limits.nameBytesMax)
    const name = reader.name(limits.nameBytesMax)
    const kind = readKind(reader)
    let type = 0
    if (kind === 'function') type = reader.u32()
    else if (kind === 'table') readTable(reader)
    else if (kind === 'memory') readLimits(reader, 'memory')
    else reader.skip(2)
    shape.imports.push({ module, name, kind, type, at })
  }
}

function readTable(reader: ModuleReader): Limits {
  const at = reader.at
  if (reader.u8() !== TYPE_FUNCREF)
    throw new Malformed('a table may hold functions only (reference types)', at, 'features')
  return readLimits(reader, 'table')
}

function readLimits(reader: ModuleReader, what: 'table' | 'memory'): Limits {
  const at = reader.at
  const flags = reader.u8()
  if (flags > 1) {
    const feature = flags & 4 ? 'memory64' : flags & 2 ? 'threads' : 'custom page sizes'
    throw new Malformed(`a ${what} with flags ${flags} is not allowed (${feature})`, at, 'features')
  }
  const initial = reader.u32()
  return flags === 1 ? { initial, maximum: reader.u32(), at } : { initial, at }
}

function readGlobals(reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits): void {
  for (let n = reader.count('globals', limits.globalsMax); n > 0; n--) {
    const at = reader.at
    const type = valueType(reader)
    const mutable = reader.u8()
    if (mutable > 1) throw new Malformed('a global is neither constant nor mutable', reader.at - 1)
    readConstant(reader, type)
    shape.globals.push({ type, mutable: mutable === 1, at })
  }
}

/** Reads `T.const n end`, the only initialiser there is where no global can be imported. @returns n of an i32 */
function readConstant(reader: ModuleReader, type: number): number {
  const at = reader.at
  const op = reader.u8()
  let value = 0
  if (type === TYPE_I32 && op === OP_I32_CONST) value = reader.s32()
  else if (type === TYPE_I64 && op === OP_I64_CONST) reader.skipS64()
  else if (type === TYPE_F32 && op === OP_F32_CONST) reader.skip(4)
  else if (type === TYPE_F64 && op === OP_F64_CONST) reader.skip(8)
  else if (type === TYPE_V128 && op === OP_VECTOR) {
    if (reader.u32() !== OP_V128_CONST) throw new Malformed('an initialiser must be one constant', at)
    reader.skip(16)
  } else throw new Malformed('an initialiser must be one constant of its type', at)
  if (reader.u8() !== OP_END)
    throw new Malformed('an initialiser must be one constant (extended constants)', at, 'features')
  return value
}

function readExports(reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits): void {
  for (let n = reader.count('exports', limits.exportsMax); n > 0; n--) {
    const at = reader.at
    const name = reader.name(limits.nameBytesMax)
    shape.exports.push({ name, kind: readKind(reader), index: reader.u32(), at })
  }
}

function readElements(reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits): void {
  for (let n = reader.count('element segments', limits.segmentsMax); n > 0; n--) {
    const at = reader.at
    if (reader.u32() !== 0)
      throw new Malformed('only plain active element segments are allowed (reference types)', at, 'features')
    const offset = readConstant(reader, TYPE_I32) >>> 0
    const functions: number[] = []
    for (let k = reader.count('elements', limits.tableMax); k > 0; k--) functions.push(reader.u32())
    shape.elements.push({ offset, functions, at })
  }
}

function readBodies(reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits): void {
  for (let n = reader.count('function bodies', limits.functionsMax); n > 0; n--) {
    const at = reader.at
    const size = reader.u32()
    if (size > limits.bodyBytesMax) {
      throw new Malformed(
        `a function has ${size} bytes, at most ${limits.bodyBytesMax} are allowed; split it`,
        at,
        'limits',
      )
    }
    const from = reader.at
    reader.skip(size)
    shape.bodies.push({ from, to: reader.at })
  }
}

function readData(reader: ModuleReader, shape: ModuleShape, limits: AdmissionLimits): void {
  for (let n = reader.count('data segments', limits.segmentsMax); n > 0; n--) {
    const at = reader.at
    const flags = reader.u32()
    if (flags > 1)
      throw new Malformed('a data segment for another memory is not allowed (multiple memories)', at, 'features')
    const offset = flags === 0 ? readConstant(reader, TYPE_I32) >>> 0 : undefined
    const bytes = reader.u32()
    reader.skip(bytes)
    shape.data.push(offset === undefined ? { bytes, at } : { offset, bytes, at })
  }
}
