// The pause of a checkpoint: the longest gap at the emitter around each barrier, and what it adds to the latency, with 16 MiB of
// state of which each record changes a place.

import { performance } from 'node:perf_hooks'
import { ImageMemory, releaseImage } from '../../host/ring/image-memory.ts'
import { type ProbeReport, STAMP } from './probe.ts'
import { isShort, median, percentile, type Row, spread } from './row.ts'
import { PROBE, Server } from './server.ts'

export const STATE_MIB = 16
const RATE = 10_000
const CHECKPOINT_MS = 250
const PAUSE_SECONDS = isShort ? 3 : 20
/** A gap belongs to a barrier that came within it, or so soon before or after. */
const NEAR_US = 60_000

/** Passes records on, and writes to a place of its 16 MiB for each. */
export const STATEFUL = `import { Operator, Record, Emitter, register } from 'spqr'
const BYTES: i32 = ${STATE_MIB} << 20
const state = new StaticArray<u8>(BYTES)
let seed: u32 = 1
for (let i = 0; i < BYTES; i += 8) { seed = seed * 1664525 + 1013904223; store<u32>(changetype<usize>(state) + i, seed) }
class Stateful extends Operator {
  process(record: Record, out: Emitter): void {
    seed = seed * 1664525 + 1013904223
    store<u32>(changetype<usize>(state) + (seed % (<u32>BYTES >> 2) << 2), seed)
    out.emit(record)
  }
}
register(new Stateful())
`
/** The component that has this operator. */
export const stateful = { operator: 'stateful@1', limits: { memoryMiB: 48 } }

function generating(id: string, seconds: number, checkpointEveryMs: number): object {
  const template = { t: STAMP, n: { $seq: 1 }, text: 'x'.repeat(160) }
  const settings = { template, recordsPerSecond: RATE, count: RATE * seconds }
  return {
    id,
    checkpointEveryMs,
    components: [
      { id: 'in', source: 'generator', settings },
      { id: 'op', from: 'in', ...stateful },
      { id: 'out', emitter: 'console', from: 'op' },
    ],
  }
}

/** @param flags of the server; @param transport what rows call it */
export async function pauses(flags: string[] = [], transport = 'the embedded transport'): Promise<Row[]> {
  const server = await Server.start(flags, PROBE)
  try {
    await server.api('POST', '/v1/operators', { name: 'stateful', version: '1.0.0', source: STATEFUL })
    const measure = async (id: string, everyMs: number): Promise<ProbeReport> => {
      const reported = server.report(id)
      await server.api('POST', '/v1/pipelines', generating(id, PAUSE_SECONDS, everyMs))
      const report = await reported
      await server.api('DELETE', `/v1/pipelines/${id}`)
      if (report.missing + report.doubled > 0) throw new Error(`${report.missing} missing, ${report.doubled} doubled`)
      return report
    }
    const without = await measure('without', 3_600_000)
    const { gaps, barriersUs, latencyUs } = await measure('with', CHECKPOINT_MS)
    const around = barriersUs.map((at) => {
      let longest = 0
      for (const [ended, gap] of gaps)
        if (ended + NEAR_US > at && ended - gap - NEAR_US < at) longest = Math.max(longest, gap)
      return longest / 1000
    })
    const baseline = without.gaps.map(([, gap]) => gap / 1000)
    const p99 = percentile(around, 0.99)
    return [
      {
        name: `checkpoint of ${STATE_MIB} MiB state at ${RATE / 1000} k records/s on ${transport}: longest gap at the emitter around a barrier, p99`,
        value: p99,
        unit: 'ms',
        baseline: { name: 'p99 of gaps of 1 ms and more without checkpoints', value: percentile(baseline, 0.99) },
        bar: '≤ 20 ms',
        met: p99 <= 20,
        note: `${spread(around, 1)} barriers, median ${median(around).toFixed(1)}`,
      },
      {
        name: `the same on ${transport}: latency source → emitter, p99`,
        value: latencyUs.p99 / 1000,
        unit: 'ms',
        baseline: { name: 'without checkpoints', value: without.latencyUs.p99 / 1000 },
        note: `p50 ${latencyUs.p50} µs, without ${without.latencyUs.p50} µs`,
      },
      copyRow(),
    ]
  } finally {
    await server.stop()
  }
}

/** What the compute worker itself loses: a copy of the memory. */
function copyRow(): Row {
  const bytes = new Uint8Array(STATE_MIB << 20).fill(7)
  const copies = new ImageMemory()
  const took: number[] = []
  for (let i = 0; i < (isShort ? 10 : 100); i++) {
    const started = performance.now()
    const copy = copies.copy(bytes)
    took.push(performance.now() - started)
    if (copy[i] !== 7) throw new Error('no copy')
    releaseImage(copy)
  }
  const note = spread(took, 1)
  return { name: `copy of ${STATE_MIB} MiB of memory, p50`, value: median(took), unit: 'ms', note }
}
