// YAML 1.2 (core schema) as far as it is JSON: no tags but its own, no merge keys, few aliases, bounded depth and size,
// and the place of every value.

import type { Document, ParsedNode } from 'yaml'
import { Composer, isAlias, isMap, isScalar, isSeq, Lexer, Parser } from 'yaml'
import { DOCUMENT_LIMITS } from './document.ts'
import type { Issue } from './errors.ts'
import { type JsonText, lineOf, type Place } from './json-text.ts'
import { pointerTo, shown } from './problems.ts'
import { FORBIDDEN_FIELD } from './shapes.ts'

/** Reading YAML costs a hundred times what JSON does, so less of it is taken. */
export const YAML_BYTES_MAX = 256 * 1024
const LEXEMES_MAX = 100_000
const NODES_MAX = 50_000
const ALIASES_MAX = 100
const ERRORS_TOLD_MAX = 20

const CORE_TAG = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/

class Stop extends Error {
  readonly at: number
  constructor(message: string, at: number) {
    super(message)
    this.at = at
  }
}

/** Reads one YAML document. @param places takes the offsets of each value by pointer */
export function readYaml(text: string, places: Map<string, Place>): JsonText {
  const issues: Issue[] = []
  const problem = (message: string, at: number, pointer = ''): void => {
    issues.push({ pointer, message, ...lineOf(text, Math.min(at, text.length)) })
  }
  try {
    if (text.length > YAML_BYTES_MAX) throw new Stop(`has more than ${YAML_BYTES_MAX / 1024} KiB; send it as JSON`, 0)
    const document = compose(text)
    for (const error of document.errors.slice(0, ERRORS_TOLD_MAX))
      problem(`is not YAML: ${firstLine(error.message)}`, error.pos[0])
    for (const warning of document.warnings.slice(0, ERRORS_TOLD_MAX))
      problem(firstLine(warning.message), warning.pos[0])
    if (issues.length > 0) return { value: undefined, issues }
    const value = new Converter(document, places, problem).value(document.contents, '', 0)
    return { value, issues }
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    problem(error.message, error.at)
    return { value: undefined, issues }
  }
}

function compose(text: string): Document.Parsed {
  const parser = new Parser()
  const tokens = []
  let lexemes = 0
  for (const lexeme of new Lexer().lex(text)) {
    if (++lexemes > LEXEMES_MAX) throw new Stop('has too many parts; send it as JSON', parser.offset)
    for (const token of parser.next(lexeme)) tokens.push(token)
    // The composer recurses, so what is too deep must not reach it. Twice: a collection and what is being built in it.
    if (parser.stack.length > 2 * DOCUMENT_LIMITS.depth) throw tooDeep(parser.offset)
  }
  for (const token of parser.end()) tokens.push(token)
  // Duplicate keys are the converter's business: here they would cost quadratic time.
  const composer = new Composer({
    version: '1.2',
    schema: 'core',
    merge: false,
    uniqueKeys: false,
    strict: true,
    resolveKnownTags: false,
    logLevel: 'silent',
  })
  const documents: Document.Parsed[] = []
  for (const document of composer.compose(tokens, true, text.length)) {
    documents.push(document as Document.Parsed)
    if (documents.length > 1) throw new Stop('holds several documents; send one', document.range[0])
  }
  return documents[0]!
}

const tooDeep = (at: number): Stop => new Stop(`is nested more than ${DOCUMENT_LIMITS.depth} deep`, at)
const firstLine = (message: string): string => message.split('\n', 1)[0]!

class Converter {
  private readonly document: Document.Parsed
  private readonly places: Map<string, Place>
  private readonly problem: (message: string, at: number, pointer?: string) => void
  private nodes = 0
  private aliases = 0

  constructor(
    document: Document.Parsed,
    places: Map<string, Place>,
    problem: (message: string, at: number, pointer?: string) => void,
  ) {
    this.document = document
    this.places = places
    this.problem = problem
  }

  value(node: ParsedNode | null, pointer: string, depth: number, key?: number, end = 0): unknown {
    const at = node?.range[0] ?? key ?? end
    if (++this.nodes > NODES_MAX) throw new Stop(`has more than ${NODES_MAX} values`, at)
    if (depth > DOCUMENT_LIMITS.depth) throw tooDeep(at)
    this.places.set(pointer, { key, value: at })
    if (node === null) return null
    if (isAlias(node)) return this.alias(node, pointer, depth, key)
    if (node.tag && !CORE_TAG.test(node.tag)) this.problem(`the tag ${shown(node.tag)} is not permitted`, at, pointer)
    if (isMap(node)) return this.map(node.items as Pair[], pointer, depth, at)
    if (isSeq(node))
      return node.items.map((item, i) => this.value(item as ParsedNode, pointerTo(pointer, i), depth + 1))
    if (!isScalar(node)) return null
    const { value } = node
    if (typeof value === 'number' && !Number.isFinite(value))
      this.problem(`${value} is not a number as JSON has them`, at, pointer)
    return value
  }

  private alias(node: ParsedNode & { source?: string }, pointer: string, depth: number, key?: number): unknown {
    const at = node.range[0]
    if (!isAlias(node)) return null
    if (++this.aliases > ALIASES_MAX) throw new Stop(`has more than ${ALIASES_MAX} aliases`, at)
    const target = node.resolve(this.document) as ParsedNode | undefined
    if (!target) throw new Stop(`the alias ${shown(node.source)} names no anchor before it`, at)
    const value = this.value(target, pointer, depth + 1, key)
    this.places.set(pointer, { key, value: at })
    return value
  }

  private map(items: Pair[], pointer: string, depth: number, at: number): unknown {
    const object: Record<string, unknown> = {}
    for (const item of items) {
      const keyAt = item.key?.range[0] ?? at
      if (!isScalar(item.key) || item.key.value === null) {
        this.problem('a field name must be a plain text', keyAt, pointer)
        continue
      }
      const name = String(item.key.value)
      const inner = pointerTo(pointer, name)
      if (name === FORBIDDEN_FIELD) this.problem(`the field name "${FORBIDDEN_FIELD}" is not permitted`, keyAt, inner)
      else if (Object.hasOwn(object, name)) this.problem(`the field "${name}" is there twice`, keyAt, inner)
      else object[name] = this.value(item.value, inner, depth + 1, keyAt)
    }
    return object
  }
}

interface Pair {
  key: ParsedNode | null
  value: ParsedNode | null
}
