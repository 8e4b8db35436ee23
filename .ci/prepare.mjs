// Makes a clone ready: installs when the lock file changed, compiles when sources changed, says what it does, and is
// quick when there is nothing to do. Several at a time wait for each other. Plain Node: it runs before anything is
// installed, from wherever it is called.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NODE_MAJOR_MIN = 20
const LOCK = 'dist/.preparing'
const WAIT_MAX_MS = 900_000

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))))
if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR_MIN) {
  fail(`SPQR needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.version}: see https://nodejs.org`)
}
mkdirSync('dist', { recursive: true })

if (steps().some(({ isDone }) => !isDone())) {
  const release = lock()
  try {
    // What another one did meanwhile is done; what a step makes is what the next one starts from.
    for (const { title, isDone, work } of steps()) if (!isDone()) perform(title, work)
  } finally {
    release()
  }
}

function steps() {
  const sources = new Map(
    ['schemas', 'host', 'manager', 'tests', 'wasm-operators']
      .flatMap(list)
      .map((file) => [file.replaceAll('\\', '/'), file]),
  )
  const isGuestSide = (name) =>
    name.startsWith('wasm-operators/') && !['wasm-operators/abi.ts', 'wasm-operators/build.ts'].includes(name)
  const all = [...sources.keys()]
  const typescript = all.filter((name) => name.endsWith('.ts') && !isGuestSide(name))
  // The compiler's options and its driver are part of what an operator is made from.
  const operators = [...all.filter((name) => name.startsWith('wasm-operators/')), 'manager/operators/compile.ts']
  const compiled = stamp('dist/.compiled', ['package-lock.json', 'tsconfig.json', ...typescript])
  const built = stamp('dist/.operators', ['package-lock.json', 'asconfig.json', ...operators])
  const made = typescript
    .filter((name) => !name.endsWith('.d.ts'))
    .map((name) => join('dist', name.replace(/\.ts$/, '.js')))
  return [
    { title: 'Installing packages', isDone: isInstalled, work: install },
    {
      title: 'Compiling TypeScript',
      isDone: () => compiled.holds() && made.every(existsSync),
      work: () => {
        // The compiler trusts its notes, not the folder.
        if (!made.every(existsSync)) rmSync('dist/.tsbuildinfo', { force: true })
        compiled.clear()
        run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'])
        removeStale(new Set(made))
        // npx makes it so once, and keeps its link to it: a file made anew would not be started.
        chmodSync('dist/manager/cli/main.js', 0o755)
        compiled.set()
      },
    },
    {
      title: 'Compiling operators',
      isDone: () => built.holds() && existsSync('dist/wasm-operators/index.json'),
      work: () => {
        built.clear()
        run(process.execPath, ['dist/wasm-operators/build.js'])
        built.set()
      },
    },
  ]
}

/** Every package of the lock file is there in its version; those for other systems need not be. */
function isInstalled() {
  const hidden = 'node_modules/.package-lock.json'
  // Who links the folder keeps it; npm would empty what the link leads to.
  if (lstatSync('node_modules', { throwIfNoEntry: false })?.isSymbolicLink()) return true
  if (!existsSync(hidden)) return false
  const wanted = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages
  const there = JSON.parse(readFileSync(hidden, 'utf8')).packages
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    if (path === '') return true
    const found = there[path]
    return found ? found.version === version && found.integrity === integrity : optional === true
  })
}

function install() {
  // Started by npm: the same npm, wherever it is.
  const own = process.env.npm_execpath
  const [command, args] = own?.endsWith('.js') ? [process.execPath, [own]] : ['npm', []]
  const flags = ['ci', '--no-fund', '--no-audit', '--loglevel=error']
  run(command, [...args, ...flags], {
    missing: 'npm comes with Node: install it from https://nodejs.org, or put it on the PATH.',
    failed: 'The packages could not be installed. Is the npm registry within reach (npm ping)? Then try again.',
  })
}

/** Removes compiled files whose source is gone: a test of old would still be run. */
function removeStale(made) {
  for (const file of ['schemas', 'host', 'manager', 'tests'].flatMap((folder) => list(join('dist', folder)))) {
    if (!made.has(file.replace(/\.map$/, ''))) rmSync(file)
  }
}

function perform(title, work) {
  const started = Date.now()
  process.stderr.write(`${title} …\n`)
  work()
  process.stderr.write(`${title}: done in ${((Date.now() - started) / 1000).toFixed(1)} s\n`)
}

/** Runs a program, whose output is progress. */
function run(command, args, { missing, failed } = {}) {
  const shell = process.platform === 'win32' && command === 'npm'
  const done = spawnSync(command, args, { stdio: ['ignore', 2, 2], shell })
  if (done.error) fail(`Cannot run ${command}: ${done.error.message}. ${missing ?? ''}`)
  if (done.status !== 0) fail(failed ?? 'It failed: see above.')
}

/** A file that says from which contents a step was last made. */
function stamp(file, inputs) {
  let wanted
  const digest = () => {
    const hash = createHash('sha256').update(process.version)
    for (const input of inputs) hash.update(input).update('\0').update(readFileSync(input)).update('\0')
    wanted ??= hash.digest('hex')
    return wanted
  }
  return {
    holds: () => existsSync(file) && readFileSync(file, 'utf8') === digest(),
    clear: () => rmSync(file, { force: true }),
    set: () => writeFileSync(file, digest()),
  }
}

/** Waits until no other one works in this folder. @returns what ends one's own turn */
function lock() {
  const until = Date.now() + WAIT_MAX_MS
  let told = false
  for (;;) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
      process.on('exit', release)
      return release
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const holder = Number(existsSync(LOCK) ? readFileSync(LOCK, 'utf8') : 0)
    // Empty for a moment while it is written.
    if (holder > 0 && !isAlive(holder)) rmSync(LOCK, { force: true })
    else {
      if (Date.now() > until)
        fail(`Process ${holder} prepares this folder and does not end; stop it, or remove ${LOCK}.`)
      if (!told) process.stderr.write('Waiting for another one that prepares this folder …\n')
      told = true
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
    }
  }
}

function release() {
  if (existsSync(LOCK) && readFileSync(LOCK, 'utf8') === String(process.pid)) rmSync(LOCK, { force: true })
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
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
