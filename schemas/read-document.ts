// Reading a document's text, JSON or YAML: the value with the place of everything in it, or what is wrong with the text.
// Runs on: control.

import { DOCUMENT_LIMITS } from './document.ts'
import type { Issue } from './errors.ts'
import { lineOf, type Place, readJson } from './json-text.ts'
import { limited } from './problems.ts'
import { readYaml } from './yaml-text.ts'

const UTF8 = new TextDecoder('utf-8', { fatal: true })

export type DocumentFormat = 'json' | 'yaml'

/** Finds the line and column of a pointer: of the value there, or of the field's name; else of the nearest place above. */
export type Locate = (pointer: string, what?: 'value' | 'key') => { line: number; column: number }

export type ReadDocument = { value: unknown; locate: Locate; issues?: undefined } | { issues: Issue[] }

/** The format that a media type names (parameters are ignored); undefined: 415. */
export function documentFormat(contentType: string): DocumentFormat | undefined {
  const type = contentType.split(';', 1)[0]!.trim().toLowerCase()
  if (type === 'application/json' || type.endsWith('+json')) return 'json'
  return /^(application|text)\/(x-)?yaml$/.test(type) || type.endsWith('+yaml') ? 'yaml' : undefined
}

/**
 * Reads a text.
 * @param contentType media type, `application/json` or `application/yaml`
 * @returns the value and its places, or issues with line and column: the text cannot be read
 */
export function readDocument(text: string | Uint8Array, contentType: string): ReadDocument {
  const format = documentFormat(contentType)
  if (!format) return { issues: [{ pointer: '', message: 'is neither application/json nor application/yaml' }] }
  if (text.length > DOCUMENT_LIMITS.textBytes) {
    return { issues: [{ pointer: '', message: `has more than ${DOCUMENT_LIMITS.textBytes / 1024} KiB` }] }
  }
  const decoded = decode(text)
  if (decoded === undefined) return { issues: [{ pointer: '', message: 'is not UTF-8' }] }
  if (format === 'yaml') {
    const places = new Map<string, Place>()
    const read = readYaml(decoded, places)
    return read.issues.length > 0
      ? { issues: limited(read.issues) }
      : { value: read.value, locate: locator(decoded, () => places) }
  }
  const read = readJson(decoded)
  if (read.issues.length > 0) return { issues: limited(read.issues) }
  return {
    value: read.value,
    locate: locator(decoded, () => {
      const places = new Map<string, Place>()
      readJson(decoded, places)
      return places
    }),
  }
}

function decode(text: string | Uint8Array): string | undefined {
  if (typeof text === 'string') return text.startsWith('\ufeff') ? text.slice(1) : text
  try {
    return UTF8.decode(text)
  } catch {
    return undefined
  }
}

/** Places are asked for only where something is wrong, so they are made then. */
function locator(text: string, makePlaces: () => Map<string, Place>): Locate {
  let places: Map<string, Place> | undefined
  return (pointer, what = 'value') => {
    places ??= makePlaces()
    let at = pointer
    while (at !== '' && !places.has(at)) at = at.slice(0, at.lastIndexOf('/'))
    const place = places.get(at)
    return lineOf(text, (what === 'key' ? place?.key : undefined) ?? place?.value ?? 0)
  }
}
