// How much one call of an operator may use: its whole budget, as its pipeline was given it, and the slice of it that a call
// has on a compute worker, where others wait for their turn. A call that does not come back within its slice is undone, and
// made again elsewhere with its whole budget: only that decides what a record may cost.
// Runs on: compute.

import type { OperatorSpec } from './messages.ts'

export interface InstanceLimits {
  /** Fuel of one call with many records. */
  fuelPerCall: number
  /** Fuel of a call with one record. */
  fuelPerRecord: number
  /** Fuel of a flush or a watermark: they go over the whole state. */
  fuelPerFlush: number
  /** Fuel of the start, of a configuration, of making regions. */
  fuelPerSetup: number
  /** What a configuration may cost beyond that, for each byte of the settings. */
  fuelPerSettingsByte: number
  outputBytesPerRecord: number
  /** Linear memory; may be less than what the module itself is bound to. */
  memoryBytes: number
  /** So many pages a call may grow by, 64 KiB each; what grows by more ends as if its fuel were used up. None: no other bound. */
  growthPages?: number
  /** The same for what `fuelPerSetup` bounds. */
  setupGrowthPages?: number
}

/** Bytes of one batch; a record may be larger. */
export const BATCH_BYTES = 64 << 10
/** One slice, half a millisecond of optimised guest code, of what was never run before 2 to 5: longer no call holds up the others. */
export const SLICE_FUEL = 8_000_000
/** Of a flush, which goes over the whole state: sending that elsewhere and back is not done for less. */
export const FLUSH_SLICE_FUEL = 20_000_000
/** Of all starts and configurations together that one creation or change of a pipeline takes; a millisecond or two. */
export const SETUP_SLICE_FUEL = 10_000_000
/** Within a slice it may hand over so much. */
export const SLICE_OUTPUT_BYTES = 2 << 20
/** And grow by so much: memory that grew is made, zeroed and given back page by page, which no fuel counts. */
const SLICE_GROWTH_PAGES = 32
/** The counter of fuel has 32 bits. */
const FUEL_MAX = 0x7fffffff
/** What goes over the whole state may take longer, by this factor. */
const FLUSH_FACTOR = 10
/** What the settings of an operator may cost beyond that, for each byte of them: a tree is made of them, and of that its own form. */
const SETTINGS_FUEL_PER_BYTE = 1500

/** Whole budgets. */
export function limitsOf({ limits }: OperatorSpec): InstanceLimits {
  const fuelPerFlush = Math.min(FUEL_MAX, limits.fuelPerRecord * FLUSH_FACTOR)
  return {
    fuelPerCall: SLICE_FUEL,
    fuelPerRecord: Math.min(FUEL_MAX, limits.fuelPerRecord),
    fuelPerFlush,
    fuelPerSetup: fuelPerFlush,
    fuelPerSettingsByte: SETTINGS_FUEL_PER_BYTE,
    outputBytesPerRecord: limits.outputBytesPerRecord,
    memoryBytes: limits.memoryBytes,
  }
}

/** Of a call that takes settings: a document of the largest size with a list of hundreds of thousands of values has enough. */
export function settingsFuel({ fuelPerSetup, fuelPerSettingsByte }: InstanceLimits, settingsBytes: number): number {
  return Math.min(FUEL_MAX, fuelPerSetup + settingsBytes * fuelPerSettingsByte)
}

/** Slices of them. */
export function slicesOf(limits: InstanceLimits): InstanceLimits {
  const { fuelPerRecord, fuelPerFlush, fuelPerSetup } = limits
  return {
    ...limits,
    fuelPerRecord: Math.min(SLICE_FUEL, fuelPerRecord),
    fuelPerFlush: Math.min(FLUSH_SLICE_FUEL, fuelPerFlush),
    fuelPerSetup: Math.min(SETUP_SLICE_FUEL, fuelPerSetup),
    fuelPerSettingsByte: 0,
    setupGrowthPages: SLICE_GROWTH_PAGES,
    ...(isSliced(limits) ? { growthPages: SLICE_GROWTH_PAGES } : {}),
  }
}

/** Who has no more than a slice anyway has all of it there. */
export function isSliced({ fuelPerRecord }: InstanceLimits): boolean {
  return fuelPerRecord > SLICE_FUEL
}
