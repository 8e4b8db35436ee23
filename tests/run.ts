// Runs the test files, each in a process of its own with a time limit: `node dist/tests/run.js [part of a path …]`.
// uvu alone passes when a file registers nothing and hangs on a live worker; here a file must run at least one test and
// pass all, and ends in time. The last line is `N passed, N failed`.

import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const TIME_LIMIT_MS = 300_000
const root = dirname(fileURLToPath(import.meta.url))

interface Result {
  file: string
  passed: number
  failed: number
  skipped: number
  tookMs: number
  output: string
}

const wanted = process.argv.slice(2)
const files = list(root)
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => relative(root, file).includes(part)))

const started = Date.now()
const results: Result[] = []
const queue = [...files]
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker))

for (const result of results) if (result.failed > 0) process.stdout.write(`\n--- ${result.file}\n${result.output}\n`)
const sum = (pick: (r: Result) => number): number => results.reduce((n, r) => n + pick(r), 0)
const skipped = sum((r) => r.skipped)
const failed = sum((r) => r.failed) + (files.length === 0 ? 1 : 0)
if (files.length === 0) process.stdout.write(`no test file matches ${wanted.join(' ')}\n`)
process.stdout.write(`${files.length} files in ${((Date.now() - started) / 1000).toFixed(1)} s\n`)
process.stdout.write(`${sum((r) => r.passed)} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}\n`)
process.exit(failed ? 1 : 0)

async function worker(): Promise<void> {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const result = await run(file)
    results.push(result)
    const verdict = result.failed ? 'FAILED' : 'ok    '
    const note = result.skipped ? `, ${result.skipped} skipped` : ''
    process.stdout.write(`${verdict} ${result.file}: ${result.passed} passed${note} (${result.tookMs} ms)\n`)
    // At once as well as at the end: a log may be cut on either side.
    if (result.failed > 0) process.stdout.write(`--- ${result.file}\n${result.output}\n`)
    for (const line of result.output.split('\n')) if (line.startsWith('SKIP ')) process.stdout.write(`       ${line}\n`)
  }
}

function run(file: string): Promise<Result> {
  return new Promise((done) => {
    const startedAt = Date.now()
    const child = spawn(process.execPath, ['--enable-source-maps', file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
    })
    let output = ''
    const take = (chunk: Buffer): void => {
      if (output.length < 1 << 20) output += chunk.toString()
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, TIME_LIMIT_MS)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const numbers = (word: string): number =>
        [...output.matchAll(new RegExp(`^\\s*${word}:\\s+(\\d+)`, 'gm'))].reduce((n, m) => n + Number(m[1]), 0)
      const total = numbers('Total')
      const passed = numbers('Passed')
      const skippedHere = numbers('Skipped')
      // A file that ends badly though each of its tests passed still counts as one failure.
      let failedHere = total - passed
      if (failedHere === 0 && (code !== 0 || total + skippedHere === 0)) failedHere = 1
      if (late) output += `\nno end in ${TIME_LIMIT_MS / 1000} s`
      else if (code !== 0) output += `\nended with ${signal ?? code}`
      const name = relative(root, file).replace(/\.js$/, '.ts')
      done({ file: name, passed, failed: failedHere, skipped: skippedHere, tookMs: Date.now() - startedAt, output })
    })
  })
}

function list(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? list(join(folder, entry.name)) : [join(folder, entry.name)]))
}
