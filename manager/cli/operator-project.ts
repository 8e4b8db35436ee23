// An operator's folder: index.ts, manifest.json, test.json; built into build/.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import * as v from 'valibot'
import { manifestSchema } from '../../schemas/api.ts'
import { SpqrError } from '../../schemas/errors.ts'
import { OPERATOR_NAME_PATTERN, VERSION_PATTERN } from '../../schemas/names.ts'
import { issuesOf } from '../../schemas/problems.ts'
import { readDocument } from '../../schemas/read-document.ts'
import { closedObject } from '../../schemas/shapes.ts'
import { type Compiled, compileOperator } from '../operators/compile.ts'
import { Failed } from './failed.ts'
import { readFile } from './files.ts'
import { placed, print, printError } from './output.ts'
import { COMPILER_FILES, ROOT, SPQR } from './product.ts'

export interface OperatorProject {
  folder: string
  name: string
  version: string
  source: string
  manifest: v.InferOutput<typeof manifestSchema>
}

const projectManifest = closedObject({
  name: v.pipe(v.string(), v.regex(OPERATOR_NAME_PATTERN, 'must be 1 to 63 of the characters a–z, 0–9 and "-"')),
  version: v.pipe(v.string(), v.regex(VERSION_PATTERN, 'must be a version such as 1.0.0')),
  ...manifestSchema.entries,
})

/** @throws SpqrError NOT_FOUND; Failed, the problems of the manifest being printed */
export function readProject(folder: string): OperatorProject {
  const file = join(folder, 'manifest.json')
  const read = readDocument(readFile(file), 'application/json')
  if (read.issues) {
    for (const issue of read.issues) printError(placed(shown(file), issue))
    throw new Failed()
  }
  const checked = v.safeParse(projectManifest, read.value)
  if (checked.issues) {
    for (const issue of issuesOf(checked.issues))
      printError(placed(shown(file), { ...issue, ...read.locate(issue.pointer) }))
    throw new Failed()
  }
  const { name, version, ...manifest } = checked.output
  return { folder, name, version, manifest, source: readFile(join(folder, 'index.ts')) }
}

/** @throws Failed, the compiler's problems being printed as FILE:LINE:COLUMN */
export async function compileProject(project: OperatorProject): Promise<Compiled> {
  const { folder, name, version, source, manifest } = project
  const compiled = await compileOperator({
    name,
    version,
    source,
    manifest,
    operatorsFolder: COMPILER_FILES.operatorsFolder,
    asconfig: readFileSync(COMPILER_FILES.asconfig, 'utf8'),
    readRelative: (path) => {
      const from = resolve(folder, path)
      return existsSync(from) ? readFileSync(from, 'utf8') : null
    },
  })
  if ('wasm' in compiled) return compiled
  const file = shown(join(folder, 'index.ts'))
  for (const diagnostic of compiled.diagnostics) printError(placed(file, { pointer: '', ...diagnostic }))
  throw new Failed()
}

/** Whether it imports files of its own, which a manager that compiles the source would not have. */
export const hasOwnFiles = ({ source }: OperatorProject): boolean => /\bfrom\s+['"]\./.test(source)

export async function buildProject(project: OperatorProject): Promise<string> {
  const { wasm, sourceMap } = await compileProject(project)
  const file = join(project.folder, 'build', `${project.name}-${project.version}.wasm`)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, wasm)
  writeFileSync(`${file}.map`, sourceMap)
  const digest = createHash('sha256').update(wasm).digest('hex')
  print(`${shown(file)}: ${wasm.length} bytes, ${digest.slice(0, 12)}`)
  return file
}

const shown = (file: string): string => relative(process.cwd(), file) || file

/** A new operator that works: it passes on what has a field. @throws SpqrError ALREADY_EXISTS, INVALID_BODY */
export function newProject(path: string): void {
  const folder = resolve(path)
  const name = basename(folder)
  if (!OPERATOR_NAME_PATTERN.test(name)) {
    throw new SpqrError('INVALID_BODY', `"${name}" is no name for an operator: use a–z, 0–9 and "-".`)
  }
  if (existsSync(folder)) throw new SpqrError('ALREADY_EXISTS', `Cannot make "${path}": it exists.`)
  mkdirSync(folder, { recursive: true })
  for (const [file, text] of Object.entries(templates(name, folder))) writeFileSync(join(folder, file), text)
  print(`made ${shown(folder)}/: edit index.ts, then`)
  print(`  ${SPQR} operator test ${path}\n  ${SPQR} operator push ${path}`)
}

function templates(name: string, folder: string): Record<string, string> {
  const className = name
    .replace(/(^|-)(\w)/g, (_all, _dash, letter: string) => letter.toUpperCase())
    .replace(/^\d/, 'N$&')
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`
  const field = { type: 'string', description: 'Records without it are left out' }
  return {
    'index.ts': `import { Change, Emitter, Operator, Record, register, Settings } from 'spqr'

class ${className} extends Operator {
  field: string = ''

  configure(settings: Settings): Change {
    this.field = settings.str('field', 'id')
    return Change.Keep
  }

  process(record: Record, out: Emitter): void {
    if (record.json(this.field).exists) out.emit(record)
  }
}

register(new ${className}())
`,
    'manifest.json': json({
      name,
      version: '1.0.0',
      description: 'Passes on the records that have a field',
      ports: ['out'],
      settingsSchema: { type: 'object', properties: { field }, additionalProperties: false },
      permissions: [],
    }),
    'test.json': json([
      {
        name: 'passes on what has the field',
        settings: { field: 'id' },
        input: [{ id: 1 }, { other: 2 }],
        output: [{ id: 1 }],
      },
    ]),
    'tsconfig.json': json({
      extends: relative(folder, join(ROOT, 'node_modules/assemblyscript/std/assembly.json')),
      compilerOptions: {
        allowImportingTsExtensions: true,
        paths: { spqr: [relative(folder, join(ROOT, 'wasm-operators/sdk/index.ts'))] },
      },
      include: ['./*.ts'],
    }),
    '.gitignore': 'build/\n',
  }
}
