// Compiles one operator from AssemblyScript source to a WebAssembly module with its manifest inside.
// Runs on: a worker of the manager (a compile takes the thread for 0.2–2 s), or the build. The compiler is loaded at the
// first call (about a second). Where the compiler itself crashes it ends the thread: callers must expect that.

import { readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'

/** What an operator says about itself; a custom section of its module, so that a `.wasm` file alone is deployable. */
export interface Manifest {
  name: string
  version: string
  description: string
  /** Names of the output ports, the index is the port number; '*': they depend on the settings. */
  ports: string[] | '*'
  /** JSON Schema of the settings; absent: any object. */
  settingsSchema?: Record<string, unknown>
  permissions: ('clock' | 'random' | 'log')[]
  /** ABI_VERSION of wasm-operators/abi.ts that it was compiled for. */
  abi: number
}

/** Name of the custom section that holds the manifest as JSON. */
export const MANIFEST_SECTION = 'spqr:manifest'

export interface CompileInput {
  name: string
  version: string
  /** AssemblyScript; called `<name>.ts` in diagnostics and in the source map. */
  source: string
  /** What differs from the defaults: no description, one port `out`, no permissions. */
  manifest?: Partial<Omit<Manifest, 'name' | 'version' | 'abi'>>
  /** Not optimised, with assertions and function names. */
  debug?: boolean
  /** Folder with `sdk/`, `abi.ts` beside it. */
  operatorsFolder: string
  /** Text of asconfig.json, whose `options` hold for every operator. */
  asconfig: string
  /** Reads what the source imports by a relative path, from the source's own folder; absent: nothing may be imported. */
  readRelative?: (path: string) => string | null
}

export interface Diagnostic {
  message: string
  /** 1-based, in the author's file; 1:1 where the compiler names no place in it. */
  line: number
  column: number
}

export interface Compiled {
  wasm: Uint8Array
  /** Source map (version 3) of `wasm` before the manifest was appended, which moves no byte. */
  sourceMap: string
}

export type CompileResult = Compiled | { diagnostics: Diagnostic[] }

/** A source may have this many characters. */
export const SOURCE_MAX = 1 << 20

const DIAGNOSTICS_MAX = 100
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/
const ENTRY = 'spqr-entry.ts'
/** The minimal runtime counts the bytes of managed objects and keeps the count to itself; the SDK collects by it. */
const TOTAL = '\n@global export function __total(): usize { return total }\n'

interface Range {
  start: number
  source: { normalizedPath: string } | null
}

type Asc = typeof import('assemblyscript/asc')
let loaded: Promise<Asc> | undefined

function loadCompiler(): Promise<Asc> {
  loaded ??= import('assemblyscript/asc').then((asc) => {
    const library: Record<string, string> = asc.libraryFiles
    const collector = library['rt/tcms']
    if (!collector?.includes('let total: usize')) throw new Error('This AssemblyScript has another rt/tcms: see TOTAL')
    if (!collector.includes('__total')) library['rt/tcms'] = collector + TOTAL
    return asc
  })
  return loaded
}

/** @throws Error where the input itself is not one: a name that is none, a source that is too long */
export async function compileOperator(input: CompileInput): Promise<CompileResult> {
  if (!NAME.test(input.name)) throw new RangeError(`Cannot compile "${input.name}": not a name of an operator`)
  if (input.source.length > SOURCE_MAX)
    throw new RangeError(`Cannot compile "${input.name}": over ${SOURCE_MAX} characters`)
  const asc = await loadCompiler()
  const author = `${input.name}.ts`
  const entry = [`import './${input.name}'`, `export { ${EXPORTS.join(', ')} } from 'spqr/guest'`, ''].join('\n')
  const written = new Map<string, Uint8Array | string>()
  const diagnostics: Diagnostic[] = []
  const outFile = 'operator.wasm'

  const result = await asc.main([ENTRY, '--outFile', outFile, '--exportStart', 'spqr_start'], {
    stdout: asc.createMemoryStream(),
    stderr: asc.createMemoryStream(),
    readFile: (path) => read(path),
    writeFile: (path, contents) => {
      written.set(path, contents)
    },
    listFiles: () => [],
    reportDiagnostic: (found) => {
      // 2 is a warning, 3 an error.
      if (found.category < 3) return
      if (diagnostics.length < DIAGNOSTICS_MAX) diagnostics.push(diagnosticOf(found.message, found.range))
    },
  })
  const binary = written.get(outFile)
  const sourceMap = written.get(`${outFile}.map`)
  if (result.error || !(binary instanceof Uint8Array) || typeof sourceMap !== 'string') {
    if (diagnostics.length === 0) {
      diagnostics.push({ message: result.error?.message ?? 'the compiler gave no module', line: 1, column: 1 })
    }
    return { diagnostics }
  }
  return { wasm: appendSection(binary, MANIFEST_SECTION, JSON.stringify(manifestOf(input))), sourceMap }

  function diagnosticOf(message: string, range: Range | null): Diagnostic {
    const path = range?.source?.normalizedPath
    if (!range || path === undefined) return { message, line: 1, column: 1 }
    if (path === author) return { message, ...placeOf(input.source, range.start) }
    const text = read(path.replace('~lib/', 'node_modules/'))
    const line = text === null ? '' : `:${placeOf(text, range.start).line}`
    return { message: `${message} (in ${path}${line})`, line: 1, column: 1 }
  }

  /** The compiler sees these files and no others. */
  function read(path: string): string | null {
    const name = normalize(path).replaceAll('\\', '/')
    if (name === 'asconfig.json') return input.debug ? debugged(input.asconfig) : input.asconfig
    if (name === ENTRY) return entry
    if (name === author) return withoutExtensions(input.source)
    const library = /^node_modules\/(spqr|abi)\/(.+)$/.exec(name)
    if (library?.[1] === 'abi') return library[2] === 'index.ts' ? readOr(join(input.operatorsFolder, 'abi.ts')) : null
    if (library) return readOr(join(input.operatorsFolder, 'sdk', library[2]!))
    if (name.includes('node_modules') || !input.readRelative) return null
    const text = input.readRelative(name)
    return text === null ? null : withoutExtensions(text)
  }
}

const EXPORTS = ['spqr_abi', 'allocate', 'configure', 'process', 'flush', 'watermark']

/** The options, but for the optimiser: the code stays as it was written, with the names of its functions. */
function debugged(asconfig: string): string {
  const config = JSON.parse(asconfig) as { options?: Record<string, unknown> }
  return JSON.stringify({
    options: { ...config.options, optimizeLevel: 0, shrinkLevel: 0, debug: true },
  })
}

function readOr(path: string): string | null {
  try {
    return withoutExtensions(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

/** The compiler wants no `.ts` behind what it imports; blanks instead, so that every line and column stays. */
function withoutExtensions(source: string): string {
  return source.replace(/(\bfrom\s+|\bimport\s+)(['"])(\.[^'"\n]*)\.ts\2/g, '$1$2$3$2   ')
}

function placeOf(source: string, offset: number): { line: number; column: number } {
  const before = source.slice(0, offset)
  const lineStart = before.lastIndexOf('\n') + 1
  let line = 1
  for (let at = before.indexOf('\n'); at >= 0; at = before.indexOf('\n', at + 1)) line++
  return { line, column: offset - lineStart + 1 }
}

function manifestOf(input: CompileInput): Manifest {
  const abi = /export const ABI_VERSION = (\d+)/.exec(readFileSync(join(input.operatorsFolder, 'abi.ts'), 'utf8'))
  if (!abi) throw new Error(`Cannot read ABI_VERSION in "${input.operatorsFolder}/abi.ts"`)
  return {
    name: input.name,
    version: input.version,
    description: input.manifest?.description ?? '',
    ports: input.manifest?.ports ?? ['out'],
    ...(input.manifest?.settingsSchema ? { settingsSchema: input.manifest.settingsSchema } : {}),
    permissions: input.manifest?.permissions ?? [],
    abi: Number(abi[1]),
  }
}

/** The module with one more custom section at its end. */
export function appendSection(wasm: Uint8Array, name: string, text: string): Uint8Array {
  const nameBytes = new TextEncoder().encode(name)
  const content = new TextEncoder().encode(text)
  const body = [...leb128(nameBytes.length), ...nameBytes]
  const header = [0, ...leb128(body.length + content.length), ...body]
  const out = new Uint8Array(wasm.length + header.length + content.length)
  out.set(wasm)
  out.set(header, wasm.length)
  out.set(content, wasm.length + header.length)
  return out
}

function leb128(value: number): number[] {
  const bytes: number[] = []
  do {
    const low = value & 0x7f
    value >>>= 7
    bytes.push(value ? low | 0x80 : low)
  } while (value)
  return bytes
}
