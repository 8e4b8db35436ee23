// What fuel costs: each shipped operator as it was built and as it was admitted, in turns, on the same events. The loop over
// runs of records is the host's without rings: copy in, one call, drop the output.

import { existsSync, readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { RecordBuffer } from '../../host/record/record.ts'
import { admit } from '../../host/sandbox/admit.ts'
import { FUEL_EXPORT } from '../../host/sandbox/write-module.ts'
import { MAILBOX_INPUT, MAILBOX_OUTPUT_BYTES } from '../../wasm-operators/abi.ts'
import { shopEvents } from './events.ts'
import { median, type Row, spread } from './row.ts'

const EVENTS = 4_000
const REGION_BYTES = 128 << 10
const ROUNDS = 100
const WARM_UP = 60
/** Of loss, at most. */
const BAR = 0.1
const dist = new URL('../../', import.meta.url)

const SETTINGS: Record<string, unknown> = {
  'json-filter': { where: [{ path: 'action', equals: 'purchase' }] },
  'json-map': { pick: ['id', 'user.country', 'product.price'], compute: { total: 'product.price * 2' } },
  'json-aggregate': { groupBy: 'product.id', fields: [{ path: 'product.price', as: 'revenue', fn: 'sum' }] },
  route: { routes: [{ port: 'cart', where: [{ path: 'action', equals: 'cart' }] }] },
  throttle: { records: 100, perMs: 10 },
  sample: { every: 3 },
  dedupe: { by: 'user.id', capacity: 1000 },
}

interface Guest {
  memory: WebAssembly.Memory
  spqr_start?(): void
  allocate(inputBytes: number, outputBytes: number): number
  configure(bytes: number): number
  process(bytes: number): number
}

export async function run(): Promise<Row[]> {
  const index = new URL('wasm-operators/index.json', dist)
  if (!existsSync(index)) throw new Error('run `npm run build` first: there are no operators')
  const operators = JSON.parse(readFileSync(index, 'utf8')) as { name: string; file: string }[]
  const runs = runsOf(shopEvents(EVENTS).map((event) => JSON.stringify(event)))
  // Optimised from the first call: otherwise it is chance which functions of which of the two are when.
  setFlagsFromString('--no-liftoff')
  try {
    return operators
      .filter(({ name }) => name in SETTINGS)
      .map(({ name, file }) => {
        const wasm = new Uint8Array(readFileSync(new URL(`wasm-operators/${file}`, dist)))
        return compare(name, wasm, runs)
      })
  } finally {
    setFlagsFromString('--liftoff')
  }
}

function compare(name: string, wasm: Uint8Array, runs: Uint8Array[]): Row {
  const started = performance.now()
  const admission = admit(wasm)
  const admitMs = performance.now() - started
  if (!admission.ok) throw new Error(`${name}: ${admission.issues.map((issue) => issue.message).join('; ')}`)
  const plain = new Pass(wasm, SETTINGS[name], runs)
  const metered = new Pass(admission.module, SETTINGS[name], runs)
  for (let i = 0; i < WARM_UP; i++) {
    plain.ms()
    metered.ms()
  }
  const off: number[] = []
  const on: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    off.push(plain.ms())
    on.push(metered.ms())
  }
  const rate = (ms: number): number => EVENTS / ms / 1000
  // Pair by pair: what else the machine does meets both of a pair.
  const ratio = median(on.map((ms, i) => off[i]! / ms))
  return {
    name: `${name}, fuel on`,
    value: rate(median(on)),
    unit: 'M records/s',
    baseline: { name: 'fuel off', value: rate(median(off)) },
    ratio,
    bar: `loses ≤ ${BAR * 100} %`,
    met: ratio >= 1 - BAR,
    note: `${spread(on.map(rate))}; ${Math.round(metered.fuel / EVENTS)} fuel a record, ${(metered.fuel / median(on) / 1e6).toFixed(1)} a ns; admitted in ${admitMs.toFixed(1)} ms`,
  }
}

/** All events once through one instance. */
class Pass {
  /** Used in the last pass; 0 without metering. */
  fuel = 0
  readonly #guest: Guest
  readonly #fuel: WebAssembly.Global | undefined
  readonly #mailbox: number
  readonly #runs: Uint8Array[]

  constructor(module: Uint8Array, settings: unknown, runs: Uint8Array[]) {
    const nothing = (): number => 0
    const abort = (): never => {
      throw new Error('the operator aborted')
    }
    const env = {
      hand_over: () => this.#drop(),
      reject: nothing,
      log: nothing,
      flush_now: nothing,
      trace: nothing,
      abort,
    }
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), {
      env: { ...env, clock: nothing, random: nothing, seed: nothing },
    })
    this.#guest = exports as unknown as Guest
    this.#fuel = exports[FUEL_EXPORT] as WebAssembly.Global | undefined
    this.#runs = runs
    this.#refuel()
    this.#guest.spqr_start?.()
    this.#mailbox = this.#guest.allocate(REGION_BYTES, REGION_BYTES)
    const text = new TextEncoder().encode(JSON.stringify(settings))
    new Uint8Array(this.#guest.memory.buffer).set(text, this.#word(MAILBOX_INPUT))
    if (this.#guest.configure(text.length) < 0) throw new Error('the operator refused its settings')
  }

  ms(): number {
    const started = performance.now()
    const input = this.#word(MAILBOX_INPUT)
    this.fuel = 0
    for (const run of this.#runs) {
      new Uint8Array(this.#guest.memory.buffer).set(run, input)
      const given = this.#refuel()
      const taken = this.#guest.process(run.length)
      if (taken !== run.length) throw new Error(`it took ${taken} of ${run.length} bytes`)
      if (this.#fuel) this.fuel += given - Number(this.#fuel.value)
      this.#drop()
    }
    return performance.now() - started
  }

  #refuel(): number {
    const given = 2_000_000_000
    if (this.#fuel) this.#fuel.value = given
    return given
  }

  #word(offset: number): number {
    return new DataView(this.#guest.memory.buffer).getUint32(this.#mailbox + offset, true)
  }

  #drop(): void {
    new DataView(this.#guest.memory.buffer).setUint32(this.#mailbox + MAILBOX_OUTPUT_BYTES, 0, true)
  }
}

/** Runs of records of up to 64 KiB. */
function runsOf(values: string[]): Uint8Array[] {
  const runs: Uint8Array[] = []
  const buffer = new RecordBuffer(1 << 17)
  const encoder = new TextEncoder()
  for (const value of values) {
    buffer.add({ value: encoder.encode(value), timestamp: 1 })
    if (buffer.length < 64 << 10) continue
    runs.push(buffer.bytes.slice(0, buffer.length))
    buffer.clear()
  }
  if (buffer.length > 0) runs.push(buffer.bytes.slice(0, buffer.length))
  return runs
}
