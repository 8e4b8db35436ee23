// An instance that rests between calls goes on as one that never did.

import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { LoadedModule } from '../../../host/compute/guest.ts'
import { Instance } from '../../../host/compute/instance.ts'
import type { InstanceLimits } from '../../../host/compute/limits.ts'
import { decodeRecord, RECORD_LENGTH, RecordBuffer } from '../../../host/record/record.ts'
import { admit } from '../../../host/sandbox/admit.ts'

const LIMITS: InstanceLimits = {
  fuelPerCall: 100_000_000,
  fuelPerRecord: 200_000_000,
  fuelPerFlush: 2_000_000_000,
  fuelPerSetup: 2_000_000_000,
  fuelPerSettingsByte: 1500,
  memoryBytes: 16 << 20,
  outputBytesPerRecord: 1 << 24,
}
const SETTINGS = {
  groupBy: 'k',
  fields: [
    { as: 'n', fn: 'count' },
    { path: 'v', as: 'sum', fn: 'sum' },
    { path: 'v', as: 'top', fn: 'top', k: 3 },
  ],
}
const dist = new URL('../../../wasm-operators/', import.meta.url)
const encoder = new TextEncoder()
const decoder = new TextDecoder()

function loaded(name: string): LoadedModule {
  const index = JSON.parse(readFileSync(new URL('index.json', dist), 'utf8')) as { name: string; file: string }[]
  const { file } = index.find((entry) => entry.name === name)!
  const admission = admit(new Uint8Array(readFileSync(new URL(file, dist))))
  assert.ok(admission.ok)
  const { report, module } = admission
  return {
    digest: report.digest,
    module: new WebAssembly.Module(module as Uint8Array<ArrayBuffer>),
    globals: report.globals.map((global) => global.export),
    memoryBytesMax: report.memory.maximumPages << 16,
    depthLimit: report.depthLimit,
  }
}

const aggregate = loaded('json-aggregate')

/** An instance with what it emitted and how often it woke. */
function make(): { instance: Instance; out: string[]; woken: () => number } {
  const out: string[] = []
  let woken = 0
  const instance = new Instance(aggregate, LIMITS, {
    emitted: (bytes, from, to) => {
      const copy = bytes.slice(from, to)
      const view = new DataView(copy.buffer)
      for (let at = 0; at < copy.length; at += view.getUint32(at + RECORD_LENGTH, true)) {
        out.push(decoder.decode(decodeRecord(copy, at).value))
      }
    },
    rejected: () => undefined,
    logged: () => undefined,
    woke: () => void woken++,
  })
  assert.ok(instance.start())
  assert.ok(instance.configure(encoder.encode(JSON.stringify(SETTINGS))) >= 0)
  return { instance, out, woken: () => woken }
}

function feed(instance: Instance, values: unknown[]): void {
  const batch = new RecordBuffer()
  for (const value of values) batch.add({ value: encoder.encode(JSON.stringify(value)), timestamp: 1 })
  const at = instance.inputFor(batch.length)
  assert.ok(at >= 0)
  instance.bytes.set(batch.bytes.subarray(0, batch.length), at)
  assert.is(instance.process(batch.length), batch.length)
}

const rest = suite('Instance.rest')

const value = fc.record({ k: fc.string({ maxLength: 300 }), v: fc.integer() })
const step = fc.record({
  values: fc.array(value, { minLength: 1, maxLength: 40 }),
  flush: fc.boolean(),
  rest: fc.boolean(),
})

rest('changes nothing that the instance emits, keeps or answers', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const one = make()
      const other = make()
      for (const { values, flush, rest } of steps) {
        if (rest) other.instance.rest()
        for (const { instance } of [one, other]) {
          feed(instance, values)
          if (flush) assert.ok(instance.flush() >= 0)
        }
        if (rest) other.instance.rest()
        assert.is(other.instance.memoryBytes, one.instance.memoryBytes)
        assert.equal(other.instance.image(), one.instance.image())
      }
      one.instance.flush()
      other.instance.flush()
      assert.equal(other.out, one.out)
    }),
    { numRuns: 40 },
  )
})

rest('ends with the next call, and says so', () => {
  const { instance, woken } = make()
  instance.rest()
  instance.rest()
  instance.image()
  assert.is(woken(), 0)
  feed(instance, [{ k: 'a', v: 1 }])
  assert.is(woken(), 1)
  feed(instance, [{ k: 'a', v: 2 }])
  assert.is(woken(), 1)
})

rest('takes another image in its place', () => {
  const one = make()
  feed(one.instance, [{ k: 'a', v: 1 }])
  const image = one.instance.image()
  const other = make()
  other.instance.rest()
  other.instance.restore(image.memory, image.globals)
  other.instance.flush()
  assert.equal(
    other.out.map((text) => JSON.parse(text) as unknown),
    [{ k: 'a', n: 1, sum: 1, top: [{ value: 1, count: 1 }] }],
  )
})

rest('leaves undo to go back no further than it', () => {
  const { instance, out } = make()
  feed(instance, [{ k: 'a', v: 1 }])
  instance.rest()
  const before = instance.image()
  feed(instance, [{ k: 'b', v: 2 }])
  instance.undo()
  assert.equal(instance.image().globals, before.globals)
  instance.flush()
  assert.equal(
    out.map((text) => (JSON.parse(text) as { k: string }).k),
    ['a'],
  )
})

rest.run()
