// `npm run bench [-- NAME…]`: runs the benches of these names, or all, each in a process of its own so that none warms or
// burdens another; prints tables for people, and as the last line one JSON object. BENCH_SHORT=1 takes few samples.

import { fork } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import type { Row } from './row.ts'

const BENCHES = [
  'create',
  'change',
  'memory',
  'file',
  'ingest',
  'latency',
  'density',
  'delivery',
  'operators',
  'fuel',
  'split',
  'transport',
  'isolation',
  'neighbours',
]
/** Run only by name: one is of readers alone, one takes as long as it is told to, the others need a broker. */
const ON_DEMAND = ['readers', 'soak', 'kafka', 'kafka-pipeline', 'kafka-latency']
const SIGNIFICANT = 3
const WIDTHS = [44, 18, 28, 7, 26, 8, 34]

type Outcome = { rows: Row[] } | { error: string }

interface Bench {
  run(): Promise<Row[]>
}

if (process.send) await runHere(process.argv[2]!)
else process.exitCode = await runAll(process.argv.slice(2))

/** In the bench's own process. */
async function runHere(name: string): Promise<void> {
  const { run } = (await import(`./${name}.js`)) as Bench
  const outcome: Outcome = await run().then(
    (rows) => ({ rows }),
    (error: Error) => ({ error: error.stack ?? error.message }),
  )
  process.send!(outcome, () => process.exit(0))
}

/** @returns the exit code: 1 where a bench could not be run, 2 where there is none of a name */
async function runAll(wanted: string[]): Promise<number> {
  const known = [...BENCHES, ...ON_DEMAND]
  const unknown = wanted.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    process.stderr.write(`There is no bench ${unknown.join(', ')}; there are ${known.join(', ')}.\n`)
    return 2
  }
  const results: Record<string, Row[]> = {}
  const errors: Record<string, string> = {}
  // Kafka is one word for people: the transport alone, and a pipeline on it.
  const named = wanted.flatMap((name) => (name === 'kafka' ? ['kafka', 'kafka-pipeline', 'kafka-latency'] : [name]))
  for (const name of named.length > 0 ? named : BENCHES) {
    const started = performance.now()
    const outcome = await runApart(name)
    process.stdout.write(`\n${name} (${Math.round((performance.now() - started) / 1000)} s)\n`)
    if ('error' in outcome) {
      errors[name] = outcome.error
      process.stdout.write(`${outcome.error}\n`)
    } else {
      results[name] = outcome.rows
      process.stdout.write(`${tableOf(outcome.rows)}\n`)
    }
  }
  const rows = Object.values(results).flat()
  const missed = rows.filter((row) => row.met === false)
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem(), node: process.version }
  const met = rows.filter((row) => row.met).length
  process.stdout.write(`\n${met} bars met, ${missed.length} missed${missed.map((row) => `\n  ${row.name}`).join('')}\n`)
  process.stdout.write(`${JSON.stringify({ machine, met, missed: missed.length, results, errors })}\n`)
  return Object.keys(errors).length > 0 ? 1 : 0
}

function runApart(name: string): Promise<Outcome> {
  return new Promise((done) => {
    const child = fork(fileURLToPath(import.meta.url), [name])
    let outcome: Outcome | undefined
    child.once('message', (message) => {
      outcome = message as Outcome
    })
    child.once('exit', (code, signal) => done(outcome ?? { error: `the bench ended with ${signal ?? code}` }))
  })
}

function tableOf(rows: Row[]): string {
  const head = ['what', 'value', 'baseline', 'ratio', 'bar', 'met', 'note']
  const table = new Table({ head, colWidths: WIDTHS, wordWrap: true, style: { head: [], border: [] } })
  for (const { name, value, unit, baseline, ratio, bar, met, note } of rows) {
    table.push([
      name,
      `${short(value)} ${unit}`,
      baseline ? `${short(baseline.value)} ${baseline.name}` : '',
      ratio === undefined ? '' : short(ratio),
      bar ?? '',
      met === undefined ? '' : met ? 'yes' : 'NO',
      note ?? '',
    ])
  }
  return table.toString()
}

/** Three digits that say something. */
function short(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : SIGNIFICANT - Math.max(1, Math.ceil(Math.log10(Math.abs(value) || 1)))
  return value.toLocaleString('en', { maximumFractionDigits: Math.max(0, Math.min(4, digits)) })
}
