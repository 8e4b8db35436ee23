// Compiles the operators that come with the product: wasm-operators/<name>/index.ts and manifest.json →
// dist/wasm-operators/<name>/<version>.wasm and .wasm.map, listed in dist/wasm-operators/index.json. What did not change
// since the last build is left as it is: `node dist/wasm-operators/build.js [name …]`.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileOperator, type Manifest } from '../manager/operators/compile.ts'

interface Shipped {
  name: string
  version: string
  /** Relative to index.json. */
  file: string
  bytes: number
  sha256: string
  /** Hash of everything it was made from. */
  inputs: string
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const sources = join(root, 'wasm-operators')
const target = join(root, 'dist', 'wasm-operators')
const indexFile = join(target, 'index.json')

const asconfig = readFileSync(join(root, 'asconfig.json'), 'utf8')
const compiler = readFileSync(join(root, 'node_modules', 'assemblyscript', 'package.json'), 'utf8')
const driver = readFileSync(join(root, 'manager', 'operators', 'compile.ts'), 'utf8')
const before: Shipped[] = existsSync(indexFile) ? JSON.parse(readFileSync(indexFile, 'utf8')) : []
const names = readdirSync(sources).filter((name) => existsSync(join(sources, name, 'manifest.json')))
const wanted = process.argv.slice(2)
const shared = readdirSync(sources).filter((name) => !names.includes(name))

const index: Shipped[] = []
let failed = false
for (const name of names) {
  const known = before.find((entry) => entry.name === name)
  if (wanted.length > 0 && !wanted.includes(name) && known) {
    index.push(known)
    continue
  }
  const shippedNow = await build(name, known)
  if (shippedNow) index.push(shippedNow)
  else failed = true
}
if (!failed) {
  mkdirSync(target, { recursive: true })
  writeFileSync(indexFile, `${JSON.stringify(index, null, 2)}\n`)
}
process.exitCode = failed ? 1 : 0

async function build(name: string, known: Shipped | undefined): Promise<Shipped | undefined> {
  const manifest: Omit<Manifest, 'abi'> = JSON.parse(readFileSync(join(sources, name, 'manifest.json'), 'utf8'))
  const file = `${name}/${manifest.version}.wasm`
  const hash = createHash('sha256').update(asconfig).update(compiler).update(driver)
  for (const folder of [...shared, name]) hashFolder(join(sources, folder), hash)
  const inputs = hash.digest('hex')
  if (known?.inputs === inputs && existsSync(join(target, file)) && existsSync(join(target, `${file}.map`)))
    return known

  const started = performance.now()
  const result = await compileOperator({
    name,
    version: manifest.version,
    source: readFileSync(join(sources, name, 'index.ts'), 'utf8'),
    manifest,
    operatorsFolder: sources,
    asconfig,
    readRelative: (path) => {
      const from = join(sources, name, path)
      return existsSync(from) ? readFileSync(from, 'utf8') : null
    },
  })
  if ('diagnostics' in result) {
    for (const { message, line, column } of result.diagnostics) {
      process.stderr.write(`wasm-operators/${name}/index.ts:${line}:${column}: ${message}\n`)
    }
    return undefined
  }
  mkdirSync(dirname(join(target, file)), { recursive: true })
  writeFileSync(join(target, file), result.wasm)
  writeFileSync(join(target, `${file}.map`), result.sourceMap)
  const took = Math.round(performance.now() - started)
  process.stdout.write(`operator ${name}@${manifest.version}: ${result.wasm.length} bytes (${took} ms)\n`)
  const sha256 = createHash('sha256').update(result.wasm).digest('hex')
  return { name, version: manifest.version, file, bytes: result.wasm.length, sha256, inputs }
}

function hashFolder(path: string, hash: ReturnType<typeof createHash>): void {
  if (!statSync(path).isDirectory()) {
    hash.update(path.slice(root.length)).update(readFileSync(path))
    return
  }
  for (const entry of readdirSync(path).sort()) hashFolder(join(path, entry), hash)
}
