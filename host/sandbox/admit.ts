// Admission: reads a module, judges it by every rule, and rewrites it so that it can be stopped, bounded and restored.
// Nothing of the module runs here. Takes milliseconds for what AssemblyScript makes of an operator, up to a second for
// 4 MiB of malice: a host calls it off the control thread.
// Runs on: any thread.

import { createHash } from 'node:crypto'
import type { Issue } from '../../schemas/errors.ts'
import { planCharges } from './charges.ts'
import { functionNames } from './function-names.ts'
import { ADMISSION_LIMITS, type AdmissionLimits } from './limits.ts'
import { defaultManifest, MANIFEST_SECTION, type Manifest, readManifest } from './manifest.ts'
import { importedFunctions, type ModuleShape, SECTION_CODE, sectionPlace, signature } from './module-shape.ts'
import type { OffsetMap } from './offset-map.ts'
import { TYPE_NAMES } from './opcodes.ts'
import { Problems } from './problems.ts'
import { checkRules, OWN_PREFIX, PAGE_BYTES } from './rules.ts'
import { type FunctionScan, scanFunction } from './scan-function.ts'
import { readSections } from './sections.ts'
import { type StateGlobal, writeModule } from './write-module.ts'

/** What is known of an admitted module; JSON. */
export interface AdmissionReport {
  /** SHA-256 of the module as it was pushed, and as it runs: 64 hex digits. */
  digest: string
  admittedDigest: string
  bytes: number
  admittedBytes: number
  abi: number
  manifest: Manifest
  /** `hand_over: () → ()` */
  imports: string[]
  exports: string[]
  /** Whether it has `spqr_start`, to be called once before anything else. */
  starts: boolean
  functions: number
  memory: { initialPages: number; maximumPages: number }
  table: { entries: number } | null
  /** Every mutable global, by the name it is exported under: with the memory, the whole state. */
  globals: StateGlobal[]
  /** `spqr:depth` above this: the calls went too deep. */
  depthLimit: number
  /** Functions that are counted for it, and the stack that all others take at most, in bytes. */
  countedFunctions: number
  chainBytes: number
  notes: string[]
}

export interface Admitted {
  ok: true
  report: AdmissionReport
  /** The module that may be compiled and run. */
  module: Uint8Array<ArrayBuffer>
  /** What `decodeStack` needs; like the rest plain data that can be sent and stored. */
  offsetMap: OffsetMap
  functionNames: Record<number, string>
  functionStarts: Uint32Array
}

export interface Refused {
  ok: false
  /** Every broken rule: `rule: what to do (section, byte offset)`. */
  issues: Issue[]
}

export type Admission = Admitted | Refused

/** Custom sections that are expected, and dropped without a word. */
const KNOWN_CUSTOM = new Set(['name', 'sourceMappingURL', 'producers', 'target_features', MANIFEST_SECTION])

/** @param bytes the module as it was pushed; only read */
export function admit(bytes: Uint8Array, options: Partial<AdmissionLimits> = {}): Admission {
  const limits = { ...ADMISSION_LIMITS, ...options }
  const problems = new Problems()
  if (bytes.length > limits.bytesMax) {
    problems.add('size', `the module has ${bytes.length} bytes, at most ${limits.bytesMax} are allowed`, 'module', 0)
    return { ok: false, issues: problems.list() }
  }
  const notes: string[] = []
  const shape = readSections(bytes, limits, problems)
  const manifest = findManifest(shape, limits, notes, problems)
  const abi = checkRules(shape, manifest, limits, problems)
  const scans = scanFunctions(shape, limits, problems)
  if (problems.found) return { ok: false, issues: problems.list() }

  const charges = planCharges(shape, scans, limits)
  const memory = shape.memories[0]!
  const memoryPagesMax = Math.min(memory.maximum ?? Infinity, Math.floor((limits.memoryMiB * 1048576) / PAGE_BYTES))
  const { globals, addedExports } = stateGlobals(shape)
  const written = writeModule(shape, scans, charges, { memoryPagesMax, depthLimit: limits.depthBytesMax, addedExports })
  checkWritten(written.module.length, written.offsetMap.byteLength, shape, limits, problems)
  if (problems.found) return { ok: false, issues: problems.list() }
  // What is not valid stays so when it is rewritten; the words about the original are those that help.
  const broken = invalidity(written.module)
  if (broken) return refuse(invalidity(bytes) ?? broken)

  if (scans.some((scan) => scan.sites.some((site) => site.kind === 'drop'))) {
    notes.push('data.drop does nothing: a dropped segment would be state that no snapshot holds')
  }
  const imported = importedFunctions(shape)
  const typeOf = (index: number): string => {
    const type = index < imported ? shape.imports[index]!.type : shape.functions[index - imported]!
    return signature(shape.types[type]!, TYPE_NAMES)
  }
  const report: AdmissionReport = {
    digest: sha256(bytes),
    admittedDigest: sha256(written.module),
    bytes: bytes.length,
    admittedBytes: written.module.length,
    abi,
    manifest,
    imports: shape.imports.map(({ name }, index) => `${name}: ${typeOf(index)}`),
    exports: shape.exports.map(({ name, kind, index }) => `${name}: ${kind === 'function' ? typeOf(index) : kind}`),
    starts: shape.exports.some((e) => e.name === 'spqr_start'),
    functions: scans.length,
    memory: { initialPages: memory.initial, maximumPages: memoryPagesMax },
    table: shape.tables[0] ? { entries: shape.tables[0].initial } : null,
    globals,
    depthLimit: limits.depthBytesMax,
    countedFunctions: charges.counted,
    chainBytes: charges.chainBytes,
    notes,
  }
  const functionStarts = new Uint32Array(imported + scans.length)
  for (const [index, scan] of scans.entries()) functionStarts[imported + index] = scan.body.from
  return {
    ok: true,
    report,
    module: written.module,
    offsetMap: written.offsetMap,
    functionNames: functionNames(shape),
    functionStarts,
  }
}

/** A host keeps both, on each of its threads: what is small when it is pushed must not become large there. */
function checkWritten(
  bytes: number,
  mapBytes: number,
  shape: ModuleShape,
  limits: AdmissionLimits,
  problems: Problems,
): void {
  const refuse = (text: string): void =>
    problems.add('limits', text, sectionPlace(SECTION_CODE), shape.sections.get(SECTION_CODE)?.from ?? 0)
  const { admittedBytesMax, mapBytesMax } = limits
  if (bytes > admittedBytesMax)
    refuse(`with its metering the module has ${bytes} bytes, at most ${admittedBytesMax} are allowed; make it smaller`)
  if (mapBytes > mapBytesMax)
    refuse(`the map to its source takes ${mapBytes} bytes, at most ${mapBytesMax} are allowed; make it smaller`)
}

const refuse = (text: string): Refused => {
  const problems = new Problems()
  const offset = /@\+(\d+)/.exec(text)
  problems.add('validation', text, 'module', offset ? Number(offset[1]) : 0)
  return { ok: false, issues: problems.list() }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

function findManifest(shape: ModuleShape, limits: AdmissionLimits, notes: string[], problems: Problems): Manifest {
  let manifest: Manifest | undefined
  const dropped = new Set<string>()
  let seen = false
  for (const { name, at, content } of shape.custom) {
    if (name === MANIFEST_SECTION) {
      if (seen) problems.add('manifest', 'there are two', `custom section ${MANIFEST_SECTION}`, at)
      else manifest = readManifest(shape.bytes, content, limits.manifestBytesMax, problems)
      seen = true
    } else if (!KNOWN_CUSTOM.has(name) && !name.startsWith('.debug') && !name.startsWith('reloc.')) {
      dropped.add(name)
    }
  }
  const names = [...dropped].slice(0, 10).map((name) => JSON.stringify(name))
  if (names.length > 0) notes.push(`custom sections that nothing reads were left out: ${names.join(', ')}`)
  if (!seen) notes.push('there is no manifest: one port "out", no permissions, any settings')
  return manifest ?? defaultManifest()
}

/** Scans every function that can be; what cannot has a problem. */
function scanFunctions(shape: ModuleShape, limits: AdmissionLimits, problems: Problems): FunctionScan[] {
  const scans: FunctionScan[] = []
  const imported = importedFunctions(shape)
  const count = Math.min(shape.functions.length, shape.bodies.length)
  const callsOut = shape.elements.some(({ functions }) => functions.some((f) => f < imported))
  for (let index = 0; index < count; index++) {
    if (!shape.types[shape.functions[index]!]) continue
    problems.guard(`${sectionPlace(SECTION_CODE)}, function ${imported + index}`, () => {
      scans.push(scanFunction(shape, imported, index, limits, callsOut))
    })
  }
  return scans
}

/** V8's own word: types of operands, labels, everything that was not looked at here. @returns its message */
function invalidity(bytes: Uint8Array): string | undefined {
  const source = bytes as Uint8Array<ArrayBuffer>
  if (WebAssembly.validate(source)) return undefined
  try {
    new WebAssembly.Module(source)
  } catch (error) {
    return error instanceof Error
      ? error.message.replace(/^WebAssembly\.Module\(\): /, '').slice(0, 500)
      : 'it is not valid'
  }
  return 'it is not valid'
}

function stateGlobals(shape: ModuleShape): {
  globals: StateGlobal[]
  addedExports: { name: string; global: number }[]
} {
  const globals: StateGlobal[] = []
  const addedExports: { name: string; global: number }[] = []
  const names = new Map<number, string>()
  for (const { name, kind, index } of shape.exports) {
    // The one name that no plain object keeps a number under.
    if (kind === 'global' && name !== '__proto__' && !names.has(index)) names.set(index, name)
  }
  for (const [index, { mutable, type }] of shape.globals.entries()) {
    const valueType = TYPE_NAMES[type]
    if (!mutable || !valueType || valueType === 'v128') continue
    const name = names.get(index) ?? `${OWN_PREFIX}g${index}`
    if (!names.has(index)) addedExports.push({ name, global: index })
    globals.push({ export: name, type: valueType })
  }
  return { globals, addedExports }
}
