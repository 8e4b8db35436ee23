// spqr operator test: the cases of test.json, run through the compiled module.

import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import pc from 'picocolors'
import * as v from 'valibot'
import { issuesOf } from '../../schemas/problems.ts'
import { readDocument } from '../../schemas/read-document.ts'
import { closedObject } from '../../schemas/shapes.ts'
import { Failed } from './failed.ts'
import { readFile } from './files.ts'
import { runGuest } from './guest-run.ts'
import { compileProject, type OperatorProject } from './operator-project.ts'
import { placed, print, printError } from './output.ts'

const casesSchema = v.array(
  closedObject({
    name: v.string(),
    settings: v.optional(v.unknown(), {}),
    /** Values of the records; a string is its text. */
    input: v.array(v.unknown()),
    /** What leaves by the first port. */
    output: v.optional(v.array(v.unknown())),
    /** What leaves by other ports. */
    ports: v.optional(v.record(v.string(), v.array(v.unknown())), {}),
    /** How many are refused as not readable. */
    rejected: v.optional(v.number(), 0),
  }),
)

type Case = v.InferOutput<typeof casesSchema>[number]

/** @throws Failed where the module does not compile or a case does not hold */
export async function testProject(project: OperatorProject): Promise<void> {
  const file = join(project.folder, 'test.json')
  const read = readDocument(readFile(file), 'application/json')
  const checked = read.issues ? undefined : v.safeParse(casesSchema, read.value)
  const issues =
    read.issues ?? issuesOf(checked!.issues ?? []).map((issue) => ({ ...issue, ...read.locate(issue.pointer) }))
  for (const issue of issues) printError(placed(file, issue))
  if (!checked?.success) throw new Failed()
  const { wasm } = await compileProject(project)
  const ports = project.manifest.ports ?? ['out']
  let failed = 0
  for (const one of checked.output) {
    const problem = runCase(wasm, ports, one)
    if (problem) failed++
    print(`${problem ? pc.red('✘') : pc.green('✓')} ${one.name}${problem ? `\n${problem}` : ''}`)
  }
  print(`${checked.output.length - failed} passed, ${failed} failed`)
  if (failed || checked.output.length === 0) throw new Failed()
}

function runCase(wasm: Uint8Array, ports: string[], one: Case): string | undefined {
  try {
    const run = runGuest(wasm, ports, one.settings, one.input)
    const wanted = { ...one.ports, ...(one.output ? { [ports[0]!]: one.output } : {}) }
    for (const [port, values] of Object.entries(wanted)) {
      const got = run.output[port] ?? []
      if (!isDeepStrictEqual(got, values)) return `  ${port}: ${JSON.stringify(got)}\n  not: ${JSON.stringify(values)}`
    }
    if (run.rejected.length === one.rejected) return undefined
    return `  ${run.rejected.length} rejected, not ${one.rejected}: ${run.rejected.join('; ')}`
  } catch (error) {
    return `  ${(error as Error).message}`
  }
}
