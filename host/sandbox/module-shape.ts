// What the sections of a module say, with the places it was said at. Made by `readSections`, judged by `checkRules`,
// rewritten by `writeModule`.
// Runs on: admission.

export const SECTION_CUSTOM = 0
export const SECTION_TYPE = 1
export const SECTION_IMPORT = 2
export const SECTION_FUNCTION = 3
export const SECTION_TABLE = 4
export const SECTION_MEMORY = 5
export const SECTION_GLOBAL = 6
export const SECTION_EXPORT = 7
export const SECTION_START = 8
export const SECTION_ELEMENT = 9
export const SECTION_CODE = 10
export const SECTION_DATA = 11
export const SECTION_DATA_COUNT = 12

export const SECTION_NAMES = [
  'custom',
  'type',
  'import',
  'function',
  'table',
  'memory',
  'global',
  'export',
  'start',
  'element',
  'code',
  'data',
  'data count',
] as const

export const KIND_NAMES = ['function', 'table', 'memory', 'global'] as const
export type ExternKind = (typeof KIND_NAMES)[number]

/** Bytes `from … to` of the module. */
export interface Span {
  from: number
  to: number
}

export interface FunctionType {
  params: number[]
  results: number[]
}

export interface ModuleImport {
  module: string
  name: string
  kind: ExternKind
  /** Of functions: index of the type. */
  type: number
  at: number
}

export interface ModuleExport {
  name: string
  kind: ExternKind
  index: number
  at: number
}

export interface ModuleGlobal {
  type: number
  mutable: boolean
  at: number
}

export interface Limits {
  initial: number
  maximum?: number
  at: number
}

export interface DataSegment {
  /** Absent: passive. */
  offset?: number
  bytes: number
  at: number
}

export interface ModuleShape {
  bytes: Uint8Array
  /** Contents of the sections that stand at most once, by id. */
  sections: Map<number, Span>
  custom: { name: string; at: number; content: Span }[]
  types: FunctionType[]
  imports: ModuleImport[]
  /** Type index of each function that is defined here. */
  functions: number[]
  tables: Limits[]
  memories: Limits[]
  globals: ModuleGlobal[]
  exports: ModuleExport[]
  /** Offset in the table and functions of each element segment. */
  elements: { offset: number; functions: number[]; at: number }[]
  bodies: Span[]
  data: DataSegment[]
  dataCount?: number
}

export const sectionPlace = (id: number): string => `${SECTION_NAMES[id] ?? 'unknown'} section`

/** Functions are numbered from the imported ones on. */
export const importedFunctions = (shape: ModuleShape): number =>
  shape.imports.reduce((n, i) => (i.kind === 'function' ? n + 1 : n), 0)

/** `(i32, f64) → i32` */
export function signature(type: FunctionType, names: Record<number, string>): string {
  const list = (types: number[]): string => types.map((t) => names[t] ?? `0x${t.toString(16)}`).join(', ')
  return `(${list(type.params)}) → ${type.results.length === 1 ? list(type.results) : `(${list(type.results)})`}`
}
