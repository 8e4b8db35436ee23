// Kills `spqr dev` with SIGKILL while numbers flow through a counting operator, again and again, and looks at what came out.
// What is sent and when it is killed come from a seed: sometimes while it still starts. A number that is a multiple of 89 is
// poison. In the end the log is read without the product as well.

import { rmSync } from 'node:fs'
import { type Client, seeded, type TopicRecord } from '../support/client.ts'
import { counting, DevProcess, makeFolder, pushCounting } from '../support/delivery.ts'
import { readLogFile } from './log-file.ts'

const INPUT = 'numbers'
const PIPELINES = [
  { id: 'once', delivery: 'exactly-once', output: 'once-out' },
  { id: 'least', delivery: 'at-least-once', output: 'least-out' },
  { id: 'most', delivery: 'at-most-once', output: 'most-out' },
] as const
/** One start in so many is killed before it is ready. */
const EARLY_ONE_IN = 3
const EARLY_MS = 200

export interface Outcome {
  rounds: number
  sent: number
  /** Records in the output that were there already: only ever under at-least-once. */
  repeated: number
  problems: string[]
}

interface Counted {
  n: number
  count: number
}

const numberAt = (n: number): { n: number } => ({ n: n % 89 === 0 ? -n - 1 : n })

/** @param log one line per round */
export async function crashRounds(rounds: number, seed: number, log: (line: string) => void): Promise<Outcome> {
  const folder = makeFolder()
  const random = seeded(seed)
  let acknowledged = 0
  let dev: DevProcess | undefined
  try {
    for (let round = 0; round < rounds; round++) {
      if (round > 0 && random(EARLY_ONE_IN) === 0) {
        const early = await DevProcess.start({ folder, wait: false })
        await killAfter(early, random(EARLY_MS))
      }
      dev = await DevProcess.start({ folder })
      if (round === 0) await setUp(dev.client)
      // What was under way when it was killed may have been kept or not: the topic says.
      const kept = (await dev.client.records(INPUT)).length
      if (kept < acknowledged) throw new Error(`round ${round}: ${acknowledged} were acknowledged, ${kept} are there`)
      acknowledged = kept
      const killed = killAfter(dev, 150 + random(1200))
      acknowledged = await feedUntilKilled(dev.client, acknowledged, random)
      await killed
      log(`round ${round + 1}: ${acknowledged} acknowledged`)
    }
    dev = await DevProcess.start({ folder })
    const outcome = await look(dev.client, rounds, acknowledged)
    const code = await dev.end('SIGTERM')
    if (code !== 0) outcome.problems.push(`SIGTERM ended it with ${code}`)
    outcome.problems.push(...lookIntoLog(folder, outcome.sent))
    return outcome
  } finally {
    // Nothing outlives a round that could not be played.
    await dev?.end('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}

async function setUp(client: Client): Promise<void> {
  await client.topics(INPUT, ...PIPELINES.map(({ output }) => output))
  await pushCounting(client)
  for (const { id, delivery, output } of PIPELINES) {
    await client.ok('POST', '/v1/pipelines', counting(id, INPUT, output, { delivery }))
  }
}

async function killAfter(dev: DevProcess, ms: number): Promise<void> {
  await new Promise((done) => setTimeout(done, ms))
  await dev.end('SIGKILL')
}

/** @returns how many are known to be there */
async function feedUntilKilled(client: Client, from: number, random: (n: number) => number): Promise<number> {
  for (let next = from; ; ) {
    const count = 1 + random(700)
    try {
      await client.feed(INPUT, next, count, numberAt)
    } catch {
      return next
    }
    next += count
  }
}

async function look(client: Client, rounds: number, acknowledged: number): Promise<Outcome> {
  const problems: string[] = []
  const sent = (await client.records(INPUT)).map((record) => (record.value as { n: number }).n)
  if (sent.length < acknowledged) problems.push(`${acknowledged} were acknowledged, ${sent.length} are there`)
  sent.forEach((n, i) => {
    if (n !== numberAt(i).n && problems.length < 10) problems.push(`number ${i} of the input is ${n}`)
  })
  const good = sent.filter((n) => n >= 0)
  const poison = sent.length - good.length
  let repeated = 0
  for (const { id, delivery, output } of PIPELINES) {
    if (delivery === 'at-most-once') {
      problems.push(...checkOnce(id, await client.records(output)))
      continue
    }
    const records = await client.recordsOnce(output, good.length)
    await untilQuiet(client, output, good.at(-1))
    const letters = await client.recordsOnce(`${id}.dead-letters`, poison)
    const values = (await client.records(output)).map((record) => record.value as Counted)
    problems.push(...checkCounts(id, good, values))
    if (delivery === 'exactly-once') {
      if (values.length !== good.length) problems.push(`${id}: ${values.length} records for ${good.length}`)
      problems.push(...checkLetters(id, sent, letters))
    } else {
      repeated += values.length - good.length
    }
    if (records.length === 0) problems.push(`${id}: nothing came out`)
  }
  return { rounds, sent: sent.length, repeated, problems }
}

/** Without the product: each number once in the log of the exactly-once pipeline, in order, with its count. */
function lookIntoLog(folder: string, sent: number): string[] {
  const numbers = (readLogFile(folder, INPUT) as { n: number }[]).map(({ n }) => n)
  const good = numbers.filter((n) => n >= 0)
  const out = readLogFile(folder, 'once-out') as Counted[]
  const letters = readLogFile(folder, 'once.dead-letters')
  const problems: string[] = []
  if (numbers.length !== sent) problems.push(`the log has ${numbers.length} numbers, ${sent} were read`)
  if (letters.length !== sent - good.length) problems.push(`the log has ${letters.length} dead letters`)
  if (out.length !== good.length) problems.push(`the log has ${out.length} records for ${good.length}`)
  const wrong = out.findIndex(({ n, count }, i) => n !== good[i] || count !== i + 1)
  if (wrong >= 0) problems.push(`record ${wrong} of the log is ${JSON.stringify(out[wrong])}`)
  return problems
}

/** At most once: whatever is lost, nothing comes again. */
function checkOnce(id: string, records: TopicRecord[]): string[] {
  const numbers = records.map((record) => (record.value as Counted).n)
  const again = numbers.findIndex((n, i) => i > 0 && n <= numbers[i - 1]!)
  return again < 0 ? [] : [`${id}: ${numbers[again]} came after ${numbers[again - 1]}`]
}

/** The last number has come out. */
async function untilQuiet(client: Client, output: string, last: number | undefined): Promise<void> {
  for (const end = Date.now() + 30_000; Date.now() < end; ) {
    const values = (await client.records(output)).map((record) => record.value as Counted)
    if (last === undefined || values.some(({ n }) => n === last)) return
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Every number is there; each with the count that its place in the input gives it, however often it came out. */
function checkCounts(id: string, good: number[], values: Counted[]): string[] {
  const problems: string[] = []
  const placeOf = new Map(good.map((n, i) => [n, i + 1]))
  const seen = new Set<number>()
  for (const { n, count } of values) {
    seen.add(n)
    if (placeOf.get(n) !== count && problems.length < 5) {
      problems.push(`${id}: ${n} came out with the count ${count}, not ${placeOf.get(n)}`)
    }
  }
  const lost = good.filter((n) => !seen.has(n))
  if (lost.length > 0) problems.push(`${id}: ${lost.length} of ${good.length} are lost, the first is ${lost[0]}`)
  return problems
}

function checkLetters(id: string, sent: number[], letters: TopicRecord[]): string[] {
  const expected = sent.flatMap((n, i) => (n < 0 ? [String(i)] : []))
  const got = letters.map((letter) => (letter.value as { source: { offset: string } }).source.offset)
  return JSON.stringify(got) === JSON.stringify(expected)
    ? []
    : [`${id}: ${got.length} dead letters for ${expected.length} poison records`]
}
