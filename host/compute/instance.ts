// One sandbox of an operator in one pipeline, and the call as a transaction: a call that faults has never been.
// Runs on: compute. The sandbox is the guest; snapshot and call log are ours.
//
// Undo: the last snapshot of memory and mutable globals, plus the input since then. After a fault the snapshot is put back and
// the kept calls run again with their output discarded; guests are deterministic, so it is the same state.

import { CHANGE_RESET, FAULT_INVALID_RECORD, RECORD_LENGTH } from '../record/record.ts'
import type { ImageMemory } from '../ring/image-memory.ts'
import { CALL_CONFIGURE, CALL_FLUSH, CALL_PROCESS, CALL_WATERMARK, CallLog } from './call-log.ts'
import { type Fault, GuestAbort } from './fault.ts'
import { Guest, type LoadedModule, REGION_BYTES, REGION_BYTES_IDLE } from './guest.ts'
import { runAs } from './imports.ts'
import { type InstanceLimits, settingsFuel } from './limits.ts'
import { isStartedMemoryKnown, memoryOf, packMemory, type RestingState, unpackMemory } from './resting-state.ts'

/** An instance's snapshots may take this share of its time. */
const SNAPSHOT_SHARE = 0.05
/** Calls that went well once go well again, whatever they were allowed then. */
const FUEL_OF_REPLAY = 0x7fffffff
/** ms to copy one byte, a first guess; measured from then on. */
const COPY_MS_PER_BYTE = 0.05 / (1 << 20)
/** More memory than this does not rest: packing it would hold up the neighbours. */
const REST_BYTES_MAX = 1 << 20

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

export class Instance {
  readonly loaded: LoadedModule
  readonly limits: InstanceLimits
  readonly owner: InstanceOwner
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

  private readonly guest: Guest
  /** It rests: this is all there is of it. */
  private resting: RestingState | null = null
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
    this.guest = new Guest(loaded)
  }

  get memoryBytes(): number {
    if (this.resting !== null) return this.resting.memoryBytes
    return this.guest.memoryBytes
  }

  /** View of linear memory, until it grows. */
  get bytes(): Uint8Array {
    return this.guest.bytes
  }

  /** Largest input of one call. */
  get inputBytesMax(): number {
    return Math.max(this.guest.inputCapacity, REGION_BYTES)
  }

  get progress(): number {
    return this.guest.progress
  }

  /** Says which output ports have a consumer, from the next call on. */
  connect(portsLow: number, portsHigh: number): void {
    this.portsLow = portsLow
    this.portsHigh = portsHigh
  }

  /** Runs the module's own top level, makes the regions. @returns false: `fault` says why */
  start(fuelMax = Number.POSITIVE_INFINITY): boolean {
    const { fuelPerSetup, setupGrowthPages } = this.limits
    return this.guarded(Math.min(fuelPerSetup, fuelMax), setupGrowthPages, () => this.guest.start())
  }

  /**
   * Gives the guest its settings, at the start and at each change.
   * @returns CHANGE_KEEP, CHANGE_RESET or, where it faulted and is undone, a negative number
   */
  configure(settings: Uint8Array, fuelMax = Number.POSITIVE_INFINITY): number {
    if (!this.prepareRegions(settings.length)) return -2
    if (this.configured) this.takeSnapshot()
    this.bytes.set(settings, this.guest.input)
    const fuel = settingsFuel(this.limits, settings.length)
    const change = this.run(CALL_CONFIGURE, settings.length, Math.min(fuel, fuelMax))
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
    return this.guest.input
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
      if (to > from && this.prepareRegions(to - from))
        this.bytes.set(this.log.bytes.subarray(from, to), this.guest.input)
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
      const value: unknown = resting ? resting.globals[i] : this.guest.globals[i]!.value
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
    const bytes = new Uint8Array(this.guest.memory)
    return { memory: copies ? copies.copy(bytes) : bytes.slice(), globals }
  }

  /** Puts an image in place of the state. @throws RangeError where it does not fit the module */
  restore(memory: Uint8Array, globals: Record<string, number | string>): void {
    if (!this.wake()) throw new RangeError(this.fault!.message)
    this.guest.fit(memory.length)
    this.bytes.set(memory)
    this.loaded.globals.forEach((name, i) => {
      const value = globals[name]
      if (value === undefined) throw new RangeError(`the snapshot lacks the global ${name}`)
      const global = this.guest.globals[i]!
      global.value = typeof global.value === 'bigint' ? BigInt(value) : Number(value)
    })
    // Where the regions stand is part of the state: the mailbox in it says so.
    this.guest.readRegions()
    this.forget()
  }

  /** Gives its state away, for a call that is made elsewhere; it keeps what it has. @returns null: `fault` says why */
  lend(): InstanceState | null {
    if (!this.wake()) return null
    if (this.snapshot === null || this.log.count > 0) this.takeSnapshot()
    const { snapshot, seed } = this
    const { mailbox } = this.guest
    this.calledMs = performance.now()
    // The next call takes another.
    this.forget()
    return { memory: snapshot!, globals: [...this.snapshotGlobals], mailbox, seed }
  }

  /** Goes on from where a call elsewhere led to. @throws RangeError: no room, GuestAbort: regions outside of the memory */
  adopt(state: InstanceState): void {
    if (!this.wake()) throw new RangeError(this.fault!.message)
    this.guest.fit(state.memory.length)
    this.bytes.set(state.memory)
    for (let i = 0; i < this.guest.globals.length; i++) this.guest.globals[i]!.value = state.globals[i]!
    this.guest.mailbox = state.mailbox
    this.seed = state.seed
    this.configured = true
    this.calledMs = performance.now()
    this.guest.readRegions()
    this.forget()
  }

  /** Keeps of an idle instance only what differs from one that has only started; the next call wakes it. Between calls only. */
  rest(): void {
    if (this.resting !== null || !this.configured || this.memoryBytes > REST_BYTES_MAX) return
    // It was started elsewhere.
    if (!isStartedMemoryKnown(this.loaded.module)) return
    this.resting = {
      memoryBytes: this.memoryBytes,
      runs: packMemory(this.loaded.module, this.guest.memory),
      globals: this.guest.globals.map((global) => global.value as number | bigint),
    }
    this.forget()
    this.guest.release()
  }

  /** @returns false: the host has no room for another instance, `fault` says so; it goes on resting */
  private wake(): boolean {
    const { resting } = this
    if (resting === null) return true
    try {
      this.guest.instantiate()
    } catch (thrown) {
      const message = `the host has no room for the instance: ${(thrown as Error).message}`
      this.fault = { code: 'MEMORY_EXHAUSTED', message, stack: '' }
      return false
    }
    this.resting = null
    this.guest.fit(resting.memoryBytes)
    unpackMemory(this.loaded.module, resting.runs, this.guest.memory)
    for (let i = 0; i < this.guest.globals.length; i++) this.guest.globals[i]!.value = resting.globals[i]!
    this.guest.readRegions()
    this.owner.woke()
    return true
  }

  /** Drops what undo keeps: an idle instance costs no more than its memory. */
  private forget(): void {
    this.snapshot = null
    this.log.free()
  }

  /** Makes the regions large enough. */
  private prepareRegions(bytes: number): boolean {
    if (!this.wake()) return false
    const wanted = bytes > REGION_BYTES_IDLE && bytes <= REGION_BYTES ? REGION_BYTES : bytes
    if (wanted <= this.guest.inputCapacity) return true
    // A guest that faults in the middle of it is put back as well.
    if (this.configured && this.snapshot === null) this.takeSnapshot()
    const { fuelPerSetup, setupGrowthPages } = this.limits
    const { replaying } = this
    const fuel = replaying ? FUEL_OF_REPLAY : fuelPerSetup
    if (!this.guarded(fuel, replaying ? undefined : setupGrowthPages, () => this.guest.allocate(wanted))) {
      if (this.snapshot !== null && !this.replaying) this.rollBack()
      return false
    }
    if (this.guest.inputCapacity < bytes) {
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
    if (bytes > 0) this.log.bytes.set(this.bytes.subarray(this.guest.input, this.guest.input + bytes), at)
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
    const { growthPages, setupGrowthPages } = this.limits
    const pages = kind === CALL_CONFIGURE ? setupGrowthPages : growthPages
    // What a call has grown by once it grows by again.
    this.guarded(budget, this.replaying ? undefined : pages, () => {
      status = this.guest.call(kind, bytes, this.portsLow, this.portsHigh, this.seed)
      this.handOver()
      // What a call leaves is what the next one, an undo or a restart begins with.
      this.guest.checkRegions()
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
    return this.guest.memoryView()
  }

  /** Takes the records that stand in the output region. */
  handOver(): void {
    const { guest } = this
    const bytes = guest.outputBytes()
    if (bytes === 0) return
    if (!this.emits) throw new GuestAbort('OPERATOR_TRAP', 'the operator emitted where it was given no record')
    const output = guest.outputAt
    if (!this.replaying) this.owner.emitted(guest.bytes, output, output + bytes)
    guest.outputTaken()
  }

  /** Runs guest code under a fuel budget; a trap becomes `fault`. */
  private guarded(fuel: number, growthPages: number | undefined, call: () => void): boolean {
    const { guest } = this
    guest.meter(fuel, growthPages)
    let failed = true
    try {
      runAs(this, call)
      failed = false
      return true
    } catch (thrown) {
      this.fault = guest.faultOf(thrown, this.limits.memoryBytes)
      return false
    } finally {
      // A trap of the engine leaves the counter where it was last looked at: what faulted is billed in full.
      // What a replay takes depends on when snapshots were taken: it is not the records'.
      const left = guest.fuelLeft
      if (left !== undefined && !this.replaying) this.fuelUsed += failed ? fuel : fuel - Math.max(0, left)
      guest.memoryView()
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
    for (let i = 0; i < this.guest.globals.length; i++) this.snapshotGlobals[i] = this.guest.globals[i]!.value
    this.snapshotRegions = this.guest.mailbox
    this.log.clear()
    this.busySinceSnapshotMs = 0
    const took = performance.now() - started
    this.snapshotMs = this.snapshotMs === 0 ? took : this.snapshotMs * 0.9 + took * 0.1
  }

  private restoreSnapshot(): void {
    const snapshot = this.snapshot!
    this.guest.fit(snapshot.length)
    this.bytes.set(snapshot)
    for (let i = 0; i < this.guest.globals.length; i++) this.guest.globals[i]!.value = this.snapshotGlobals[i]!
    this.guest.mailbox = this.snapshotRegions
    this.guest.readRegions()
  }
}
