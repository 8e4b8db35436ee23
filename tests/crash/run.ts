// `node dist/tests/crash/run.js [--rounds N] [--seed N] [--on embedded|kafka]`: rounds of kill -9, on both transports unless one is
// named. The last line is `N passed, N failed`, a round each.

import { parseArgs } from 'node:util'
import { kafkaMissing } from '../support/kafka.ts'
import { kafkaRounds } from './kafka-rounds.ts'
import { crashRounds } from './rounds.ts'

const KAFKA_ROUNDS = 6
const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seed: { type: 'string' }, on: { type: 'string' } },
})
const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const print = (line: string): void => void process.stdout.write(`${line}\n`)
let passed = 0
let failed = 0
// What was started ends with this process where it exits, not where a signal ends it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

if (values.on !== 'kafka') await run('embedded', rounds ?? 10, crashRounds)
if (values.on !== 'embedded') {
  const why = process.env.KAFKA_BROKERS ? 'the brokers of KAFKA_BROKERS are not ours to end' : kafkaMissing()
  if (why === undefined) await run('three brokers', rounds ?? KAFKA_ROUNDS, kafkaRounds)
  else print(`SKIP rounds on three brokers: ${why}`)
}
print(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)

async function run(title: string, count: number, play: typeof crashRounds): Promise<void> {
  print(`${count} rounds of kill -9, ${title}, seed ${seed}`)
  const problems: string[] = []
  try {
    const outcome = await play(count, seed, print)
    problems.push(...outcome.problems)
    print(`${outcome.sent} records; ${outcome.repeated} came twice under at-least-once`)
  } catch (error) {
    problems.push(String((error as Error).stack))
  }
  for (const problem of problems) print(problem)
  if (problems.length === 0) passed += count
  else failed += count
}
