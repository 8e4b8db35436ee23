// `node dist/tests/crash/run.js [rounds] [seed]`: rounds of kill -9. The last line is `N passed, N failed`, a round each.

import { crashRounds } from './rounds.ts'

const rounds = Number(process.argv[2] ?? 10)
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000)
process.stdout.write(`${rounds} rounds of kill -9, seed ${seed}\n`)
const { sent, repeated, problems } = await crashRounds(rounds, seed, (line) => process.stdout.write(`${line}\n`))
for (const problem of problems) process.stdout.write(`${problem}\n`)
process.stdout.write(`${sent} records; ${repeated} came twice under at-least-once\n`)
process.stdout.write(problems.length === 0 ? `${rounds} passed, 0 failed\n` : `0 passed, ${rounds} failed\n`)
process.exit(problems.length === 0 ? 0 : 1)
