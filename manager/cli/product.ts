// Where the product's own files are, and its version.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder with package.json. Compiled, this file is dist/manager/cli/product.js. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')

export const SHIPPED_FOLDER = join(ROOT, 'dist', 'wasm-operators')

/** The SDK and the compiler's options, for compiling operators. */
export const COMPILER_FILES = { operatorsFolder: join(ROOT, 'wasm-operators'), asconfig: join(ROOT, 'asconfig.json') }

/** How the product is called where this was: what we print is to be copied. */
export const SPQR = process.env.npm_command === 'exec' ? 'npx spqr' : 'spqr'

export function productVersion(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  return version
}
