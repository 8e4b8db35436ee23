// spqr operator …

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { SpqrError } from '../../schemas/errors.ts'
import { OPERATOR_NAME_PATTERN, VERSION_PATTERN } from '../../schemas/names.ts'
import { ApiClient, jsonBody } from './api-client.ts'
import { print, printJson, SILENT, tableOf, timeText } from './output.ts'

interface Operator {
  name: string
  version: string
  digest: string
  bytes: number
  description?: string
  ports: string[] | '*'
  origin: string
  createdAt: number
}

interface Json {
  json?: boolean
}

export function operatorCommands(program: Command): void {
  const operator = program.command('operator').description('write, test, push and list operators')

  operator
    .command('new')
    .description('make the folder of a new operator')
    .argument('<name>', 'or a path that ends in it')
    .action(async (name: string) => (await projects()).newProject(name))

  operator
    .command('build')
    .description('compile an operator into build/')
    .argument('[folder]', '', '.')
    .action(async (folder: string) => {
      const { buildProject, readProject } = await projects()
      await buildProject(readProject(folder))
    })

  operator
    .command('test')
    .description('compile an operator and run the cases of its test.json')
    .argument('[folder]', '', '.')
    .action(async (folder: string) => {
      const { readProject } = await projects()
      const { testProject } = await import('./operator-test.ts')
      await testProject(readProject(folder))
    })

  operator
    .command('push')
    .description('give an operator to the manager, so that pipelines can name it')
    .argument('[folder|file.wasm]', '', '.')
    .option('--json', "print the API's answer")
    .action(async (what: string, { json }: Json) => {
      const pushed = what.endsWith('.wasm') ? await pushModule(what) : await pushFolder(what)
      if (json) return printJson(pushed)
      print(`pushed ${pushed.name}@${pushed.version}: ${pushed.bytes} bytes, ${pushed.digest.slice(0, 12)}`)
    })

  operator
    .command('ls')
    .description('list operators')
    .option('--json', "print the API's answer")
    .action(async ({ json }: Json) => {
      const items = await new ApiClient().all<Operator>('/v1/operators')
      if (json) return printJson({ items })
      const rows = items.map((o) => [o.name, o.version, [o.ports].flat().join(', '), o.bytes, o.origin, o.description])
      print(tableOf(['NAME', 'VERSION', 'PORTS', 'BYTES', 'ORIGIN', 'DESCRIPTION'], rows))
    })

  operator
    .command('rm')
    .description('remove a version that nothing uses')
    .argument('<name@version>')
    .option('--json', SILENT)
    .action(async (reference: string, { json }: { json?: boolean }) => {
      const [name = '', version = ''] = reference.split('@')
      await new ApiClient().json('DELETE', operatorPath(name, version))
      if (!json) print(`removed ${reference}`)
    })

  operator
    .command('inspect')
    .description('show what a module is: of a file, or of an operator that was pushed')
    .argument('<file.wasm|name[@version]>')
    .option('--json', 'as JSON')
    .action(async (what: string, { json }: Json) => {
      const found = existsSync(what) ? inspectFile(what) : await inspectPushed(what)
      if (json) return printJson(found)
      for (const [name, value] of Object.entries(found)) print(`${name}: ${shownValue(name, value)}`)
    })
}

/** The compiler is loaded where it is used. */
const projects = (): Promise<typeof import('./operator-project.ts')> => import('./operator-project.ts')

async function pushFolder(folder: string): Promise<Operator> {
  const { compileProject, hasOwnFiles, readProject } = await projects()
  const project = readProject(folder)
  const { name, version, source, manifest } = project
  // The manager compiles one file, and keeps its source map; what has more comes as a module.
  if (!hasOwnFiles(project)) {
    return new ApiClient().json<Operator>('POST', '/v1/operators', jsonBody({ name, version, source, manifest }))
  }
  const { wasm } = await compileProject(project)
  return putModule(name, version, wasm)
}

async function pushModule(file: string): Promise<Operator> {
  const wasm = readFileSync(file)
  const { name, version } = manifestOf(file, wasm)
  if (!OPERATOR_NAME_PATTERN.test(name ?? '') || !VERSION_PATTERN.test(version ?? '')) {
    throw new SpqrError(
      'INVALID_BODY',
      `"${file}" has no manifest with name and version: build it with spqr operator build.`,
    )
  }
  return putModule(name!, version!, wasm)
}

function putModule(name: string, version: string, wasm: Uint8Array): Promise<Operator> {
  const content = new Uint8Array(wasm)
  return new ApiClient().json<Operator>('PUT', operatorPath(name, version), { type: 'application/wasm', content })
}

function operatorPath(name: string, version?: string): string {
  return `/v1/operators/${encodeURIComponent(name)}${version ? `/${encodeURIComponent(version)}` : ''}`
}

function inspectPushed(reference: string): Promise<Record<string, unknown>> {
  const [name = '', version] = reference.split('@')
  return new ApiClient().json('GET', operatorPath(name, version))
}

interface ModuleTools {
  imports(module: WebAssembly.Module): { module: string; name: string; kind: string }[]
  exports(module: WebAssembly.Module): { name: string; kind: string }[]
  customSections(module: WebAssembly.Module, name: string): ArrayBuffer[]
}

function inspectFile(file: string): Record<string, unknown> {
  const wasm = readFileSync(file)
  const manifest = manifestOf(file, wasm)
  const module = new WebAssembly.Module(wasm)
  const tools = WebAssembly.Module as unknown as ModuleTools
  return {
    digest: createHash('sha256').update(wasm).digest('hex'),
    bytes: wasm.length,
    manifest,
    imports: tools.imports(module).map((i) => `${i.module}.${i.name}`),
    exports: tools.exports(module).map((e) => e.name),
  }
}

/** @throws SpqrError MODULE_REFUSED where it is no module */
function manifestOf(file: string, wasm: Uint8Array): { name?: string; version?: string } {
  let module: WebAssembly.Module
  try {
    module = new WebAssembly.Module(new Uint8Array(wasm))
  } catch (error) {
    throw new SpqrError('MODULE_REFUSED', `"${file}" is no WebAssembly module: ${(error as Error).message}.`)
  }
  const [section] = (WebAssembly.Module as unknown as ModuleTools).customSections(module, 'spqr:manifest')
  return section ? (JSON.parse(new TextDecoder().decode(section)) as { name?: string; version?: string }) : {}
}

function shownValue(name: string, value: unknown): string {
  if (name === 'createdAt') return timeText(value)
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(', ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
