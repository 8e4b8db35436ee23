// The sandbox itself: a module's instance on V8, its memory, the mailbox and the regions in it through which calls pass, and the
// counters that admission has put in. It knows nothing of undoing a call.
// Runs on: compute. Linear memory is the guest's: what is read from it is checked each time.
//
//    mailbox ──▶ input region   records of a call, written by us
//            ──▶ output region  records it hands over, taken by us

import {
  ABI_VERSION,
  MAILBOX_INPUT,
  MAILBOX_OUTPUT,
  MAILBOX_OUTPUT_BYTES,
  MAILBOX_PORTS_HIGH,
  MAILBOX_PORTS_LOW,
  MAILBOX_PROGRESS,
} from '../record/record.ts'
import { DEPTH_EXPORT, FUEL_EXPORT, GROW_FAILED_EXPORT, PAGES_EXPORT } from '../sandbox/write-module.ts'
import { CALL_CONFIGURE, CALL_FLUSH, CALL_PROCESS } from './call-log.ts'
import { type Fault, faultOf, GuestAbort } from './fault.ts'
import { noteStartedMemory } from './resting-state.ts'
import { takeInstance } from './spare-instances.ts'

/** Regions before the first record: idle instances stay small. */
export const REGION_BYTES_IDLE = 4 << 10
/** Regions from the first record on. */
export const REGION_BYTES = 128 << 10

/** A compiled, admitted module and what is known of it. */
export interface LoadedModule {
  digest: string
  module: WebAssembly.Module
  /** Exports added by admission that hold the mutable globals. */
  globals: string[]
  memoryBytesMax: number
  /** `spqr:depth` above it: the calls went too deep. */
  depthLimit: number
}

interface GuestExports {
  memory: WebAssembly.Memory
  spqr_abi(): number
  spqr_start?(): void
  allocate(inputBytes: number, outputBytes: number): number
  configure(bytes: number): number
  process(bytes: number): number
  flush(): number
  watermark(eventTimeMs: number): number
}

const NO_EXPORTS = {} as GuestExports
const NO_BYTES = new Uint8Array(0)
const NO_WORDS = new Int32Array(0)

export class Guest {
  /** View of linear memory; made anew when it grew. */
  bytes: Uint8Array = NO_BYTES
  private words: Int32Array = NO_WORDS
  /** The mutable ones. */
  globals: WebAssembly.Global[] = []
  /** Where the mailbox stands; 0 before there is one. */
  mailbox = 0
  /** Where the input region stands, and how large it is. */
  input = 0
  inputCapacity = 0
  private readonly loaded: LoadedModule
  private exports: GuestExports = NO_EXPORTS
  private fuel: WebAssembly.Global | undefined
  private depth: WebAssembly.Global | undefined
  private growFailed: WebAssembly.Global | undefined
  private pages: WebAssembly.Global | undefined

  constructor(loaded: LoadedModule) {
    this.loaded = loaded
    this.instantiate()
  }

  get memoryBytes(): number {
    return this.memory.byteLength
  }

  get memory(): ArrayBuffer {
    return this.exports.memory.buffer as ArrayBuffer
  }

  /** How far the last `process` came, as the guest says. */
  get progress(): number {
    return this.words[(this.mailbox + MAILBOX_PROGRESS) >> 2]! >>> 0
  }

  /** Of the budget of `meter`; below 0 where it is used up. undefined: the module counts none */
  get fuelLeft(): number | undefined {
    return this.fuel?.value as number | undefined
  }

  /** A fresh instance in place of the one there is; the caller puts the state into it. */
  instantiate(): void {
    const instance = takeInstance(this.loaded.module)
    this.exports = instance.exports as unknown as GuestExports
    const all = instance.exports as Record<string, unknown>
    this.fuel = all[FUEL_EXPORT] as WebAssembly.Global | undefined
    this.depth = all[DEPTH_EXPORT] as WebAssembly.Global | undefined
    this.growFailed = all[GROW_FAILED_EXPORT] as WebAssembly.Global | undefined
    this.pages = all[PAGES_EXPORT] as WebAssembly.Global | undefined
    this.globals = this.loaded.globals.map((name) => all[name] as WebAssembly.Global)
    this.renewViews()
  }

  /** Gives the instance up; `instantiate` makes another. */
  release(): void {
    this.exports = NO_EXPORTS
    this.fuel = this.depth = this.growFailed = this.pages = undefined
    this.globals = []
    this.bytes = NO_BYTES
    this.words = NO_WORDS
  }

  /** Linear memory as it is now, also when it grew. */
  memoryView(): Uint8Array {
    if (this.bytes.buffer !== this.exports.memory.buffer) this.renewViews()
    return this.bytes
  }

  /** Makes the memory exactly this large: memory that grew since needs a fresh instance. */
  fit(bytes: number): void {
    if (this.memoryBytes > bytes) this.instantiate()
    const missing = (bytes - this.memoryBytes) >> 16
    if (missing > 0) this.exports.memory.grow(missing)
    this.renewViews()
  }

  // Guest code runs in these: only between `meter` and the next look at what it has used.

  /** Runs the module's own top level, makes the regions. @throws GuestAbort, traps */
  start(): void {
    this.exports.spqr_start?.()
    if (this.exports.spqr_abi() !== ABI_VERSION) throw new GuestAbort('OPERATOR_TRAP', 'another ABI version')
    this.allocate(REGION_BYTES_IDLE)
    noteStartedMemory(this.loaded.module, this.memory)
  }

  /** Has the guest make its regions. @throws GuestAbort, traps */
  allocate(regionBytes: number): void {
    const mailbox = this.exports.allocate(regionBytes, Math.min(regionBytes, REGION_BYTES))
    if (mailbox <= 0 || (mailbox & 3) !== 0 || mailbox + 32 > this.memoryBytes) {
      throw new GuestAbort('OPERATOR_TRAP', `allocate answered the mailbox ${mailbox}`)
    }
    this.mailbox = mailbox
    this.readRegions()
  }

  /**
   * @param kind CALL_…
   * @param bytes of the input, which stands in its region
   * @param eventTimeMs of a watermark
   * @returns what the guest answers @throws GuestAbort, traps // hot
   */
  call(kind: number, bytes: number, portsLow: number, portsHigh: number, eventTimeMs: number): number {
    const base = this.mailbox >> 2
    this.words[base + (MAILBOX_PORTS_LOW >> 2)] = portsLow
    this.words[base + (MAILBOX_PORTS_HIGH >> 2)] = portsHigh
    this.words[base + (MAILBOX_PROGRESS >> 2)] = 0
    const { exports } = this
    if (kind === CALL_PROCESS) return exports.process(bytes)
    if (kind === CALL_FLUSH) return exports.flush()
    if (kind === CALL_CONFIGURE) return exports.configure(bytes)
    return exports.watermark(eventTimeMs)
  }

  /** Sets the budget of what follows. @param growthPages it may grow by; undefined: no bound but that of the memory */
  meter(fuel: number, growthPages: number | undefined): void {
    if (this.fuel) this.fuel.value = fuel
    if (this.depth) this.depth.value = 0
    if (this.growFailed) this.growFailed.value = 0
    if (this.pages) this.pages.value = growthPages === undefined ? -1 : (this.memoryBytes >> 16) + growthPages
  }

  /** What was thrown out of a call, by what the counters say. @param memoryBytesMax that it was allowed */
  faultOf(thrown: unknown, memoryBytesMax: number): Fault {
    return faultOf(thrown, {
      fuelLeft: this.fuelLeft ?? 0,
      tooDeep: this.depth !== undefined && (this.depth.value as number) > this.loaded.depthLimit,
      growFailed: this.growFailed?.value === 1,
      memoryBytesMax,
    })
  }

  /** Bytes that stand in the output region, which begins at `outputAt`. @throws GuestAbort where that is outside of the memory */
  outputBytes(): number {
    this.memoryView()
    const base = this.mailbox >> 2
    const bytes = this.words[base + (MAILBOX_OUTPUT_BYTES >> 2)]! >>> 0
    if (bytes === 0) return 0
    const output = this.outputAt
    if ((output & 7) !== 0 || (bytes & 7) !== 0 || output + bytes > this.bytes.length) {
      throw new GuestAbort('OPERATOR_TRAP', 'the output is outside of the memory')
    }
    return bytes
  }

  get outputAt(): number {
    return this.words[(this.mailbox + MAILBOX_OUTPUT) >> 2]! >>> 0
  }

  /** What stood in the output region was taken. */
  outputTaken(): void {
    this.words[(this.mailbox + MAILBOX_OUTPUT_BYTES) >> 2] = 0
  }

  /** Finds the regions that the mailbox names. @throws GuestAbort where they are outside of the memory */
  readRegions(): void {
    this.renewViews()
    this.checkRegions()
    const at = (this.mailbox + MAILBOX_INPUT) >> 2
    this.input = this.words[at]! >>> 0
    this.inputCapacity = this.words[at + 1]! >>> 0
  }

  /** @throws GuestAbort where the guest names regions outside of its memory */
  checkRegions(): void {
    this.checkRegion(MAILBOX_INPUT)
    this.checkRegion(MAILBOX_OUTPUT)
  }

  private checkRegion(field: number): void {
    const at = (this.mailbox + field) >> 2
    const from = this.words[at]! >>> 0
    if ((from & 7) !== 0 || from + (this.words[at + 1]! >>> 0) > this.bytes.length) {
      throw new GuestAbort('OPERATOR_TRAP', 'the regions are outside of the memory')
    }
  }

  private renewViews(): void {
    const { memory } = this
    this.bytes = new Uint8Array(memory)
    this.words = new Int32Array(memory)
  }
}
