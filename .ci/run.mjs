// Everything that must hold: the tests as the README starts them, types, lint and format, then the longer crash, fuzz and soak
// runs that are there. Works on a clean checkout. The last line adds up: `N passed, N failed`; ends with 1 if anything failed,
// within 40 minutes, and leaves no process.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const MINUTE = 60_000
const deadline = Date.now() + 38 * MINUTE
/** In the environment of all that is started here, so that what outlives its parent is found. */
const MARK = `SPQR_CI_RUN=${randomUUID()}`

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))))

const STEPS = [
  { title: 'tests', command: 'npm test', minutes: 25 },
  { title: 'checks', command: 'npm run check', minutes: 5, isOne: true },
  { title: 'crashes', file: 'dist/tests/crash/run.js', minutes: 8 },
  { title: 'mutated modules', file: 'dist/tests/fuzz/admission.js', args: '10000 7', minutes: 8, isOne: true },
  { title: 'random requests', file: 'dist/tests/fuzz/api.js', args: '10000 7', minutes: 5, isOne: true },
  {
    title: 'random programs',
    file: 'dist/tests/fuzz/programs.js',
    command: `node -e 'import("./dist/tests/fuzz/programs.js").then((fuzz) => fuzz.fuzzPrograms(1500, 7))'`,
    minutes: 5,
    isOne: true,
  },
  { title: 'soak', file: 'dist/tests/bench/run.js', args: 'soak', minutes: 6, isOne: true },
]

let passed = 0
let failed = 0
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    endAll()
    process.exit(1)
  })
}
for (const step of STEPS) {
  if (step.file && !existsSync(step.file)) continue
  process.stdout.write(`\n=== ${step.title}\n`)
  const result = await run(step)
  passed += result.passed
  failed += result.failed
  process.stdout.write(`=== ${step.title}: ${result.note} (${Math.round(result.tookMs / 1000)} s)\n`)
  // Without what the first step builds there is nothing to go on with.
  if (!existsSync('dist/.operators')) break
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0

/** Counts are those of its own last line; where it has none, or `isOne`, it counts as one. */
async function run({ command, file, args = '', minutes, isOne = false }) {
  const startedAt = Date.now()
  const [name, value] = MARK.split('=')
  const child = spawn(command ?? `"${process.execPath}" ${file} ${args}`, {
    shell: true,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CI: 'true', [name]: value },
  })
  let tail = ''
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.on('data', (chunk) => {
      to.write(chunk)
      tail = (tail + chunk).slice(-10_000)
    })
  }
  let late = false
  const timer = setTimeout(
    () => {
      late = true
      endAll(child.pid)
    },
    Math.max(1000, Math.min(minutes * MINUTE, deadline - Date.now())),
  )
  const { code, signal } = await new Promise((done) => {
    // `exit`, not `close`: what it left behind may hold its output open.
    child.on('exit', (code, signal) => done({ code, signal }))
  })
  clearTimeout(timer)
  const left = endAll(child.pid)
  const tookMs = Date.now() - startedAt
  const counts = isOne ? undefined : [...tail.matchAll(/^(\d+) passed, (\d+) failed/gm)].at(-1)
  const own = counts ? { passed: Number(counts[1]), failed: Number(counts[2]) } : { passed: 0, failed: 0 }
  const isGood = code === 0 && !late && left === 0
  if (!counts && isGood) own.passed = 1
  if (!isGood && own.failed === 0) own.failed = 1
  const note = late ? `no end in ${Math.round(tookMs / 1000)} s` : isGood ? 'ok' : `ended with ${signal ?? code}`
  return { ...own, tookMs, note: left > 0 && !late ? `${note}, left ${left} processes behind` : note }
}

/** Kills what carries the mark, and the group of `pid`. @returns how many had outlived it */
function endAll(pid) {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
  let left = 0
  for (const other of existsSync('/proc') ? readdirSync('/proc') : []) {
    if (!/^\d+$/.test(other) || Number(other) === process.pid) continue
    try {
      if (!readFileSync(`/proc/${other}/environ`, 'latin1').split('\0').includes(MARK)) continue
      if (/^State:\s+Z/m.test(readFileSync(`/proc/${other}/status`, 'latin1'))) continue
      process.kill(Number(other), 'SIGKILL')
      left++
    } catch {
      // It ended meanwhile, or is another user's.
    }
  }
  return left
}
