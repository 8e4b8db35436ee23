// An operator that does what its records tell it to, well-behaved or not: for tests of instances, nodes and pipelines.

import type { LoadedModule } from '../../host/compute/guest.ts'
import type { TraceInfo } from '../../host/compute/messages.ts'
import { admit } from '../../host/sandbox/admit.ts'
import type { AdmissionLimits } from '../../host/sandbox/limits.ts'
import { compileOperator } from '../../manager/operators/compile.ts'
import { asconfig, operatorsFolder } from './guest.ts'

/**
 * Ports `out`, `side`, `errors`. A record's value is a command: `trap` `spin` `spin:N` `hold:N` `many:N` `big:N` `side`
 * `both` `flush` `reject` `log:N` `headers` fault or do as they say, each after it changed the state; anything else is
 * counted and emitted as `prefix + value + #count`. `flush` emits `total N`, and faults where `flushTrap` is set.
 */
const SOURCE = `
import { Operator, Record, Emitter, Settings, Change, register, log, random, clock } from 'spqr'

class Probe extends Operator {
  prefix: string = ''
  flushTrap: bool = false
  count: i32 = 0
  sum: f64 = 0
  seen: Map<string, i32> = new Map()
  held: StaticArray<u8>[] = []

  configure(settings: Settings): Change {
    this.count += 1000000
    const prefix = settings.str('prefix')
    if (prefix == 'refuse') throw new Error('prefix: refused')
    this.prefix = prefix
    this.flushTrap = settings.bool('flushTrap')
    this.count -= 1000000
    if (!settings.bool('reset')) return Change.Keep
    this.count = 0
    this.seen.clear()
    return Change.Reset
  }

  process(record: Record, out: Emitter): void {
    const text = record.value.toString()
    this.count++
    this.sum += <f64>text.length / 3
    const before = this.seen.has(text) ? this.seen.get(text) : 0
    if (before > 0 || this.seen.size < 100) this.seen.set(text, before + 1)
    const colon = text.indexOf(':')
    const word = colon < 0 ? text : text.substring(0, colon)
    const n = colon < 0 ? 0 : <i32>parseInt(text.substring(colon + 1))
    if (word == 'trap') { out.write('lost'); throw new Error('told to') }
    else if (word == 'spin') { let x = 0; const end = n > 0 ? n : i32.MAX_VALUE; for (let i = 0; i < end; i++) { x = x * 31 + i; if (x == 12345) this.count ^= x }; this.count += x & 1 }
    else if (word == 'hold') { this.held.push(new StaticArray<u8>(n)); out.write('held') }
    else if (word == 'many') { for (let i = 0; i < n; i++) out.write(this.prefix + i.toString()) }
    else if (word == 'big') { out.write(new StaticArray<u8>(n)) }
    else if (word == 'side') { out.emitTo(1, record) }
    else if (word == 'both') { out.emit(record); out.emitTo(1, record) }
    else if (word == 'flush') { out.write('asked'); out.flushNow() }
    else if (word == 'reject') { this.count--; this.seen.delete(text); this.sum -= <f64>text.length / 3; record.reject('told to') }
    else if (word == 'log') { for (let i = 0; i < n; i++) log.info('line') }
    else if (word == 'random') { out.write(random().toString() + ' ' + (clock() > 0).toString()) }
    else out.write(this.prefix + text + '#' + this.count.toString())
  }

  flush(out: Emitter): void {
    this.count += 500
    if (this.flushTrap) throw new Error('flush: told to')
    this.count -= 500
    out.write('total ' + this.count.toString())
  }

  watermark(eventTimeMs: i64, out: Emitter): void { this.sum += <f64>eventTimeMs; this.count++ }
}
register(new Probe())
`

/** An operator whose `configure` takes so many steps; -1: it never ends. */
export const SLOW_START = `import { Operator, Settings, Change, Record, Emitter, register } from 'spqr'
class Slow extends Operator {
  x: i32 = 0
  configure(settings: Settings): Change {
    const steps = <i32>settings.i64('steps')
    for (let i = 0; steps < 0 || i < steps; i++) this.x = this.x * 31 + i
    return Change.Keep
  }
  process(record: Record, out: Emitter): void { out.write(this.x.toString()) }
}
register(new Slow())
`

export const PROBE_PORTS = ['out', 'side', 'errors']
export type TestModule = LoadedModule & { trace: TraceInfo }

/** Compiles source of a test as an operator; fails with the diagnostics. */
export async function compiledWasm(source: string, ports = ['out']): Promise<{ wasm: Uint8Array; sourceMap: string }> {
  const manifest = { ports, permissions: ['clock', 'random', 'log'] as ('clock' | 'random' | 'log')[] }
  const input = { name: 'probe', version: '1.0.0', source, manifest, operatorsFolder, asconfig }
  const result = await compileOperator(input)
  if ('diagnostics' in result) throw new Error(JSON.stringify(result.diagnostics, null, 2))
  return result
}

/** Admits a module as a host does. */
export async function loaded(wasm: Uint8Array, options?: Partial<AdmissionLimits>): Promise<TestModule> {
  const admission = admit(wasm, options)
  if (!admission.ok) throw new Error(JSON.stringify(admission.issues, null, 2))
  const { report, module, offsetMap, functionNames, functionStarts } = admission
  return {
    digest: report.digest,
    module: await WebAssembly.compile(module),
    globals: report.globals.map((global) => global.export),
    memoryBytesMax: report.memory.maximumPages << 16,
    depthLimit: report.depthLimit,
    trace: { offsetMap, functionNames, functionStarts, sourceMap: null },
  }
}

let wasm: Promise<Uint8Array> | undefined

/** The probe's module as an author would push it. */
export function probeWasm(): Promise<Uint8Array> {
  wasm ??= compiledWasm(SOURCE, PROBE_PORTS).then((result) => result.wasm)
  return wasm
}

export async function probe(options?: Partial<AdmissionLimits>): Promise<TestModule> {
  return loaded(await probeWasm(), options)
}
