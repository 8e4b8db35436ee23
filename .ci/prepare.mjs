// Makes a clone ready: installs when the lock file changed, compiles when sources changed, says what it does, and is
// quick when there is nothing to do. Plain Node: it runs before anything is installed.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
process.chdir(root)

const [major] = process.versions.node.split('.').map(Number)
if (major < 20) fail(`SPQR needs Node 20 or newer, this is ${process.version}.`)

const lock = readFileSync('package-lock.json')
step('Installing packages', 'node_modules/.spqr-installed', digest([lock]), () =>
  run('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error']),
)

const sources = ['schemas', 'host', 'manager', 'tests', 'wasm-operators'].flatMap((folder) => list(folder))
const typescript = sources.filter((f) => f.endsWith('.ts') && (!f.startsWith('wasm-operators/') || isHostSide(f)))
step('Compiling TypeScript', 'dist/.compiled', digest([lock, readFileSync('tsconfig.json'), ...stamps(typescript)]), () =>
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.']),
)

const operators = sources.filter((f) => f.startsWith('wasm-operators/'))
step(
  'Compiling operators',
  'dist/.operators',
  digest([lock, readFileSync('asconfig.json'), ...stamps(operators)]),
  () => run(process.execPath, ['dist/wasm-operators/build.js']),
)

function isHostSide(file) {
  return file === 'wasm-operators/abi.ts' || file === 'wasm-operators/build.ts'
}

function step(title, stampFile, stamp, work) {
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  const started = Date.now()
  process.stderr.write(`${title} … `)
  rmSync(stampFile, { force: true })
  work()
  mkdirSync(dirname(stampFile), { recursive: true })
  writeFileSync(stampFile, stamp)
  process.stderr.write(`${((Date.now() - started) / 1000).toFixed(1)} s\n`)
}

function run(command, args) {
  const done = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 })
  if (done.error) fail(`\nCannot run ${command}: ${done.error.message}`)
  if (done.status !== 0) fail(`failed\n${done.stdout}${done.stderr}`)
}

function fail(text) {
  process.stderr.write(`${text.trimEnd()}\n`)
  process.exit(1)
}

function list(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? list(join(folder, entry.name)) : [join(folder, entry.name)]))
}

function stamps(files) {
  return files.map((file) => {
    const { size, mtimeMs } = statSync(file)
    return `${file} ${size} ${mtimeMs}`
  })
}

function digest(parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex')
}
