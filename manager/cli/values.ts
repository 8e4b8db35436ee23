// `key=value` arguments as a merge patch: `where[0]` is not reached into, `a.b=1` is.

import { InvalidArgumentError } from 'commander'

/**
 * @param args `key=value`: the key is a dotted path, the value JSON, else a text; `key=null` removes
 * @throws InvalidArgumentError
 */
export function patchOf(args: readonly string[]): Record<string, unknown> {
  const patch: Record<string, unknown> = {}
  for (const arg of args) {
    const at = arg.indexOf('=')
    if (at < 1) throw new InvalidArgumentError(`"${arg}" is not key=value.`)
    const path = arg.slice(0, at).split('.')
    let target = patch
    for (const step of path.slice(0, -1)) {
      const inner = Object.hasOwn(target, step) ? target[step] : undefined
      const next = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {}
      target[step] = next
      target = next
    }
    target[path.at(-1)!] = parseValue(arg.slice(at + 1))
  }
  return patch
}

export function parseValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** A whole number from 1. */
export function countOf(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1.')
  return Number(text)
}
