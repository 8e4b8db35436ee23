// One sandbox of an operator in one pipeline, and the call as a transaction: a call that faults has never been.
// Runs on: compute. Linear memory is the guest's; snapshot and call log are ours.
//
// Undo: the last snapshot of memory and mutable globals, plus the input since then. After a fault the snapshot is put back and
// the kept calls run again with their output discarded; guests are deterministic, so it is the same state.

import {
  ABI_VERSION,
  CHANGE_RESET,
  FAULT_INVALID_RECORD,
  MAILBOX_INPUT,
  MAILBOX_OUTPUT,
  MAILBOX_OUTPUT_BYTES,
  MAILBOX_PORTS_HIGH,
  MAILBOX_PORTS_LOW,
  MAILBOX_PROGRESS,
  RECORD_LENGTH,
} from '../record/record.ts'
import type { ImageMemory } from '../ring/image-memory.ts'
import { DEPTH_EXPORT, FUEL_EXPORT, GROW_FAILED_EXPORT, PAGES_EXPORT } from '../sandbox/write-module.ts'
import { CALL_CONFIGURE, CALL_FLUSH, CALL_PROCESS, CALL_WATERMARK, CallLog } from './call-log.ts'
import { type Fault, faultOf, GuestAbort } from './fault.ts'
import { runAs } from './imports.ts'
import { settingsFuel } from './limits.ts'
import {
  isStartedMemoryKnown,
  memoryOf,
  noteStartedMemory,
  packMemory,
  type RestingState,
  unpackMemory,
} from './resting-state.ts'
import { takeInstance } from './spare-instances.ts'

/** Regions before the first record: idle instances stay small. */
const REGION_BYTES_IDLE = 4 << 10
/** Regions from the first record on. */
export const REGION_BYTES = 128 << 10

/** An instance's snapshots may take this share of its time. */
const SNAPSHOT_SHARE = 0.05
/** Calls that went well once go well again, whatever they were allowed then. */
const FUEL_OF_REPLAY = 0x7fffffff
/** ms to copy one byte, a first guess; measured from then on. */
const COPY_MS_PER_BYTE = 0.05 / (1 << 20)
/** More memory than this does not rest: packing it would hold up the neighbours. */
const REST_BYTES_MAX = 1 << 20

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

export interface InstanceLimits {
  /** Fuel of one call with many records. */
  fuelPerCall: number
  /** Fuel of a call with one record. */
  fuelPerRecord: number
  /** Fuel of a flush or a watermark: they go over the whole state. */
  fuelPerFlush: number
  /** Fuel of the start, of a configuration, of making regions. */
  fuelPerSetup: number
  outputBytesPerRecord: number
  /** Linear memory; may be less than what the module itself is bound to. */
  memoryBytes: number
  /** So many pages a call may grow by, 64 KiB each; what grows by more ends as if its fuel were used up. None: no other bound. */
  growthPages?: number
}

/** All that a call needs to go on from, between two calls. */
export interface InstanceState {
  memory: Uint8Array
  globals: (number | bigint)[]
  mailbox: number
  seed: number
}

/** What an instance needs of its node. */
export interface InstanceOwner {
  /** The guest hands over whole records; throws GuestAbort where they are none or are too many. */
  emitted(bytes: Uint8Array, from: number, to: number): void
  /** The guest did not process the record at this offset of the input. The text can be read during the call. */
  rejected(inputOffset: number, message: () => string): void
  logged(level: number, text: () => string): void
  /** A call needs the instance, which rested. */
  woke(): void
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

export class Instance {
  readonly loaded: LoadedModule
  readonly limits: InstanceLimits
  readonly owner: InstanceOwner
  /** View of linear memory; made anew when it grew. */
  bytes!: Uint8Array
  words!: Int32Array
  /** The fault of the last call that had one. */
  fault: Fault | null = null
  /** flush_now was called. */
  wantsFlush = false
  /** Output is dropped: a replay of calls whose output is published already. */
  replaying = false
  /** The present call is one that may emit. */
  private emits = false
  /** The next calls hold one record each: the budget of a record counts. */
  alone = false
  fuelUsed = 0
  busyMs = 0
  /** When the last call began, `performance.now()`; 0 before the first one after the start. */
  calledMs = 0
  /** Fixed during a call. */
  clock = 0
  seed = 1

  private exports!: GuestExports
  /** It rests: this is all there is of it. */
  private resting: RestingState | null = null
  private fuel: WebAssembly.Global | undefined
  private depth: WebAssembly.Global | undefined
  private growFailed: WebAssembly.Global | undefined
  private pages: WebAssembly.Global | undefined
  private globals: WebAssembly.Global[] = []
  private mailbox = 0
  private inputCapacity = 0
  private input = 0
  private portsLow = -1
  private portsHigh = -1

  private snapshot: Uint8Array | null = null
  private snapshotGlobals: (number | bigint)[] = []
  private snapshotRegions = 0
  private readonly log = new CallLog()
  private busySinceSnapshotMs = 0
  private configured = false
  private snapshotMs = 0

  constructor(loaded: LoadedModule, limits: InstanceLimits, owner: InstanceOwner) {
    this.loaded = loaded
    this.limits = limits
    this.owner = owner
    this.instantiate()
  }

  get memoryBytes(): number {
    if (this.resting !== null) return this.resting.memoryBytes
    return this.exports.memory.buffer.byteLength
  }

  /** Largest input of one call. */
  get inputBytesMax(): number {
    return Math.max(this.inputCapacity, REGION_BYTES)
  }

  get progress(): number {
    return this.words[(this.mailbox + MAILBOX_PROGRESS) >> 2]! >>> 0
  }

  /** Says which output ports have a consumer, from the next call on. */
  connect(portsLow: number, portsHigh: number): void {
    this.portsLow = portsLow
    this.portsHigh = portsHigh
  }

  /** Runs the module's own top level, makes the regions. @returns false: `fault` says why */
  start(fuel = this.limits.fuelPerSetup): boolean {
    return this.guarded(fuel, undefined, () => {
      this.exports.spqr_start?.()
      if (this.exports.spqr_abi() !== ABI_VERSION) throw new GuestAbort('OPERATOR_TRAP', 'another ABI version')
      this.allocate(REGION_BYTES_IDLE)
      noteStartedMemory(this.loaded.module, this.exports.memory.buffer as ArrayBuffer)
    })
  }

  /**
   * Gives the guest its settings, at the start and at each change.
   * @returns CHANGE_KEEP, CHANGE_RESET or, where it faulted and is undone, a negative number
   */
  configure(settings: Uint8Array, fuel = settingsFuel(this.limits, settings.length)): number {
    if (!this.prepareRegions(settings.length)) return -2
    if (this.configured) this.takeSnapshot()
    this.bytes.set(settings, this.input)
    const change = this.run(CALL_CONFIGURE, settings.length, fuel)
    if (change < 0) {
      if (this.configured) this.restoreSnapshot()
      return change
    }
    this.configured = true
    // A configuration is not logged: the next call begins with a snapshot of its own.
    this.forget()
    return change
  }

  /**
   * Where to copy the input of the next `process` to in `bytes`.
   * @returns -1: `fault` says why it cannot take as many bytes
   */
  inputFor(bytes: number): number {
    if (!this.prepareRegions(bytes)) return -1
    // Before the input is copied in: what is undone leaves not even that behind.
    this.prepareUndo(bytes)
    return this.input
  }

  /**
   * Processes the records that stand at `inputFor`. // hot
   * @returns bytes consumed; negative: it faulted, call `undo` before anything else
   */
  process(bytes: number): number {
    const consumed = this.invoke(CALL_PROCESS, bytes)
    if (consumed < 0 || consumed === bytes) return consumed
    if (this.recordsIn(consumed) <= 0) {
      this.fault = { code: 'OPERATOR_TRAP', message: `process consumed ${consumed} of ${bytes} bytes`, stack: '' }
      return -2
    }
    return consumed
  }

  flush(): number {
    return this.invoke(CALL_FLUSH, 0)
  }

  watermark(eventTimeMs: number): number {
    this.seed = eventTimeMs
    return this.invoke(CALL_WATERMARK, 0)
  }

  /** Input of the last call, our copy of it; valid until the next call or `undo`. */
  lastInput(): Uint8Array {
    const from = this.log.count > 1 ? this.log.ends[this.log.count - 2]! : 0
    return this.log.bytes.subarray(from, this.log.length)
  }

  /** Records in the first `bytes` of the last input, by our copy: the guest may write over its own. @returns -1: no border */
  recordsIn(bytes: number): number {
    const input = this.lastInput()
    if (bytes < 0 || bytes > input.length) return -1
    const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
    let records = 0
    let at = 0
    for (; at < bytes; at += view.getUint32(at + RECORD_LENGTH, true)) records++
    return at === bytes ? records : -1
  }

  /** Brings back the state before the call that faulted. */
  undo(): void {
    // It could not even wake: nothing was called.
    if (this.resting !== null) return
    this.log.dropLast()
    this.rollBack()
  }

  /** Brings back the state after the last call that is logged. */
  private rollBack(): void {
    const fault = this.fault
    this.restoreSnapshot()
    this.replaying = true
    let from = 0
    for (let i = 0; i < this.log.count; i++) {
      const to = this.log.ends[i]!
      if (to > from && this.prepareRegions(to - from)) this.bytes.set(this.log.bytes.subarray(from, to), this.input)
      this.clock = this.log.clocks[i]!
      this.seed = this.log.seeds[i]!
      this.run(this.log.kinds[i]!, to - from, FUEL_OF_REPLAY)
      from = to
    }
    this.replaying = false
    // What the faulted call, and those before it, asked for is not asked again.
    this.wantsFlush = false
    this.fault = fault
    // Faults come in groups: from here on the next undo is one copy.
    this.takeSnapshot()
  }

  /** Memory and globals as they are now, between two calls; the copy is the caller's. @param copies where it may stand */
  image(copies?: ImageMemory): { memory: Uint8Array; globals: Record<string, number | string> } {
    const globals: Record<string, number | string> = {}
    const { resting } = this
    this.loaded.globals.forEach((name, i) => {
      const value: unknown = resting ? resting.globals[i] : this.globals[i]!.value
      globals[name] =
        typeof value === 'bigint'
          ? value.toString()
          : Object.is(value, -0)
            ? '-0'
            : Number.isFinite(value)
              ? (value as number)
              : String(value)
    })
    if (resting) return { memory: memoryOf(this.loaded.module, resting), globals }
    const bytes = new Uint8Array(this.exports.memory.buffer)
    return { memory: copies ? copies.copy(bytes) : bytes.slice(), globals }
  }

  /** Puts an image in place of the state. @throws RangeError where it does not fit the module */
  restore(memory: Uint8Array, globals: Record<string, number | string>): void {
    if (!this.wake()) throw new RangeError(this.fault!.message)
    this.fit(memory.length)
    this.bytes.set(memory)
    this.loaded.globals.forEach((name, i) => {
      const value = globals[name]
      if (value === undefined) throw new RangeError(`the snapshot lacks the global ${name}`)
      const global = this.globals[i]!
      global.value = typeof global.value === 'bigint' ? BigInt(value) : Number(value)
    })
    // Where the regions stand is part of the state: the mailbox in it says so.
    this.readRegions()
    this.forget()
  }

  /** Gives its state away, for a call that is made elsewhere; it keeps what it has. @returns null: `fault` says why */
  lend(): InstanceState | null {
    if (!this.wake()) return null
    if (this.snapshot === null || this.log.count > 0) this.takeSnapshot()
    const { snapshot, mailbox, seed } = this
    this.calledMs = performance.now()
    // The next call takes another.
    this.forget()
    return { memory: snapshot!, globals: [...this.snapshotGlobals], mailbox, seed }
  }

  /** Goes on from where a call elsewhere led to. @throws RangeError: no room, GuestAbort: regions outside of the memory */
  adopt(state: InstanceState): void {
    if (!this.wake()) throw new RangeError(this.fault!.message)
    this.fit(state.memory.length)
    this.bytes.set(state.memory)
    for (let i = 0; i < this.globals.length; i++) this.globals[i]!.value = state.globals[i]!
    this.mailbox = state.mailbox
    this.seed = state.seed
    this.configured = true
    this.calledMs = performance.now()
    this.readRegions()
    this.forget()
  }

  /** Keeps of an idle instance only what differs from one that has only started; the next call wakes it. Between calls only. */
  rest(): void {
    if (this.resting !== null || !this.configured || this.memoryBytes > REST_BYTES_MAX) return
    // It was started elsewhere.
    if (!isStartedMemoryKnown(this.loaded.module)) return
    this.resting = {
      memoryBytes: this.memoryBytes,
      runs: packMemory(this.loaded.module, this.exports.memory.buffer as ArrayBuffer),
      globals: this.globals.map((global) => global.value as number | bigint),
    }
    this.forget()
    this.exports = NO_EXPORTS
    this.fuel = this.depth = this.growFailed = this.pages = undefined
    this.globals = []
    this.bytes = NO_BYTES
    this.words = NO_WORDS
  }

  /** @returns false: the host has no room for another instance, `fault` says so; it goes on resting */
  private wake(): boolean {
    const { resting } = this
    if (resting === null) return true
    try {
      this.instantiate()
    } catch (thrown) {
      const message = `the host has no room for the instance: ${(thrown as Error).message}`
      this.fault = { code: 'MEMORY_EXHAUSTED', message, stack: '' }
      return false
    }
    this.resting = null
    this.fit(resting.memoryBytes)
    unpackMemory(this.loaded.module, resting.runs, this.exports.memory.buffer as ArrayBuffer)
    for (let i = 0; i < this.globals.length; i++) this.globals[i]!.value = resting.globals[i]!
    this.readRegions()
    this.owner.woke()
    return true
  }

  /** Drops what undo keeps: an idle instance costs no more than its memory. */
  private forget(): void {
    this.snapshot = null
    this.log.free()
  }

  private instantiate(): void {
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

  private renewViews(): void {
    const buffer = this.exports.memory.buffer
    this.bytes = new Uint8Array(buffer)
    this.words = new Int32Array(buffer)
  }

  private allocate(regionBytes: number): void {
    const mailbox = this.exports.allocate(regionBytes, Math.min(regionBytes, REGION_BYTES))
    if (mailbox <= 0 || (mailbox & 3) !== 0 || mailbox + 32 > this.memoryBytes) {
      throw new GuestAbort('OPERATOR_TRAP', `allocate answered the mailbox ${mailbox}`)
    }
    this.mailbox = mailbox
    this.readRegions()
  }

  /** @throws GuestAbort where the guest names regions outside of its memory */
  private readRegions(): void {
    this.renewViews()
    this.checkRegion(MAILBOX_INPUT)
    this.checkRegion(MAILBOX_OUTPUT)
    const at = (this.mailbox + MAILBOX_INPUT) >> 2
    this.input = this.words[at]! >>> 0
    this.inputCapacity = this.words[at + 1]! >>> 0
  }

  /** @throws GuestAbort where the region that the mailbox names there is outside of the memory */
  private checkRegion(field: number): void {
    const at = (this.mailbox + field) >> 2
    const from = this.words[at]! >>> 0
    if ((from & 7) !== 0 || from + (this.words[at + 1]! >>> 0) > this.bytes.length) {
      throw new GuestAbort('OPERATOR_TRAP', 'the regions are outside of the memory')
    }
  }

  /** Makes the regions large enough. */
  private prepareRegions(bytes: number): boolean {
    if (!this.wake()) return false
    const wanted = bytes > REGION_BYTES_IDLE && bytes <= REGION_BYTES ? REGION_BYTES : bytes
    if (wanted <= this.inputCapacity) return true
    // A guest that faults in the middle of it is put back as well.
    if (this.configured && this.snapshot === null) this.takeSnapshot()
    if (!this.guarded(this.limits.fuelPerSetup, undefined, () => this.allocate(wanted))) {
      if (this.snapshot !== null && !this.replaying) this.rollBack()
      return false
    }
    if (this.inputCapacity < bytes) {
      this.fault = { code: 'MEMORY_EXHAUSTED', message: `no room for an input of ${bytes} bytes`, stack: '' }
      return false
    }
    // Regions moved outside of a logged call: the state to go back to is the one with the new regions.
    if (this.snapshot !== null && !this.replaying) this.takeSnapshot()
    return true
  }

  /** Takes a snapshot where there is none, the log has no room for this input, or it costs little by now. */
  private prepareUndo(bytes: number): void {
    if (this.snapshot === null || !this.log.hasRoom(bytes) || this.snapshotIsDue()) this.takeSnapshot()
  }

  /** Logs the call, runs it. */
  private invoke(kind: number, bytes: number): number {
    if (!this.wake()) return -2
    if (kind !== CALL_PROCESS) this.prepareUndo(bytes)
    if (kind !== CALL_WATERMARK) this.seed = (Math.imul(this.seed | 0, 1664525) + 1013904223) >>> 0
    this.clock = Date.now()
    const at = this.log.add(kind, bytes, this.clock, this.seed)
    if (bytes > 0) this.log.bytes.set(this.bytes.subarray(this.input, this.input + bytes), at)
    const started = performance.now()
    this.calledMs = started
    const status = this.run(kind, bytes, kind === CALL_PROCESS ? this.limits.fuelPerCall : this.limits.fuelPerFlush)
    const took = performance.now() - started
    this.busyMs += took
    this.busySinceSnapshotMs += took
    return status
  }

  private run(kind: number, bytes: number, fuel: number): number {
    const budget = this.alone ? this.limits.fuelPerRecord : fuel
    let status = -2
    this.fault = null
    this.emits = kind !== CALL_CONFIGURE
    // What a call has grown by once it grows by again.
    const growthPages = this.replaying || kind === CALL_CONFIGURE ? undefined : this.limits.growthPages
    this.guarded(budget, growthPages, () => {
      const base = this.mailbox >> 2
      this.words[base + (MAILBOX_PORTS_LOW >> 2)] = this.portsLow
      this.words[base + (MAILBOX_PORTS_HIGH >> 2)] = this.portsHigh
      this.words[base + (MAILBOX_PROGRESS >> 2)] = 0
      const exports = this.exports
      if (kind === CALL_PROCESS) status = exports.process(bytes)
      else if (kind === CALL_FLUSH) status = exports.flush()
      else if (kind === CALL_CONFIGURE) status = exports.configure(bytes)
      else status = exports.watermark(this.seed)
      this.handOver()
      // What a call leaves is what the next one, an undo or a restart begins with.
      this.checkRegion(MAILBOX_INPUT)
      this.checkRegion(MAILBOX_OUTPUT)
      if (this.memoryBytes > this.limits.memoryBytes) {
        throw new GuestAbort('MEMORY_EXHAUSTED', `the operator used up its ${this.limits.memoryBytes >> 20} MiB`)
      }
      if (status < 0) {
        throw new GuestAbort(
          status === FAULT_INVALID_RECORD ? 'INVALID_RECORD' : 'OPERATOR_TRAP',
          status === FAULT_INVALID_RECORD
            ? 'the record is not what the operator reads'
            : `the operator answered ${status}`,
        )
      }
    })
    this.emits = false
    if (this.fault !== null) return -2
    return kind === CALL_CONFIGURE && status > CHANGE_RESET ? CHANGE_RESET : status
  }

  memoryView(): Uint8Array {
    if (this.bytes.buffer !== this.exports.memory.buffer) this.renewViews()
    return this.bytes
  }

  /** Takes the records that stand in the output region. */
  handOver(): void {
    this.memoryView()
    const base = this.mailbox >> 2
    const bytes = this.words[base + (MAILBOX_OUTPUT_BYTES >> 2)]! >>> 0
    if (bytes === 0) return
    const output = this.words[base + (MAILBOX_OUTPUT >> 2)]! >>> 0
    if ((output & 7) !== 0 || (bytes & 7) !== 0 || output + bytes > this.bytes.length) {
      throw new GuestAbort('OPERATOR_TRAP', 'the output is outside of the memory')
    }
    if (!this.emits) throw new GuestAbort('OPERATOR_TRAP', 'the operator emitted where it was given no record')
    if (!this.replaying) this.owner.emitted(this.bytes, output, output + bytes)
    this.words[base + (MAILBOX_OUTPUT_BYTES >> 2)] = 0
  }

  /** Runs guest code under a fuel budget; a trap becomes `fault`. */
  private guarded(fuel: number, growthPages: number | undefined, call: () => void): boolean {
    if (this.fuel) this.fuel.value = fuel
    if (this.depth) this.depth.value = 0
    if (this.growFailed) this.growFailed.value = 0
    if (this.pages) this.pages.value = growthPages === undefined ? -1 : (this.memoryBytes >> 16) + growthPages
    let failed = true
    try {
      runAs(this, call)
      failed = false
      return true
    } catch (thrown) {
      this.fault = faultOf(thrown, {
        fuelLeft: this.fuel ? (this.fuel.value as number) : 0,
        tooDeep: this.depth !== undefined && (this.depth.value as number) > this.loaded.depthLimit,
        growFailed: this.growFailed?.value === 1,
        memoryBytesMax: this.limits.memoryBytes,
      })
      return false
    } finally {
      // A trap of the engine leaves the counter where it was last looked at: what faulted is billed in full.
      // What a replay takes depends on when snapshots were taken: it is not the records'.
      if (this.fuel && !this.replaying) this.fuelUsed += failed ? fuel : fuel - Math.max(0, this.fuel.value as number)
      if (this.bytes.buffer !== this.exports.memory.buffer) this.renewViews()
    }
  }

  private snapshotIsDue(): boolean {
    const cost = this.snapshotMs || this.memoryBytes * COPY_MS_PER_BYTE
    return this.busySinceSnapshotMs * SNAPSHOT_SHARE >= cost
  }

  private takeSnapshot(): void {
    const started = performance.now()
    const size = this.memoryBytes
    if (this.snapshot === null || this.snapshot.length !== size) this.snapshot = new Uint8Array(size)
    this.snapshot.set(this.bytes)
    for (let i = 0; i < this.globals.length; i++) this.snapshotGlobals[i] = this.globals[i]!.value
    this.snapshotRegions = this.mailbox
    this.log.clear()
    this.busySinceSnapshotMs = 0
    const took = performance.now() - started
    this.snapshotMs = this.snapshotMs === 0 ? took : this.snapshotMs * 0.9 + took * 0.1
  }

  private restoreSnapshot(): void {
    const snapshot = this.snapshot!
    this.fit(snapshot.length)
    this.bytes.set(snapshot)
    for (let i = 0; i < this.globals.length; i++) this.globals[i]!.value = this.snapshotGlobals[i]!
    this.mailbox = this.snapshotRegions
    this.readRegions()
  }

  /** Makes the memory exactly this large: memory that grew since needs a fresh instance. */
  private fit(bytes: number): void {
    if (this.memoryBytes > bytes) this.instantiate()
    const missing = (bytes - this.memoryBytes) >> 16
    if (missing > 0) this.exports.memory.grow(missing)
    this.renewViews()
  }
}

const NO_EXPORTS = {} as GuestExports
const NO_BYTES = new Uint8Array(0)
const NO_WORDS = new Int32Array(0)
