// The manifest that an operator carries in its custom section `spqr:manifest`: JSON of a bounded size and depth.
// Runs on: admission.

import * as v from 'valibot'
import type { Span } from './module-shape.ts'
import type { Problems } from './problems.ts'

export const MANIFEST_SECTION = 'spqr:manifest'
const DEPTH_MAX = 64
const PORTS_MAX = 64
const text = (max: number) => v.pipe(v.string(), v.maxLength(max))
const portName = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,63}$/, 'a port name has 1 to 63 letters, digits, _ or -'))

const manifestSchema = v.strictObject({
  name: v.optional(v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a name is [a-z0-9][a-z0-9-]{0,62}'))),
  version: v.optional(v.pipe(v.string(), v.regex(/^\d{1,9}\.\d{1,9}\.\d{1,9}$/, 'a version is x.y.z'))),
  description: v.optional(text(10_000)),
  /** `'*'`: they depend on the settings. */
  ports: v.optional(
    v.union(
      [v.literal('*'), v.pipe(v.array(portName), v.minLength(1), v.maxLength(PORTS_MAX))],
      'ports are a list of names, or "*"',
    ),
    ['out'],
  ),
  /** JSON Schema of the settings. */
  settingsSchema: v.optional(v.union([v.boolean(), v.record(v.string(), v.unknown())], 'a JSON Schema is an object')),
  permissions: v.optional(v.array(v.picklist(['clock', 'random', 'log'], 'permissions are clock, random and log')), []),
  abi: v.optional(v.pipe(v.number(), v.integer())),
})

export type Manifest = v.InferOutput<typeof manifestSchema>

/** What holds for a module without a manifest: one port `out`, no permissions. */
export const defaultManifest = (): Manifest => ({ ports: ['out'], permissions: [] })

/** @returns the manifest; undefined where it broke a rule, which `problems` then has */
export function readManifest(
  bytes: Uint8Array,
  span: Span,
  bytesMax: number,
  problems: Problems,
): Manifest | undefined {
  const place = `custom section ${MANIFEST_SECTION}`
  const refuse = (text: string): undefined => {
    problems.add('manifest', text, place, span.from)
    return undefined
  }
  if (span.to - span.from > bytesMax)
    return refuse(`it has ${span.to - span.from} bytes, at most ${bytesMax} are allowed`)
  let json: unknown
  try {
    const source = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(span.from, span.to))
    if (depth(source) > DEPTH_MAX) return refuse(`it is nested deeper than ${DEPTH_MAX}`)
    json = JSON.parse(source)
  } catch (error) {
    return refuse(`it is no JSON: ${error instanceof Error ? error.message.slice(0, 200) : 'unreadable'}`)
  }
  const result = v.safeParse(manifestSchema, json)
  if (result.success) return result.output
  for (const issue of result.issues) refuse(`/${v.getDotPath(issue)?.replaceAll('.', '/') ?? ''}: ${issue.message}`)
  return undefined
}

/** How deep brackets go, of any text: strings are passed over. */
function depth(text: string): number {
  let deepest = 0
  let now = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (inString) {
      if (c === 0x5c) i++
      else if (c === 0x22) inString = false
    } else if (c === 0x22) inString = true
    else if (c === 0x7b || c === 0x5b) deepest = Math.max(deepest, ++now)
    else if (c === 0x7d || c === 0x5d) now--
  }
  return deepest
}
