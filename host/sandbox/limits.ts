// What a module may have at most. Every limit is far above what AssemblyScript makes of an operator, and low enough that
// neither admission nor the engine's compilers can be kept busy for long.
// Runs on: wherever modules are admitted.

export interface AdmissionLimits {
  /** Written into the module as the maximum of its memory, unless the module itself says less. MiB. */
  memoryMiB: number
  bytesMax: number
  /** Bytes of the module as it runs, with its metering; and of the map from those to the original. */
  admittedBytesMax: number
  mapBytesMax: number
  typesMax: number
  paramsMax: number
  resultsMax: number
  functionsMax: number
  /** Locals of one function, parameters included. */
  localsMax: number
  /** Bytes of one function's body. */
  bodyBytesMax: number
  /** Blocks inside of each other. */
  nestingMax: number
  /** Values that a function holds times its branches: what an optimising compiler's work and memory grow with. */
  complexityMax: number
  /** Stack that one call of one function may take, as estimated. Bytes. */
  frameBytesMax: number
  /** Stack that all calls of recursive functions may take together, as estimated. Bytes. */
  depthBytesMax: number
  /** Stack that the longest chain of calls without recursion may take; above it every call is counted. Bytes. */
  chainBytesMax: number
  globalsMax: number
  exportsMax: number
  tableMax: number
  segmentsMax: number
  nameBytesMax: number
  manifestBytesMax: number
}

export const ADMISSION_LIMITS: Readonly<AdmissionLimits> = {
  memoryMiB: 16,
  bytesMax: 4 << 20,
  admittedBytesMax: 12 << 20,
  mapBytesMax: 8 << 20,
  typesMax: 2_000,
  paramsMax: 100,
  resultsMax: 16,
  functionsMax: 10_000,
  localsMax: 2_000,
  bodyBytesMax: 256 << 10,
  nestingMax: 1_000,
  complexityMax: 4_000_000,
  frameBytesMax: 64 << 10,
  depthBytesMax: 256 << 10,
  chainBytesMax: 128 << 10,
  globalsMax: 4_096,
  exportsMax: 1_000,
  tableMax: 10_000,
  segmentsMax: 10_000,
  nameBytesMax: 256,
  manifestBytesMax: 64 << 10,
}
