// What tenants may still use right now, in shared memory: every thread takes, the control thread gives.
//
// Per tenant four i32: fuel in units of FUEL_UNIT, records, bytes in units of BYTES_UNIT, and 1 where its topics are full. A cell may go below zero by what
// was taken at once; nothing more is given out until it is above again. UNLIMITED says that there is no bound.

export const TENANTS_MAX = 4096
export const FUEL_UNIT = 1024
export const BYTES_UNIT = 64

const CELLS = 4
const FUEL = 0
const RECORDS = 1
const BYTES = 2
const FULL = 3
export const NO_BOUND = 0x7fffffff
const UNLIMITED = NO_BOUND

export interface Rates {
  fuelPerSecond?: number
  recordsPerSecond?: number
  bytesPerSecond?: number
}

export function makeQuotaCells(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * CELLS * TENANTS_MAX)
}

export class QuotaCells {
  private readonly words: Int32Array
  private readonly given = new Map<number, number>()

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory)
  }

  /** Records and bytes that a source of the tenant may hand over now; 0: none, look again soon. // hot, once per chunk */
  recordsLeft(tenant: number): number {
    const bytes = Atomics.load(this.words, tenant * CELLS + BYTES)
    if (bytes <= 0) return 0
    return Math.max(0, Atomics.load(this.words, tenant * CELLS + RECORDS))
  }

  tookRecords(tenant: number, records: number, bytes: number): void {
    this.take(tenant * CELLS + RECORDS, records)
    this.take(tenant * CELLS + BYTES, Math.ceil(bytes / BYTES_UNIT))
  }

  hasFuel(tenant: number): boolean {
    return Atomics.load(this.words, tenant * CELLS + FUEL) > 0
  }

  tookFuel(tenant: number, fuel: number): void {
    this.take(tenant * CELLS + FUEL, Math.ceil(fuel / FUEL_UNIT))
  }

  /** What the tenant has of fuel now, in units; NO_BOUND where it is not bounded. */
  fuelOf(tenant: number): number {
    return Atomics.load(this.words, tenant * CELLS + FUEL)
  }

  /** Takes what was used elsewhere. */
  tookFuelUnits(tenant: number, units: number): void {
    this.take(tenant * CELLS + FUEL, units)
  }

  /** The one giver of a tenant's process: sets what there is now. @returns what was used since the last time, in units */
  setFuel(tenant: number, units: number): number {
    const cell = tenant * CELLS + FUEL
    const given = this.given.get(tenant) ?? UNLIMITED
    const now = Atomics.load(this.words, cell)
    const used = given === UNLIMITED ? 0 : Math.max(0, given - now)
    if (units === UNLIMITED || given === UNLIMITED) Atomics.store(this.words, cell, units)
    // Used since then, too: the giver does not know of it yet. Takers take meanwhile, so it is added, not stored.
    else Atomics.add(this.words, cell, units - used - now)
    this.given.set(tenant, units === UNLIMITED || given === UNLIMITED ? units : units - used)
    return used
  }

  /** Its topics hold as much as they may. // hot, once per batch */
  isFull(tenant: number): boolean {
    // Late by a look of the control thread at worst; nobody counts on more.
    return Atomics.load(this.words, tenant * CELLS + FULL) !== 0
  }

  /** Control thread. */
  setFull(tenant: number, full: boolean): void {
    Atomics.store(this.words, tenant * CELLS + FULL, full ? 1 : 0)
  }

  private take(cell: number, amount: number): void {
    // Several threads take at once: the subtraction must not lose one. An unlimited cell is only ever written by the giver.
    if (Atomics.load(this.words, cell) !== UNLIMITED) Atomics.sub(this.words, cell, amount)
  }

  /** Control thread: no bounds. */
  free(tenant: number): void {
    for (const cell of [FUEL, RECORDS, BYTES]) Atomics.store(this.words, tenant * CELLS + cell, UNLIMITED)
  }

  /** Control thread: gives what `ms` are worth; at most BURST_MS are saved up. */
  give(tenant: number, rates: Rates, ms: number): void {
    this.giveOne(tenant * CELLS + FUEL, rates.fuelPerSecond, FUEL_UNIT, ms)
    this.giveOne(tenant * CELLS + RECORDS, rates.recordsPerSecond, 1, ms)
    this.giveOne(tenant * CELLS + BYTES, rates.bytesPerSecond, BYTES_UNIT, ms)
  }

  private giveOne(cell: number, perSecond: number | undefined, unit: number, ms: number): void {
    if (perSecond === undefined) {
      Atomics.store(this.words, cell, UNLIMITED)
      return
    }
    const perMs = perSecond / unit / 1000
    const most = Math.max(1, Math.ceil(perMs * BURST_MS))
    const now = Atomics.load(this.words, cell)
    if (now === UNLIMITED) Atomics.store(this.words, cell, most)
    else if (now < most) Atomics.add(this.words, cell, Math.min(most - now, wholePart(cell, perMs * ms)))
  }
}

const BURST_MS = 100
/** What is less than one is given the next time. */
const rests = new Map<number, number>()

function wholePart(cell: number, amount: number): number {
  const sum = amount + (rests.get(cell) ?? 0)
  const whole = Math.floor(sum)
  rests.set(cell, sum - whole)
  return whole
}
