// A generator's template, compiled once to byte pieces: JSON text with `$seq $int $float $pick $now` anywhere inside.
// Runs on: bridge.

import { type Issue, SpqrError } from '../../schemas/errors.ts'
import type { Random } from './random.ts'
import { NUMBER_BYTES_MAX, writeFixed, writeInteger } from './write-number.ts'

const LITERAL = 0
const SEQ = 1
const INT = 2
const FLOAT = 3
const NOW = 4
const PICK = 5
/** A FLOAT that is written digit by digit. */
const FIXED = 6

/** One shape for all kinds, so that the loop over them stays monomorphic. */
interface Piece {
  kind: number
  literal: Uint8Array
  /** SEQ: the start. INT, FLOAT: the lower bound. */
  low: number
  high: number
  /** FLOAT: decimals, -1: as many as the number has. */
  digits: number
  choices: Piece[][]
}

const DIRECTIVES = ['$seq', '$int', '$float', '$pick', '$now']
const DEPTH_MAX = 64
const TEMPLATE_BYTES_MAX = 256 << 10
const SHORT_LITERAL = 24
const NO_BYTES = new Uint8Array(0)
const encoder = new TextEncoder()

/** Writes one value after another in the form of a template. */
export class Template {
  readonly #pieces: Piece[]
  /** No value takes more bytes. */
  readonly bytesMax: number

  private constructor(pieces: Piece[]) {
    this.#pieces = pieces
    this.bytesMax = sizeOf(pieces)
  }

  /** @throws SpqrError INVALID_DOCUMENT with every problem, pointers under `/template` */
  static compile(template: unknown): Template {
    const issues: Issue[] = []
    const pieces: Piece[] = []
    compile(template, '/template', 0, pieces, issues)
    const compiled = new Template(merge(pieces))
    if (compiled.bytesMax > TEMPLATE_BYTES_MAX) {
      issues.push({
        pointer: '/template',
        message: `makes values of up to ${compiled.bytesMax} bytes; ${TEMPLATE_BYTES_MAX} are allowed`,
      })
    }
    if (issues.length > 0) {
      const text = issues.map((i) => `${i.pointer}: ${i.message}`).join('; ')
      throw new SpqrError('INVALID_DOCUMENT', `Cannot use the template: ${text}.`, { issues })
    }
    return compiled
  }

  /**
   * Writes the value of record `n` at `at`; there must be room for `bytesMax`.
   * @param n 0 for the first record
   * @param now ms since 1970
   * @returns where it ends // hot
   */
  write(bytes: Uint8Array, at: number, n: number, now: number, random: Random): number {
    return writePieces(this.#pieces, bytes, at, n, now, random)
  }
}

function writePieces(pieces: Piece[], bytes: Uint8Array, at: number, n: number, now: number, random: Random): number {
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i]!
    switch (piece.kind) {
      case LITERAL: {
        const literal = piece.literal
        const length = literal.length
        if (length > SHORT_LITERAL) bytes.set(literal, at)
        else for (let k = 0; k < length; k++) bytes[at + k] = literal[k]!
        at += length
        break
      }
      case SEQ:
        at = writeInteger(bytes, at, piece.low + n)
        break
      case INT:
        at = writeInteger(bytes, at, random.int(piece.low, piece.high))
        break
      case FIXED:
        at = writeFixed(bytes, at, piece.low + random.unit() * (piece.high - piece.low), piece.digits)
        break
      case FLOAT: {
        const value = piece.low + random.unit() * (piece.high - piece.low)
        at = writeText(bytes, at, piece.digits < 0 ? String(value) : value.toFixed(piece.digits))
        break
      }
      case NOW:
        at = writeInteger(bytes, at, now)
        break
      default:
        at = writePieces(piece.choices[random.int(0, piece.choices.length - 1)]!, bytes, at, n, now, random)
    }
  }
  return at
}

function writeText(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i)
  return at + text.length
}

function piece(kind: number, parts: Partial<Piece> = {}): Piece {
  return { kind, literal: NO_BYTES, low: 0, high: 0, digits: 0, choices: [], ...parts }
}

function literal(text: string): Piece {
  return piece(LITERAL, { literal: encoder.encode(text) })
}

function compile(value: unknown, pointer: string, depth: number, out: Piece[], issues: Issue[]): void {
  if (depth > DEPTH_MAX) {
    issues.push({ pointer, message: `is nested deeper than ${DEPTH_MAX}` })
    return
  }
  if (Array.isArray(value)) {
    out.push(literal('['))
    value.forEach((item, i) => {
      if (i > 0) out.push(literal(','))
      compile(item, `${pointer}/${i}`, depth + 1, out, issues)
    })
    out.push(literal(']'))
  } else if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
    const directive = entries.find(([name]) => name.startsWith('$'))
    if (directive && entries.length === 1) {
      out.push(directivePiece(directive[0], directive[1], pointer, depth, issues))
      return
    }
    if (directive) issues.push({ pointer, message: `"${directive[0]}" must stand alone in its object` })
    out.push(literal('{'))
    entries.forEach(([name, item], i) => {
      out.push(literal(`${i > 0 ? ',' : ''}${JSON.stringify(name)}:`))
      compile(item, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, depth + 1, out, issues)
    })
    out.push(literal('}'))
  } else if (value === undefined) issues.push({ pointer, message: 'is missing' })
  else out.push(literal(JSON.stringify(value)))
}

function directivePiece(name: string, value: unknown, pointer: string, depth: number, issues: Issue[]): Piece {
  const wrong = (message: string): Piece => {
    issues.push({ pointer: `${pointer}/${name}`, message })
    return literal('null')
  }
  switch (name) {
    case '$seq':
      return isWhole(value) ? piece(SEQ, { low: value }) : wrong('must be the whole number to start at')
    case '$int': {
      if (!isBounds(value, 2) || !value.every(isWhole))
        return wrong('must be [low, high], whole numbers with low ≤ high')
      return piece(INT, { low: value[0]!, high: value[1]! })
    }
    case '$float': {
      if (!isBounds(value, 3))
        return wrong('must be [low, high] or [low, high, digits] with low ≤ high, not too far apart')
      const digits = value[2] ?? -1
      if (value.length === 3 && !(isWhole(digits) && digits >= 0 && digits <= 15))
        return wrong('digits must be 0 to 15')
      const largest = Math.max(Math.abs(value[0]!), Math.abs(value[1]!)) * 10 ** Math.max(0, digits)
      const isExact = digits >= 0 && digits <= 9 && largest <= Number.MAX_SAFE_INTEGER
      return piece(isExact ? FIXED : FLOAT, { low: value[0]!, high: value[1]!, digits })
    }
    case '$pick': {
      if (!Array.isArray(value) || value.length === 0) return wrong('must be a list of at least one value')
      const choices = value.map((item, i) => {
        const pieces: Piece[] = []
        compile(item, `${pointer}/$pick/${i}`, depth + 1, pieces, issues)
        return merge(pieces)
      })
      return piece(PICK, { choices })
    }
    case '$now':
      return value === true ? piece(NOW) : wrong('must be true')
    default:
      return wrong(`is unknown; there are ${DIRECTIVES.join(', ')}`)
  }
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value)
}

function isBounds(value: unknown, lengthMax: number): value is number[] {
  if (!Array.isArray(value) || value.length < 2 || value.length > lengthMax) return false
  return (
    value.every((x) => typeof x === 'number' && Number.isFinite(x)) &&
    value[0] <= value[1] &&
    Number.isFinite(value[1] - value[0])
  )
}

/** Neighbouring literals as one. */
function merge(pieces: Piece[]): Piece[] {
  const merged: Piece[] = []
  for (const next of pieces) {
    const last = merged.at(-1)
    if (next.kind === LITERAL && last?.kind === LITERAL) last.literal = Buffer.concat([last.literal, next.literal])
    else merged.push({ ...next })
  }
  return merged.map((p) => (p.kind === LITERAL ? { ...p, literal: new Uint8Array(p.literal) } : p))
}

function sizeOf(pieces: Piece[]): number {
  let bytes = 0
  for (const p of pieces) {
    if (p.kind === LITERAL) bytes += p.literal.length
    else if (p.kind === PICK) bytes += Math.max(...p.choices.map(sizeOf))
    else bytes += NUMBER_BYTES_MAX
  }
  return bytes
}
