// Instances of modules that pipelines were just made of, linked ahead while the worker has nothing to do: linking is most of
// what the next one costs. A spare has run nothing; whoever takes it starts it as any other.
// Runs on: compute.

import { guestImports } from './imports.ts'

/** Of all modules; each costs a memory as it is linked, some KiB resident. */
const SPARES_MAX = 16

/** The one used last stands last. */
const spares = new Map<WebAssembly.Module, { wanted: number; made: WebAssembly.Instance[] }>()
/** Some may be missing. */
let isDue = false

/** A linked instance that nobody else has. @throws RangeError where the process has no room for its memory */
export function takeInstance(module: WebAssembly.Module): WebAssembly.Instance {
  const known = spares.get(module)
  const spare = known?.made.pop()
  spares.delete(module)
  isDue = true
  // One more than was there: a pipeline of eight filters finds eight the next time.
  const wanted = Math.min(SPARES_MAX, spare ? known!.wanted : (known?.wanted ?? 0) + 1)
  spares.set(module, { wanted, made: known?.made ?? [] })
  // Also where no spare is ever made: what is kept of modules has a bound.
  for (const [oldest] of spares) {
    if (spares.size <= SPARES_MAX) break
    spares.delete(oldest)
  }
  return spare ?? new WebAssembly.Instance(module, guestImports)
}

/** Makes one where one is missing. @returns false: none is missing */
export function makeSpare(): boolean {
  if (!isDue) return false
  isDue = makeOne()
  return isDue
}

function makeOne(): boolean {
  let room = SPARES_MAX
  // From the one used last: what finds no room is forgotten.
  for (const [module, known] of [...spares].reverse()) {
    if (room === 0) {
      spares.delete(module)
      continue
    }
    known.wanted = Math.min(known.wanted, room)
    known.made.length = Math.min(known.made.length, known.wanted)
    room -= known.wanted
    if (known.made.length === known.wanted) continue
    try {
      known.made.push(new WebAssembly.Instance(module, guestImports))
    } catch {
      // No room for memories: whoever needs one is told.
      known.wanted = known.made.length
      return false
    }
    return true
  }
  return false
}
