// Prints, as JSON, the fuel that each of N fresh instances of every shipped operator used for the same records cut into the
// same calls: `node fuel-run.js N`.

import { readFileSync } from 'node:fs'
import { Instance } from '../../host/compute/instance.ts'
import { RecordBuffer } from '../../host/record/record.ts'
import { admit } from '../../host/sandbox/admit.ts'
import { shopEvents } from '../bench/events.ts'

const SETTINGS: Record<string, unknown> = {
  'json-filter': { where: [{ path: 'action', equals: 'purchase' }] },
  'json-map': { pick: ['id', 'product.price'], compute: { total: 'product.price * 2' } },
  'json-aggregate': { groupBy: 'product.id', fields: [{ path: 'product.price', as: 'revenue', fn: 'sum' }] },
  route: { routes: [{ port: 'cart', where: [{ path: 'action', equals: 'cart' }] }] },
  dedupe: { by: 'user.id', capacity: 1000 },
}
const CALL_RECORDS = 100
const dist = new URL('../../wasm-operators/', import.meta.url)

const operators = JSON.parse(readFileSync(new URL('index.json', dist), 'utf8')) as { name: string; file: string }[]
const calls: Uint8Array[] = []
const events = shopEvents(1000)
for (let from = 0; from < events.length; from += CALL_RECORDS) {
  const buffer = new RecordBuffer()
  for (const event of events.slice(from, from + CALL_RECORDS)) {
    buffer.add({ value: Buffer.from(JSON.stringify(event)), timestamp: event.id })
  }
  calls.push(buffer.bytes.slice(0, buffer.length))
}

const used: Record<string, number[]> = {}
for (const { name, file } of operators) {
  if (!(name in SETTINGS)) continue
  const admission = admit(new Uint8Array(readFileSync(new URL(file, dist))), { memoryMiB: 64 })
  if (!admission.ok) throw new Error(JSON.stringify(admission.issues))
  const { report, module } = admission
  const loaded = {
    digest: report.digest,
    module: await WebAssembly.compile(module),
    globals: report.globals.map((global) => global.export),
    memoryBytesMax: report.memory.maximumPages << 16,
    depthLimit: report.depthLimit,
  }
  used[name] = Array.from({ length: Number(process.argv[2]) }, () => fuelOf(loaded, SETTINGS[name]))
}
process.stdout.write(JSON.stringify(used))

function fuelOf(loaded: ConstructorParameters<typeof Instance>[0], settings: unknown): number {
  const limits = {
    fuelPerCall: 100_000_000,
    fuelPerRecord: 100_000_000,
    fuelPerFlush: 1_000_000_000,
    fuelPerSetup: 1_000_000_000,
    fuelPerSettingsByte: 1500,
    outputBytesPerRecord: 16 << 20,
    memoryBytes: 64 << 20,
  }
  const nothing = (): undefined => undefined
  const owner = { emitted: nothing, rejected: nothing, logged: nothing, woke: nothing }
  const instance = new Instance(loaded, limits, owner)
  if (!instance.start()) throw new Error(instance.fault!.message)
  instance.configure(new TextEncoder().encode(JSON.stringify(settings)))
  for (const call of calls) {
    const at = instance.inputFor(call.length)
    instance.bytes.set(call, at)
    if (instance.process(call.length) !== call.length)
      throw new Error(instance.fault?.message ?? 'not all was consumed')
  }
  return instance.fuelUsed
}
