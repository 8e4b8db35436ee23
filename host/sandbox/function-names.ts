// Names of a module's functions for stacks: from its `name` section, else from its exports.
// Runs on: admission.

import { ModuleReader } from './module-reader.ts'
import { importedFunctions, type ModuleShape } from './module-shape.ts'
import { Malformed } from './problems.ts'

const FUNCTION_NAMES = 1
const NAME_BYTES_MAX = 512

/**
 * @returns names by function index. A `name` section that cannot be read gives what came before the damage: it is a help
 * for people, the specification lets no module be refused for it.
 */
export function functionNames(shape: ModuleShape): Record<number, string> {
  const names: Record<number, string> = {}
  const count = importedFunctions(shape) + shape.functions.length
  for (const { name, kind, index } of shape.exports) if (kind === 'function') names[index] = name
  const section = shape.custom.find((c) => c.name === 'name')
  if (!section) return names
  try {
    const reader = new ModuleReader(shape.bytes, section.content.from, section.content.to)
    while (reader.at < reader.end) {
      const id = reader.u8()
      const size = reader.u32()
      const from = reader.at
      reader.skip(size)
      if (id !== FUNCTION_NAMES) continue
      const inner = new ModuleReader(shape.bytes, from, from + size)
      for (let n = inner.count('names', size); n > 0; n--) {
        const index = inner.u32()
        const text = inner.name(NAME_BYTES_MAX)
        // Names of what is not there would be kept, and sent from thread to thread, by the million.
        if (index < count) names[index] = text
      }
    }
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
  }
  return names
}
