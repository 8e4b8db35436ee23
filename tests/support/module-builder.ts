// Builds WebAssembly modules byte by byte, sound operators or any kind of unsound ones.

import { ABI_VERSION } from '../../wasm-operators/abi.ts'

export const I32 = 0x7f
export const I64 = 0x7e
export const F64 = 0x7c
export const V128 = 0x7b
export const FUNCREF = 0x70

export interface FunctionSpec {
  params?: number[]
  results?: number[]
  locals?: number[]
  /** Instructions without the last `end`. */
  code: number[]
  export?: string
}

export interface ModuleSpec {
  imports?: { module?: string; name: string; params?: number[]; results?: number[] }[]
  /** They come before those of the ABI, so the first has the index `imports.length`. */
  functions?: FunctionSpec[]
  /** Encoded limits; one page of any maximum unless given, null for none. */
  memory?: number[] | null
  /** Encoded: element type, limits. */
  table?: number[]
  /** Encoded: type, mutability, initialiser. */
  globals?: number[][]
  exports?: { name: string; kind: number; index: number }[]
  elements?: number[][]
  data?: number[][]
  dataCount?: number
  custom?: { name: string; bytes: Uint8Array | number[] }[]
  /** Sections as they are, in front of the code section. */
  raw?: { id: number; content: number[] }[]
  /** Exports of the ABI to leave out. */
  without?: string[]
}

export function u32(value: number): number[] {
  const out: number[] = []
  let rest = value
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  return [...out, rest]
}

export function s32(value: number): number[] {
  const out: number[] = []
  for (let rest = value; ; ) {
    const byte = rest & 0x7f
    rest >>= 7
    if ((rest === 0 && !(byte & 0x40)) || (rest === -1 && byte & 0x40)) return [...out, byte]
    out.push(byte | 0x80)
  }
}

export const text = (value: string): number[] => [...u32(Buffer.byteLength(value)), ...Buffer.from(value)]
export const vector = (items: number[][]): number[] => [...u32(items.length), ...items.flat()]
export const section = (id: number, content: number[]): number[] => [id, ...u32(content.length), ...content]
export const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

/** Instructions by name. */
export const op = {
  unreachable: [0x00],
  nop: [0x01],
  end: [0x0b],
  return: [0x0f],
  drop: [0x1a],
  block: (...body: number[][]): number[] => [0x02, 0x40, ...body.flat(), 0x0b],
  loop: (...body: number[][]): number[] => [0x03, 0x40, ...body.flat(), 0x0b],
  if: (...body: number[][]): number[] => [0x04, 0x40, ...body.flat(), 0x0b],
  br: (label: number): number[] => [0x0c, ...u32(label)],
  brIf: (label: number): number[] => [0x0d, ...u32(label)],
  brTable: (labels: number[], other: number): number[] => [0x0e, ...vector(labels.map(u32)), ...u32(other)],
  call: (index: number): number[] => [0x10, ...u32(index)],
  callIndirect: (type: number): number[] => [0x11, ...u32(type), 0],
  get: (local: number): number[] => [0x20, ...u32(local)],
  set: (local: number): number[] => [0x21, ...u32(local)],
  tee: (local: number): number[] => [0x22, ...u32(local)],
  globalGet: (global: number): number[] => [0x23, ...u32(global)],
  globalSet: (global: number): number[] => [0x24, ...u32(global)],
  i32: (value: number): number[] => [0x41, ...s32(value)],
  add: [0x6a],
  sub: [0x6b],
  load: [0x28, 2, 0],
  store: [0x36, 2, 0],
  grow: [0x40, 0],
  memorySize: [0x3f, 0],
  fill: [0xfc, 11, 0],
  copy: [0xfc, 10, 0, 0],
  init: (segment: number): number[] => [0xfc, 8, ...u32(segment), 0],
  dataDrop: (segment: number): number[] => [0xfc, 9, ...u32(segment)],
}

const ABI_FUNCTIONS: FunctionSpec[] = [
  { export: 'spqr_abi', results: [I32], code: op.i32(ABI_VERSION) },
  { export: 'allocate', params: [I32, I32], results: [I32], code: op.i32(1024) },
  { export: 'configure', params: [I32], results: [I32], code: op.i32(0) },
  { export: 'process', params: [I32], results: [I32], code: op.get(0) },
  { export: 'flush', results: [I32], code: op.i32(0) },
  { export: 'watermark', params: [F64], results: [I32], code: op.i32(0) },
]

/** A module that speaks the ABI, with what `spec` adds or changes. Function n has type n. */
export function operatorModule(spec: ModuleSpec = {}): Uint8Array<ArrayBuffer> {
  const imports = spec.imports ?? []
  const own = spec.functions ?? []
  const replaced = new Set([...own.map((f) => f.export), ...(spec.without ?? [])])
  const functions = [...own, ...ABI_FUNCTIONS.filter((f) => !replaced.has(f.export))]
  const type = (params: number[] = [], results: number[] = []): number[] => [
    0x60,
    ...vector(params.map((t) => [t])),
    ...vector(results.map((t) => [t])),
  ]
  const types = [...imports, ...functions].map((f) => type(f.params, f.results))
  const memory = spec.memory === undefined ? [0, 1] : spec.memory
  const exports = [
    ...(memory && !spec.without?.includes('memory') ? [{ name: 'memory', kind: 2, index: 0 }] : []),
    ...functions.flatMap((f, i) => (f.export ? [{ name: f.export, kind: 0, index: imports.length + i }] : [])),
    ...(spec.exports ?? []),
  ]
  const bodies = functions.map((f) => {
    const body = [...vector((f.locals ?? []).map((t) => [1, t])), ...f.code, 0x0b]
    return [...u32(body.length), ...body]
  })
  return Uint8Array.from([
    ...HEADER,
    ...(spec.custom ?? []).flatMap(({ name, bytes }) => section(0, [...text(name), ...bytes])),
    ...section(1, vector(types)),
    ...(imports.length
      ? section(2, vector(imports.map((f, i) => [...text(f.module ?? 'env'), ...text(f.name), 0, ...u32(i)])))
      : []),
    ...section(3, vector(functions.map((_, i) => u32(imports.length + i)))),
    ...(spec.table ? section(4, [1, ...spec.table]) : []),
    ...(memory ? section(5, [1, ...memory]) : []),
    ...(spec.globals ? section(6, vector(spec.globals)) : []),
    ...section(7, vector(exports.map((e) => [...text(e.name), e.kind, ...u32(e.index)]))),
    ...(spec.elements ? section(9, vector(spec.elements)) : []),
    ...(spec.dataCount === undefined ? [] : section(12, u32(spec.dataCount))),
    ...(spec.raw ?? []).flatMap(({ id, content }) => section(id, content)),
    ...section(10, vector(bodies)),
    ...(spec.data ? section(11, vector(spec.data)) : []),
  ])
}

/** A module whose `process` has this code. */
export const withProcess = (code: number[], spec: ModuleSpec = {}, locals: number[] = []): Uint8Array<ArrayBuffer> =>
  operatorModule({
    ...spec,
    functions: [...(spec.functions ?? []), { export: 'process', params: [I32], results: [I32], locals, code }],
  })
