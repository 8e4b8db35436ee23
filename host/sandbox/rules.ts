// The rules about what a module imports, exports and holds. Instructions are judged by `scanFunction`.
// Runs on: admission.

import { ABI_VERSION } from '../../wasm-operators/abi.ts'
import type { AdmissionLimits } from './limits.ts'
import type { Manifest } from './manifest.ts'
import { ModuleReader } from './module-reader.ts'
import {
  type FunctionType,
  importedFunctions,
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
  sectionPlace,
  signature,
} from './module-shape.ts'
import { OP_END, OP_I32_CONST, OP_RETURN, TYPE_F64, TYPE_I32, TYPE_NAMES, TYPE_V128 } from './opcodes.ts'
import type { Problems } from './problems.ts'

export const PAGE_BYTES = 65_536
/** Names that admission adds; a module may not use them. */
export const OWN_PREFIX = 'spqr:'

const I = TYPE_I32
const F = TYPE_F64
const type = (params: number[], results: number[] = []): FunctionType => ({ params, results })

/** Everything that links, of the namespace `env`; the table in wasm-operators/abi.ts says what each does. */
export const IMPORTS: Readonly<Record<string, FunctionType>> = {
  hand_over: type([]),
  reject: type([I, I, I]),
  abort: type([I, I, I, I]),
  log: type([I, I, I]),
  flush_now: type([]),
  clock: type([], [F]),
  random: type([], [F]),
  seed: type([], [F]),
  trace: type([I, I, F, F, F, F, F]),
}
const PERMISSION_OF: Readonly<Record<string, 'clock' | 'random'>> = { clock: 'clock', random: 'random', seed: 'random' }

/** Functions that a module must export. */
const REQUIRED: Readonly<Record<string, FunctionType>> = {
  spqr_abi: type([], [I]),
  allocate: type([I, I], [I]),
  configure: type([I], [I]),
  process: type([I], [I]),
  flush: type([], [I]),
  watermark: type([F], [I]),
}
const OPTIONAL: Readonly<Record<string, FunctionType>> = { spqr_start: type([]) }

const same = (a: FunctionType, b: FunctionType): boolean =>
  a.params.join() === b.params.join() && a.results.join() === b.results.join()

/** @returns the ABI version that the module answers, 0 where it cannot be told */
export function checkRules(
  shape: ModuleShape,
  manifest: Manifest,
  limits: AdmissionLimits,
  problems: Problems,
): number {
  checkImports(shape, manifest, problems)
  checkIndices(shape, problems)
  checkMemory(shape, limits, problems)
  checkTable(shape, limits, problems)
  for (const [index, global] of shape.globals.entries()) {
    if (!global.mutable || global.type !== TYPE_V128) continue
    problems.add(
      'globals',
      `global ${index} is a mutable v128, which no snapshot can hold; keep it in memory`,
      sectionPlace(SECTION_GLOBAL),
      global.at,
    )
  }
  checkExports(shape, problems)
  return checkAbi(shape, problems)
}

function checkImports(shape: ModuleShape, manifest: Manifest, problems: Problems): void {
  const place = sectionPlace(SECTION_IMPORT)
  for (const { module, name, kind, type: index, at } of shape.imports) {
    const shown = `"${module}.${name}"`
    if (kind !== 'function') {
      problems.add('imports', `${shown} is a ${kind}; only functions of "env" may be imported`, place, at)
      continue
    }
    const wanted = module === 'env' && Object.hasOwn(IMPORTS, name) ? IMPORTS[name] : undefined
    if (!wanted) {
      problems.add('imports', `${shown} does not exist; there are env.${Object.keys(IMPORTS).join(', ')}`, place, at)
      continue
    }
    const has = shape.types[index]
    if (!has) problems.add('imports', `${shown} has the unknown type ${index}`, place, at)
    else if (!same(has, wanted)) {
      problems.add(
        'imports',
        `${shown} is ${signature(wanted, TYPE_NAMES)}, not ${signature(has, TYPE_NAMES)}`,
        place,
        at,
      )
    }
    const permission = Object.hasOwn(PERMISSION_OF, name) ? PERMISSION_OF[name] : undefined
    if (permission && !manifest.permissions.includes(permission)) {
      problems.add('permissions', `${shown} needs "${permission}" in the manifest's permissions`, place, at)
    }
  }
}

function checkIndices(shape: ModuleShape, problems: Problems): void {
  const { types, functions, bodies, sections } = shape
  for (const [index, t] of functions.entries()) {
    if (t < types.length) continue
    const at = sections.get(SECTION_FUNCTION)?.from ?? 0
    problems.add('encoding', `function ${index} has the unknown type ${t}`, sectionPlace(SECTION_FUNCTION), at)
  }
  if (functions.length !== bodies.length) {
    const at = sections.get(SECTION_CODE)?.from ?? shape.bytes.length
    problems.add(
      'encoding',
      `${functions.length} functions are declared, ${bodies.length} bodies follow`,
      sectionPlace(SECTION_CODE),
      at,
    )
  }
  if (shape.dataCount !== undefined && shape.dataCount !== shape.data.length) {
    const at = sections.get(SECTION_DATA_COUNT)?.from ?? 0
    problems.add(
      'encoding',
      `${shape.dataCount} data segments are announced, there are ${shape.data.length}`,
      sectionPlace(SECTION_DATA_COUNT),
      at,
    )
  }
}

function checkMemory(shape: ModuleShape, limits: AdmissionLimits, problems: Problems): void {
  const memory = shape.memories[0]
  if (!memory) {
    problems.add(
      'memory',
      'a module must define one memory',
      sectionPlace(SECTION_MEMORY),
      shape.sections.get(SECTION_MEMORY)?.from ?? shape.bytes.length,
    )
    return
  }
  const pagesMax = Math.floor((limits.memoryMiB * 1048576) / PAGE_BYTES)
  if (memory.initial > pagesMax) {
    problems.add(
      'memory',
      `it starts with ${memory.initial} pages of 64 KiB, at most ${pagesMax} (${limits.memoryMiB} MiB) are allowed`,
      sectionPlace(SECTION_MEMORY),
      memory.at,
    )
  } else if (memory.maximum !== undefined && memory.maximum < memory.initial) {
    problems.add('memory', 'its maximum is below its start', sectionPlace(SECTION_MEMORY), memory.at)
  }
  for (const { offset, bytes, at } of shape.data) {
    // It would trap while the module is linked.
    if (offset !== undefined && offset + bytes > memory.initial * PAGE_BYTES) {
      problems.add(
        'memory',
        `a data segment of ${bytes} bytes at ${offset} reaches past the memory`,
        sectionPlace(SECTION_DATA),
        at,
      )
    }
  }
}

function checkTable(shape: ModuleShape, limits: AdmissionLimits, problems: Problems): void {
  const table = shape.tables[0]
  if (table && table.initial > limits.tableMax) {
    problems.add(
      'table',
      `it has ${table.initial} entries, at most ${limits.tableMax} are allowed`,
      sectionPlace(SECTION_TABLE),
      table.at,
    )
  }
  const functions = importedFunctions(shape) + shape.functions.length
  for (const element of shape.elements) {
    if (!table || element.offset + element.functions.length > table.initial) {
      problems.add(
        'table',
        `an element segment of ${element.functions.length} at ${element.offset} reaches past the table`,
        sectionPlace(SECTION_ELEMENT),
        element.at,
      )
    }
    const unknown = element.functions.find((f) => f >= functions)
    if (unknown !== undefined)
      problems.add('table', `function ${unknown} does not exist`, sectionPlace(SECTION_ELEMENT), element.at)
  }
}

function checkExports(shape: ModuleShape, problems: Problems): void {
  const place = sectionPlace(SECTION_EXPORT)
  const seen = new Set<string>()
  const spaces = {
    function: importedFunctions(shape) + shape.functions.length,
    table: shape.tables.length,
    memory: shape.memories.length,
    global: shape.globals.length,
  }
  for (const { name, kind, index, at } of shape.exports) {
    if (seen.has(name)) problems.add('exports', `"${name}" is exported twice`, place, at)
    seen.add(name)
    if (name.startsWith(OWN_PREFIX))
      problems.add('exports', `"${name}": names that begin with ${OWN_PREFIX} belong to the host`, place, at)
    if (index >= spaces[kind]) {
      problems.add('exports', `"${name}" is ${kind} ${index}, which does not exist`, place, at)
      continue
    }
    const wanted = Object.hasOwn(REQUIRED, name)
      ? REQUIRED[name]
      : Object.hasOwn(OPTIONAL, name)
        ? OPTIONAL[name]
        : undefined
    if (wanted) {
      const has = kind === 'function' ? shape.types[shape.functions[index - importedFunctions(shape)] ?? -1] : undefined
      if (!has) problems.add('exports', `"${name}" must be a function of the module's own`, place, at)
      else if (!same(has, wanted)) {
        problems.add(
          'exports',
          `"${name}" must be ${signature(wanted, TYPE_NAMES)}, not ${signature(has, TYPE_NAMES)}`,
          place,
          at,
        )
      }
    }
    if (name === 'memory' && kind !== 'memory') problems.add('exports', '"memory" must be the memory', place, at)
  }
  const end = shape.sections.get(SECTION_EXPORT)?.from ?? shape.bytes.length
  const missing = ['memory', ...Object.keys(REQUIRED)].filter((name) => !seen.has(name))
  for (const name of missing) {
    const what = name === 'memory' ? 'the memory' : signature(REQUIRED[name]!, TYPE_NAMES)
    problems.add('exports', `the guest ABI's export "${name}", ${what}, is missing`, place, end)
  }
}

/** Reads the body of `spqr_abi`, which must be one constant: nothing of a module runs before it is admitted. */
function checkAbi(shape: ModuleShape, problems: Problems): number {
  const exported = shape.exports.find((e) => e.name === 'spqr_abi' && e.kind === 'function')
  const body = exported && shape.bodies[exported.index - importedFunctions(shape)]
  if (!body) return 0
  let version = 0
  const place = sectionPlace(SECTION_CODE)
  const read = problems.guard(place, () => {
    const reader = new ModuleReader(shape.bytes, body.from, body.to)
    let plain = reader.u32() === 0 && reader.u8() === OP_I32_CONST
    if (plain) {
      version = reader.s32()
      let next = reader.u8()
      if (next === OP_RETURN) next = reader.u8()
      plain = next === OP_END && reader.at === body.to
    }
    if (!plain) {
      version = 0
      problems.add('abi', 'spqr_abi must return one constant and do nothing else', place, body.from)
    } else if (version !== ABI_VERSION) {
      problems.add(
        'abi',
        `the module speaks version ${version} of the guest ABI, this host version ${ABI_VERSION}; build it with this host's SDK`,
        place,
        body.from,
      )
    }
  })
  return read ? version : 0
}
