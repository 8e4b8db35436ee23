// The operators that come with the product: built next to the program, listed in index.json.
// Runs on: control, once at start.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ModuleFiles } from '../store/operators-table.ts'

export interface ShippedOperator {
  name: string
  version: string
  /** SHA-256, 64 lower-case hex digits. */
  digest: string
  bytes: number
  read(): ModuleFiles
}

interface IndexEntry {
  name: string
  version: string
  file: string
  bytes: number
  sha256: string
}

/** @param folder where index.json is @throws Error where it is missing: the operators were not built */
export function readShipped(folder: string): ShippedOperator[] {
  let text: string
  try {
    text = readFileSync(join(folder, 'index.json'), 'utf8')
  } catch (error) {
    throw new Error(`Cannot read the shipped operators in "${folder}": run npm run build.`, { cause: error })
  }
  return (JSON.parse(text) as IndexEntry[]).map(({ name, version, file, bytes, sha256 }) => ({
    name,
    version,
    digest: sha256,
    bytes,
    read: () => ({
      wasm: readFileSync(join(folder, file)),
      sourceMap: readIfThere(join(folder, `${file}.map`)),
    }),
  }))
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
