// spqr pipeline import

import * as v from 'valibot'
import { stringify } from 'yaml'
import { issuesOf } from '../../schemas/problems.ts'
import { readDocument } from '../../schemas/read-document.ts'
import { Failed } from './failed.ts'
import { readFile } from './files.ts'
import { importOriginal, originalSchema } from './import-original.ts'
import { placed, print, printError, printJson } from './output.ts'

/** @throws Failed where the file is no document of the original, its problems being printed */
export function importFile(file: string, json?: boolean): void {
  const read = readDocument(readFile(file), 'application/json')
  const checked = read.issues ? undefined : v.safeParse(originalSchema, read.value)
  const issues =
    read.issues ?? issuesOf(checked!.issues ?? []).map((issue) => ({ ...issue, ...read.locate(issue.pointer) }))
  for (const issue of issues) printError(placed(file, issue))
  if (!checked?.success) throw new Failed()
  const { document, notes } = importOriginal(checked.output)
  for (const note of notes) printError(`note: ${note}`)
  if (json) printJson(document)
  else print(stringify(document))
}
