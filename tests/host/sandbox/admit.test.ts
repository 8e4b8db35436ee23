// Every rule of admission by a module that breaks just it, and what a sound module's report says.

import { createHash } from 'node:crypto'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Admission, admit } from '../../../host/sandbox/admit.ts'
import type { AdmissionLimits } from '../../../host/sandbox/limits.ts'
import {
  F64,
  FUNCREF,
  HEADER,
  I32,
  op,
  operatorModule,
  s32,
  section,
  text,
  u32,
  V128,
  vector,
  withProcess,
} from '../../support/module-builder.ts'

const refusal = suite('admit refuses')

const i32Global = (mutable: number, value = 0): number[] => [I32, mutable, ...op.i32(value), 0x0b]
const pad = (count: number): number[] => new Array(count).fill(op.nop[0]!)
const TWO_32 = [0xff, 0xff, 0xff, 0xff, 0x0f]

/** What it is, the module, what its refusal must say, limits. */
const CASES: [what: string, module: Uint8Array | number[], says: RegExp, limits?: Partial<AdmissionLimits>][] = [
  ['nothing', [], /header: .*00 61 73 6d.*byte 0/],
  ['text', Buffer.from('hello world'), /header/],
  ['a component', [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0], /header: .*version must be 1.*byte 4/],
  ['a header alone', HEADER, /"spqr_abi".* missing/],
  ['a module over the size limit', operatorModule(), /size: .* at most 10 are allowed/, { bytesMax: 10 }],
  ['a section past the end', [...HEADER, 1, 200, 1], /type section says it has 200 bytes/],
  ['a section size of 2^32 − 1', [...HEADER, 1, ...TWO_32], /4294967295 bytes/],
  ['a size of too many bytes', [...HEADER, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0], /more than 32 bits/],
  ['a count of 2^32 − 1 types', [...HEADER, ...section(1, TWO_32)], /4294967295 types/],
  ['a count of 2^32 − 1 functions', [...HEADER, ...section(3, TWO_32)], /4294967295 functions/],
  ['a count of 2^32 − 1 parameters', [...HEADER, ...section(1, [1, 0x60, ...TWO_32])], /4294967295 parameters/],
  ['more types than bytes', [...HEADER, ...section(1, [100])], /said to follow/],
  ['a section twice', [...HEADER, ...section(1, [0]), ...section(1, [0])], /stands twice/],
  ['sections out of order', [...HEADER, ...section(3, [0]), ...section(1, [0])], /out of order.*type section/],
  ['a section of id 14', operatorModule({ raw: [{ id: 14, content: [0] }] }), /unknown id 14/],
  ['a tag section', operatorModule({ raw: [{ id: 13, content: [1, 0, 0] }] }), /exceptions/],
  ['bytes left in a section', [...HEADER, ...section(1, [0, 0])], /1 bytes are left over/],
  [
    'a start function',
    operatorModule({ raw: [{ id: 8, content: [0] }] }),
    /start: .*--exportStart spqr_start.*start section/,
  ],
  [
    'an import of another namespace',
    operatorModule({ imports: [{ module: 'wasi_snapshot_preview1', name: 'fd_write' }] }),
    /wasi_snapshot_preview1\.fd_write.*import section/,
  ],
  ['an import that does not exist', operatorModule({ imports: [{ name: 'exec' }] }), /"env\.exec" does not exist/],
  ['an import named as in every object', operatorModule({ imports: [{ name: 'constructor' }] }), /does not exist/],
  [
    'an import of another signature',
    operatorModule({ imports: [{ name: 'log', params: [I32] }] }),
    /"env\.log" is \(i32, i32, i32\) → \(\), not \(i32\) → \(\)/,
  ],
  [
    'a clock without permission',
    operatorModule({ imports: [{ name: 'clock', results: [F64] }] }),
    /permissions: "env\.clock" needs "clock"/,
  ],
  ['a seed without permission', operatorModule({ imports: [{ name: 'seed', results: [F64] }] }), /needs "random"/],
  [
    'an imported memory',
    [...HEADER, ...section(2, vector([[...text('env'), ...text('memory'), 2, 0, 1]]))],
    /"env\.memory" is a memory/,
  ],
  [
    'an imported table',
    [...HEADER, ...section(2, vector([[...text('env'), ...text('t'), 1, FUNCREF, 0, 1]]))],
    /is a table/,
  ],
  [
    'an imported global',
    [...HEADER, ...section(2, vector([[...text('env'), ...text('g'), 3, I32, 0]]))],
    /is a global/,
  ],
  ['no memory', operatorModule({ memory: null }), /must define one memory/],
  ['two memories', [...HEADER, ...section(5, [2, 0, 1, 0, 1])], /2 memories/],
  ['a memory of 4 GiB', operatorModule({ memory: [0, ...u32(65536)] }), /memory: .*65536 pages.*at most 256/],
  ['a memory with its maximum below', operatorModule({ memory: [1, 2, 1] }), /maximum is below/],
  ['a shared memory', operatorModule({ memory: [3, 1, 1] }), /threads/],
  ['a memory of 64 bits', operatorModule({ memory: [4, 1] }), /memory64/],
  ['a table of a million', operatorModule({ table: [FUNCREF, 0, ...u32(1_000_000)] }), /table: .*1000000 entries/],
  ['a table of anything', operatorModule({ table: [0x6f, 0, 1] }), /reference types/],
  [
    'elements past the table',
    operatorModule({ table: [FUNCREF, 0, 1], elements: [[0, ...op.i32(1), 0x0b, 1, 0]] }),
    /reaches past the table/,
  ],
  [
    'elements at −1',
    operatorModule({ table: [FUNCREF, 0, 1], elements: [[0, ...op.i32(-1), 0x0b, 1, 0]] }),
    /reaches past the table/,
  ],
  [
    'elements that do not exist',
    operatorModule({ table: [FUNCREF, 0, 1], elements: [[0, ...op.i32(0), 0x0b, 1, 99]] }),
    /function 99 does not exist/,
  ],
  [
    'passive elements',
    operatorModule({ table: [FUNCREF, 0, 1], elements: [[1, 0, 1, 0]] }),
    /plain active element segments/,
  ],
  [
    'data past the memory',
    operatorModule({ data: [[0, ...op.i32(65535), 0x0b, 2, 1, 2]] }),
    /data segment of 2 bytes at 65535 reaches past/,
  ],
  ['data of a second memory', operatorModule({ data: [[2, 1, ...op.i32(0), 0x0b, 0]] }), /multiple memories/],
  ['data of 2^32 − 1 bytes', operatorModule({ data: [[0, ...op.i32(0), 0x0b, ...TWO_32]] }), /4294967295 more bytes/],
  ['a data count that lies', operatorModule({ dataCount: 3 }), /3 data segments are announced/],
  ['a mutable v128', operatorModule({ globals: [[V128, 1, 0xfd, 12, ...pad(16), 0x0b]] }), /mutable v128/],
  [
    'a computed global',
    operatorModule({ globals: [[I32, 0, ...op.i32(1), ...op.i32(1), 0x6a, 0x0b]] }),
    /extended constants/,
  ],
  ['a reference in a global', operatorModule({ globals: [[FUNCREF, 0, 0xd0, FUNCREF, 0x0b]] }), /value type 0x70/],
  [
    'an export of ours',
    operatorModule({ exports: [{ name: 'spqr:fuel', kind: 0, index: 0 }] }),
    /"spqr:fuel".*belong to the host/,
  ],
  ['an export twice', operatorModule({ exports: [{ name: 'flush', kind: 0, index: 0 }] }), /exported twice/],
  [
    'an export of nothing',
    operatorModule({ exports: [{ name: 'x', kind: 3, index: 7 }] }),
    /global 7, which does not exist/,
  ],
  ['no memory exported', operatorModule({ without: ['memory'] }), /"memory", the memory, is missing/],
  ['no process', operatorModule({ without: ['process'] }), /"process", \(i32\) → i32, is missing/],
  [
    'a watermark of an integer',
    operatorModule({ functions: [{ export: 'watermark', params: [I32], results: [I32], code: op.i32(0) }] }),
    /"watermark" must be \(f64\) → i32, not \(i32\) → i32/,
  ],
  [
    'a flush that is a memory',
    operatorModule({ without: ['flush'], exports: [{ name: 'flush', kind: 2, index: 0 }] }),
    /"flush" must be a function/,
  ],
  [
    'a start export that takes something',
    operatorModule({ functions: [{ export: 'spqr_start', params: [I32], code: [] }] }),
    /"spqr_start" must be \(\) → \(\)/,
  ],
  [
    'another ABI version',
    operatorModule({ functions: [{ export: 'spqr_abi', results: [I32], code: op.i32(99) }] }),
    /abi: .*version 99/,
  ],
  [
    'an ABI version that is computed',
    operatorModule({ functions: [{ export: 'spqr_abi', results: [I32], code: [...op.i32(0), ...op.load] }] }),
    /must return one constant/,
  ],
  ['atomics', withProcess([0xfe, 0x10, 2, 0]), /0xfe.*threads/],
  ['exceptions', withProcess([0x06, 0x40, 0x0b]), /0x6 .*exceptions/],
  ['a tail call', withProcess([0x12, 0]), /tail calls/],
  ['a null reference', withProcess([0xd0, FUNCREF]), /reference types/],
  ['a table write', withProcess([0x26, 0]), /reference types/],
  ['garbage collection', withProcess([0xfb, 0]), /garbage collection/],
  ['a table copied', withProcess([0xfc, 14, 0, 0]), /tables that change/],
  ['relaxed SIMD', withProcess([0xfd, ...u32(0x100)]), /relaxed SIMD/],
  ['an unknown instruction', withProcess([0xff]), /0xff.*unknown/],
  ['an unknown vector instruction', withProcess([0xfd, ...u32(0x9a)]), /0xfd 154/],
  ['a load of a second memory', withProcess([...op.i32(0), 0x28, 0x42, 1, 0]), /multiple memories/],
  ['a copy to a second memory', withProcess([0xfc, 10, 0, 1]), /multiple memories/],
  ['a label outside', withProcess([...op.br(5)]), /label 5 does not exist/],
  ["a function that is admission's", withProcess([...op.call(40)]), /function 40 does not exist/],
  ["a local that is admission's", withProcess(op.get(1)), /local that does not exist/],
  [
    "a global that is admission's",
    withProcess([...op.i32(1), ...op.globalSet(0), ...op.i32(0)]),
    /global that does not exist/,
  ],
  ['bytes behind a function', withProcess([...op.i32(0), ...op.end, ...op.nop]), /bytes follow behind the end/],
  [
    'a function without an end',
    [...HEADER, ...section(1, [1, 0x60, 0, 0]), ...section(3, [1, 0]), ...section(10, [1, 2, 0, 1])],
    /ends in the middle/,
  ],
  ['blocks without end', withProcess([...new Array(1100).fill([0x02, 0x40]).flat()]), /nested deeper than 1000/],
  ['a function too long', withProcess([...pad(1000), ...op.get(0)]), /at most 500 are allowed/, { bodyBytesMax: 500 }],
  [
    'locals by the billion',
    [...HEADER, ...section(1, [1, 0x60, 0, 0]), ...section(3, [1, 0]), ...section(10, [1, 8, 1, ...TWO_32, I32, 0x0b])],
    /4294967295 locals/,
  ],
  [
    'many locals at many branches',
    withProcess([...new Array(300).fill([...op.get(0), 0x0d, 0]).flat(), ...op.get(0)], {}, new Array(60).fill(I32)),
    /too many/,
    { complexityMax: 10_000 },
  ],
  ['a type error', withProcess([...op.get(0), 0x7c]), /validation: .*module, byte \d+/],
  ['an empty stack', withProcess(op.drop), /validation/],
  [
    'a manifest that is no JSON',
    operatorModule({ custom: [{ name: 'spqr:manifest', bytes: Buffer.from('{') }] }),
    /manifest: it is no JSON/,
  ],
  [
    'a manifest with an unknown field',
    operatorModule({ custom: [{ name: 'spqr:manifest', bytes: Buffer.from('{"x":1}') }] }),
    /manifest: \/x/,
  ],
  [
    'a manifest that wants files',
    operatorModule({ custom: [{ name: 'spqr:manifest', bytes: Buffer.from('{"permissions":["read"]}') }] }),
    /\/permissions\/0: permissions are clock, random and log/,
  ],
  [
    'a manifest too deep',
    operatorModule({ custom: [{ name: 'spqr:manifest', bytes: Buffer.from(`{"settingsSchema":${'['.repeat(500)}`) }] }),
    /deeper/,
  ],
  [
    'a manifest too long',
    operatorModule({ custom: [{ name: 'spqr:manifest', bytes: Buffer.from(`"${'x'.repeat(70_000)}"`) }] }),
    /at most 65536/,
  ],
  [
    'a manifest twice',
    operatorModule({ custom: [1, 2].map(() => ({ name: 'spqr:manifest', bytes: Buffer.from('{}') })) }),
    /there are two/,
  ],
]

const issuesOf = (admission: Admission): string =>
  admission.ok ? 'admitted' : admission.issues.map((i) => i.message).join('\n')

for (const [what, module, says, limits] of CASES) {
  refusal(what, () => {
    const admission = admit(Uint8Array.from(module), limits)
    assert.match(issuesOf(admission), says)
    assert.not(admission.ok)
    if (!admission.ok)
      for (const issue of admission.issues) assert.match(issue.message, /^\w+: .+ \(.+, byte \d+\)$|^and \d+ more/)
  })
}

refusal('names every broken rule at once', () => {
  const said = issuesOf(
    admit(
      operatorModule({
        imports: [{ name: 'exec' }],
        memory: [0, ...u32(65536)],
        without: ['flush'],
        functions: [{ code: [0xfe, 0] }, { code: [0x12, 0] }],
        raw: [{ id: 8, content: [0] }],
        exports: [{ name: 'spqr:x', kind: 2, index: 0 }],
      }),
    ),
  )
  for (const part of [/exec/, /65536 pages/, /"flush"/, /threads/, /tail calls/, /start/, /spqr:x/])
    assert.match(said, part)
})

refusal('every cut of a module, and never throws', () => {
  const whole = withProcess(op.get(0), { globals: [i32Global(1)], table: [FUNCREF, 0, 1] })
  assert.ok(admit(whole).ok)
  for (let length = 0; length < whole.length; length++) assert.not(admit(whole.slice(0, length)).ok, `${length} bytes`)
})

refusal('lists fifty problems and counts the rest', () => {
  const functions = Array.from({ length: 80 }, () => ({ code: [0xfe, 0] }))
  const admission = admit(operatorModule({ functions }))
  assert.not(admission.ok)
  if (!admission.ok) {
    assert.is(admission.issues.length, 51)
    assert.match(admission.issues[50]!.message, /and 30 more/)
  }
})

const report = suite('admit reports')

function admitted(module: Uint8Array, limits?: Partial<AdmissionLimits>) {
  const admission = admit(module, limits)
  if (!admission.ok) throw new Error(issuesOf(admission))
  return admission
}

report('digests, sizes, ABI, memory, imports and exports, as JSON', () => {
  const module = operatorModule({
    imports: [{ name: 'hand_over' }, { name: 'log', params: [I32, I32, I32] }],
    memory: [1, 2, 10],
  })
  const { report, module: rewritten } = admitted(module)
  assert.is(report.digest, createHash('sha256').update(module).digest('hex'))
  assert.is(report.admittedDigest, createHash('sha256').update(rewritten).digest('hex'))
  assert.is(report.bytes, module.length)
  assert.is(report.admittedBytes, rewritten.length)
  assert.is(report.abi, 1)
  assert.equal(report.memory, { initialPages: 2, maximumPages: 10 })
  assert.equal(report.imports, ['hand_over: () → ()', 'log: (i32, i32, i32) → ()'])
  assert.ok(report.exports.includes('watermark: (f64) → i32'))
  assert.is(report.starts, false)
  assert.equal(JSON.parse(JSON.stringify(report)), report)
})

report('every mutable global under a name, and no other', () => {
  const f64 = [F64, 1, 0x44, ...new Array(8).fill(0), 0x0b]
  const module = operatorModule({
    globals: [i32Global(1, 5), i32Global(0), f64],
    exports: [{ name: 'count', kind: 3, index: 0 }],
  })
  const admission = admitted(module)
  assert.equal(admission.report.globals, [
    { export: 'count', type: 'i32' },
    { export: 'spqr:g2', type: 'f64' },
  ])
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(admission.module), {})
  const global = (name: string): WebAssembly.Global => exports[name] as WebAssembly.Global
  assert.is(global('count').value, 5)
  global('spqr:g2').value = 1.5
  assert.is(global('spqr:g2').value, 1.5)
})

report('the manifest, and its defaults where there is none', () => {
  const manifest = {
    name: 'x',
    version: '1.2.3',
    ports: ['a', 'b'],
    permissions: ['clock'],
    abi: 1,
    settingsSchema: { type: 'object' },
  }
  const custom = [{ name: 'spqr:manifest', bytes: Buffer.from(JSON.stringify(manifest)) }]
  assert.equal(
    admitted(operatorModule({ custom, imports: [{ name: 'clock', results: [F64] }] })).report.manifest,
    manifest,
  )
  const without = admitted(operatorModule()).report
  assert.equal(without.manifest, { ports: ['out'], permissions: [] })
  assert.ok(without.notes.some((n) => n.includes('no manifest')))
})

report('custom sections that are left out', () => {
  const custom = ['name', 'producers', 'payload'].map((name) => ({ name, bytes: [1, 2, 3] }))
  const { report, module } = admitted(operatorModule({ custom }))
  assert.ok(report.notes.some((n) => n.includes('"payload"') && !n.includes('producers')))
  assert.not(Buffer.from(module).includes('payload'))
})

report('an ABI version that is returned by return', () => {
  const functions = [{ export: 'spqr_abi', results: [I32], code: [0x41, ...s32(1), ...op.return] }]
  assert.is(admitted(operatorModule({ functions })).report.abi, 1)
})

report('a memory bounded by the limit', () => {
  assert.is(admitted(operatorModule(), { memoryMiB: 3 }).report.memory.maximumPages, 48)
})

report('the same bytes for the same module', () => {
  const module = withProcess(op.get(0))
  assert.is(admitted(module).report.admittedDigest, admitted(module).report.admittedDigest)
})

refusal.run()
report.run()
